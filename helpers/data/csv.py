"""CSV files of images: a header or none, then one image per line, `label` first.

Strict: nothing is guessed, filled in or shifted; a fault is named by line, column and value.
"""

import numpy as np

from helpers.data import archives

PIXELS = 784
MAX_ROWS = 300_000  # the largest of these sets has 240,000
LONGEST_LINE = 1 << 16  # a header of quoted names has about 10,000 bytes
NAMES = {785: {b"label"}, 784: {b"pixel0", b"pixel1", b"1x1"}}  # first of a header, by its length
VALUE = {b"%d" % value: value for value in range(256)}


def read(path):
    """One pass -> (N, 28, 28) uint8 and (N,) int64 labels in 0..255 or None.

    path: plain, .gz or .zip. Without labels in it (784 fields per line) the labels are None.
    Raises ValueError for a damaged file, OSError for one that will not open.
    """
    values, width, header = bytearray(), PIXELS + 1, 0
    with archives.opened(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
            if not line.endswith(b"\n"):  # 25 may have been 253
                raise ValueError(f"{path}:{number}: no end of line: cut short, or no such table")
            cells = line.removesuffix(b"\n").removesuffix(b"\r").split(b",")
            if number == 1:
                cells[0] = cells[0].removeprefix(b"\xef\xbb\xbf")
                width = PIXELS if len(cells) == PIXELS else PIXELS + 1
                header = int(cells[0].strip(b'"').lower() in NAMES[width])
            if len(cells) != width:
                raise ValueError(f"{path}:{number}: {len(cells)} fields, expected {width}")
            if number - header > MAX_ROWS:
                raise ValueError(f"{path}:{number}: more than {MAX_ROWS} rows")
            if number == header:
                continue
            try:
                values += bytes([VALUE[cell] for cell in cells])
            except KeyError as error:
                (cell,) = error.args
                raise ValueError(
                    f"{path}:{number}:{cells.index(cell) + 1}: "
                    f"{cell.decode(errors='replace')[:40]!r}, expected a whole number 0..255"
                ) from None
    if not values:
        raise ValueError(f"{path}: no rows")
    rows = np.frombuffer(values, np.uint8).reshape(-1, width)
    images = np.ascontiguousarray(rows[:, -PIXELS:]).reshape(-1, 28, 28)
    if width == PIXELS:
        return images, None
    if not header and np.ptp(rows[:, 0]) == 0 < np.ptp(rows[:, -1]):
        raise ValueError(
            f"{path}:1:{width}: the label seems to be the last field; it must be the first "
            "(if it is, say so with a first line label,pixel1..pixel784)"
        )
    return images, rows[:, 0].astype(np.int64)
