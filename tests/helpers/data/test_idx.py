import gzip
import os
import struct
import tracemalloc
from functools import partial

import numpy as np
import pytest
from written import flips, idx, pictures, refusal, same_as_written, write_csv, write_idx

from helpers import data
from helpers.data import archives
from helpers.data.idx import read_pair

HEAD = struct.pack(">4I", 0x803, 4, 28, 28)
PACK = partial(gzip.compress, mtime=0)
GZ = PACK(idx(pictures(4)[0]))


@pytest.mark.parametrize("pack", [bytes, PACK], ids=["plain", "gz"])
def test_idx_round_trip(root, pack):
    write_idx(root, pack=pack)
    found = data.load("MNIST", "idx", root)
    same_as_written(found, 4)
    assert found.train.images.dtype == np.uint8 and found.train.labels.dtype == np.int64
    assert (found.source, found.real, found.verified) == ("idx", True, False)
    assert "not the published files" in data.describe(found)


@pytest.mark.fault(2, 4, 9, 22)
@pytest.mark.parametrize(("pack", "part"), [(bytes, "train-labels"), (PACK, "train-images")])
def test_idx_cut_anywhere_is_refused(root, pack, part):
    path = write_idx(root, pack=pack, n=2)[part]
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert refusal(root, "idx").startswith(f"{path}: ")


@pytest.mark.fault(5)
@pytest.mark.parametrize("bit", range(8))
def test_gz_with_any_bit_flipped_is_right_or_refused(root, bit):
    files = write_idx(root, pack=PACK, n=2)
    pair = files["train-images"], files["train-labels"]
    flips(pair[0], lambda path: read_pair(path, pair[1]), 1 << bit, pictures(2, 5)[0])


FAULTS = [
    ("train-images", b"", "empty file"),
    ("test-labels", b"", "empty file"),
    ("train-images", idx(np.zeros(4, np.uint8)), "00000801, expected 00000803"),
    ("train-labels", idx(pictures(4)[0]), "00000803, expected 00000801"),
    ("train-images", idx(np.zeros((4, 27, 29), np.uint8)), "items of [27, 29], expected [28, 28]"),
    ("test-images", idx(np.zeros((0, 28, 28), np.uint8)), "header says 0 items"),
    ("train-images", struct.pack(">4I", 0x803, 2**31, 28, 28), "header says 2147483648 items"),
    ("train-images", HEAD + bytes(3135), "4 items need 3136 bytes, but there are 3135"),
    ("train-images", idx(pictures(1)[0].repeat(4, 0)), "every image is the same"),
    ("train-labels", idx(np.arange(5, dtype=np.uint8)), "5 labels, but 4 images in {root}/MNIST"),
]
PACKED_FAULTS = [
    (b"", "empty file"),
    (b"<html>404</html>", "Not a gzipped file (b'<h')"),
    (GZ + b"x", "Not a gzipped file"),
    (GZ[:-8] + bytes(8), "CRC check failed"),
]


@pytest.mark.fault(2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 23)
@pytest.mark.parametrize("pack", [bytes, PACK], ids=["plain", "gz"])
def test_idx_faults(root, pack):
    files = write_idx(root, pack=pack)
    faults = [(part, pack(content), says) for part, content, says in FAULTS if content]
    faults += [("train-images", *fault) for fault in PACKED_FAULTS] if pack is PACK else FAULTS[:2]
    for part, content, says in faults:
        whole = files[part].read_bytes()
        files[part].write_bytes(content)
        for source in ("idx", "auto"):  # never skipped for the next source
            line = refusal(root, source)
            assert line.startswith(f"{files[part]}: {says.format(root=root)}"[:40]), says
            assert says.format(root=root) in line
        files[part].write_bytes(whole)


@pytest.mark.fault(7, 10)
def test_bombs_and_claims_take_little_memory(root):
    path = write_idx(root, pack=PACK)["train-images"]
    write_csv(root).rename(root / "mnist_train.csv.gz")
    zeros = b"0" * 100_000_000
    for source, content in (
        ("idx", HEAD + zeros),
        ("idx", struct.pack(">4I", 0x803, 300_000, 28, 28)),
        ("csv", zeros),
    ):
        path = path if source == "idx" else root / "mnist_train.csv.gz"
        path.write_bytes(PACK(content, 1))
        tracemalloc.start()
        line = refusal(root, source)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert line.startswith(str(path)) and peak < 16e6


@pytest.mark.fault(1, 21)
def test_files_that_are_missing_no_files_or_on_a_disk_that_fails(root, monkeypatch):
    def broken(file):
        raise OSError(5, "Input/output error")

    path = write_idx(root)["train-labels"]
    packed = path.rename(f"{path}.gz")
    monkeypatch.setitem(archives.UNPACK, ".gz", broken)
    assert refusal(root, "auto") == f"{packed}: Input/output error"
    packed.unlink()
    assert refusal(root, "auto").startswith(f"{path}: no such file, though others")
    for make, says in (
        (path.mkdir, "not a file"),
        (lambda: os.mkfifo(path), "not a file"),
        (lambda: path.symlink_to(root / "nowhere"), "No such file or directory"),
        (lambda: path.symlink_to(path), "Too many levels of symbolic links"),
    ):
        make()
        assert refusal(root, "auto") == f"{path}: {says}"
        path.rmdir() if path.is_dir() else path.unlink()
    (root / "FashionMNIST").symlink_to(root / "FashionMNIST")  # as without permission
    assert refusal(root, "auto", "FashionMNIST").startswith(f"{root / 'FashionMNIST'}")


def test_qmnist_takes_the_class_from_its_eight_numbers(root):
    table = np.full((10, 8), 70_000, ">i4")
    table[:, 0] = range(10)
    for name, path in write_idx(root, "QMNIST", n=10).items():
        part, kind = name.split("-")
        suffix = {"images": "images-idx3-ubyte", "labels": "labels-idx2-int"}[kind]
        path = path.rename(path.with_name(f"qmnist-{part}-{suffix}"))
        if kind == "labels":
            path.write_bytes(idx(table))
    found = data.load("QMNIST", data_dir=root)
    assert found.train.labels.tolist() == list(range(10)) and found.title == "QMNIST"
    assert "no published SHA-256" in data.describe(found)
