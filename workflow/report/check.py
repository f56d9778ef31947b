"""Read executed notebooks and refuse whatever must not reach a report.

Every fault becomes one line that starts with the notebook's path; those of all cells and all
notebooks are collected, so that one look shows everything that is wrong.
"""

import json
import re
from datetime import date
from pathlib import Path
from typing import NamedTuple

import nbformat

from workflow.report.document import items_of, one_line

REQUIRED_FIGURES = tuple(f"figure-{number}" for number in range(1, 7))


class ReportError(ValueError):
    """The report cannot be built; `problems` holds one line for each reason."""

    def __init__(self, problems):
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class Source(NamedTuple):
    """One executed notebook that passed every check."""

    path: Path
    manifest: dict
    items: list  # see document.py
    day: date | None  # of the run


def read(path):
    """Source of an executed notebook. Raises ReportError naming the path and each fault.

    The file may be a stranger's: whatever JSON it holds, the answer is a Source or that error.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        json.loads(text, parse_constant=_no_number)  # nbformat's own message has no line number
        nb = nbformat.reads(text, as_version=4)
        nbformat.validate(nb)
    except OSError as error:
        raise ReportError([f"{path}: {error.strerror.lower()}"]) from None
    except Exception as error:  # what is no notebook breaks nbformat in many ways
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise ReportError([f"{path}: not a notebook: {line}"]) from None
    faults, items = list(_execution_faults(nb))[:1], []  # the rest follows from the first
    if not faults:
        items, faults = items_of(nb, one_line(path.stem))
    records = [item["manifest"] for item in items if item["kind"] == "Provenance"]
    if faults := faults or list(_record_faults(records, items)):
        raise ReportError(f"{path}: {fault}" for fault in faults)
    items = [item for item in items if item["kind"] != "Provenance"]
    return Source(path, records[0], items, _day(nb.metadata.get("papermill")))


def _day(record):
    """The day on which papermill, whose record it is, was done; None if it does not say."""
    try:
        return date.fromisoformat(re.search(r"'end_time': '(.{10})T", str(record))[1])
    except (TypeError, ValueError):
        return None


def _no_number(text):
    raise ValueError(f"{text} is no number")


def _execution_faults(nb):
    """What shows that the notebook did not run from its first cell to its last."""
    last = 0
    for number, cell in enumerate(nb.cells, 1):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        count = cell.execution_count
        for output in cell.outputs:
            if output.output_type == "error":
                value = (output.evalue.strip().splitlines() or [""])[0]
                yield f"cell {number} failed: {output.ename}: {value}"
        if count is None:
            yield f"cell {number} was never run"
        elif count <= last:
            yield f"cell {number} was run out of order (In [{count}] after In [{last}])"
        last = count or last


def _record_faults(records, items):
    """Where the pictures are not those that the run has recorded."""
    if len(records) != 1:
        yield f"{len(records) or 'no'} provenance records, expected 1"
        return
    figures = {item["label"]: item["sha256"] for item in items if item["kind"] == "Figure"}
    recorded = records[0]["figures"]
    for label in dict.fromkeys([*figures, *recorded]):
        shown, drawn = figures.get(label, "none"), recorded.get(label, "none")
        if shown != drawn:
            yield (
                f"figure {label} is not the one that was drawn: "
                f"sha256 {shown[:12]}, the provenance record has {drawn[:12]}"
            )


def faults_together(sources):
    """Figures 1 to 6 that are not there once each; runs on one data set that saw other images.

    With another number of images (train_limit) runs differ by intention.
    """
    paths, seen = ", ".join(str(source.path) for source in sources), {}
    for label in REQUIRED_FIGURES:
        holders = [str(source.path) for source in sources if label in source.manifest["figures"]]
        if len(holders) != 1:
            where = "appears twice" if holders else "is missing"
            yield f"{', '.join(holders) or paths}: {label} {where}"
    for source in sources:
        data = source.manifest["data"]
        facts = {"": data["real"]}
        facts |= {p: data["sha256"].get(f"{p}-images") for p in ("train", "test")}
        for part, images in facts.items():
            key = data["name"], part, data.get(part)
            first, same = seen.setdefault(key, (source.path, images))
            if same != images:
                yield f"{first}, {source.path}: both say {data['name']} but read different images"
                break
