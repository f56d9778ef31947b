"""Takes every protection out, one at a time, and sees that its test then fails.

    make mutants            all of them, a quarter of an hour or so
    python tests/mutants/run.py data 14 checkpoints    whole files, single faults

A mutant is one entry of a *.toml file of this folder: which fault of docs/robustness.md, which
test, and the text `old` of a file that `new` replaces. Each is tried in a copy of the project:
the test must pass there before the change and fail after it.
Exit status: 0 all noticed, 1 some not.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COPIED = ("helpers", "report", "tests", "notebooks", "profiles", "docs", "data", "figures")
FILES = ("pyproject.toml", "Makefile", "environment.yml", "constraints.txt", "README.md")


def mutants():
    """Every entry, with the name of its file under "group"."""
    for path in sorted(HERE.glob("*.toml")):
        for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("mutant", []):
            yield entry | {"group": path.stem}


def mutate(root, mutant):
    """Replace mutant["old"] by mutant["new"] under root; ValueError unless it is there once."""
    path = Path(root) / mutant["file"]
    text = path.read_text(encoding="utf-8")
    if text.count(mutant["old"]) != 1:
        raise ValueError(f"{mutant['file']}: {text.count(mutant['old'])} times {mutant['old']!r}")
    path.write_text(text.replace(mutant["old"], mutant["new"]), encoding="utf-8")


def passes(root, test):
    """Does this test pass in the project at root?"""
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *test.split()]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):  # not run at all: a wrong name, say
        raise ValueError(f"{test}: pytest ended with {done.returncode}\n{done.stdout}")
    return done.returncode == 0


def copy(to):
    for name in COPIED:
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, to / name)
    if (ROOT / ".git").exists():
        subprocess.run(["git", "init", "-q"], cwd=to, check=True)


def main(wanted):
    chosen = [
        m
        for m in mutants()
        if not wanted or m["group"] in wanted or set(map(str, m["faults"])) & set(wanted)
    ]
    unnoticed, intact = [], {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        whole = Path(folder, "whole")
        whole.mkdir()
        copy(whole)
        for number, mutant in enumerate(chosen):
            spoiled = Path(folder, f"spoiled-{number}")
            shutil.copytree(whole, spoiled)
            mutate(spoiled, mutant)
            test = mutant["test"]
            if test not in intact:
                intact[test] = passes(whole, test)
            noticed = intact[test] and not passes(spoiled, test)
            unnoticed += [] if noticed else [mutant]
            says = "noticed" if noticed else "NOT NOTICED" if intact[test] else "FAILS ANYWAY"
            faults = " ".join(map(str, mutant["faults"]))
            print(f"{says:12} fault {faults:9} {mutant['file']}  {test}", flush=True)
            shutil.rmtree(spoiled)
    print(f"{len(chosen) - len(unnoticed)} of {len(chosen)} mutants were noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
