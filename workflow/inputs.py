"""Writes down what results depend on and make cannot see, so that make notices when it changes.

    python -m workflow.inputs build/draft/.inputs            write it, if it differs
    python -m workflow.inputs build/draft/.inputs --settle   the same, but keep the file's time

.inputs holds the settings of the runs, the folder of the data, and the name, size and time of each
file in it that a reader of helpers.data may look for; .title what the report shall say. A run may
download files itself: afterwards they are settled, or the next make would take them for news.
"""

import os
import sys
from pathlib import Path

from helpers.paths import data_dir
from workflow.program import program

ASKED = ["REPORT_TITLE", "REPORT_AUTHOR", "REPORT_DATE", "REPORT_LIVE"]
WORDS = {".inputs": ["RUN_SETTINGS"], ".title": ASKED}
PLACES = ("", "*/", "*/raw/")  # the folder itself, Kaggle's folder of a set, torchvision's
KINDS = ("classes.txt", "*.csv", "*.csv.gz", "*.csv.zip", "*-ubyte*", "*-int*")
PACKAGED = Path("/usr/share/datasets")  # where Debian's packages put theirs


def files(folder):
    """The folder, then a line for each file of data: its name, bytes, time in nanoseconds."""
    yield str(folder)
    for root in (folder, PACKAGED):
        for path in sorted({p for a in PLACES for b in KINDS for p in root.glob(a + b)}):
            if path.exists():  # no dangling link: the notebook will say so
                status = path.stat()
                yield f"{path} {status.st_size} {status.st_mtime_ns}"


def main(words):
    name, *settle = words
    path = Path(name)
    said = [os.environ.get(word, "") for word in WORDS[path.name]]
    lines = [*said, *(files(data_dir()) if path.name == ".inputs" else ())]
    new = "\n".join(lines).encode(errors="surrogateescape")
    if not path.exists() or path.read_bytes() != new:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.stat().st_mtime_ns if settle else None
        path.write_bytes(new)
        if settle:
            os.utime(path, ns=(before, before))


if __name__ == "__main__":
    sys.exit(program(main, sys.argv[1:]))
