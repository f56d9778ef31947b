"""Files written whole or not at all."""

import json
import os
from pathlib import Path


def beside(path):
    """Where this process writes what will then be renamed to that path."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def write_atomically(path, data):
    """Write bytes to a file so that a reader sees all of the old or all of the new."""
    path = Path(path)
    part = beside(path)
    try:
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(
            f"{path}: cannot be written ({error.strerror}); the old one is kept"
        ) from None


def safetensors_metadata(content):
    """The texts {name: text} that stand beside the numbers in the bytes of a safetensors file."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header.get("__metadata__", {})


def write_json(path, value):
    """Write a value as JSON with sorted keys, atomically; NaN is refused."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode())
