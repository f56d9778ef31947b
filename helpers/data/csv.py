"""CSV files of images: a header or none, then one image per line, `label` first.

Strict: a byte that is not a digit or a separator in its place is an error that names line, column
and value. Nothing is guessed, filled in or shifted.
"""

import numpy as np

from helpers.data import archives

SIDE, PIXELS = 28, 784
MAX_ROWS = 300_000  # the largest of these sets has 240,000
LONGEST_LINE = 1 << 16  # a header of quoted names has about 10,000 bytes
HEADERS = {
    "label,pixel1..pixel784": [f"pixel{i}" for i in range(1, PIXELS + 1)],
    "label,pixel0..pixel783": [f"pixel{i}" for i in range(PIXELS)],
    "label,1x1..28x28": [f"{r}x{c}" for r in range(1, SIDE + 1) for c in range(1, SIDE + 1)],
}


def read(path, low, high):
    """One pass in blocks of whole lines -> (N, 28, 28) uint8 and (N,) int64 of low..high or None.

    path: plain, .gz or .zip. Without labels in it (784 fields per line) the labels are None.
    Raises ValueError for a damaged file, OSError for one that will not open.
    """
    rest, line, width, done = b"", 1, 0, []
    for block in archives.stream(path):
        rest += block
        if line == 1 and rest[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise ValueError(f"{path}:1: UTF-16 text, expected plain ASCII or UTF-8")
        cut = rest.rfind(b"\n") + 1
        if not cut and len(rest) > LONGEST_LINE:
            _refuse_line(path, line, rest)
        if not cut:
            continue
        text, rest = rest[:cut], rest[cut:]
        if line == 1:
            text = text.removeprefix(b"\xef\xbb\xbf")
            first, _, others = text.partition(b"\n")
            width, is_header = _first_line(path, first.removesuffix(b"\r"))
            if is_header:
                line, text = 2, others
        if text:
            rows = _parse_rows(path, line, text.replace(b"\r\n", b"\n"), width, low, high)
            done.append(rows)
            line += len(rows)
        if line > MAX_ROWS:
            raise ValueError(f"{path}:{line}: more than {MAX_ROWS} rows")
    if rest:  # taking it could mean taking 25 for a 253 that was cut
        _refuse_line(path, line, rest)
    if not done:
        raise ValueError(f"{path}: no rows")
    table = np.concatenate(done)
    images = np.ascontiguousarray(table[:, -PIXELS:]).reshape(-1, SIDE, SIDE)
    return images, table[:, 0].astype(np.int64) if width > PIXELS else None


def _first_line(path, text):
    """(fields per line, is it a header) of the first line; refuses any but the known headers."""
    if b"\0" in text or b"\r" in text or text.count(b'"') % 2:
        _refuse_line(path, 1, text)
    cells = text.decode("utf-8", "replace").split(",")
    names = [cell.strip('"').lower() for cell in cells]
    is_header = 2 * sum(any(map(str.isalpha, name)) for name in names) > len(names)
    if not is_header:
        if len(names) not in (PIXELS, PIXELS + 1):
            raise ValueError(
                f"{path}:1: {len(names)} fields, expected {PIXELS + 1} (label and {PIXELS} pixels)"
            )
        return len(names), False
    right = []  # how many names from the left are those of each header
    for pixels in HEADERS.values():
        for wanted in (["label", *pixels], pixels):
            if names == wanted:
                return len(names), True
            pairs = enumerate(zip(names, wanted, strict=False))
            right.append(next((i for i, (a, b) in pairs if a != b), min(len(names), len(wanted))))
    wrong = max(right)
    raise ValueError(
        f"{path}:1: header of {len(names)} names beginning {','.join(names[:3])[:60]!r}, "
        f"wrong from name {wrong + 1} on ({','.join(names[wrong : wrong + 1])[:40]!r}), "
        f"expected {' or '.join(HEADERS)}, or none"
    )


def _parse_rows(path, line, text, width, low, high):
    """(rows, width) uint8 from whole lines of numbers 0..255.

    Works on all bytes at once: every byte must be a digit, or a separator in its place, so nothing
    is guessed, filled in or shifted. Whatever fails that is explained by `_refuse_rows`.
    """
    raw = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(raw < ord("0"))  # commas and line ends sort before the digits
    rows = len(ends) // width
    marks = raw[ends]
    length = np.diff(ends, prepend=-1) - 1
    grid = marks[: rows * width].reshape(rows, width)
    if (
        len(ends) != rows * width
        or (grid[:, :-1] != ord(",")).any()
        or (grid[:, -1] != ord("\n")).any()
        or raw.max() > ord("9")
        or length.min() < 1
        or length.max() > 3
    ):
        _refuse_rows(path, line, text, width, low, high)
    value = raw[ends - 1].astype(np.int16) - ord("0")
    value += 10 * np.where(length > 1, raw[ends - 2].astype(np.int16) - ord("0"), 0)
    value += 100 * np.where(length > 2, raw[ends - 3].astype(np.int16) - ord("0"), 0)
    value = value.reshape(rows, width)
    first = value[:, 0]
    if value.max() > 255 or (width > PIXELS and (first.min() < low or first.max() > high)):
        _refuse_rows(path, line, text, width, low, high)
    return value.astype(np.uint8)


def _refuse_rows(path, line, text, width, low, high):
    """Name the first thing that is wrong: line, column, value."""
    for number, row in enumerate(text.split(b"\n")[:-1], line):
        if b"\0" in row or b"\r" in row or row.count(b'"') % 2:
            _refuse_line(path, number, row)
        cells = row.decode("utf-8", "replace").split(",")
        if len(cells) != width:
            raise ValueError(f"{path}:{number}: {len(cells)} fields, expected {width}")
        for column, cell in enumerate(cells, 1):
            is_label = column == 1 and width > PIXELS
            least, most = (low, high) if is_label else (0, 255)
            plain = cell.isascii() and cell.isdigit() and len(cell) <= 3
            if not plain or not least <= int(cell) <= most:
                what = "label" if is_label else "pixel"
                raise ValueError(
                    f"{path}:{number}:{column}: {cell[:40]!r}, expected a {what}, "
                    f"a whole number {least}..{most}"
                )
    raise ValueError(f"{path}:{line}: cannot be read")


def _refuse_line(path, line, text):
    if b"\0" in text:
        raise ValueError(f"{path}:{line}: NUL byte (UTF-16, or not a text file)")
    if b"\r" in text:
        raise ValueError(f"{path}:{line}: carriage return without line feed")
    if text.count(b'"') % 2:
        raise ValueError(f"{path}:{line}: open quote")
    if len(text) > LONGEST_LINE:
        raise ValueError(f"{path}:{line}: line of more than {LONGEST_LINE} bytes")
    fields = text.count(b",") + 1
    raise ValueError(f"{path}:{line}: no end of line after {fields} fields: the file is cut short")
