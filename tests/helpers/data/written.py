"""Sets of a few images, written as CSV and IDX files."""

import struct

import numpy as np
import pytest

from helpers import data

STEMS = {"train": "train", "test": "t10k"}


def pictures(n, seed=0, classes=10):
    """Sparse, so that packed files are small: (n, 28, 28) uint8 and (n,) labels."""
    images = np.zeros((n, 28, 28), np.uint8)
    images[:, 10, 10:14] = np.random.default_rng(seed).integers(0, 256, (n, 4))
    images[:, 0, 1], images[:, 27, 26] = 255, np.arange(n) % 255 + 1
    return images, np.arange(n) % classes


def idx(array):
    kind = {1: 8, 4: 12}[array.dtype.itemsize]
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, kind, array.ndim]) + shape + array.tobytes()


def write_idx(root, name="MNIST", pack=bytes, n=4):
    """Four IDX files; returns {"train-images": path, ...}."""
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    files = {}
    for part, stem in STEMS.items():
        images, labels = pictures(n, len(part))
        for kind, array in (("images-idx3", images), ("labels-idx1", labels.astype(np.uint8))):
            path = raw / f"{stem}-{kind}-ubyte{'' if pack is bytes else '.gz'}"
            path.write_bytes(pack(idx(array)))
            files[f"{part}-{kind[:6]}"] = path
    return files


def csv(images, labels, header="none"):
    rows = images.reshape(len(images), -1)
    names = {
        "kaggle": [f"pixel{i}" for i in range(1, 785)],
        "zero": [f"pixel{i}" for i in range(784)],
        "grid": [f"{r}x{c}" for r in range(1, 29) for c in range(1, 29)],
    }.get(header)
    if labels is not None:
        rows = np.column_stack([labels, rows])
        names = names and ["label", *names]
    lines = [",".join(names)] if names else []
    return "".join(f"{line}\n" for line in lines + [",".join(map(str, row)) for row in rows])


def write_csv(root, text=None, header="none", n=3):
    """mnist_train.csv with this text beside a sound mnist_test.csv; returns the first path."""
    path = root / "mnist_train.csv"
    path.write_bytes((text if text is not None else csv(*pictures(n), header)).encode("latin-1"))
    (root / "mnist_test.csv").write_text(csv(*pictures(2, 5)))
    return path


def same_as_written(found, n):
    for part in STEMS:
        images, labels = pictures(n, len(part))
        np.testing.assert_array_equal(getattr(found, part).images, images)
        np.testing.assert_array_equal(getattr(found, part).labels, labels)


def refusal(root, source, name="MNIST", **settings):
    """The one line that load stops with."""
    with pytest.raises((ValueError, OSError)) as caught:
        data.load(name, source, data_dir=root, **settings)
    line = str(caught.value)
    assert "\n" not in line
    return line


def flips(path, read, bits, images):
    """Every byte changed: the right images, or an error that begins with the path."""
    whole = path.read_bytes()
    for i, byte in enumerate(whole):
        path.write_bytes(whole[:i] + bytes([byte ^ bits]) + whole[i + 1 :])
        try:
            np.testing.assert_array_equal(read(path)[0], images)
        except (ValueError, OSError) as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
