"""What a run leaves beside its pictures: history.csv and manifest.json."""

import hashlib
import platform
import subprocess
from importlib.metadata import version

import pandas as pd

from helpers.checkpoint import write_atomically, write_json
from helpers.paths import ROOT

PACKAGES = ("torch", "torchvision", "numpy", "pandas", "matplotlib", "papermill", "nbconvert")


def write_history(run, history):
    """history.csv: one row per epoch, the numbers of each record."""
    rows = [{k: v for k, v in r._asdict().items() if isinstance(v, (int, float))} for r in history]
    write_atomically(run / "history.csv", pd.DataFrame(rows).to_csv(index=False).encode())


def write_manifest(run, notebook, parameters, data, device, seconds):
    """manifest.json: parameters, data hashes, versions, device, revision, seconds, pictures.

    parameters: {name: value}.  seconds: {"train": ..., "total": ...} of this session.
    Returns the manifest.
    """
    figures = {
        path.stem.removeprefix("figure_"): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.glob("figure_*.png"))
    }
    manifest = {
        "notebook": notebook,
        "parameters": parameters,
        "data": {
            "name": data.name,
            "source": data.source,
            "where": data.where,
            "verified": data.verified,
            "real": data.real,
            "train": len(data.train.images),
            "test": len(data.test.images),
            "sha256": data.sha256,
        },
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        "device": device,
        "git": revision(),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "figures": figures,
    }
    write_json(run / "manifest.json", manifest)
    return manifest


def revision():
    """{"revision": short hash, "clean": bool} of the project's checkout, or None without git."""
    try:
        head, changes = (
            subprocess.run(
                ["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (["rev-parse", "--short=10", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"revision": head, "clean": not changes}
