"""Where things are: from this file's place, never from the working directory.

A relative folder is one of the project's: a notebook's kernel starts in the project's root under
papermill and in notebooks/ under JupyterLab and nbval. Only workflow.run knows where its user
stands, and counts from there (`from_here`).
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def data_dir(value=""):
    """The folder data is looked for in: `value`, else $DATA_DIR, else data/ of the project."""
    return _inside(value or os.environ.get("DATA_DIR") or "data")


def run_dir(value, notebook, name=""):
    """The folder a run leaves its files in: `value`, else build/runs/<notebook>/<name>."""
    return _inside(value or Path("build", "runs", notebook, name))


def from_here(value):
    """A folder counted from the working directory, said so that data_dir and run_dir find it."""
    return from_root(os.path.abspath(value)) if value and not value.startswith("~") else value


def from_root(path):
    """An absolute path as text: as it counts from the project's root, if it is inside."""
    path = Path(path)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def _inside(value):
    try:
        return (ROOT / Path(value).expanduser()).resolve()
    except RuntimeError:
        raise ValueError(f"{value}: nobody of that name has a home folder here") from None
