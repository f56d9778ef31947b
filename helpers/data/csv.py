"""CSV files of images: a header or none, then one image per line, `label` first.

Strict: nothing is guessed, filled in or shifted; a fault is named by line, column and value.
"""

from itertools import chain
from os.path import commonprefix

import numpy as np

from helpers.data import archives

SIDE, PIXELS = 28, 784
MAX_ROWS = 300_000  # the largest of these sets has 240,000
LONGEST_LINE = 1 << 16  # a header of quoted names has about 10,000 bytes
MOST_CLASSES = 62  # of a label column that is looked for in the wrong place; EMNIST has 62
HEADERS = {
    "label,pixel1..pixel784": ["label", *(f"pixel{i}" for i in range(1, PIXELS + 1))],
    "label,pixel0..pixel783": ["label", *(f"pixel{i}" for i in range(PIXELS))],
    "label,1x1..28x28": ["label", *(f"{i // SIDE + 1}x{i % SIDE + 1}" for i in range(PIXELS))],
}


def read(path):
    """One pass -> (N, 28, 28) uint8 and (N,) int64 labels in 0..255 or None.

    path: plain, .gz or .zip. Without labels in it (784 fields per line) the labels are None.
    Raises ValueError for a damaged file, OSError for one that will not open.
    """
    number, line, width, header = 0, b"", 0, False

    def checked():
        nonlocal number, line, width, header
        for number, line in enumerate(_lines(path), 1):
            if number == 1:
                width, header = _first_line(path, line)
                if header:
                    continue
            if line.count(b",") + 1 != width or line.translate(None, b"0123456789,"):
                _refuse(path, number, line, width)
            if number > MAX_ROWS + header:
                raise ValueError(f"{path}:{number}: more than {MAX_ROWS} rows")
            yield line

    lines = checked()
    try:
        first = [next(lines)]
        rows = np.loadtxt(chain(first, lines), np.uint8, comments=None, delimiter=",", ndmin=2)
    except StopIteration:
        raise ValueError(f"{path}: no rows") from None
    except ValueError:
        if width:
            _refuse(path, number, line, width)  # an empty cell, a number above 255
        raise
    if width > PIXELS and not header and _may_be_labels(rows[:, -1]):
        if not _may_be_labels(rows[:, 0]):
            raise ValueError(
                f"{path}:1:{width}: the label seems to be the last of the {width} fields; it must "
                "be the first (if it is, say so with a first line label,pixel1..pixel784)"
            )
    images = np.ascontiguousarray(rows[:, -PIXELS:]).reshape(-1, SIDE, SIDE)
    return images, rows[:, 0].astype(np.int64) if width > PIXELS else None


def _lines(path):
    """Yield the lines, each without its end; the last one must have one too.

    Without it nobody can tell whether the file was cut: 25 may have been 253.
    """
    rest, number = b"", 1
    for block in archives.blocks(path):
        if number == 1 and (rest + block)[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise ValueError(f"{path}:1: UTF-16 text, expected plain ASCII or UTF-8")
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            line = line.removesuffix(b"\r")
            yield line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            number += 1
        if len(rest) > LONGEST_LINE:
            raise ValueError(f"{path}:{number}: line of more than {LONGEST_LINE} bytes")
    if rest:
        fields = rest.count(b",") + 1
        _refuse_bytes(path, number, rest)
        raise ValueError(
            f"{path}:{number}: no end of line after {fields} fields: the file is cut short"
        )


def _first_line(path, line):
    """(fields per line, is this one a header?); refuses any but the known headers."""
    _refuse_bytes(path, 1, line)
    names = [name.strip('"').lower() for name in line.decode("utf-8", "replace").split(",")]
    if 2 * sum(any(map(str.isalpha, name)) for name in names) <= len(names):
        return PIXELS + (len(names) != PIXELS), False
    known = [wanted[k:] for wanted in HEADERS.values() for k in (0, 1)]
    if names in known:
        return len(names), True
    wrong = max(len(commonprefix([names, wanted])) for wanted in known)
    raise ValueError(
        f"{path}:1: header of {len(names)} names beginning {','.join(names[:3])[:60]!r}, "
        f"wrong from name {wrong + 1} on ({','.join(names[wrong : wrong + 1])[:40]!r}), "
        f"expected {' or '.join(HEADERS)}, or none"
    )


def _may_be_labels(column):
    """Every whole number from 0 or 1 to some other, and none of them nearly always."""
    counts = np.bincount(column)
    counts = counts[int(counts[0] == 0) :]
    return (
        2 <= len(counts) <= MOST_CLASSES and 0 < counts.min() and max(counts) < 0.9 * sum(counts)
    )


def _refuse(path, number, line, width):
    """Name the first thing that is wrong with a row, if any: line, column, value."""
    _refuse_bytes(path, number, line)
    cells = line.decode("utf-8", "replace").split(",")
    if len(cells) != width:
        wanted = f"{width} (label and {PIXELS} pixels)" if number == 1 else width
        raise ValueError(f"{path}:{number}: {len(cells)} fields, expected {wanted}")
    for column, cell in enumerate(cells, 1):
        value = cell.lstrip("0") or "0"
        if not (cell.isascii() and cell.isdigit() and len(value) < 4 and int(value) < 256):
            what = "label" if column == 1 and width > PIXELS else "pixel"
            raise ValueError(
                f"{path}:{number}:{column}: {cell[:40]!r}, expected a {what}, "
                "a whole number 0..255"
            )


def _refuse_bytes(path, number, line):
    if b"\0" in line:
        raise ValueError(f"{path}:{number}: NUL byte (UTF-16, or not a text file)")
    if b"\r" in line:
        raise ValueError(f"{path}:{number}: carriage return without line feed")
    if line.count(b'"') % 2:
        raise ValueError(f"{path}:{number}: open quote")
