import gzip
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written import (
    csv,
    pictures,
    refusal,
    right_or_refused,
    same_as_written,
    write_csv,
    write_idx,
)

from helpers import data
from helpers.data import archives, cache
from helpers.data import csv as csv_files


def zipped(path, *texts):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, text in enumerate(texts):
            archive.writestr(f"{number}.csv", text)
        archive.writestr("__MACOSX/._0.csv", b"no csv")


@pytest.mark.fault(18)
@pytest.mark.parametrize("header", ["kaggle", "zero", "grid", "none"])
@pytest.mark.parametrize("ending", ["", ".gz", ".zip"])
def test_csv_round_trip(root, header, ending, unknown):
    for part, stem in (("train", "mnist_train.csv"), ("test", "mnist_test.csv")):
        text = csv(*pictures(3, len(part)), header).encode()
        path = root / f"{stem}{ending}"
        if ending == ".zip":
            zipped(path, text)
        else:
            path.write_bytes(gzip.compress(text) if ending else text)
    for _ in range(2):  # the second time from the cache
        found = data.load("MNIST", data_dir=root)
        same_as_written(found, 3)
        assert found.source == "csv"


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
        (cells(3, 1, "256"), ":3:1: '256', expected a label, a whole number 0..255"),
        (cells(2, 1, "NA"), ":2:1: 'NA', expected a label"),
        (cells(4, 785, "256"), ":4:785: '256'"),
        (cells(2, 2, "-1"), ":2:2: '-1'"),
        (cells(2, 2, "1.5"), ":2:2: '1.5'"),
        (csv(*pictures(2)).replace(",", ".0,"), ":1:1: '0.0'"),
        (cells(2, 2, "²"), ":2:2: "),
        (cells(2, 2, " 1"), ":2:2: ' 1'"),
        (cells(2, 2, "9" * 5000), ":2:2: '999"),
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
        ("<html>404</html>\n", ":1: header of 1 names"),
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
@pytest.mark.parametrize("ending", ["", ".gz", ".zip"])
def test_csv_cut_anywhere_is_refused(root, ending):
    text = csv(*pictures(2)).encode()
    path = write_csv(root).rename(root / f"mnist_train.csv{ending}")
    if ending == ".zip":
        zipped(path, text)
    else:
        path.write_bytes(gzip.compress(text) if ending else text)
    whole, line = path.read_bytes(), text.index(b"\n") + 1
    sizes = range(len(whole)) if ending else [*range(16), *range(line - 16, len(whole))]
    for size in sizes:
        path.write_bytes(whole[:size])
        if ending or size != line:
            assert refusal(root, "csv").startswith(f"{path}:")
        else:  # nothing in the file tells; for a known set its SHA-256 does
            assert (csv_files.read(path)[0] == pictures(2)[0][:1]).all()
            assert "not the published MNIST" in refusal(root, "auto")


def test_zip_faults(root):
    path = write_csv(root, n=1).rename(root / "mnist_train.csv.zip")
    path.write_bytes(b"<html>404</html>")
    assert refusal(root, "auto").startswith(f"{path}: damaged zip")
    zipped(path, "1", "1")
    assert refusal(root, "auto") == f"{path}: 2 .csv files in the archive, expected one"
    zipped(path, csv(*pictures(1)))
    right_or_refused(path, csv_files.read, 0xFF, pictures(1)[0])


def by_hand(text):
    """The table in a CSV file without header, [[label, pixels]], or None: by the rules alone."""
    lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    rows = [line.removesuffix(b"\r").split(b",") for line in lines[:-1]]
    digits = all(re.fullmatch(rb"[0-9]+", cell) for row in rows for cell in row)
    if lines[-1] or not rows or not digits or any(len(row) != 785 for row in rows):
        return None
    table = [[int(cell) for cell in row] for row in rows]
    return table if all(max(row) <= 255 for row in table) else None


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
        images, labels = csv_files.read(path)
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
    assert refusal(root, "csv") == f"{path}:4: more than 3 rows"


@pytest.mark.fault(101)
def test_labels_in_the_last_column_are_noticed(root):
    images, labels = pictures(40, classes=3)
    table = np.column_stack([images.reshape(40, -1), labels])
    path = write_csv(root, "".join(",".join(map(str, row)) + "\n" for row in table))
    for needed in (True, False):
        line = refusal(root, "csv", need_test_labels=needed)
        assert line.startswith(f"{path}:1:785: the label seems to be the last of the 785 fields")
    named = csv(*pictures(1), "kaggle").split("\n")[0] + "\n"  # a header that says it is the first
    path.write_text(named + path.read_text())
    assert set(csv_files.read(path)[1]) == {0}
