"""A cache of what can always be made again, each entry stored after its SHA-256.

An entry is named by what it was made from, so it is never stale. A damaged one is made again, and
where the folder cannot be written all works, only slower.
"""

import hashlib
import io
import os
import tempfile
from pathlib import Path

import numpy as np

from helpers import paths

FOLDER = paths.ROOT / "build" / "cache"


def key(*parts):
    """A name made of everything that an entry depends on; the parts are plain values."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def arrays(name, make):
    """The list of arrays cached under this name, else those of make(), which are then cached."""

    def packed():
        body = io.BytesIO()
        np.savez(body, *make())
        return body.getvalue()

    stored = np.load(io.BytesIO(kept(FOLDER / f"{name}.npz", packed)), allow_pickle=False)
    return [stored[key] for key in stored.files]


def kept(path, make):
    """The bytes cached in a file, else those of make(), which are then cached; path None: made."""
    content = read(path) if path else None
    if content is None:
        content = make()
        if path:
            write(path, content)
    return content


def read(path):
    """The bytes of an entry, or None: not there, or damaged."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    content = memoryview(stored)[32:]
    return bytes(content) if hashlib.sha256(content).digest() == stored[:32] else None


def write(path, content):
    """Put bytes into an entry, all or nothing; False where that cannot be (read-only, full)."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # a place of its own, because another run may be writing the same entry
        with tempfile.TemporaryDirectory(".part", ".", path.parent) as aside:
            part = Path(aside, path.name)
            part.write_bytes(hashlib.sha256(content).digest() + content)
            os.replace(part, path)
        return True
    except OSError:
        return False
