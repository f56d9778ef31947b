"""What a run leaves beside its pictures: history.csv and manifest.json."""

import hashlib
import json
import platform
import subprocess
from importlib.metadata import version

import pandas as pd

from helpers.files import write_atomically, write_json
from helpers.paths import ROOT

PACKAGES = ("torch", "torchvision", "numpy", "pandas", "matplotlib", "papermill", "nbconvert")


def write_history(run, history):
    """history.csv: one row per epoch, the numbers of each record."""
    rows = [{k: v for k, v in r._asdict().items() if isinstance(v, (int, float))} for r in history]
    write_atomically(run / "history.csv", pd.DataFrame(rows).to_csv(index=False).encode())


def write_manifest(run, notebook, parameters, data, device, seconds, epochs):
    """manifest.json: parameters, data hashes, versions, device, revision, seconds, pictures.

    parameters: {name: value}.  seconds: {"train": ..., "total": ...} of this session.  epochs:
    how many there were when it began and when it ended; "trained" lists this for the sessions
    that trained and came to their end. Returns the manifest.
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
    begun, ended = epochs
    manifest["trained"] = _earlier(run / "manifest.json", begun)
    if ended > begun:
        session = {"epochs": [begun + 1, ended], "seconds": manifest["seconds"]["train"]}
        session |= {"device": device, "torch": version("torch"), "git": manifest["git"]}
        manifest["trained"].append(session)
    write_json(run / "manifest.json", manifest)
    return manifest


def _earlier(path, begun):
    """The sessions of the manifest in a folder whose epochs are still part of the run."""
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["trained"]
        return [session for session in listed if session["epochs"][1] <= begun]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # none, or one that a stranger changed: what is not known is not said


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
