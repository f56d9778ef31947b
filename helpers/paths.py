"""Where things are: from this file's place, never from the working directory.

A relative folder given by the user is one of the project's: a notebook's kernel starts in the
project's root under papermill and in notebooks/ under JupyterLab and nbval.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def data_dir(value=""):
    """The folder data is looked for in: `value`, else $DATA_DIR, else data/ of the project."""
    return _inside(value or os.environ.get("DATA_DIR") or "data")


def run_dir(value, notebook):
    """The folder a run leaves its files in: `value`, else build/runs/<notebook> of the project."""
    return _inside(value or f"build/runs/{notebook}")


def _inside(value):
    return (ROOT / Path(value).expanduser()).resolve()
