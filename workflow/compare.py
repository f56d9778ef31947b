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
import statistics
import sys
from pathlib import Path

from helpers import params
from helpers.paths import ROOT
from helpers.scores import tables
from workflow import progress

MAIN = ("loss", "fid", "coverage", "agreement")  # the scores on which settings are compared
LEVEL = 0.05  # of all comparisons of a score together: each of k is held to LEVEL / k
COLUMNS = ("score", "setting", "mean", "standard deviation", "seeds", "error of one run")


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
    if content and all(isinstance(part, dict) and "format" in part for part in content.values()):
        found = [(f"{file}: {name}", part, manifests.get(name)) for name, part in content.items()]
    else:
        found = [(str(path), content, manifests)]
    runs = []
    for name, result, manifest in found:
        _check(file, result)
        known = isinstance(manifest, dict) and isinstance(manifest.get("parameters"), dict)
        own = {"notebook": manifest.get("notebook")} | manifest["parameters"] if known else {}
        runs.append((name, result, own))
    return runs


def _json(path):
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise OSError(f"{path}: not a file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; a run writes it at its end") from None
    except OSError as error:
        raise type(error)(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not the scores of a run")
    return content


def _no_number(name):
    raise ValueError(f"{name} is no number")


def _check(path, result):
    """Raise ValueError unless everything that is said of a result here can be said of it."""
    if "scores" not in result:
        raise ValueError(f"{path}: not the scores of a run")
    if result.get("format") not in range(1, tables.FORMAT + 1):  # an older one is told apart below
        found, known = result.get("format"), tables.FORMAT
        raise ValueError(f"{path}: format {found!r}, this version reads up to {known}")
    try:
        for entry in result["scores"].values():
            for name in ("value", "std", "floor"):
                if type(entry[name]) not in (int, float, type(None)):
                    raise TypeError(f"{name} is no number")
        differences([result, result])
        table([result, result], ["", ""])
        setting_rows(summary({"": [result, result]}))
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


# --- Luck and settings -----------------------------------------------------------------------


def summary(settings):
    """{setting: {score: its numbers}} of {setting: results, one a seed}, for the scores of MAIN.

    The numbers: values, and their n, mean and std over seeds (None for one); error, the sampling
    error of one run, is the root mean square of the runs' own ± (None without).
    """
    summed = {name: {} for name in settings}
    for key in MAIN:
        for name, results in settings.items():
            entries = [result["scores"].get(key, {"value": None}) for result in results]
            entries = [entry for entry in entries if entry["value"] is not None]
            values = [entry["value"] for entry in entries]
            squares = [entry["std"] ** 2 for entry in entries if entry["std"] is not None]
            if values:
                summed[name][key] = {
                    "values": values,
                    "n": len(values),
                    "mean": statistics.fmean(values),
                    "std": statistics.stdev(values) if len(values) > 1 else None,
                    "error": statistics.fmean(squares) ** 0.5 if squares else None,
                }
    return summed


def setting_rows(summed):
    """Rows of strings under COLUMNS: a row for each score and setting."""
    rows = []
    for key in MAIN:
        spec = tables.SPECS[key]
        for name, found in ((name, of[key]) for name, of in summed.items() if key in of):
            std, error = (tables.number(found[what], spec.digits + 1) for what in ("std", "error"))
            mean = tables.number(found["mean"], spec.digits)
            rows.append((f"{spec.label} {spec.better}", name, mean, std, str(found["n"]), error))
    return rows


def welch(one, other):
    """The p of Welch's t-test for equal means; None where a seed or all spread is lacking."""
    from scipy import stats  # here: it takes half a second

    if min(len(one), len(other)) < 2 or len(set(one)) == len(set(other)) == 1:
        return None
    return float(stats.ttest_ind(one, other, equal_var=False).pvalue)


def sentences(summed):
    """For each main score, one sentence on each setting against the first of them."""
    (first, base), *others = summed.items()
    lines = []
    for key in base:
        against = [(name, of[key]) for name, of in others if key in of]
        for name, found in against:
            p = welch(found["values"], base[key]["values"])
            said = f"no difference between “{name}” and “{first}” is shown"
            if p is not None and p < LEVEL / len(against):
                by = found["mean"] - base[key]["mean"]
                size = tables.number(abs(by), tables.SPECS[key].digits)
                said = f"“{name}” is {size} {'higher' if by > 0 else 'lower'} than “{first}”"
            tested = "too few seeds for a test" if p is None else f"Welch's t-test, p = {p:.2g}"
            means = f"{_mean(key, found)} against {_mean(key, base[key])}"
            lines.append(f"{tables.SPECS[key].label}: {said} ({means}; {tested}).")
    return lines


def _mean(key, found):
    digits = tables.SPECS[key].digits
    spread = "" if found["std"] is None else f" ± {tables.number(found['std'], digits + 1)}"
    return f"{tables.number(found['mean'], digits)}{spread}, n = {found['n']}"


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
        rows = [("run", *(tables.SPECS[key].label for key in MAIN), "seed", "what differs")]
        for name, result, values, words in zip(names, results, given, own, strict=True):
            entries = [result["scores"].get(key) for key in MAIN]
            cells = [tables.cell(entry) if entry else "–" for entry in entries]
            rows.append((os.path.dirname(name), *cells, str(values.get("seed", "–")), words))
        return list(_aligned(rows))
    settings = {}
    for result, values, words in zip(results, given, own, strict=True):
        settings.setdefault(words or "all", {})[values.get("seed")] = result  # a seed counts once
    said = list(_aligned(table(results, names)))
    if all(given) and any(len(seeds) > 1 for seeds in settings.values()):
        summed = summary({name: list(seeds.values()) for name, seeds in settings.items()})
        said += ["", *_aligned([COLUMNS, *setting_rows(summed)])]
        said += [] if any("do not" in line for line in warnings) else sentences(summed)
    return said + warnings


def _aligned(rows):
    rows = [[_plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells]).rstrip()


def _plain(text):
    """On one line and without terminal escapes: the file may be a stranger's."""
    return " ".join(progress.plain(text).split())


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m workflow.compare", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="a run's folder or scores.json")
    sys.stdout.reconfigure(errors="replace")  # not every terminal knows ≈ and ↓
    try:
        for line in lines(parser.parse_args(arguments).runs):
            print(progress.plain(line))
        sys.stdout.flush()
    except BrokenPipeError:  # | head has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError) as error:
        print(_plain(str(error)), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
