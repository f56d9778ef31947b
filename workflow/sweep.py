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
is settled here, before anything starts; workflow/Snakefile only says that each is a job. Its
environment reads this module too, so torch and matplotlib are imported where they are needed; for
that reason it is one module, and longer than others.
"""

import argparse
import hashlib
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from helpers import params, paths
from helpers.files import write_atomically, write_json
from workflow import arguments

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


# --- While it goes on ------------------------------------------------------------------------


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


# --- At its end ------------------------------------------------------------------------------


def table(sweep):
    """What table.json holds; OSError or ValueError naming the run that lacks or disagrees.

    "made" is what may differ between two places that ran the sweep: times and devices.
    """
    from workflow import compare  # here: it imports torch

    runs, made, alike = [], [], {}
    for name, run in sweep.runs.items():
        result = compare.load(sweep.out / name)
        manifest = json.loads((sweep.out / name / "manifest.json").read_text(encoding="utf-8"))
        for key, value in run.given.items():
            if (was := manifest["parameters"].get(key)) != value:
                raise ValueError(f"{sweep.out / name}: made with {key} = {was!r}, not {value!r}")
        scores = {key: entry["value"] for key, entry in result["scores"].items()}
        runs.append({"run": name, "setting": run.setting, **run.point, "scores": scores})
        seconds = [session["seconds"] for session in manifest["trained"]]
        kept = {key: manifest[key] for key in ("device", "git", "versions", "data")}
        made.append({"run": name, "seconds": sum(seconds), "sessions": len(seconds)} | kept)
        alike.setdefault(run.setting, []).append(result)
    warnings, summed = compare.differences(sum(alike.values(), [])), compare.summary(alike)
    comparable = not any("do not compare" in line for line in warnings)
    content = {"notebook": sweep.notebook, "runs": runs, "settings": summed, "made": made}
    sentences = compare.sentences(summed) if comparable else []
    return content | {"differences": warnings, "sentences": sentences}


def settings(content):
    """{setting: its scores} in the order of the sweep file, which JSON does not keep."""
    names = dict.fromkeys(run["setting"] for run in content["runs"])
    return {name: content["settings"][name] for name in names}


def draw(content):
    """Each run as a dot, each setting's mean as a dash, a panel for each main score."""
    from helpers import figures
    from helpers.scores import tables
    from workflow import compare

    rows = settings(content)
    keys = [key for key in compare.MAIN if all(key in found for found in rows.values())]
    size = (figures.WIDTH, 0.9 + 0.35 * len(rows))
    figure = figures.Figure(size, dpi=200, layout="constrained")
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    for axes, key in zip(panels, keys, strict=True):
        for row, found in enumerate(rows.values()):
            values = found[key]["values"]
            axes.plot(values, [row] * len(values), "o", color=figures.BLUE, ms=4, alpha=0.6)
            axes.plot([found[key]["mean"]], [row], "|", color=figures.ORANGE, ms=16, mew=2)
        figures.finish(axes, f"{tables.SPECS[key].label} {tables.SPECS[key].better}", "")
    panels[0].set_yticks(range(len(rows)), list(rows), parse_math=False)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


def told(content):
    """The sentences of a table, and what stands in the way of its comparisons."""
    return " ".join([*content["sentences"], *(f"{line}." for line in content["differences"])])


def finish(page, contents):
    """Write and display where the sweeps {name: table} of a notebook's page came from."""
    from helpers.display import prose, show

    made = [run for content in contents.values() for run in content["made"]]
    seconds = round(sum(run["seconds"] for run in made), 1)
    manifest = {key: made[0][key] for key in ("data", "versions", "device", "git")}
    manifest |= {"notebook": "sweep", "parameters": {"sweeps": list(contents)}}
    if own := os.environ.get("DATA_DIR"):  # make hands it on to every run; nobody else has it
        where = manifest["data"]["where"].replace(own, "$DATA_DIR")
        manifest["data"] = manifest["data"] | {"where": where}
    manifest |= {"seconds": {"train": seconds}, "figures": page.figures, "trained": []}
    write_json(page.folder / "manifest.json", manifest)
    line = f"{len(made)} runs, {seconds / 60:.0f} minutes of training in all."
    show(prose(line), {"kind": "provenance", "manifest": manifest})


def write(content, out):
    """table.json, table.csv (runs and scores alone) and figure.png, in the folder."""
    import pandas as pd

    out.mkdir(parents=True, exist_ok=True)
    rows = [{k: v for k, v in r.items() if k != "scores"} | r["scores"] for r in content["runs"]]
    write_atomically(out / "table.csv", pd.DataFrame(rows).to_csv(index=False).encode())
    draw(content).savefig(out / "figure.png", metadata={"Software": None})
    write_json(out / "table.json", content)


def main(words=None):
    words = sys.argv[1:] if words is None else list(words)
    end = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(
        prog="python -m workflow.sweep", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("task", choices=("list", "table", "follow"))
    parser.add_argument("sweep", metavar="SWEEP.yaml")
    parser.add_argument("--out", default=OUT, help="where sweeps leave their folders")
    parser.add_argument("--data-dir", default="", help="where every run looks for data")
    parser.add_argument("--table", type=Path, help="where the table goes, if not to the runs")
    options = parser.parse_args(words[:end])
    try:
        sweep = read(options.sweep, options.out, options.data_dir)
        if options.task == "follow":
            return follow(sweep, words[end + 1 :])
        lines = [f"{name}  ({run.setting})" for name, run in sweep.runs.items()]
        if options.task == "table":
            content = table(sweep)
            write(content, options.table or sweep.out)
            lines = [*content["sentences"], *content["differences"], f"{sweep.out}/table.csv"]
        print("\n".join(lines))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
