"""A sweep: one notebook run many times with other parameters, and the scores of all in one table.

    python -m workflow.sweep list sweeps/seeds.yaml              the runs it stands for
    python -m workflow.sweep table sweeps/seeds.yaml             table.csv, table.json, figure.png
    python -m workflow.sweep follow sweeps/seeds.yaml -- COMMAND    an engine, and how far its runs are

A sweep file names a notebook and what its runs have in common and what not:

    notebook: notebooks/02_gan.ipynb
    files: [profiles/draft/02_gan.yaml]       # parameter files, as with workflow.run -f
    parameters: {epochs: 20}                  # the same for every run
    variants:                                 # named settings; the others are tested against the first
      as it is: {}
      averaged: {ema_decay: 0.999}
    grid: {seed: [0, 1, 2]}                   # every combination, for every variant

Everything but the notebook may be left out. Which runs there are and where each leaves its files
is settled here, before anything starts; workflow/Snakefile only says that each is a job. Its
environment reads this module too: torch and matplotlib are imported where they are needed.
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
from typing import NamedTuple

from helpers import params, paths
from helpers.files import write_atomically, write_json
from workflow import parameters

KEYS = ("notebook", "files", "parameters", "variants", "grid")
MOST = 1000  # runs of one file
OUT = "build/sweeps"
NOTEBOOKS = {f"notebooks/{name}.ipynb": name for name in params.CONFIGS}


class Run(NamedTuple):
    """One run of a sweep."""

    setting: str  # what it has in common with the runs that differ in the seed alone
    point: dict  # {parameter of the grid: its value here}
    given: dict  # {parameter: value} of all that is not left to the notebook, checked
    result: str  # the name of its scores: another one as soon as anything, code too, is another


class Sweep(NamedTuple):
    """A sweep file, read and checked."""

    name: str
    notebook: str
    out: Path  # holds a folder for each run
    runs: dict  # {name of the run's folder: Run}

    def words(self, name):
        """What workflow.run is told of this run: -p NAME VALUE ..."""
        given = self.runs[name].given | {"out_dir": str(self.out / name)}
        texts = {key: v if isinstance(v, str) else json.dumps(v) for key, v in given.items()}
        return [word for pair in texts.items() for word in ("-p", *pair)]


def read(path, out=OUT, data_dir=""):
    """The Sweep in a YAML file; ValueError that names the file and the entry that is wrong.

    data_dir: where every run looks for data, for jobs that do not inherit $DATA_DIR.
    """
    path = Path(path)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}\.yaml", path.name):
        raise ValueError(f"{path}: must be named like seeds.yaml: a-z, 0-9, _ and - alone")
    content = parameters.read_yaml(path)
    for key in content:
        if key not in KEYS:
            raise ValueError(f"{path}: {key}: no such entry, must be one of {', '.join(KEYS)}")
    notebook = content.get("notebook")
    if notebook not in list(NOTEBOOKS):  # no other file's code is run
        shown = f"one of {', '.join(NOTEBOOKS)}, got {params.shown(notebook)}"
        raise ValueError(f"{path}: notebook must be {shown}")
    files = _typed(path, content, "files", list)
    for file in files:
        inside = isinstance(file, str) and (paths.ROOT / file).resolve()
        if not inside or not inside.is_relative_to(paths.ROOT):
            raise ValueError(f"{path}: files: {params.shown(file)} is not in the project's folder")
    common = _typed(path, content, "parameters", dict)
    variants = _typed(path, content, "variants", dict) or {"": {}}
    grid = _typed(path, content, "grid", dict)
    for where, kind, entries in (("variants", dict, variants), ("grid", list, grid)):
        for name, entry in entries.items():
            if not isinstance(entry, kind) or (kind is list and not entry):
                wanted = "values, such as [0, 1]" if kind is list else "parameters, such as {}"
                raise ValueError(f"{path}: {where}: {name} must hold {wanted}, got {entry!r:.80}")
    count = math.prod(map(len, grid.values())) * len(variants)
    if count > MOST:
        raise ValueError(f"{path}: {count:,} runs, more than {MOST:,}; make several files of it")
    base = parameters.given(notebook, files) | ({"data_dir": data_dir} if data_dir else {})
    code, runs = _code(notebook), {}
    for (variant, changes), values in itertools.product(
        variants.items(), itertools.product(*grid.values())
    ):
        point = dict(zip(grid, values, strict=True))
        _refuse_twice(path, {"parameters": common, f"variant {variant}": changes, "grid": point})
        at = ", ".join(f"{name} = {value}" for name, value in point.items())
        try:
            given = _checked(NOTEBOOKS[notebook], base, common | changes | point)
            name = run_name(NOTEBOOKS[notebook], given)
        except ValueError as error:
            raise ValueError(f"{path}: {variant or 'a run'} ({at}): {error}") from None
        if name in runs:
            raise ValueError(f"{path}: {variant or 'a run'} ({at}): the same run is there already")
        own = [f"{name} = {value}" for name, value in point.items() if name != "seed"]
        setting = ", ".join([str(variant)] * bool(variant) + own) or NOTEBOOKS[notebook]
        result = f"{name}.{_digest([code, given])}"
        runs[name] = Run(setting, point, given, result)
    return Sweep(path.stem, notebook, Path(out) / path.stem, runs)


def run_name(notebook, values):
    """The name of a run's folder: what differs from the defaults, and a digest.

    The digest is of all but what may change when a run goes on from its checkpoint, and where it
    runs: more epochs stay in the folder and continue, anything else is another one.
    """
    usual = params.defaults(notebook)
    ignored = {*params.FREE_ON_RESUME, "device", "out_dir", "resume", "data_dir"}
    fixed = {key: value for key, value in (usual | values).items() if key not in ignored}
    changed = [f"{key}-{value}" for key, value in fixed.items() if value != usual[key]]
    readable = "_".join(re.sub("[^a-z0-9.]+", "-", text.lower()).strip("-") for text in changed)
    return f"{readable[:80] or 'default'}_{_digest([notebook, fixed])}"


def _digest(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def _code(notebook):
    """What is run: the notebook's code and that of helpers."""
    cells = parameters.read_notebook(paths.ROOT / notebook).cells
    modules = sorted((paths.ROOT / "helpers").rglob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in modules]
    return [cell.source for cell in cells if cell.cell_type == "code"] + texts


def _typed(path, content, key, kind):
    value = content.get(key, kind())
    if not isinstance(value, kind):
        raise ValueError(f"{path}: {key} must be a {kind.__name__}, got {value!r:.80}")
    return value


def _refuse_twice(path, places):
    for (one, first), (other, second) in itertools.combinations(places.items(), 2):
        for key in first.keys() & second.keys():
            raise ValueError(f"{path}: {key} is given twice, in {one} and in {other}")


def _checked(notebook, base, values):
    """base | values, if the notebook takes them; what the sweep itself sets is not theirs to say."""
    usual = params.defaults(notebook)
    for key in ("out_dir", "data_dir", "resume"):
        if key in values or base.get(key, usual[key]) != usual[key] and key != "data_dir":
            raise ValueError(f"{key}: a sweep file may not set it")
    values = base | values
    for key, value in values.items():
        if isinstance(usual.get(key), float) and type(value) in (int, str):  # YAML: 1e-4 is text
            try:
                values[key] = float(value)
            except (OverflowError, ValueError):
                pass  # refused below, by its name
    params.check_run(notebook, usual | values)
    return values


# --- While it goes on ------------------------------------------------------------------------


def follow(sweep, command):
    """Start the engine and say what its runs say, until it ends; its exit status.

    The runs' own logs are read, which every executor leaves in the same place.
    """
    logs = {name: sweep.out / name / "log.txt" for name in sweep.runs}
    seen = {name: _size(log) for name, log in logs.items()}
    engine = subprocess.Popen(command)
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches the engine by itself
    signal.signal(signal.SIGTERM, lambda *_: engine.terminate())
    while True:
        status = engine.poll()
        for name, log in logs.items():
            if _size(log) > seen[name]:
                seen[name] += _say(sweep, name, log, seen[name])
        if status is not None:
            return status
        time.sleep(0.5)


def _size(path):
    return path.stat().st_size if path.exists() else 0


def _say(sweep, name, log, start):
    """Print the whole lines of the log that begin at `start`; how many bytes they are."""
    with open(log, "rb") as file:
        file.seek(start)
        content = file.read()
    content = content[: content.rfind(b"\n") + 1]
    ready = sum((sweep.out / "scores" / f"{r.result}.json").exists() for r in sweep.runs.values())
    for line in content.decode(errors="replace").splitlines():
        line = re.sub(r"^\[\w+\] ", "", line)
        print(f"[{ready}/{len(sweep.runs)} ready] {name}: {line}", flush=True)
    return len(content)


# --- At its end ------------------------------------------------------------------------------


def table(sweep):
    """What table.json holds; OSError or ValueError naming the run that lacks or disagrees.

    "made" is what may differ between two places that ran the sweep: times and devices.
    """
    from workflow import compare  # here: it imports torch

    runs, made, results, settings = [], [], [], {}
    for name, run in sweep.runs.items():
        result = compare.load(sweep.out / name)
        manifest = json.loads((sweep.out / name / "manifest.json").read_text(encoding="utf-8"))
        for key, value in run.given.items():
            if (was := manifest["parameters"].get(key)) != value:
                raise ValueError(f"{sweep.out / name}: made with {key} = {was!r}, not {value!r}")
        scores = {key: entry["value"] for key, entry in result["scores"].items()}
        runs.append({"run": name, "setting": run.setting, **run.point, "scores": scores})
        seconds = [session["seconds"] for session in manifest["trained"]]
        made.append({"run": name, "seconds": sum(seconds), "sessions": len(seconds)})
        made[-1] |= {key: manifest[key] for key in ("device", "git", "versions", "data")}
        results.append(result)
        settings.setdefault(run.setting, []).append(result)
    warnings, summed = compare.differences(results), compare.summary(settings)
    comparable = not any("do not compare" in line for line in warnings)
    return {
        "sweep": sweep.name,
        "notebook": sweep.notebook,
        "runs": runs,
        "settings": summed,
        "differences": warnings,
        "sentences": compare.sentences(summed) if comparable else [],
        "made": made,
    }


def draw(content):
    """Each run as a dot, each setting's mean as a dash, a panel for each main score."""
    from helpers import figures
    from helpers.scores import tables

    settings = content["settings"]
    keys = list(dict.fromkeys(key for found in settings.values() for key in found))
    figure = figures.Figure(
        (figures.WIDTH, 0.9 + 0.35 * len(settings)), dpi=200, layout="constrained"
    )
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    for axes, key in zip(panels, keys, strict=True):
        for row, found in enumerate(settings.values()):
            values = found[key]["values"] if key in found else []
            axes.plot(values, [row] * len(values), "o", color=figures.BLUE, ms=4, alpha=0.6)
            if values:
                axes.plot([found[key]["mean"]], [row], "|", color=figures.ORANGE, ms=16, mew=2)
        figures.finish(axes, f"{tables.SPECS[key].label} {tables.SPECS[key].better}", "")
    panels[0].set_yticks(range(len(settings)), list(settings), parse_math=False)
    panels[0].set_ylim(len(settings) - 0.5, -0.5)
    return figure


def write(content, out):
    """table.json, table.csv (runs and scores alone) and figure.png, in the folder."""
    import pandas as pd

    out.mkdir(parents=True, exist_ok=True)
    rows = [{k: v for k, v in r.items() if k != "scores"} | r["scores"] for r in content["runs"]]
    write_atomically(out / "table.csv", pd.DataFrame(rows).to_csv(index=False).encode())
    draw(content).savefig(out / "figure.png", metadata={"Software": None})
    write_json(out / "table.json", content)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m workflow.sweep", description=__doc__.split("\n")[0]
    )
    parser.add_argument("task", choices=("list", "table", "follow"))
    parser.add_argument("sweep", metavar="SWEEP.yaml")
    parser.add_argument("--out", default=OUT, help="where sweeps leave their folders")
    parser.add_argument("--data-dir", default="", help="where every run looks for data")
    parser.add_argument("--table", type=Path, help="where the table goes, if not to the runs")
    words = sys.argv[1:] if arguments is None else list(arguments)
    end = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:end])
    try:
        sweep = read(options.sweep, options.out, options.data_dir)
        if options.task == "follow":
            return follow(sweep, words[end + 1 :])
        if options.task == "table":
            content = table(sweep)
            write(content, options.table or sweep.out)
            lines = [*content["sentences"], *content["differences"]]
            lines += [f"{sweep.out}/table.csv: {len(sweep.runs)} runs"]
        else:
            lines = [f"{name}  ({run.setting})" for name, run in sweep.runs.items()]
        print("\n".join(lines))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
