"""Writes down which data files a run could see, so that make notices when they change.

    python -m workflow.inputs build/draft/.data            write the file if the answer has changed
    python -m workflow.inputs build/draft/.data --settle   the same, but keep the file's time

make compares times of files it knows; it does not know $DATA_DIR. The answer is the folder's name
and the name, size and time of each file in it. A run may download files itself: afterwards the
answer is settled, or the next make would take them for news.
"""

import os
import sys
from pathlib import Path

from helpers.paths import data_dir

DEEPEST = 3  # folders below the data folder: MNIST/raw/file is at 2
MOST = 2000  # files; a data folder has a few dozen, somebody's home folder far too many


def answer(folder):
    """The folder, then one line for each file: name, bytes, time in nanoseconds."""
    lines = [str(folder)]
    for place, folders, files in os.walk(folder, followlinks=True):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = [] if depth >= DEEPEST else sorted(f for f in folders if f[0] != ".")
        for name in sorted(file for file in files if file[0] != "."):
            path = Path(place, name)
            try:
                status = path.stat()
            except OSError:  # a dangling link: the notebook will say so
                continue
            lines.append(f"{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}")
        if len(lines) > MOST:
            break
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
