"""IDX files: a magic number (type and number of dimensions), the dimensions, the values.

All big-endian, as MNIST is published (LeCun et al. 1998). The header is checked before anything
is believed, and every fault is one line that begins with the path.
"""

import hashlib
import struct

import numpy as np

from helpers.data import archives

MAX_ITEMS = 300_000  # the largest of these sets has 240,000; a damaged header may claim 2^31
BLOCK = 1 << 20  # bytes taken at a time: a claim takes no memory until the bytes come


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
    eight = "idx2-int" in labels_path.name
    labels = read(labels_path, 0xC02, 8)[:, 0] if eight else read(labels_path, 0x801)
    if len(images) != len(labels):
        raise ValueError(
            f"{labels_path}: {len(labels)} labels, but {len(images)} images in {images_path}"
        )
    return images, labels.astype(np.int64)


def read(path, magic, *shape):
    """An IDX file of N items of this shape -> (N, *shape); header checked before the rest."""
    dtype = np.dtype({8: np.uint8, 12: ">i4"}[magic >> 8])
    with archives.opened(path) as file:
        header = file.read(8 + 4 * len(shape))
        if header[:4] != struct.pack(">I", magic):
            raise ValueError(f"{path}: magic number {header[:4].hex()}, expected {magic:08x}")
        count, *found = struct.unpack(f">{1 + len(shape)}I", header[4:])
        if tuple(found) != shape:
            raise ValueError(f"{path}: items of {found}, expected {[*shape]}")
        if not 0 < count <= MAX_ITEMS:
            raise ValueError(f"{path}: header says {count} items, expected 1..{MAX_ITEMS}")
        size = count * dtype.itemsize * int(np.prod(shape, dtype=int))
        data = bytearray()
        while len(data) <= size and (block := file.read1(BLOCK)):
            data += block
    if len(data) != size:
        there = "more" if len(data) > size else len(data)
        raise ValueError(f"{path}: {count} items need {size} bytes, but there are {there}")
    return np.frombuffer(data, dtype).reshape(count, *shape)
