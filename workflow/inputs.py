"""Writes down which data files a run could see, so that make notices when they change.

    python -m workflow.inputs build/draft/.data            write the file if the answer has changed
    python -m workflow.inputs build/draft/.data --settle   the same, but keep the file's time

make compares times of files it knows; it does not know $DATA_DIR. The answer is the folder's name
and the name, size and time of each file in it that a reader of helpers.data may look for, however
many others lie beside it. A run may download files itself: afterwards the answer is settled, or
the next make would take them for news.
"""

import os
import sys
from pathlib import Path

from helpers.paths import data_dir

PLACES = ("", "*/", "*/raw/")  # the folder itself, Kaggle's folder of a set, torchvision's
KINDS = ("classes.txt", "*.csv", "*.csv.gz", "*.csv.zip", "*-ubyte*", "*-int*")
PACKAGED = Path("/usr/share/datasets")  # where Debian's packages put theirs


def answer(folder):
    """The folder, then one line for each file: name, bytes, time in nanoseconds."""
    lines = [str(folder)]
    for root in (folder, PACKAGED):
        for path in sorted({p for a in PLACES for b in KINDS for p in root.glob(a + b)}):
            try:
                status = path.stat()
            except OSError:  # a dangling link: the notebook will say so
                continue
            name = os.path.relpath(path, folder)
            lines.append(f"{name} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(lines) + "\n"


def main(words):
    path, settle = Path(words[0]), words[1:] == ["--settle"]
    try:
        write(path, answer(data_dir()), settle)
    except OSError as error:
        print(f"{error.filename or path}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def write(path, text, settle):
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") == text:
        return
    time = path.stat().st_mtime_ns if settle and path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="replace")
    if time is not None:
        os.utime(path, ns=(time, time))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
