"""Put the scores of several runs side by side.

    python -m workflow.compare build/runs/02_gan elsewhere/02_gan

Each RUN is a run's folder or its scores.json. The best value of a row is starred; what makes
numbers incomparable (another feature network, other test images, another count) is said below.
"""

import argparse
import json
import sys
from pathlib import Path

from helpers.scores import tables
from workflow import progress


def load(path):
    """The contents of a scores.json (or of the one in a folder); ValueError naming the path."""
    path = Path(path)
    path = path / "scores.json" if path.is_dir() else path
    try:
        result = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; a run writes it at its end") from None
    except OSError as error:
        raise type(error)(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    if not isinstance(result, dict) or "scores" not in result:
        raise ValueError(f"{path}: not the scores of a run")
    if result.get("format") != tables.FORMAT:
        found, known = result.get("format"), tables.FORMAT
        raise ValueError(f"{path}: format {found!r}, this version reads {known}")
    try:
        for entry in result["scores"].values():
            if {type(entry[name]) for name in ("value", "std", "floor")} - {
                int,
                float,
                type(None),
            }:
                raise TypeError("no number")
        differences([result, result])
        table([result, result], ["", ""])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the scores of a run ({error!r:.100})") from None
    return result


def _no_number(name):
    raise ValueError(f"{name} is no number")


def table(results, names):
    """Rows of strings: score, a column for each run, which way is better; the best is starred."""
    found = {key for result in results for key in result["scores"]}
    known = [key for key in tables.SPECS if key in found]
    keys = known + sorted(found - set(known))
    rows = [("", *names, "better")]
    for key in keys:
        entries = [result["scores"].get(key) for result in results]
        first = next(entry for entry in entries if entry)
        best = _best(entries, first["better"])
        cells = [tables.cell(entry) if entry else "–" for entry in entries]
        cells = [cell + (" *" if i in best else "") for i, cell in enumerate(cells)]
        rows.append((tables.label(first), *cells, first["better"]))
    return rows


def differences(results):
    """What stands in the way of a comparison, one line each."""
    facts = {
        "feature networks": [result["network"]["sha256"][:12] for result in results],
        "data": [result["data"]["name"] for result in results],
        "test images": [str(result["data"]["test-images"])[:12] for result in results],
        "numbers of images": [f"{result['n']:,}" for result in results],
    }
    lines = [
        f"different {what}: {', '.join(values)}; do not compare"
        for what, values in facts.items()
        if len(set(values)) > 1
    ]
    if not all(result["network"]["pinned"] for result in results) and not lines:
        lines = ["the feature network was trained on the spot; it is the same file here"]
    return lines


def _best(entries, better):
    """The places of the best value, if there is a choice."""
    known = [(i, e) for i, e in enumerate(entries) if e and e["value"] is not None]
    if len(known) < 2 or better not in ("↓", "↑", "≈"):
        return set()
    sign = {"↓": 1, "↑": -1, "≈": 1}[better]
    rank = {
        i: abs(e["value"] - e["floor"]) if better == "≈" else sign * e["value"]
        for i, e in known
        if better != "≈" or e["floor"] is not None
    }
    least = min(rank.values(), default=None)
    best = {i for i, value in rank.items() if value == least}
    return best if len(best) < len(known) else set()


def _print(rows):
    rows = [[_plain(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]).rstrip())


def _plain(text):
    """On one line and without terminal escapes: the file may be a stranger's."""
    return " ".join(progress.plain(text).split())


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m workflow.compare",
        description="Put the scores of several runs side by side.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder or scores.json")
    options = parser.parse_args(arguments)
    try:
        results = [load(run) for run in options.runs]
    except (OSError, ValueError) as error:
        print(_plain(str(error)), file=sys.stderr)
        return 2
    _print(table(results, options.runs))
    for line in differences(results):
        print(_plain(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
