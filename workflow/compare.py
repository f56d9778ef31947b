"""Puts the scores of runs side by side, and says what is a difference and what may be luck.

    python -m workflow.compare                                    the runs under build/runs
    python -m workflow.compare build/runs/02_gan/* report/scores.json

Each RUN is a run's folder, its scores.json, or a file of several results by name, as the published
one is. The best value of a row is starred; what makes numbers incomparable (another feature
network, other test images, another count) is said below. Runs that differ in nothing but the
training seed are one setting, whose scores have a mean and a standard deviation; two settings are
called different only by Welch's t-test. A sweep's table is made by the same functions.
"""

import argparse
import itertools
import json
import os
import sys
from pathlib import Path

from helpers import params
from helpers.paths import ROOT
from helpers.scores import tables
from workflow import settings
from workflow.program import plain, program


def load(path):
    """The contents of a scores.json, or of the one in a folder; ValueError naming the path."""
    ((_, result, _),) = load_all(path)
    return result


def load_all(path):
    """[(name, result, parameters)] of a run, or of each in a file of several.

    parameters: what manifest.json beside it says, the notebook's name among them; {} without one.
    """
    file = Path(path) / "scores.json" if Path(path).is_dir() else Path(path)
    content, beside = _json(file), file.with_name("manifest.json")
    manifests = _json(beside) if beside.exists() else {}
    if "scores" in content:
        content, manifests = {"": content}, {"": manifests}
    runs = []
    for name, result in content.items():
        _check(file, result)
        known, own = manifests.get(name, {}), {}
        if "parameters" in known:
            own = {"notebook": known.get("notebook")} | known["parameters"]
        runs.append((f"{file}: {name}" if name else str(path), result, own))
    return runs


def _json(path):
    try:
        content = json.loads(path.read_text("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not the scores of a run")
    return content


def _no_number(name):
    raise ValueError(f"{name} is no number")


def _check(path, result):
    """Raise ValueError unless everything that is said of a result here can be said of it."""
    version = result.get("format") if isinstance(result, dict) else None
    if version not in range(1, tables.FORMAT + 1):  # an older one is told apart below
        raise ValueError(
            f"{path}: not scores of a run: format {version!r}, read are 1 to {tables.FORMAT}"
        )
    try:
        differences([result, result])
        table([result, result], ["", ""])
        settings.table(settings.summary({"": [result, result]}))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the scores of a run ({error!r:.100})") from None


def table(results, names):
    """Rows of strings: score, a column for each run, which way is better; the best is starred."""
    found = {key for result in results for key in result["scores"]}
    known = [key for key in tables.SPECS if key in found]
    rows = [("", *names, "better")]
    for key in known + sorted(found - set(known)):
        entries = [result["scores"].get(key) for result in results]
        first = next(entry for entry in entries if entry)
        best = _best(entries, first["better"])
        cells = [tables.cell(entry) if entry else "–" for entry in entries]
        cells = [cell + " *" * (i in best) for i, cell in enumerate(cells)]
        rows.append((tables.label(first), *cells, str(first["better"] or "")))
    return rows


def _best(entries, better):
    """Indices of the best values; "≈" means nearest to the floor, what real images reach."""
    sign, ranks = {"↓": 1, "↑": -1}.get(better), {}
    for i, entry in enumerate(entries):
        value, floor = (entry[what] for what in ("value", "floor")) if entry else (None, None)
        if value is not None and sign:
            ranks[i] = sign * value
        elif better == "≈" and None not in (value, floor):
            ranks[i] = abs(value - floor)
    stars = {i for i, rank in ranks.items() if rank == min(ranks.values())}
    return stars if len(stars) < len(ranks) else set()


def differences(results):
    """What stands in the way of a comparison, one line each."""
    facts = {
        "protocols of scores (format)": [str(result["format"]) for result in results],
        "feature networks": [result["network"]["sha256"][:12] for result in results],
        "data": [result["data"]["name"] for result in results],
        "test images": [str(result["data"]["test-images"])[:12] for result in results],
        "numbers of images": [f"{result['n']:,}" for result in results],
    }
    lines = [
        f"different {what}: {', '.join(dict.fromkeys(values))}; do not compare"
        for what, values in facts.items()
        if len(set(values)) > 1
    ]
    if not all(result["network"]["pinned"] for result in results) and not lines:
        lines = ["the feature network was trained on the spot; it is the same file here"]
    return lines


def differing(given):
    """[text] of [parameters]: what is not the same in all of them, as "beta = 4.0"."""
    ignored = {"seed", *params.SURROUNDINGS} - {"source"}
    names = [name for name in dict.fromkeys(itertools.chain(*given)) if name not in ignored]
    varied = [name for name in names if len({str(one.get(name)) for one in given}) > 1]
    return [
        ", ".join(f"{name} = {params.shown(one[name])}" for name in varied if name in one)
        for one in given
    ]


# --- The command -----------------------------------------------------------------------------


def lines(paths):
    """What is said of these runs; of those under build/runs, in short, if none is named."""
    found = paths or sorted(map(os.path.relpath, (ROOT / "build" / "runs").rglob("scores.json")))
    runs = [run for path in found for run in load_all(path)]
    if not runs:
        return ["build/runs: no finished run there"]
    names, results, given = zip(*runs, strict=True)
    own, warnings = differing(given), differences(results)
    if not paths:
        labels = [tables.SPECS[key].label for key in settings.MAIN]
        rows = [("run", *labels, "seed", "what differs")]
        for name, result, values, words in zip(names, results, given, own, strict=True):
            entries = [result["scores"].get(key) for key in settings.MAIN]
            cells = [tables.cell(entry) if entry else "–" for entry in entries]
            rows.append((os.path.dirname(name), *cells, str(values.get("seed", "–")), words))
        return list(aligned(rows))
    seeds = {}
    for result, values, words in zip(results, given, own, strict=True):
        seeds.setdefault(words or "all", {})[values.get("seed")] = result  # a seed counts once
    said = list(aligned(table(results, names)))
    if all(given) and any(len(found) > 1 for found in seeds.values()):
        summed = settings.summary({name: list(found.values()) for name, found in seeds.items()})
        columns, rows = settings.table(summed, warnings)
        said += ["", *aligned([columns, *rows])]
    return said + warnings


def aligned(rows):
    """Rows of strings as lines, one column below the other."""
    rows = [[_plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells]).rstrip()


def _plain(text):
    """On one line and without terminal escapes: the file may be a stranger's."""
    return " ".join(plain(text).split())


def main(words):
    about = "Puts the scores of runs side by side; those under build/runs if none is named."
    parser = argparse.ArgumentParser(prog="python -m workflow.compare", description=about)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="a run's folder or scores.json")
    sys.stdout.reconfigure(errors="replace")  # not every terminal knows ≈ and ↓
    print("\n".join(map(plain, lines(parser.parse_args(words).runs))))


if __name__ == "__main__":
    sys.exit(program(main, sys.argv[1:]))
