"""Installs what pyproject.toml lists, as constraints.txt pins it, into the running python's .venv
(make has made it); with `check`, says how a python of the user's own differs from the pins."""

import os
import re
import subprocess
import sys
import time
from importlib.metadata import distributions
from pathlib import Path

LOG = Path(".venv/install.log")
REACH = "import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=4)"
PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-e", ".[dev]"]


def install():
    """Let pip install, with a line at the start and a sign of life every 15 seconds."""
    index, words, size = os.environ.get("TORCH_INDEX"), [], "2 GB with PyTorch for the CPU"
    if answers(["nvidia-smi", "-L"]):
        size = "6 GB with PyTorch for the NVIDIA GPU"
    elif sys.platform == "linux" and index and answers([sys.executable, "-c", REACH, index]):
        words = ["--extra-index-url", index]
    elif sys.platform == "linux":
        size = "2 GB, or 6 GB if pip knows PyTorch with CUDA only (no answer from TORCH_INDEX)"
    say(f"installing into .venv, once, for some minutes: {size}")
    environment = os.environ | {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PYTHONPATH": ""}
    start, command = time.monotonic(), [*PIP, "-c", "constraints.txt", *words]
    with LOG.open("wb") as file:
        pip = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
    while pip.poll() is None:
        try:
            pip.wait(15)
        except subprocess.TimeoutExpired:
            files = [Path(folder, file) for folder, _, names in os.walk(".venv") for file in names]
            size = sum(file.lstat().st_size for file in files if os.path.lexists(file))
            say(f"{time.monotonic() - start:.0f} s, {size / 1e6:,.0f} MB; {logged()[-1]:.70}")
    if pip.returncode:
        reason = [line for line in logged() if "ERROR" in line] or logged()
        sys.exit(f"setup: pip: {reason[-1]}; {LOG} has the rest, make tries again")
    Path(".venv/.ok").write_text(f"{Path.cwd()}\n", encoding="utf-8")  # make compares the folder
    say(f"ready after {time.monotonic() - start:.0f} s")


def logged():
    return [x.strip() for x in LOG.read_text("utf-8", errors="replace").strip().split("\n")]


def answers(command):
    """Whether a program is there and succeeds within five seconds."""
    try:
        return not subprocess.run(command, capture_output=True, timeout=5).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


def check():
    """One line on what this python lacks, or has in another version than the pinned one."""
    listed = Path("pyproject.toml").read_text("utf-8").split("[project.optional-dependencies]")[0]
    pins = dict(
        re.findall(r"^([\w.-]+)==([\w.]+)", Path("constraints.txt").read_text("utf-8"), re.M)
    )
    have = {plain(found.name): found.version.split("+")[0] for found in distributions()}
    other = []
    for name in re.findall(r'^  "([\w.-]+) [~<>=]', listed, re.M):
        if plain(name) not in have:
            sys.exit(f"setup: {sys.executable} lacks {name} (see pyproject.toml)")
        if have[plain(name)] != pins[name]:
            other.append(f"{name} {have[plain(name)]} ({pins[name]} is pinned)")
    if other:
        say("note: other versions than the pinned ones: " + ", ".join(other))


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def say(text):
    print("setup: " + text, flush=True)


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[1])
    check() if sys.argv[1:] == ["check"] else install()
