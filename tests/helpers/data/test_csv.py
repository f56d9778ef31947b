import gzip
import zipfile

import numpy as np
import pytest
from written import csv, flips, pictures, refusal, same_as_written, write_csv, write_idx

from helpers import data
from helpers.data import csv as csv_files

GOOD = csv(*pictures(3))
NAMES = [csv(*pictures(1), header).split("\n")[0] for header in ("kaggle", "zero", "grid")]


def pack(path, *texts):
    """The texts, by the ending of the path: plain, gzip, or each a file of a zip archive."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for number, text in enumerate(texts):
                archive.writestr(zipfile.ZipInfo(f"{number}.csv"), text)
            archive.writestr("__MACOSX/._0.csv", b"no csv")
    else:
        text = texts[0].encode()
        path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
    return path


@pytest.mark.fault(18, 19)
@pytest.mark.parametrize("ending", ["", ".gz", ".zip"])
def test_csv_round_trip(root, ending, unknown):
    for header in ("kaggle", "zero", "grid", "none"):
        for before, after in (("", "\n"), ("\ufeff", "\r\n")):
            for part in ("train", "test"):
                text = before + csv(*pictures(3, len(part)), header).replace("\n", after)
                pack(root / f"mnist_{part}.csv{ending}", text)
            for _ in range(2):  # the second time from the cache
                found = data.load("MNIST", data_dir=root)
                same_as_written(found, 3)
                assert found.source == "csv"


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


def cell(line, column, value):
    """A sound file of three images, one cell of it replaced; line and column from 1."""
    lines = [row.split(",") for row in GOOD.splitlines()]
    lines[line - 1][column - 1] = value
    return "".join(",".join(row) + "\n" for row in lines)


FAULTS = [
    *((cell(2, 5, bad), f":2:5: {bad!r}") for bad in ["", "NA", "256", "-1", "1.5", "1e3"]),
    *((cell(2, 5, bad), f":2:5: {bad!r}") for bad in [" 1", "1_0", '"1"', "1\r", "\0"]),
    *((cell(3, 1, bad), f":3:1: {bad!r}") for bad in ["256", "label", "9" * 40]),
    *((cell(1, column, "x"), f":1:{column}: 'x'") for column in (1, 3, 785)),
    *((cell(n, 785, "1,2"), f":{n}: 786 fields, expected 785") for n in (1, 2)),
    (GOOD.replace("\n", "\n\n", 1), ":2: 1 fields, expected 785"),
    (GOOD.replace("\n", "\r", 1), ":1: 1569 fields"),
    (NAMES[1].replace("label", "pixel0") + "\n" + GOOD, ":1:1: 'pixel0'"),
    ((NAMES[0] + "\n") * 2 + GOOD, ":2:1: 'label'"),
    (GOOD[:-1], ":3: no end of line"),
    (NAMES[0] + "\n", ": no rows"),
    ("", ": empty file"),
    (csv(*pictures(1)) * 2, ": every image is the same"),
    (GOOD.encode("utf-16").decode("latin-1"), ":1:1: "),
]


@pytest.mark.fault(2, 14, 15, 16, 17, 18, 19, 23)
def test_csv_faults(root):
    write_idx(root)
    for text, says in FAULTS:
        path = write_csv(root, text)
        for source in ("csv", "auto"):  # in auto the sound IDX files are not taken instead
            assert refusal(root, source).startswith(f"{path}{says}")


@pytest.mark.fault(2, 4, 15, 22)
@pytest.mark.parametrize("ending", ["", ".gz", ".zip"])
def test_csv_cut_anywhere_is_refused(root, ending):
    text = csv(*pictures(2))
    write_csv(root).unlink()
    path = pack(root / f"mnist_train.csv{ending}", text)
    whole, line = path.read_bytes(), text.index("\n") + 1
    for size in range(0, len(whole), 1 if ending else 7):
        path.write_bytes(whole[:size])
        assert refusal(root, "csv").startswith(f"{path}:")
    if not ending:  # after a line nothing in the file tells; for a known set its SHA-256 does
        path.write_bytes(whole[:line])
        assert (csv_files.read(path)[0] == pictures(2)[0][:1]).all()


def test_zip_faults(root):
    write_csv(root).unlink()
    path = root / "mnist_train.csv.zip"
    path.write_bytes(b"<html>404</html>")
    assert refusal(root, "auto") == f"{path}: File is not a zip file"
    pack(path, "1", "1")
    assert refusal(root, "auto") == f"{path}: 2 .csv files in the archive, expected one"
    pack(path, csv(*pictures(1)))
    flips(path, csv_files.read, 0xFF, pictures(1)[0])


@pytest.mark.fault(7)
def test_more_rows_than_any_set_are_refused(root, monkeypatch):
    monkeypatch.setattr(csv_files, "MAX_ROWS", 3)
    path = write_csv(root, n=4)
    assert refusal(root, "csv") == f"{path}:4: more than 3 rows"


@pytest.mark.fault(101)
def test_labels_in_the_last_column_are_noticed(root):
    images, labels = pictures(40, classes=3)
    table = np.column_stack([images.reshape(40, -1), labels])
    path = write_csv(root, "".join(",".join(map(str, row)) + "\n" for row in table))
    for needed in (True, False):
        line = refusal(root, "csv", need_test_labels=needed)
        assert line.startswith(f"{path}:1:785: the label seems to be the last field")
    path.write_text(NAMES[0] + "\n" + path.read_text())  # a header that says it is the first
    assert set(csv_files.read(path)[1]) == {0}
