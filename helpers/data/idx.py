"""IDX files: a magic number (type and number of dimensions), the dimensions, the values.

All big-endian, as MNIST is published (LeCun et al. 1998). Header and size are checked before
anything is believed, and every fault is one line that begins with the path.
"""

import hashlib
import os
import struct

import numpy as np

from helpers.data import archives

MAX_ITEMS = 300_000  # the largest of these sets has 240,000; a damaged header may claim 2^31


def sha256(array):
    """Hex SHA-256 of the IDX file of unsigned bytes that holds this array, (N, ...)."""
    digest = hashlib.sha256(struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape))
    digest.update(array.astype(np.uint8, copy=False))
    return digest.hexdigest()


def read_pair(images_path, labels_path):
    """Two files that belong together -> (N, 28, 28) uint8, (N,) int64 of 0..255.

    Labels of type idx2-int are QMNIST's: eight numbers for each image, the first is the class.
    Raises ValueError for a damaged file, OSError for one that will not open.
    """
    images = read(images_path, 0x803, 28, 28)
    if "idx2-int" in labels_path.name:
        labels = read(labels_path, 0xC02, 8)[:, 0].astype(np.int64)
    else:
        labels = read(labels_path, 0x801).astype(np.int64)
    if len(images) != len(labels):
        raise ValueError(
            f"{labels_path}: {len(labels)} labels, but {len(images)} images in {images_path}"
        )
    return images, labels


def read(path, magic, *shape):
    """An IDX file of N items of this shape -> (N, *shape); header checked before the rest."""
    dtype = np.dtype({8: np.uint8, 12: ">i4"}[magic >> 8])
    start = 4 * (2 + len(shape))
    data = archives.start(path, start)
    if len(data) >= 4 and data[:4] != struct.pack(">I", magic):
        raise ValueError(f"{path}: magic number {data[:4].hex()}, expected {magic:08x}")
    if len(data) < start:
        raise ValueError(f"{path}: {len(data)} bytes, an IDX header has {start}")
    count, *found = struct.unpack_from(f">{1 + len(shape)}I", data, 4)
    if tuple(found) != shape:
        raise ValueError(f"{path}: items of {_by(found)}, expected {_by(shape)}")
    if not 0 < count <= MAX_ITEMS:
        raise ValueError(f"{path}: header says {count} items, expected 1..{MAX_ITEMS}")
    size = start + count * dtype.itemsize * int(np.prod(shape, dtype=int))
    told = f"header says {_by((count, *shape))}, so {size} bytes"
    if path.suffix != ".gz" and os.path.getsize(path) != size:
        raise ValueError(f"{path}: {told}, but the file has {os.path.getsize(path)}")
    try:
        data = archives.start(path, size + 1)
    except ValueError as error:
        raise ValueError(f"{error}; its {told}") from None
    if len(data) != size:
        more = "more" if len(data) > size else len(data)
        raise ValueError(f"{path}: {told}, but it holds {more}")
    return np.frombuffer(data, dtype, offset=start).reshape(count, *shape)


def _by(shape):
    return "x".join(str(n) for n in shape) or "1"
