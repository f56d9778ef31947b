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


def read_pair(images_path, labels_path, low, high):
    """Two files that belong together -> (N, 28, 28) uint8, (N,) int64 of low..high.

    Labels of type idx2-int are QMNIST's: eight numbers for each image, the first is the class.
    Raises ValueError for a damaged file, OSError for one that will not open.
    """
    images = read(images_path, (28, 28), np.uint8)
    if "idx2-int" in labels_path.name:
        labels = read(labels_path, (8,), np.dtype(">i4"))[:, 0].astype(np.int64)
    else:
        labels = read(labels_path, (), np.uint8).astype(np.int64)
    if len(images) != len(labels):
        raise ValueError(
            f"{labels_path}: {len(labels)} labels, but {len(images)} images in {images_path}"
        )
    wrong = np.flatnonzero((labels < low) | (labels > high))
    if len(wrong):
        value = labels[wrong[0]]
        raise ValueError(f"{labels_path}: row {wrong[0]}: label {value}, expected {low}..{high}")
    return images, labels


def read(path, shape, dtype):
    """An IDX file of N items of this shape and type -> (N, *shape); header checked first."""
    dtype = np.dtype(dtype)
    magic = ({1: 8, 4: 12}[dtype.itemsize] << 8) | (1 + len(shape))
    start = 4 * (2 + len(shape))
    blocks = archives.stream(path)
    data = bytearray()
    while len(data) < start and (block := next(blocks, None)) is not None:
        data += block
    if len(data) >= 4 and struct.unpack(">I", data[:4])[0] != magic:
        raise ValueError(f"{path}: magic number {data[:4].hex()}, expected {magic:08x}")
    if len(data) < start:
        raise ValueError(f"{path}: {len(data)} bytes, an IDX header has {start}")
    count, *found = struct.unpack(f">{1 + len(shape)}I", data[4:start])
    if tuple(found) != shape:
        raise ValueError(f"{path}: items of {_by(found)}, expected {_by(shape)}")
    if not 0 < count <= MAX_ITEMS:
        raise ValueError(f"{path}: header says {count} items, expected 1..{MAX_ITEMS}")
    size = start + count * dtype.itemsize * int(np.prod(shape, dtype=int))
    told = f"header says {_by((count, *shape))}, so {size} bytes"
    if path.suffix != ".gz" and os.path.getsize(path) != size:
        raise ValueError(f"{path}: {told}, but the file has {os.path.getsize(path)}")
    try:
        for block in blocks:
            data += block
            if len(data) > size:
                break
    except ValueError as error:
        raise ValueError(f"{error}; its {told}") from None
    if len(data) != size:
        more = "more" if len(data) > size else len(data)
        raise ValueError(f"{path}: {told}, but it holds {more}")
    return np.frombuffer(data, dtype, offset=start).reshape(count, *shape)


def _by(shape):
    return "x".join(str(n) for n in shape) or "1"
