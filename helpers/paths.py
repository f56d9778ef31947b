"""Where things are: from this file's place, never from the working directory."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def data_dir(value=""):
    """The folder data is looked for in: `value`, else $DATA_DIR, else data/ of the project."""
    return Path(value or os.environ.get("DATA_DIR") or ROOT / "data").expanduser().resolve()


def run_dir(value, notebook):
    """The folder a run leaves its files in: `value`, else build/runs/<notebook> of the project."""
    return Path(value or ROOT / "build" / "runs" / notebook).expanduser().resolve()
