"""A cache of what can always be made again, each entry stored after its SHA-256.

An entry is named by what it was made from, so it is never stale. A damaged one is made again, and
without a folder that can be written all works, only slower.
"""

import hashlib
import io
import os
import tempfile
from pathlib import Path

import numpy as np

from helpers import paths


def key(*parts):
    """SHA-256 of the parts (bytes or what str makes of them), each by its own."""
    digests = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in digests)).hexdigest()


def arrays(name, make):
    """The list of arrays cached under this name, else those of make(), which are then cached."""
    entries = [folder / f"{name}.npz" for folder in folders()]
    for entry in entries:
        content = read(entry)
        if content is not None:
            stored = np.load(io.BytesIO(content), allow_pickle=False)
            return [stored[name] for name in stored.files]
    made, body = make(), io.BytesIO()
    np.savez(body, *made)
    any(write(entry, body.getbuffer()) for entry in entries)  # the first that takes it
    return made


def folders():
    """Where cached arrays may be: build/cache of the project, or the user's own cache."""
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("HOME")
    hidden = "" if os.environ.get("XDG_CACHE_HOME") else ".cache"
    own = [Path(home) / hidden / "generative-models-report"] if home else []
    return [paths.ROOT / "build" / "cache", *own]


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
        # a name of its own, because another run may be writing the same entry
        handle, aside = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).digest())
                file.write(content)
            os.replace(aside, path)
        except BaseException:
            os.unlink(aside)
            raise
        return True
    except OSError:
        return False
