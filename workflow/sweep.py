"""A sweep: one notebook run many times with other parameters, and the scores of all in one table.

    python -m workflow.sweep list sweeps/toy.yaml                 the runs it stands for
    python -m workflow.sweep table sweeps/toy.yaml                table.csv, .json, figure.png
    python -m workflow.sweep follow sweeps/toy.yaml -- COMMAND    an engine and what its runs say

A sweep file names a notebook and what its runs have in common and what not:

    notebook: notebooks/02_gan.ipynb
    files: [profiles/draft/02_gan.yaml]    # parameter files, as with workflow.run -f
    parameters: {epochs: 20}               # the same for every run
    variants:                              # named settings; each is tested against the first
      as it is: {}
      averaged: {ema_decay: 0.999}
    grid: {seed: [0, 1, 2]}                # every combination, for every variant

Everything but the notebook may be left out. Which runs there are and where each leaves its files
is settled here, before anything starts; workflow/Snakefile only says that each is a job. What they
leave behind becomes a table in workflow/swept.py.
"""

import argparse
import hashlib
import itertools
import json
import math
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from helpers import params, paths
from workflow import arguments
from workflow.program import program

MOST = 1000  # runs of one file
OUT = "build/sweeps"
NOTEBOOKS = {f"notebooks/{name}.ipynb": name for name in params.CONFIGS}  # no others are run
FIXED = ("out_dir", "data_dir", "resume")  # what no sweep file may set


class File(BaseModel, strict=True, extra="forbid"):
    """What a sweep file may hold."""

    notebook: Literal[tuple(NOTEBOOKS)]
    files: list[str] = []
    parameters: dict[str, Any] = {}
    variants: Annotated[dict[str, dict[str, Any]], Field(min_length=1)] = {"": {}}
    grid: dict[str, Annotated[list, Field(min_length=1)]] = {}


class Run(NamedTuple):
    """One run of a sweep."""

    setting: str  # what it has in common with the runs that differ in the seed alone
    point: dict  # {parameter of the grid: its value here}
    given: dict  # {parameter: value} of all that is not left to the notebook, checked
    result: str  # the name of its scores: another one as soon as anything, code too, is another


class Sweep(NamedTuple):
    """A sweep file, read and checked."""

    notebook: str
    out: Path  # holds a folder for each run
    runs: dict  # {name of the run's folder: Run}

    def words(self, name):
        """What workflow.run is told of this run: -p NAME VALUE ..."""
        given = self.runs[name].given | {"out_dir": str(self.out / name)}
        texts = {key: v if isinstance(v, str) else json.dumps(v) for key, v in given.items()}
        return [word for pair in texts.items() for word in ("-p", *pair)]

    def given(self):
        """{parameter: value} of what all runs were given alike, but for where things lie."""
        first, *others = (run.given for run in self.runs.values())
        kept = [name for name in first if name not in (*FIXED, "seed")]
        return {n: first[n] for n in kept if all(n in o and o[n] == first[n] for o in others)}

    def ready(self):
        """How many of the runs have their scores."""
        return sum((self.out / f"scores/{run.result}.json").exists() for run in self.runs.values())


def read(path, out=OUT, data_dir=""):
    """The Sweep in a YAML file; ValueError that names the file and the entry that is wrong.

    data_dir: where every run looks for data, for jobs that do not inherit $DATA_DIR.
    """
    path = Path(path)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}\.yaml", path.name):
        raise ValueError(f"{path}: must be named like seeds.yaml: a-z, 0-9, _ and - alone")
    file = _shape(path, arguments.read_yaml(path))
    count = math.prod(map(len, file.grid.values())) * len(file.variants)
    if count > MOST:
        raise ValueError(f"{path}: {count:,} runs, more than {MOST:,}; make several files of it")
    notebook, code, runs = NOTEBOOKS[file.notebook], _code(file.notebook), {}
    base = arguments.given(file.notebook, file.files)
    base |= {"data_dir": data_dir} if data_dir else {}
    points = itertools.product(*file.grid.values())
    for (variant, changes), at in itertools.product(file.variants.items(), points):
        point = dict(zip(file.grid, at, strict=True))
        try:
            own = _merged({"parameters": file.parameters, "variants": changes, "grid": point})
            given = base | own
            for key in FIXED:
                if key in own or key == "resume" and not given.get(key, True):
                    raise ValueError(f"{key}: a sweep file may not set it")
            name = params.run_name(notebook, given)  # which checks them
            if name in runs:
                raise ValueError(f"the same run as {runs[name].setting}")
        except ValueError as error:
            raise ValueError(f"{path}: {variant or 'run'} {_words(point)}: {error}") from None
        place = _words({key: value for key, value in point.items() if key != "seed"})
        setting = ", ".join(filter(None, (variant, place))) or notebook
        runs[name] = Run(setting, point, given, f"{name}.{_digest([code, given])}")
    return Sweep(file.notebook, Path(out) / path.stem, runs)


def _shape(path, content):
    try:
        file = File.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ": ".join(map(str, first["loc"]))
        raise ValueError(
            f"{path}: {where}: {first['msg']}, got {params.shown(first['input'])}"
        ) from None
    for name in file.files:
        if not (paths.ROOT / name).resolve().is_relative_to(paths.ROOT):
            raise ValueError(f"{path}: files: {name!r} is not in the project's folder")
    return file


def _merged(places):
    for (one, first), (other, second) in itertools.combinations(places.items(), 2):
        for key in first.keys() & second.keys():
            raise ValueError(f"{key} is given twice, in {one} and in {other}")
    return {key: value for values in places.values() for key, value in values.items()}


def _code(notebook):
    """What is run: the notebook's code and that of helpers."""
    cells = arguments.read_notebook(paths.ROOT / notebook).cells
    modules = sorted((paths.ROOT / "helpers").rglob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in modules]
    return [cell.source for cell in cells if cell.cell_type == "code"] + texts


def _digest(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def _words(values):
    return ", ".join(f"{name} = {params.shown(value)}" for name, value in values.items())


def follow(sweep, command):
    """Start the engine and say what the logs of its runs say, until it ends; its exit status.

    The logs are in the runs' folders, whatever executes them.
    """
    logs = {name: sweep.out / name / "run.log" for name in sweep.runs}
    seen = {name: log.stat().st_size if log.exists() else 0 for name, log in logs.items()}
    engine = subprocess.Popen(command)
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches the engine by itself
    signal.signal(signal.SIGTERM, lambda *_: engine.terminate())
    while True:
        status = engine.poll()
        for name, log in logs.items():
            if log.exists() and log.stat().st_size > seen[name]:
                with open(log, "rb") as file:
                    file.seek(seen[name])
                    new = file.read()
                whole = new[: new.rfind(b"\n") + 1]
                seen[name] += len(whole)
                of = f"[{sweep.ready()}/{len(sweep.runs)} ready] {name}:"
                for line in whole.decode(errors="replace").splitlines():
                    print(of, re.sub(r"^\[\w+\] ", "", line), flush=True)
        if status is not None:
            return status
        time.sleep(0.5)


def main(words):
    end = words.index("--") if "--" in words else len(words)
    about = "One notebook run many times with other parameters, the scores of all in one table."
    parser = argparse.ArgumentParser(prog="python -m workflow.sweep", description=about)
    parser.add_argument("task", choices=("list", "table", "follow"))
    parser.add_argument("sweep", metavar="SWEEP.yaml")
    parser.add_argument("--out", default=OUT, help="where sweeps leave their folders")
    parser.add_argument("--data-dir", default="", help="where every run looks for data")
    parser.add_argument("--table", type=Path, help="where the table goes, if not to the runs")
    options = parser.parse_args(words[:end])
    sweep = read(options.sweep, options.out, options.data_dir)
    if options.task == "follow":
        return follow(sweep, words[end + 1 :])
    lines = [f"{name}  ({run.setting})" for name, run in sweep.runs.items()]
    if options.task == "table":
        from workflow import compare, settings, swept  # here: Snakemake's environment has no torch

        content = swept.table(sweep)
        swept.write(content, options.table or sweep.out)
        columns, rows = settings.table(swept.ordered(content), content["differences"])
        told = compare.aligned([columns, *rows])
        lines = [*told, *content["differences"], f"{sweep.out}/table.csv"]
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(program(main, sys.argv[1:]))
