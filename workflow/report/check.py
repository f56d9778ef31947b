"""Read executed notebooks and refuse whatever must not reach a report.

Every fault becomes one line that starts with the notebook's path; all faults are collected before
`ReportError` is raised, so that one look shows everything that is wrong.
"""

import base64
import binascii
import hashlib
import json
import struct
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import nbformat

REQUIRED_FIGURES = (1, 2, 3, 4, 5, 6)
_MANIFEST = {"notebook": str, "parameters": dict, "data": dict, "versions": dict, "seconds": dict}
_DATA = {"name": str, "source": str, "where": str, "verified": bool, "real": bool}
_DATA |= {"train": int, "test": int, "sha256": dict}


class ReportError(ValueError):
    """The report cannot be built; `problems` holds one line for each reason."""

    def __init__(self, problems):
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class Source(NamedTuple):
    """One executed notebook that passed every check."""

    path: Path
    notebook: nbformat.NotebookNode
    manifest: dict
    figures: dict[int, str]  # number -> SHA-256 of the PNG bytes
    tables: tuple[int, ...]


def png_size(content):
    """(width, height) in pixels of PNG bytes; ValueError says what they are instead."""
    if not content:
        raise ValueError("0 bytes")
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"not a PNG, starts {content[:4].hex()}")
    if content[12:16] != b"IHDR" or content[-8:-4] != b"IEND":
        raise ValueError(f"PNG cut short after {len(content)} bytes")
    width, height = struct.unpack(">II", content[16:24])
    if not width or not height:
        raise ValueError(f"PNG of {width}x{height} pixels")
    return width, height


def read(path):
    """Source of an executed notebook. Raises ReportError naming the path and each fault.

    The file may be a stranger's: whatever JSON it holds, the answer is a Source or that error.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        json.loads(text, parse_constant=_no_number)  # nbformat's own message has no line number
    except OSError as error:
        raise ReportError([f"{path}: {error.strerror.lower()}"]) from None
    except (ValueError, RecursionError) as error:
        raise ReportError([f"{path}: broken JSON: {error}"]) from None
    try:
        nb = nbformat.reads(text, as_version=4)
        nbformat.validate(nb)
    except Exception as error:  # what is no notebook breaks nbformat in many ways
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise ReportError([f"{path}: not a notebook: {line}"]) from None
    faults, figures, tables, manifests = _shape_faults(nb), {}, [], []
    if not faults:
        faults = _execution_faults(nb)
        for number, cell in enumerate(nb.cells, 1):
            for output in cell.get("outputs", []):
                for fault in _output_faults(output, figures, tables, manifests):
                    faults.append(f"cell {number}: {fault}")
        faults += _manifest_faults(manifests, figures)
    if faults:
        raise ReportError(f"{path}: {fault}" for fault in faults)
    return Source(path, nb, manifests[0], figures, tuple(tables))


def _no_number(text):
    raise ValueError(f"{text} is no number")


def _shape_faults(nb):
    """Metadata that are read below and are not {name: value}."""
    places = [("the notebook's metadata", nb.metadata, "papermill")]
    for number, cell in enumerate(nb.cells, 1):
        places.append((f"cell {number}", cell.metadata, "papermill"))
        for output in cell.get("outputs", []):
            places.append((f"cell {number}", output.get("metadata", {}), "report"))
    return [
        f"{place}: {name} must be a table of names and values, got {metadata[name]!r:.60}"
        for place, metadata, name in places
        if not isinstance(metadata.get(name, {}), dict)
    ]


def _execution_faults(nb):
    """What shows that the notebook did not run from its first cell to its last."""
    faults, last = [], 0
    for number, cell in enumerate(nb.cells, 1):
        if cell.cell_type != "code":
            continue
        errors = [out for out in cell.outputs if out.output_type == "error"]
        status = cell.metadata.get("papermill", {}).get("status", "completed")
        count = cell.execution_count
        if errors:
            value = (errors[0].evalue.strip().splitlines() or [""])[0]
            return [f"cell {number} failed: {errors[0].ename}: {value}"]
        if status != "completed":
            faults.append(f"cell {number} is {status}: the run did not finish")
        elif cell.source.strip() and count is None:
            faults.append(f"cell {number} was never run")
        elif count is not None and count <= last:
            faults.append(f"cell {number} was run out of order (In [{count}] after In [{last}])")
        last = count or last
    if nb.metadata.get("papermill", {}).get("exception"):
        faults.append("the run ended with an exception")
    return faults[:1]  # the rest follows from the first


def _output_faults(output, figures, tables, manifests):
    """Faults of one output; what is right is added to the three collections."""
    data, report = output.get("data", {}), output.get("metadata", {}).get("report")
    if report is None:
        if any(mime.startswith("image/") for mime in data):
            yield "a picture without number, caption and alt text"
        return
    kind = report.get("kind")
    if kind == "provenance":
        manifests.append(report.get("manifest"))
    if kind == "abstract" and "text/markdown" not in data:
        yield "the abstract has no text"
    if kind not in ("figure", "table"):
        return
    number = report.get("number")
    if type(number) is not int or number < 1:
        yield f"{kind} number {number!r} is not a positive integer"
        return
    name = f"{kind.capitalize()} {number}"
    if not str(report.get("caption") or "").strip():
        yield f"{name} has no caption"
    if kind == "table":
        columns, rows = report.get("columns"), report.get("rows")
        tables.append(number)
        if not columns or not rows:
            yield f"{name} is empty"
        elif not all(isinstance(part, list) for part in (columns, rows, *_listed(rows))):
            yield f"{name} is not made of lists"
        else:
            for index, row in enumerate(rows, 1):
                if len(row) != len(columns):
                    yield f"{name}, row {index} has {len(row)} cells for {len(columns)} columns"
        return
    if not str(report.get("alt") or "").strip():
        yield f"{name} has no alt text"
    width = report.get("width")
    if not isinstance(width, int | float) or not 0 < width < 100:
        yield f"{name} is {width!r} inches wide"
    if number in figures:
        yield f"{name} appears twice"
    figures[number] = ""
    try:
        content = base64.b64decode(data.get("image/png", ""), validate=False)
        png_size(content)
    except (binascii.Error, ValueError) as error:
        yield f"{name}: {error}"
        return
    figures[number] = hashlib.sha256(content).hexdigest()
    if figures[number] != report.get("sha256"):
        yield (
            f"{name} is not the picture that was drawn: sha256 {figures[number][:12]}, "
            f"recorded {str(report.get('sha256'))[:12]}"
        )


def _listed(value):
    return value if isinstance(value, list) else []


def _manifest_faults(manifests, figures):
    if len(manifests) != 1:
        yield f"{len(manifests) or 'no'} provenance records, expected 1"
        return
    manifest = manifests[0]
    if not isinstance(manifest, dict):
        yield "the provenance record is not a table of names and values"
        return
    for name, kind in _MANIFEST.items():
        if not isinstance(manifest.get(name), kind):
            yield f"the provenance record has no {name!r}"
    data = manifest.get("data")
    if isinstance(data, dict):
        for name, kind in _DATA.items():
            if not isinstance(data.get(name), kind):
                yield f"the provenance record has no data {name!r}"
        hashes = data.get("sha256")
        if isinstance(hashes, dict) and not all(isinstance(sha, str) for sha in hashes.values()):
            yield "the provenance record has a SHA-256 that is no text"
    for name in ("git", "figures"):
        if not isinstance(manifest.get(name) or {}, dict):
            yield f"the provenance record has no {name!r}"
            return
    recorded = manifest.get("figures") or {}
    for number, digest in recorded.items():
        found = figures.get(int(number)) if str(number).isdigit() else None
        if found is None:
            yield f"Figure {number} is in the provenance record but not in the notebook"
        elif found and found != digest:
            yield (
                f"Figure {number} is stale: sha256 {found[:12]}, "
                f"the provenance record has {str(digest)[:12]}"
            )


def check_together(sources, allow_mixed=False):
    """Raise ReportError unless the notebooks belong in one report.

    Figures 1 to 6 must be there once each, no number twice, and all notebooks from one git
    revision; notebooks on the same dataset must have read the same images. `allow_mixed` lifts the
    last two rules, for looking at unfinished work.
    """
    faults = []
    for kind in ("figures", "tables"):
        count = Counter(number for source in sources for number in getattr(source, kind))
        for number in sorted(number for number, times in count.items() if times > 1):
            where = ", ".join(str(s.path) for s in sources if number in getattr(s, kind))
            faults.append(f"{where}: {kind[:-1].capitalize()} {number} appears twice")
        if kind == "figures":
            names = ", ".join(str(source.path) for source in sources)
            faults += [
                f"{names}: Figure {number} is missing"
                for number in REQUIRED_FIGURES
                if number not in count
            ]
    for first, second in combinations(sources, 2):
        pair = f"{first.path}, {second.path}"
        one, other = first.manifest, second.manifest
        if one["notebook"] == other["notebook"]:
            faults.append(f"{pair}: the same notebook {one['notebook']!r} twice")
        if allow_mixed:
            continue
        revisions = [(m.get("git") or {}).get("revision") for m in (one, other)]
        if revisions[0] != revisions[1]:
            faults.append(
                f"{pair}: from different revisions, {revisions[0]} and {revisions[1]}; "
                "run them again, or pass --allow-mixed"
            )
        if _different_images(one["data"], other["data"]):
            faults.append(
                f"{pair}: both say {one['data']['name']} but read different images; "
                "run them again, or pass --allow-mixed"
            )
    if faults:
        raise ReportError(faults)


def _different_images(one, other):
    """Whether two runs on a set of the same name saw different images.

    Runs with another number of images (train_limit) differ by intention, so only sets of the same
    size are compared.
    """
    if one["name"] != other["name"]:
        return False
    if one["real"] != other["real"]:
        return True
    return any(
        one[part] == other[part]
        and one["sha256"].get(f"{part}-images") != other["sha256"].get(f"{part}-images")
        for part in ("train", "test")
    )
