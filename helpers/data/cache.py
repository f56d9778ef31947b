"""A cache of what can always be made again, each entry stored after its SHA-256.

An entry is named by what it was made from, so it is never stale. A damaged one is made again, and
where the folder cannot be written all works, only slower.
"""

import contextlib
import hashlib
import io

import numpy as np

from helpers.files import write_atomically
from helpers.paths import ROOT

FOLDER = ROOT / "build" / "cache"


def key(*parts):
    """A name made of everything that an entry depends on; the parts are plain values."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def arrays(name, make):
    """The list of arrays cached under this name, else those of make(), which are then cached."""

    def packed():
        body = io.BytesIO()
        np.savez(body, *make())
        return body.getvalue()

    stored = np.load(io.BytesIO(kept(f"{name}.npz", packed)), allow_pickle=False)
    return [stored[key] for key in stored.files]


def kept(name, make):
    """The bytes cached under this name, else those of make(), which are then cached."""
    path = FOLDER / name
    with contextlib.suppress(OSError):  # not there
        stored = path.read_bytes()
        if hashlib.sha256(memoryview(stored)[32:]).digest() == stored[:32]:
            return stored[32:]
    content = make()
    with contextlib.suppress(OSError):  # read-only, full
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, hashlib.sha256(content).digest() + content)
    return content
