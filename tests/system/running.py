"""The project's programs in processes of their own, with tiny settings; what a run leaves."""

import hashlib
import os
import shutil
import subprocess
import sys

import psutil

from helpers.paths import ROOT

TINY = "-p train_limit 512 -p score_samples 60 -p device cpu".split()
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def start(*words, root=ROOT, begin=(sys.executable,), env=ENVIRONMENT, **options):
    """A module of the project, or of its copy in `root`, whose lines are to be read."""
    options = {"cwd": root, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    command = [*begin, "-m", *map(str, words)]
    env = env | {"PYTHONPATH": str(root)}
    return subprocess.Popen(command, env=env, text=True, encoding="utf-8", **options)


def begin_run(name, folder, *words, output=None, root=ROOT, **options):
    """The runner on a notebook: into folder/run, the executed copy at folder/out.ipynb."""
    output = output or folder / "out.ipynb"
    words = [*TINY, *words, "-p", "out_dir", folder / "run"]
    return start(
        "workflow.run", root / f"notebooks/{name}.ipynb", output, *words, root=root, **options
    )


def end(process, status=0):
    """Wait for it; its two streams, after one look at how it ended."""
    out, errors = process.communicate(timeout=600)
    assert process.returncode == status, out + errors
    assert "Traceback" not in out + errors and errors.count("\n") == (status > 0), errors
    return out, errors


def until(process, text):
    """Read its lines up to the first with this text; all of them."""
    lines = []
    while text not in "".join(lines[-1:]):
        lines.append(process.stdout.readline())
        assert lines[-1], (lines, process.stderr.read())
    return "".join(lines)


def kernel_of(process):
    """The process number of a runner's kernel, None if there is none."""
    try:
        children = psutil.Process(process.pid).children()
        return next((c.pid for c in children if "ipykernel" in " ".join(c.cmdline())), None)
    except psutil.NoSuchProcess:
        return None


def results(folder):
    """{name: SHA-256} of what a run leaves, without its lock and what tells of its sessions."""
    told = {".lock", "manifest.json", "sessions.json", "state.previous.pt"}
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.name not in told
    }


def copy_project(root):
    """What runs need of the project, in another place."""
    for name in ("helpers", "workflow", "notebooks"):
        ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
