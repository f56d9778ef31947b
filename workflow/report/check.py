"""Read executed notebooks and refuse whatever must not reach a report.

Every fault becomes one line that starts with the notebook's path; all faults are collected before
`ReportError` is raised, so that one look shows everything that is wrong.
"""

import base64
import hashlib
import io
import json
import re
from itertools import combinations
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import nbformat
from jsonschema import Draft202012Validator
from PIL import Image

REQUIRED_FIGURES = tuple(f"figure-{number}" for number in range(1, 7))
SCHEMA = json.loads((Path(__file__).parent / "schema.json").read_text(encoding="utf-8"))
KINDS = SCHEMA["$defs"]
# What matplotlib draws with. Nothing here runs; `_svg_size` sees to it that nothing is fetched.
SVG_TAGS = set(
    "svg g defs path rect circle line polyline polygon ellipse use clipPath text tspan image "
    "style title desc metadata RDF Work type date format creator Agent".split()
)


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
    figures: dict[str, str]  # label -> SHA-256 of the picture


def picture_of(data):
    """(mime type, bytes) of the picture among a display's data; ValueError if it is damaged."""
    if "image/svg+xml" in data:
        return "image/svg+xml", data["image/svg+xml"].encode()
    return "image/png", base64.b64decode(data.get("image/png", ""))


def picture_size(mime, content):
    """(width, height) of a whole PNG or a harmless SVG; ValueError says what is wrong."""
    if mime == "image/svg+xml":
        return _svg_size(content)
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            picture.load()
            return picture.size
    except Exception:  # Pillow meets damage with errors of many kinds
        start = f", starts {content[:4].hex()}" if content else ""
        raise ValueError(f"no whole PNG: {len(content)} bytes{start}") from None


def _svg_size(content):
    try:
        root = ElementTree.fromstring(content)
        box = [round(float(number)) for number in root.get("viewBox").split()]
        if b"<!ENTITY" in content or not all(0 < length < 1e5 for length in box[2:]):
            raise ValueError
        _, _, width, height = box
    except (ElementTree.ParseError, AttributeError, ValueError, OverflowError):
        raise ValueError("no SVG with a viewBox") from None
    for element in root.iter():
        tag = str(element.tag).rpartition("}")[2]
        if tag not in SVG_TAGS:
            raise ValueError(f"unsafe SVG: <{tag}>")
        for name, value in [*element.attrib.items(), ("", element.text or "")]:
            name = name.rpartition("}")[2]
            fetches = name == "href" and not re.match("#|data:image/png;", value)
            fetches |= bool(re.search(r"url\((?!#)|@import", value, re.I))
            if fetches or name.lower().startswith("on"):
                raise ValueError(f"unsafe SVG: {name or tag}={value.strip()[:40]!r}")
    return width, height


def read(path):
    """Source of an executed notebook. Raises ReportError naming the path and each fault.

    The file may be a stranger's: whatever JSON it holds, the answer is a Source or that error.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise OSError(0, "not a file")
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
    faults, figures, manifests = list(_unlike(SCHEMA, nb)), {}, []
    if not faults:
        faults = list(_execution_faults(nb))[:1]  # the rest follows from the first
        for number, cell in enumerate(nb.cells, 1):
            for output in cell.get("outputs", []):
                for fault in _output_faults(output, figures, manifests):
                    faults.append(f"cell {number}: {fault}")
        faults += _manifest_faults(manifests, figures)
    if faults:
        raise ReportError(f"{path}: {fault}" for fault in faults)
    return Source(path, nb, manifests[0], figures)


def _no_number(text):
    raise ValueError(f"{text} is no number")


def _unlike(part, value):
    """Where a value differs from a part of the schema, one line each."""
    for error in Draft202012Validator({"$defs": KINDS} | part).iter_errors(value):
        steps = (step + 1 if isinstance(step, int) else step for step in error.absolute_path)
        where = " ".join(map(str, steps)).replace("cells ", "cell ")
        yield f"{where}{': ' if where else ''}{error.message[:100]}"


def _execution_faults(nb):
    """What shows that the notebook did not run from its first cell to its last."""
    last = 0
    for number, cell in enumerate(nb.cells, 1):
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            if output.output_type == "error":
                value = (output.evalue.strip().splitlines() or [""])[0]
                yield f"cell {number} failed: {output.ename}: {value}"
        status = cell.metadata.get("papermill", {}).get("status", "completed")
        count = cell.execution_count
        if status != "completed":
            yield f"cell {number} is {status}: the run did not finish"
        elif cell.source.strip() and count is None:
            yield f"cell {number} was never run"
        elif count is not None and count <= last:
            yield f"cell {number} was run out of order (In [{count}] after In [{last}])"
        last = count or last
    if nb.metadata.get("papermill", {}).get("exception"):
        yield "the run ended with an exception"


def _output_faults(output, figures, manifests):
    """Faults of one output; figures and manifests are collected on the way."""
    data, report = output.get("data", {}), output.get("metadata", {}).get("report")
    if report is None:
        if any(mime.startswith("image/") for mime in data):
            yield "a picture without label, caption and alt text; run.figure shows one with them"
        return
    kind, label = report["kind"], report.get("label")
    name, needed = f"{kind} {label}" if label else kind, KINDS[kind].get("needs")
    if needed and needed not in data:
        yield f"{name} has no {needed}"
    if wrong := list(_unlike({"$ref": f"#/$defs/{kind}"}, report)):
        yield from (f"{name}: {fault}" for fault in wrong)
    elif kind == "provenance":
        manifests.append(report["manifest"])
    elif kind == "table":
        columns = len(report["columns"])
        for index, row in enumerate(report["rows"], 1):
            if len(row) != columns:
                yield f"{name}, row {index} has {len(row)} cells for {columns} columns"
    elif kind == "figure":
        try:
            mime, content = picture_of(data)
            figures[label] = hashlib.sha256(content).hexdigest()
            picture_size(mime, content)
        except ValueError as error:
            figures[label] = None  # one fault is enough
            yield f"{name}: {error}"


def _manifest_faults(manifests, figures):
    if len(manifests) != 1:
        yield f"{len(manifests) or 'no'} provenance records, expected 1"
        return
    recorded = manifests[0]["figures"]
    for label in dict.fromkeys([*figures, *recorded]):
        shown, drawn = figures.get(label, "none"), recorded.get(label, "none")
        if shown is not None and shown != drawn:
            yield (
                f"figure {label} is not the one that was drawn: "
                f"sha256 {shown[:12]}, the provenance record has {drawn[:12]}"
            )


def check_together(sources, partial=False):
    """Raise ReportError unless the notebooks belong in one report.

    No notebook may be there twice. Unless `partial`, for looking at unfinished work, Figures 1 to
    6 must be there once each, and notebooks on the same dataset must have read the same images.
    """
    faults = []
    for label in REQUIRED_FIGURES:
        holders = [str(source.path) for source in sources if label in source.figures]
        if len(holders) > 1:
            faults.append(f"{', '.join(holders)}: {label} appears twice")
        elif not holders and not partial:
            faults.append(f"{', '.join(str(s.path) for s in sources)}: {label} is missing")
    for first, second in combinations(sources, 2):
        pair = f"{first.path}, {second.path}"
        one, other = first.manifest, second.manifest
        if one["notebook"] == other["notebook"] or first.path.stem == second.path.stem:
            faults.append(f"{pair}: the same notebook {one['notebook']!r} twice")
        if not partial and _different_images(one["data"], other["data"]):
            faults.append(f"{pair}: both say {one['data']['name']} but read different images")
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
