import gzip
import os
import struct
import tracemalloc

import numpy as np
import pytest
from written import idx, pictures, refusal, right_or_refused, same_as_written, write_csv, write_idx

from helpers import data
from helpers.data import archives
from helpers.data.idx import read_pair

HEAD = struct.pack(">4I", 0x803, 4, 28, 28)
GZ = gzip.compress(idx(pictures(4)[0]))


@pytest.mark.parametrize("pack", [None, gzip.compress])
def test_idx_round_trip(root, pack):
    write_idx(root, pack=pack)
    found = data.load("MNIST", "idx", root)
    same_as_written(found, 4)
    assert found.train.images.dtype == np.uint8 and found.train.labels.dtype == np.int64
    assert (found.source, found.real, found.verified) == ("idx", True, False)
    assert "not the published files" in data.describe(found)


@pytest.mark.fault(2, 4, 9, 22)
@pytest.mark.parametrize("part", ["train-images", "train-labels"])
@pytest.mark.parametrize("pack", [None, gzip.compress])
def test_idx_cut_anywhere_is_refused(root, pack, part):
    path = write_idx(root, pack=pack, n=2)[part]
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        line = refusal(root, "idx")
        assert line.startswith(f"{path}: ")
        if size == 0:
            assert line.endswith("empty file")
        elif pack:
            assert "damaged gz: " in line
        elif part == "train-images" and size >= 16:
            assert line.endswith(f"header says 2x28x28, so 1584 bytes, but the file has {size}")


@pytest.mark.fault(5)
@pytest.mark.parametrize("bit", range(8))
def test_gz_with_any_bit_flipped_is_right_or_refused(root, bit):
    files = write_idx(root, pack=gzip.compress, n=2)
    pair = files["train-images"], files["train-labels"]
    right_or_refused(pair[0], lambda path: read_pair(path, pair[1]), 1 << bit, pictures(2, 5)[0])


@pytest.mark.fault(2, 8, 9, 10, 11, 12, 13, 14, 23)
@pytest.mark.parametrize(
    ("part", "content", "says"),
    [
        ("train-images", b"", "empty file"),
        ("test-labels", b"", "empty file"),
        ("train-images", idx(np.zeros(4, np.uint8)), "00000801, expected 00000803"),
        ("train-labels", idx(pictures(4)[0]), "00000803, expected 00000801"),
        ("train-images", idx(np.zeros((4, 27, 29), np.uint8)), "27x29, expected 28x28"),
        ("test-images", idx(np.zeros((0, 28, 28), np.uint8)), "0 items"),
        ("train-images", struct.pack(">4I", 0x803, 2**31, 28, 28), "2147483648 items"),
        ("train-images", HEAD + bytes(3137), "4x28x28, so 3152 bytes, but the file has 3153"),
        ("train-images", HEAD + bytes(3135), "4x28x28, so 3152 bytes, but the file has 3151"),
        ("train-images", idx(np.zeros((4, 28, 28), np.uint8)), "every pixel is the same"),
        ("train-images", idx(pictures(1)[0].repeat(4, 0)), "every image is the same"),
        ("train-images", idx(pictures(5)[0]), "4 labels, but 5 images"),
    ],
)
def test_idx_faults(root, part, content, says):
    files = write_idx(root)
    files[part].write_bytes(content)
    for source in ("idx", "auto"):  # never skipped for the next source
        line = refusal(root, source)
        assert line.startswith(str(root / "MNIST")) and says in line and str(files[part]) in line
    if "4 labels" in says:
        assert str(files["train-labels"]) in line and str(files["train-images"]) in line


@pytest.mark.fault(10)
@pytest.mark.parametrize("count", [2**31, 2**32 - 1, 300_001, 300_000])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_that_lies_costs_no_memory(root, count, pack):
    path = write_idx(root, pack=None if pack is bytes else pack)["train-images"]
    path.write_bytes(pack(struct.pack(">4I", 0x803, count, 28, 28) + bytes(784)))
    tracemalloc.start()
    line = refusal(root, "idx")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert line.startswith(f"{path}: ") and f"header says {count}" in line and peak < 4e6
    assert (count > 300_000) == line.endswith("items, expected 1..300000")


@pytest.mark.fault(2, 3, 4, 5, 6)
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty file"),
        (b"<html>404</html>", "Not a gzipped file (b'<h')"),
        (GZ + b"x", "Not a gzipped file"),
        (GZ + gzip.compress(b"more"), "so 3152 bytes, but it holds more"),
        (gzip.compress(HEAD) + b"more", "Not a gzipped file"),
        (GZ[:-6], "damaged gz: Compressed file ended before"),
        (GZ[:-8] + bytes(8), "damaged gz: CRC check failed"),
    ],
)
@pytest.mark.parametrize("block", [1, archives.BLOCK])
def test_gz_faults(root, content, says, block, monkeypatch):
    path = write_idx(root, pack=gzip.compress)["train-images"]
    path.write_bytes(content)
    monkeypatch.setattr(archives, "BLOCK", block)
    assert refusal(root, "auto").startswith(f"{path}: ") and says in refusal(root, "idx")


@pytest.mark.fault(7)
@pytest.mark.parametrize("source", ["idx", "csv"])
def test_gz_bomb_takes_little_memory(root, source):
    if source == "idx":
        path = write_idx(root, pack=gzip.compress)["train-images"]
    else:
        path = write_csv(root).rename(root / "mnist_train.csv.gz")
    path.write_bytes(gzip.compress(HEAD * (source == "idx") + b"0" * 100_000_000))
    tracemalloc.start()
    line = refusal(root, source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert line.startswith(str(path)) and peak < 16e6


@pytest.mark.fault(1, 21)
def test_files_that_are_missing_or_no_files(root):
    path = write_idx(root)["train-labels"]
    path.unlink()
    assert refusal(root, "auto").startswith(f"{path}: no such file (nor .gz), though")
    for make, says in (
        (path.mkdir, "not a file"),
        (lambda: os.mkfifo(path), "not a file"),
        (lambda: path.symlink_to(root / "nowhere"), "No such file or directory"),
        (lambda: path.symlink_to(path), "Too many levels of symbolic links"),
    ):
        make()
        assert refusal(root, "auto") == f"{path}: {says}"
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.fault(21)
def test_a_folder_that_cannot_be_searched_is_not_taken_for_empty(root):
    (root / "MNIST").symlink_to(root / "MNIST")  # lstat fails as it does without permission
    assert refusal(root, "auto").startswith(f"{root / 'MNIST'}")


@pytest.mark.fault(21)
def test_a_disk_that_fails_while_reading_is_named(root, monkeypatch):
    def broken(file):
        raise OSError(5, "Input/output error")

    path = write_idx(root, pack=gzip.compress)["train-images"]
    monkeypatch.setitem(archives.UNPACK, ".gz", broken)
    assert refusal(root, "auto") == f"{path}: Input/output error"


def test_qmnist_takes_the_class_from_its_eight_numbers(root):
    images, labels = pictures(10)
    raw = root / "QMNIST" / "raw"
    raw.mkdir(parents=True)
    table = np.full((10, 8), 70_000, ">i4")
    table[:, 0] = labels
    for part in ("train", "test"):
        (raw / f"qmnist-{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"qmnist-{part}-labels-idx2-int").write_bytes(idx(table))
    found = data.load("QMNIST", data_dir=root)
    assert found.train.labels.tolist() == labels.tolist()
    assert "no published SHA-256" in data.describe(found) and found.title == "QMNIST"
