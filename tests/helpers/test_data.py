import gzip
import os
import re
import socket
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import data
from helpers.data import archives, cache, garments
from helpers.data import csv as csv_files
from helpers.data import download as vision
from helpers.data import standin as sample
from workflow import inputs

STEMS = {"train": "train", "test": "t10k"}


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No data of the machine's, no network, a cache of its own."""

    def unreachable(*args):
        raise OSError("no route to host")

    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.setattr(vision, "fetch", unreachable)
    monkeypatch.setattr(cache, "folders", lambda: [tmp_path / "cache"])


@pytest.fixture
def unknown(monkeypatch):
    """As if no SHA-256 of MNIST were known: source="auto" then takes any images."""
    monkeypatch.setitem(data.SETS, "MNIST", data.SETS["MNIST"]._replace(published=()))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "a folder with é"
    folder.mkdir()
    return folder


def pictures(n, seed=0):
    """Sparse, so that packed files are small: (n, 28, 28) uint8 and (n,) labels 0..9."""
    images = np.zeros((n, 28, 28), np.uint8)
    images[:, 10, 10:14] = np.random.default_rng(seed).integers(0, 256, (n, 4))
    images[:, 0, 1], images[:, 27, 27] = 255, np.arange(n) + 1
    return images, np.arange(n) % 10


def idx(array):
    kind = {1: 8, 4: 12}[array.dtype.itemsize]
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, kind, array.ndim]) + shape + array.tobytes()


def write_idx(root, name="MNIST", pack=None, n=4):
    """Four IDX files; returns {"train-images": path, ...}."""
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    files = {}
    for part, stem in STEMS.items():
        images, labels = pictures(n, len(part))
        for kind, array in (("images-idx3", images), ("labels-idx1", labels.astype(np.uint8))):
            path = raw / f"{stem}-{kind}-ubyte{'.gz' if pack else ''}"
            path.write_bytes((pack or bytes)(idx(array)))
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


def refusal(root, source, **settings):
    """The one line that load stops with."""
    with pytest.raises((ValueError, OSError)) as caught:
        data.load("MNIST", source, data_dir=root, **settings)
    line = str(caught.value)
    assert "\n" not in line
    return line


def right_or_refused(root, source, path, images, steps):
    """Every change of the file gives the right images or an error that begins with its path."""
    whole = path.read_bytes()
    for place, flip in steps:
        changed = bytearray(whole)
        changed[place] ^= flip
        path.write_bytes(changed)
        try:
            found = data.load("MNIST", source, data_dir=root).train.images
            np.testing.assert_array_equal(found, images)
        except (ValueError, OSError) as error:
            assert str(error).startswith(str(path))


# IDX


@pytest.mark.parametrize("pack", [None, gzip.compress])
def test_idx_round_trip(root, pack):
    write_idx(root, pack=pack)
    found = data.load("MNIST", "idx", root)
    same_as_written(found, 4)
    assert found.train.images.dtype == np.uint8 and found.train.labels.dtype == np.int64
    assert (found.source, found.real, found.verified) == ("idx", True, False)
    assert "not the published files" in data.describe(found)


@pytest.mark.fault(2, 4, 9, 22)
@pytest.mark.parametrize("pack", [None, gzip.compress])
def test_idx_cut_anywhere_is_refused(root, pack):
    path = write_idx(root, pack=pack, n=1)["train-images"]
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        line = refusal(root, "idx")
        assert line.startswith(f"{path}: ")
        if pack and size >= 4:
            assert f"gzip stream is cut short after {size} bytes, which give " in line
        elif 16 <= size:
            assert line.endswith(f"header says 1x28x28, so 800 bytes, but the file has {size}")


@pytest.mark.parametrize("pack", [None, gzip.compress])
def test_labels_cut_anywhere_or_flipped_are_refused_or_one_other_label(root, pack):
    path = write_idx(root, pack=pack)["train-labels"]
    whole, labels = path.read_bytes(), pictures(4)[1]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert refusal(root, "idx").startswith(f"{path}: ")
    for place in range(len(whole)):
        for flip in (1, 2, 4, 8, 16, 32, 64, 128):
            changed = bytearray(whole)
            changed[place] ^= flip
            path.write_bytes(changed)
            try:
                found = data.load("MNIST", "idx", root).train.labels
            except ValueError as error:
                assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            else:
                assert (found != labels).sum() == (0 if pack else 1)


@pytest.mark.fault(5)
def test_gz_with_any_bit_flipped_is_right_or_refused(root):
    path = write_idx(root, pack=gzip.compress, n=2)["train-images"]
    bits = [(bit // 8, 1 << bit % 8) for bit in range(8 * path.stat().st_size)]
    right_or_refused(root, "idx", path, pictures(2, 5)[0], bits)


def test_idx_with_a_byte_flipped_changes_one_pixel_at_most(root):
    path = write_idx(root, n=1)["train-images"]
    whole, images = path.read_bytes(), pictures(1, 5)[0]
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0x55
        path.write_bytes(changed)
        if place < 16:
            assert refusal(root, "idx").startswith(str(path))
        else:
            assert (data.load("MNIST", "idx", root).train.images != images).sum() == 1


HEAD = struct.pack(">4I", 0x803, 4, 28, 28)
PAGE = b"<html>404</html>"


@pytest.mark.fault(2, 8, 9, 10, 11, 12, 13, 14, 23)
@pytest.mark.parametrize(
    ("part", "content", "says"),
    [
        ("train-images", b"", "empty file"),
        ("test-labels", b"", "empty file"),
        ("train-images", idx(np.zeros(4, np.uint8)), "00000801, expected 00000803"),
        ("train-labels", idx(pictures(4)[0]), "00000803, expected 00000801"),
        ("train-images", idx(np.zeros((4, 27, 29), np.uint8)), "27x29, expected 28x28"),
        ("train-images", idx(np.zeros((0, 28, 28), np.uint8)), "0 items"),
        ("train-images", struct.pack(">4I", 0x803, 2**31, 28, 28), "2147483648 items"),
        ("train-images", HEAD + bytes(3137), "4x28x28, so 3152 bytes, but the file has 3153"),
        ("train-images", HEAD + bytes(3135), "4x28x28, so 3152 bytes, but the file has 3151"),
        ("train-images", idx(np.zeros((4, 28, 28), np.uint8)), "every pixel is the same"),
        ("train-images", idx(pictures(1)[0].repeat(4, 0)), "every image is the same"),
        ("train-images", idx(pictures(5)[0]), "4 labels, but 5 images"),
        ("test-labels", idx(np.array([0, 1, 10, 3], np.uint8)), "row 2: label 10, expected 0..9"),
        ("train-labels", idx(np.array([0, 1, 2, 255], np.uint8)), "row 3: label 255, expected"),
    ],
)
def test_idx_faults(root, part, content, says):
    files = write_idx(root)
    files[part].write_bytes(content)
    whole = {path: path.read_bytes() for path in files.values()}
    for source in ("idx", "auto"):  # never skipped for the next source
        line = refusal(root, source)
        assert line.startswith(str(root / "MNIST")) and says in line and str(files[part]) in line
    if "4 labels" in says:
        assert str(files["train-labels"]) in line and str(files["train-images"]) in line
    assert {path: path.read_bytes() for path in sorted((root / "MNIST/raw").iterdir())} == whole


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
        (PAGE, "not gzip, starts 3c68746d"),
        (gzip.compress(idx(pictures(4)[0])) + b"x", "something follows"),
        (gzip.compress(idx(pictures(4)[0])) + gzip.compress(b"more"), "something follows"),
        (gzip.compress(idx(pictures(4)[0])) + gzip.compress(b""), "something follows"),
        (gzip.compress(HEAD) + gzip.compress(pictures(4)[0].tobytes()), "something follows"),
        (gzip.compress(idx(pictures(4)[0]))[:-6], "so 3152 bytes"),
        (gzip.compress(idx(pictures(4)[0]))[:-8] + bytes(8), "incorrect data check"),
    ],
)
def test_gz_faults(root, content, says, monkeypatch):
    path = write_idx(root, pack=gzip.compress)["train-images"]
    path.write_bytes(content)
    assert refusal(root, "auto").startswith(f"{path}: ") and says in refusal(root, "idx")
    monkeypatch.setattr(archives, "BLOCK", 1)
    assert says in refusal(root, "idx")


@pytest.mark.fault(7)
@pytest.mark.parametrize("source", ["idx", "csv"])
def test_gz_bomb_takes_little_memory(root, source):
    bomb = gzip.compress(HEAD * (source == "idx") + bytes([48]) * 100_000_000)
    if source == "idx":
        path = write_idx(root, pack=gzip.compress)["train-images"]
    else:
        path = write_csv(root).rename(root / "mnist_train.csv.gz")
    path.write_bytes(bomb)
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
    path = write_idx(root)["train-images"]

    def broken(*args):
        raise OSError(5, "Input/output error")
        yield

    monkeypatch.setattr(archives, "_gunzip", broken)
    path.rename(f"{path}.gz")
    assert refusal(root, "auto") == f"{path}.gz: Input/output error"


# CSV


@pytest.mark.fault(18)
@pytest.mark.parametrize("header", ["kaggle", "zero", "grid", "none"])
@pytest.mark.parametrize("ending", ["", ".gz", ".zip"])
def test_csv_round_trip(root, header, ending, unknown):
    for part, stem in (("train", "mnist_train.csv"), ("test", "mnist_test.csv")):
        text = csv(*pictures(3, len(part)), header).encode()
        path = root / f"{stem}{ending}"
        if ending == ".zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(stem, text)
                archive.writestr(f"__MACOSX/._{stem}", b"no csv")
        else:
            path.write_bytes(gzip.compress(text) if ending else text)
    for _ in range(2):  # the second time from the cache
        found = data.load("MNIST", data_dir=root)
        same_as_written(found, 3)
        assert found.source == "csv"


def test_csv_of_every_value_agrees_with_pandas(root):
    import pandas

    images = np.random.default_rng(0).integers(0, 256, (500, 28, 28), np.uint8)
    path = write_csv(root, csv(images, np.arange(500) % 10, "kaggle"))
    found = data.load("MNIST", "csv", root).train
    table = pandas.read_csv(path).to_numpy()
    np.testing.assert_array_equal(found.images.reshape(500, 784), table[:, 1:])
    np.testing.assert_array_equal(found.labels, table[:, 0])


def test_csv_and_idx_of_one_set_have_the_same_hashes(root, tmp_path):
    write_idx(root)
    for part, name in (("train", "train.csv"), ("test", "test.csv")):
        (root / name).write_text(csv(*pictures(4, len(part)), "zero"))
    found = [data.load("MNIST", source, root).sha256 for source in ("csv", "idx")]
    assert found[0] == found[1] and list(found[0]) == list(data.PARTS)


@pytest.mark.fault(19)
@pytest.mark.parametrize("header", ["kaggle", "none"])
def test_csv_with_bom_and_crlf(root, header, monkeypatch):
    text = csv(*pictures(3), header).replace("\n", "\r\n")
    write_csv(root, "\xef\xbb\xbf" + text)
    for block in (1 << 20, 1000, 1):  # lines and line ends fall across blocks
        monkeypatch.setattr(archives, "BLOCK", block)
        monkeypatch.setattr(cache, "folders", lambda: [])
        found = data.load("MNIST", "csv", root).train
        np.testing.assert_array_equal(found.images, pictures(3)[0])


def test_csv_of_a_test_set_may_lack_labels_where_none_are_needed(root):
    write_csv(root)
    for header in ("zero", "none"):
        (root / "mnist_test.csv").write_text(csv(pictures(3)[0], None, header))
        found = data.load("MNIST", "csv", root, need_test_labels=False)
        assert found.test.labels is None and found.train.labels is not None
        assert "test-labels" not in found.sha256 and not found.verified
        assert refusal(root, "csv").startswith(f"{root / 'mnist_test.csv'}: 784 fields")
    (root / "mnist_train.csv").write_text(csv(pictures(3)[0], None, "zero"))
    assert str(root / "mnist_train.csv") in refusal(root, "csv", need_test_labels=False)


def cells(line, column, value, header="kaggle"):
    """A sound file of three images with one cell of it replaced; line and column from 1."""
    lines = [row.split(",") for row in csv(*pictures(3), header).splitlines()]
    lines[line - 1][column - 1] = value
    return "".join(",".join(row) + "\n" for row in lines)


@pytest.mark.fault(2, 14, 15, 16, 17, 18, 19, 23)
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (cells(3, 5, "x"), ":3:5: 'x', expected a pixel, a whole number 0..255"),
        (cells(3, 5, ""), ":3:5: ''"),
        (cells(3, 5, "NA"), ":3:5: 'NA'"),
        (cells(3, 5, "1e3"), ":3:5: '1e3', expected a pixel, a whole number 0..255"),
        (cells(3, 1, "255"), ":3:1: '255', expected a label, a whole number 0..9"),
        (cells(2, 1, "NA"), ":2:1: 'NA', expected a label, a whole number 0..9"),
        (cells(4, 785, "256"), ":4:785: '256'"),
        (cells(2, 2, "-1"), ":2:2: '-1'"),
        (cells(2, 2, "1.5"), ":2:2: '1.5'"),
        (csv(*pictures(2)).replace(",", ".0,"), ":1:1: '0.0'"),
        (cells(2, 2, "0001"), ":2:2: '0001'"),
        (cells(2, 2, "²"), ":2:2: "),
        (cells(2, 2, " 1"), ":2:2: ' 1'"),
        (cells(3, 1, "10"), ":3:1: '10', expected a label, a whole number 0..9"),
        (cells(1, 3, "x", "none"), ":1:3: 'x'"),
        (cells(1, 3, "1,2", "none"), ":1: 786 fields, expected 785"),
        (cells(2, 3, "1,2"), ":2: 786 fields, expected 785"),
        (cells(2, 785, "1,"), ":2: 786 fields"),
        (csv(*pictures(2)).replace("\n", "\n\n", 1), ":2: 1 fields, expected 785"),
        ("0,1\n" + csv(*pictures(2)), ":1: 2 fields, expected 785"),
        (csv(*pictures(3)).replace("\n1,", "\n1."), ":2: 784 fields, expected 785"),
        (csv(*pictures(3)).replace("\n2,", "-2,"), ":2: 1569 fields, expected 785"),
        (cells(1, 1, "pixel0"), "expected label,pixel1..pixel784 or label,pixel0..pixel783"),
        (cells(1, 2, "pixel2"), ":1: header of 785 names beginning 'label,pixel2,pixel2'"),
        (cells(1, 400, "pixel7"), "wrong from name 400 on ('pixel7'), expected label,pixel1.."),
        (csv(*pictures(2), "grid").replace("28x28\n", "28x28,x\n"), "from name 786 on ('x')"),
        (csv(*pictures(2), "zero").replace(",pixel783\n", "\n"), "header of 784 names"),
        (csv(*pictures(1), "zero") * 2, ":3:1: 'label'"),
        (cells(1, 785, "label"), "header"),
        (csv(*pictures(1), "zero").split("\n")[0] + "\n", "no rows"),
        ("", "empty file"),
        (PAGE.decode() + "\n", ":1: header of 1 names"),
        (csv(*pictures(2)).encode("utf-16").decode("latin-1"), ":1: UTF-16"),
        (csv(*pictures(2)).encode("utf-16-le").decode("latin-1"), ":1: NUL"),
        (cells(3, 7, "\0"), ":3: NUL"),
        (csv(*pictures(2), "zero").replace("\n", "\r"), ":1: carriage return"),
        (cells(3, 7, "1\r"), ":3: carriage return"),
        (cells(3, 7, '"1'), ":3: open quote"),
        (cells(1, 7, '"pixel6'), ":1: open quote"),
        (csv(*pictures(2))[:-1], ":2: no end of line after 785 fields"),
        (csv(*pictures(1)) * 2, "every image is the same"),
    ],
)
def test_csv_faults(root, text, says):
    text = text.encode("utf-8").decode("latin-1") if "²" in text else text
    path = write_csv(root, text)
    write_idx(root)
    for source in ("csv", "auto"):  # in auto the sound IDX files are not taken instead
        line = refusal(root, source)
        assert line.startswith(f"{path}:") and says in line


@pytest.mark.fault(2, 4, 15, 22)
def test_csv_cut_anywhere_is_refused(root):
    path = write_csv(root, n=2)
    whole = path.read_bytes()
    line = whole.index(b"\n") + 1
    for size in [*range(16), *range(line - 16, len(whole))]:
        path.write_bytes(whole[:size])
        if size == line:  # nothing in the file tells; for a known set its SHA-256 does
            same = data.load("MNIST", "csv", root).train.images == pictures(2)[0][:1]
            assert same.all() and "not the published MNIST" in refusal(root, "auto")
        else:
            assert refusal(root, "csv").startswith(f"{path}:")
    path.unlink()
    path = root / "mnist_train.csv.gz"
    whole = gzip.compress(whole)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert refusal(root, "csv").startswith(f"{path}:")


@pytest.mark.fault(16, 17)
def test_csv_with_a_byte_flipped_changes_one_cell_at_most(root):
    path = write_csv(root, n=1)
    whole, (images, labels) = path.read_bytes(), pictures(1)
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            found = data.load("MNIST", "csv", root).train
        except (ValueError, OSError) as error:
            assert str(error).startswith(str(path))
        else:
            assert (found.images != images).sum() + (found.labels != labels).sum() == 1


def test_zip_with_any_byte_flipped_is_right_or_refused(root):
    write_csv(root, n=1).unlink()
    path = root / "mnist_train.csv.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", csv(*pictures(1)))
    flips = [(place, 0xFF) for place in range(path.stat().st_size)]
    right_or_refused(root, "csv", path, pictures(1)[0], flips)


def test_zip_cut_anywhere_is_refused(root):
    write_csv(root, n=1).unlink()
    path = root / "mnist_train.csv.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", csv(*pictures(1)))
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert refusal(root, "csv").startswith(f"{path}: ")


def test_zip_faults(root):
    write_csv(root).unlink()
    path = root / "mnist_train.csv.zip"
    path.write_bytes(PAGE)
    assert refusal(root, "auto").startswith(f"{path}: damaged zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "1")
        archive.writestr("b.csv", "1")
    assert refusal(root, "auto") == f"{path}: 2 .csv files in the archive, expected one"


@pytest.mark.fault(1)
def test_csv_without_its_other_half_names_what_is_looked_for(root):
    write_csv(root)
    (root / "mnist_test.csv").unlink()
    for source in ("csv", "auto"):
        line = refusal(root, source)
        assert line.startswith(f"{root / 'mnist_test.csv'}: no such file")
        assert "mnist_train.csv is there" in line


def by_hand(text):
    """The table in a CSV file without header, [[label, pixels]], or None: by the rules alone."""
    lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    rows = [line.removesuffix(b"\r").split(b",") for line in lines[:-1]]
    digits = all(re.fullmatch(rb"[0-9]{1,3}", cell) for row in rows for cell in row)
    if lines[-1] or not rows or not digits or any(len(row) != 785 for row in rows):
        return None
    table = [[int(cell) for cell in row] for row in rows]
    fits = all(row[0] <= 9 and max(row) <= 255 for row in table)
    return table if fits else None


CELLS = st.one_of(
    st.text(),
    st.integers(-300, 1300).map(str),
    st.floats().map(str),
    st.text("0123456789,\r\n\"'+-.eE \t\0\ufeff", max_size=5),
    st.sampled_from(["", "NA", "nan", "255", "256", "007", "0x1", "1_0", "٣", "²", "TRUE", "=1"]),
)


@pytest.mark.fault(14, 15, 16, 17, 19)
@settings(max_examples=300, deadline=None, derandomize=True)
@given(cell=CELLS, line=st.integers(0, 1), column=st.sampled_from([0, 1, 399, 784]))
def test_any_cell_is_its_number_or_refused_where_it_stands(tmp_path_factory, cell, line, column):
    rows = [row.split(",") for row in csv(*pictures(2)).splitlines()]
    rows[line][column] = cell
    path = tmp_path_factory.getbasetemp() / "cell.csv"
    text = "".join(f"{','.join(row)}\n" for row in rows).encode()
    path.write_bytes(text)
    try:
        images, labels = csv_files.read(path, 0, 9)
    except ValueError as error:
        assert by_hand(text) is None and "\n" not in str(error)
        place = re.match(r":(\d+):", str(error).removeprefix(str(path)))
        assert int(place[1]) in (line + 1, line + 2)  # 2: a line end in the last cell
        if not set(cell) & set(',\r\n\0"\ufeff'):
            assert str(error).startswith(f"{path}:{line + 1}:{column + 1}: {cell[:40]!r}, ")
    else:
        found = np.column_stack([labels, images.reshape(len(images), -1)])
        assert found.tolist() == by_hand(text)


@pytest.mark.fault(7)
def test_more_rows_than_any_set_are_refused(root, monkeypatch):
    monkeypatch.setattr(csv_files, "MAX_ROWS", 3)
    path = write_csv(root, n=4)
    assert refusal(root, "csv") == f"{path}:5: more than 3 rows"


# Known sets


def known(monkeypatch, root):
    """Makes what write_idx(root) has written the published MNIST."""
    found = data.load("MNIST", "idx", root)
    published = tuple(found.sha256[part] for part in data.PARTS)
    ordered = tuple(map(data._in_any_order, (found.train, found.test)))
    here = data.SETS["MNIST"]._replace(published=published, in_any_order=ordered)
    monkeypatch.setitem(data.SETS, "MNIST", here)
    return found


@pytest.mark.fault(20)
def test_other_images_than_the_published_need_a_named_source(root, monkeypatch):
    files = write_idx(root)
    mine = known(monkeypatch, root).sha256
    found = data.load("MNIST", "auto", root)
    assert found.verified and data.describe(found).endswith("(verified)")
    for part, path in files.items():
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[-1] ^= 1  # a good label, a good pixel: nothing else can tell
        path.write_bytes(changed)
        line = refusal(root, "auto")
        assert line.startswith(f"{root / 'MNIST/raw'}: not the published MNIST: SHA-256 of {part}")
        assert mine[part][:12] in line and line.endswith("say so with source='idx'")
        found = data.load("MNIST", "idx", root)
        assert not found.verified and found.sha256[part][:12] in line
        assert data.describe(found).endswith("(not the published files)")
        assert path.read_bytes() == changed
        path.write_bytes(whole)


@pytest.mark.fault(20)
def test_published_images_in_another_order_are_known(root, monkeypatch):
    write_idx(root)
    known(monkeypatch, root)
    (root / "MNIST/raw").rename(root / "away")
    order = [2, 0, 3, 1]
    images, labels = pictures(4, len("train"))
    (root / "mnist_test.csv").write_text(csv(*pictures(4, len("test"))))
    path = root / "mnist_train.csv"
    path.write_text(csv(images[order], labels[order], "kaggle"))
    found = data.load("MNIST", "auto", root)
    assert found.verified and data.describe(found).endswith("(verified, in another order than "
                                                            "published)")  # fmt: skip
    path.write_text(csv(images[order], labels))  # the same images, the same labels, mismatched
    assert f"{path} and mnist_test.csv: not the published MNIST" in refusal(root, "auto")
    (root / "mnist_test.csv").write_text(csv(pictures(4, len("test"))[0], None))
    line = refusal(root, "auto", need_test_labels=False)
    assert line.startswith(f"{path} and mnist_test.csv: not the published MNIST")


# The cache


def test_cache_saves_the_reading_and_is_never_stale(root, monkeypatch):
    path = write_csv(root)
    data.load("MNIST", "csv", root)
    before = path.stat()
    with monkeypatch.context() as patch:
        patch.setattr(csv_files, "read", lambda *args: pytest.fail("read again"))
        data.load("MNIST", "csv", root)
    changed = path.read_bytes().replace(b"0,255,", b"0,254,")
    with path.open("r+b") as file:  # the same file, size and time, another content
        file.write(changed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert data.load("MNIST", "csv", root).train.images[0, 0, 1] == 254


@pytest.mark.fault(22)
def test_damaged_cache_is_made_again(root, tmp_path):
    write_csv(root)
    first = data.load("MNIST", "csv", root)
    entries = list((tmp_path / "cache").iterdir())
    assert len(entries) == 2
    for damage in (lambda b: b[:-1], lambda b: b"", lambda b: b[:200] + b"?" + b[201:]):
        for entry in entries:
            entry.write_bytes(damage(entry.read_bytes()))
        again = data.load("MNIST", "csv", root)
        np.testing.assert_array_equal(first.train.images, again.train.images)


def test_without_a_place_for_the_cache_all_works(root, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(cache, "folders", lambda: [tmp_path / "file" / "cache"])
    write_csv(root)
    assert len(data.load("MNIST", "csv", root).train.images) == 3


@pytest.mark.fault(22)
def test_csv_that_changes_while_it_is_read_is_refused(root, monkeypatch):
    path = write_csv(root)
    parse = csv_files.read

    def slowly(*args):
        arrays = parse(*args)
        path.write_text(csv(*pictures(4)))
        return arrays

    monkeypatch.setattr(csv_files, "read", slowly)
    assert refusal(root, "csv") == f"{path}: changed while it was being read"


# Download and stand-in


def test_auto_without_data_and_network_says_so_and_takes_the_stand_in(root, capsys, monkeypatch):
    monkeypatch.setattr(data.sample, "digits", lambda: [pictures(4), pictures(2)])
    found = data.load("MNIST", data_dir=root)
    assert (found.source, found.real, found.verified) == ("sample", False, False)
    assert "STAND-IN: not the real set" in data.describe(found)
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("MNIST: downloading") and len(told) == 2
    assert "download failed: no route to host" in told[1] and "not the real set" in told[1]
    assert not any(root.rglob("*.part"))


KILLED = """
import os, sys
from pathlib import Path
from helpers import data
from helpers.data import download as vision
def half(folder, split, aside):
    raw = Path(aside, folder, "raw")
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(b"half")
    os.kill(os.getpid(), 9)
vision.fetch = half
data.load("MNIST", "download", sys.argv[1])
"""


@pytest.mark.fault(22)
def test_a_download_that_was_killed_is_never_seen(root, monkeypatch):
    done = subprocess.run([sys.executable, "-c", KILLED, str(root)], capture_output=True)
    assert done.returncode == -9
    assert [path.suffix for path in root.iterdir()] == [".part"]  # hidden, and no set
    assert "no such file" in refusal(root, "idx")
    monkeypatch.setattr(vision, "fetch", lambda folder, split, aside: write_idx(aside, folder))
    same_as_written(data.load("MNIST", "download", root), 4)


@pytest.mark.fault(22)
@pytest.mark.parametrize("dies", ["replace", "fdopen"])
def test_a_process_killed_while_it_caches_leaves_no_entry(root, tmp_path, dies):
    write_csv(root)
    code = (
        "import os, sys; from pathlib import Path; from helpers import cache, data\n"
        "cache.folders = lambda: [Path(sys.argv[2])]\n"
        f"os.{dies} = lambda *args: os.kill(os.getpid(), 9)\n"
        "data.load('MNIST', 'csv', sys.argv[1])"
    )
    command = [sys.executable, "-c", code, str(root), str(tmp_path / "cache")]
    assert subprocess.run(command, capture_output=True).returncode == -9
    left = list((tmp_path / "cache").iterdir())
    assert [path.suffix for path in left] == [".part"]
    np.testing.assert_array_equal(data.load("MNIST", "csv", root).train.images, pictures(3)[0])


@pytest.mark.parametrize("module", [sample, garments])
def test_a_kept_stand_in_is_drawn_again_when_its_code_changes(tmp_path, monkeypatch, module):
    drawn = []
    made = [pictures(4), pictures(2)]
    monkeypatch.setattr(garments, "draw", lambda: drawn.append(1) or made)
    for _ in range(2):
        data.load("FashionMNIST", "sample")
    assert len(drawn) == 1
    changed = tmp_path / "changed.py"
    with open(module.__file__, "rb") as file:
        changed.write_bytes(file.read() + b"\n")
    monkeypatch.setattr(module, "__file__", str(changed))
    data.load("FashionMNIST", "sample")
    assert len(drawn) == 2


@pytest.mark.parametrize("name", ["KMNIST", "EMNIST-letters"])
def test_a_set_without_stand_in_says_how_to_get_it(root, name):
    for source, says in (("auto", "download failed"), ("sample", "no built-in stand-in")):
        with pytest.raises(FileNotFoundError, match=says) as caught:
            data.load(name, source, root)
        assert "data/README.md" in str(caught.value)


@pytest.mark.fault(1)
@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("csv", "mnist_train.csv and mnist_test.csv or train.csv and test.csv"),
        ("idx", "MNIST/raw/train-images-idx3-ubyte: no such file (nor .gz)"),
    ],
)
def test_a_missing_file_is_named_and_nothing_is_fetched(root, monkeypatch, source, name):
    monkeypatch.setattr(vision, "fetch", lambda *args: pytest.fail("a silent download"))
    line = refusal(root, source)
    assert line.startswith(str(root)) and name in line
    assert line.endswith(
        f"put MNIST into {root} as data/README.md says, or use source='download', "
        "or use source='sample' for the built-in stand-in"
    )
    assert not any(root.iterdir())


def test_a_download_that_fails_takes_no_other_source(root):
    line = refusal(root, "download")
    assert line == "MNIST: download failed: no route to host" and not any(root.rglob("*.part"))


@pytest.mark.fault(22)
def test_download_lands_whole_or_not_at_all(root, monkeypatch, capsys, unknown):
    def half(folder, split, aside):
        write_idx(aside, folder)["test-labels"].unlink()
        raise OSError("cut off")

    monkeypatch.setattr(vision, "fetch", half)
    assert "cut off" in refusal(root, "download")
    assert list(root.iterdir()) == []
    monkeypatch.setattr(vision, "fetch", lambda folder, split, aside: write_idx(aside, folder))
    found = data.load("MNIST", data_dir=root)
    assert found.source == "download" and found.where.endswith("MNIST/raw")
    assert [path.name for path in root.iterdir()] == ["MNIST"]
    monkeypatch.setattr(vision, "fetch", lambda *args: pytest.fail("fetched again"))
    assert data.load("MNIST", data_dir=root).source == "idx"
    assert data.load("MNIST", "download", data_dir=root).source == "download"


def test_fetch_limits_the_connection_and_reports_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.undo()
    seen = []

    def dataset(root, train, download):
        seen.append(socket.getdefaulttimeout())
        print("a progress bar", file=sys.stderr)
        raise RuntimeError("Error downloading x:\nTried a, got:\nno\nTried b, got:\nno\nwhy\n")

    fake = SimpleNamespace(datasets=SimpleNamespace(MNIST=dataset))
    monkeypatch.setattr(vision, "import_torchvision", lambda: fake)
    with pytest.raises(OSError, match="^no; why$"):
        vision.fetch("MNIST", "", tmp_path)
    assert seen == [10.0] and socket.getdefaulttimeout() is None
    assert capsys.readouterr() == ("", "")


def test_torchvision_can_be_imported_without_a_word(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torchvision = vision.import_torchvision()
        assert torchvision is vision.import_torchvision()
    assert torchvision.datasets.MNIST and capfd.readouterr() == ("", "")


@pytest.mark.fault(21)
def test_the_list_of_inputs_notices_changes_and_names_what_it_cannot_write(
    root, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("DATA_DIR", str(root))
    files, told = write_idx(root), tmp_path / "build" / ".data"
    path = files["train-images"]
    assert inputs.main([str(told)]) == 0
    before = told.stat().st_mtime_ns
    assert inputs.main([str(told)]) == 0 and told.stat().st_mtime_ns == before
    path.write_bytes(path.read_bytes() + b"x")
    path.with_name("gone").symlink_to(root / "nowhere")
    assert inputs.main([str(told), "--settle"]) == 0 and told.stat().st_mtime_ns == before
    assert f"{path.relative_to(root)} 3153 " in told.read_text() and "gone" not in told.read_text()
    told.unlink()
    told.mkdir()
    assert inputs.main([str(told)]) == 1
    assert capsys.readouterr().err == f"{told}: Is a directory\n"


# The other sets, parameters, words, ranges


def write_idx_as(root, folder, stem, images, labels, label_suffix):
    """The same images and labels for training and test; returns the last file of labels."""
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    for part in STEMS:
        (raw / f"{stem}-{part}-images-idx3-ubyte").write_bytes(idx(images))
        path = raw / f"{stem}-{part}-{label_suffix}"
        path.write_bytes(idx(labels))
    return path


def test_emnist_is_turned_upright_and_counted_from_zero(root):
    images, labels = pictures(26)[0], np.arange(1, 27, dtype=np.uint8)
    path = write_idx_as(root, "EMNIST", "emnist-letters", images, labels, "labels-idx1-ubyte")
    found = data.load("EMNIST-letters", data_dir=root)
    np.testing.assert_array_equal(found.train.images, images.transpose(0, 2, 1))
    assert found.train.labels.tolist() == list(range(26)) and found.classes[25] == "z"
    path.write_bytes(idx(labels - 1))
    with pytest.raises(ValueError, match="row 0: label 0, expected 1..26"):
        data.load("EMNIST-letters", data_dir=root)


def test_qmnist_takes_the_class_from_its_eight_numbers(root):
    images, labels = pictures(4)
    table = np.full((4, 8), 70_000, ">i4")
    table[:, 0] = labels
    write_idx_as(root, "QMNIST", "qmnist", images, table, "labels-idx2-int")
    found = data.load("QMNIST", data_dir=root)
    assert found.train.labels.tolist() == labels.tolist()
    assert "no published SHA-256" in data.describe(found)


def test_train_limit(root, unknown):
    write_idx(root)
    found = data.load("MNIST", data_dir=root, train_limit=3)
    whole = data.load("MNIST", data_dir=root)
    np.testing.assert_array_equal(found.train.images, whole.train.images[:3])
    assert len(found.train.labels) == 3 and len(found.test.images) == 4
    assert found.sha256 == whole.sha256 and "the first 3 training images" in found.where
    assert refusal(root, "auto", train_limit=5).startswith("train_limit 5 is more than the 4")
    for wrong in (-1, True, 1.5, "3"):
        assert refusal(root, "auto", train_limit=wrong).startswith("train_limit must be")


def test_wrong_names_are_refused_with_the_closest(root):
    with pytest.raises(ValueError, match="^dataset must be one of .* did you mean 'FashionMNIST'"):
        data.load("fashionMNIST")
    with pytest.raises(ValueError, match="^source must be one of .*, got 'sampel'.*'sample'"):
        data.load(source="sampel")
    with pytest.raises(ValueError, match="got 'mnist'; did you mean 'MNIST'"):
        data.load("mnist")
    with pytest.raises(ValueError, match="^dataset .*got '../../etc'"):
        data.load("../../etc")
    for wrong in (5, None, "a\0b"):
        with pytest.raises(ValueError, match="^data_dir must be"):
            data.load(data_dir=wrong)
    with pytest.raises(FileNotFoundError, match="^data_dir .*nowhere: no such folder"):
        data.load(data_dir=root / "nowhere")


def test_where_is_told_as_the_user_named_it(root, monkeypatch, unknown):
    write_idx(root)
    monkeypatch.setenv("DATA_DIR", str(root))
    assert data.load().where == "$DATA_DIR/MNIST/raw"
    monkeypatch.delenv("DATA_DIR")
    monkeypatch.setattr(data.paths, "ROOT", root.parent)
    root.rename(root.parent / "data")
    assert data.load().where == "data/MNIST/raw"
    monkeypatch.chdir(root.parent)
    assert data.load(data_dir="./data").where == "data/MNIST/raw"


@pytest.mark.parametrize("make", [lambda a: a, torch.from_numpy])
def test_ranges(make):
    levels = make(np.arange(256, dtype=np.uint8))
    unit, signed = data.to_unit(levels), data.to_signed(levels)
    assert unit.dtype == signed.dtype == torch.float32
    assert (unit[0], unit[255], signed[0], signed[255]) == (0, 1, -1, 1)
    assert torch.equal((unit * 255).round().byte(), torch.arange(256).byte())
    assert torch.equal(((signed + 1) * 127.5).round().byte(), torch.arange(256).byte())
    with pytest.raises(ValueError, match="uint8"):
        data.to_unit(levels[:2] / 2)


def test_import_loads_nothing_heavy():
    code = "import sys, helpers.data; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert not {"torch", "torchvision", "sklearn", "pandas", "PIL"} & set(loaded.split())


@pytest.mark.fault(20)
@pytest.mark.skipif("DATA_DIR" not in os.environ, reason="DATA_DIR is not set")
@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_published_files_are_verified(name, monkeypatch):
    monkeypatch.undo()
    found = data.load(name, "auto")
    assert found.verified and found.real and data.describe(found).endswith("(verified)")
    assert found.train.images.shape == (60_000, 28, 28) and len(found.test.images) == 10_000
