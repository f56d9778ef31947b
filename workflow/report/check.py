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
    if not content:
        raise ValueError("0 bytes")
    if mime == "image/svg+xml":
        return _svg_size(content)
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"not a PNG, starts {content[:4].hex()}")
    if content[-8:-4] != b"IEND":
        raise ValueError(f"PNG cut short after {len(content)} bytes")
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            picture.load()
            return picture.size
    except Exception as error:  # Pillow meets damage with errors of many kinds
        raise ValueError(f"damaged PNG of {len(content)} bytes: {error}") from None


def _svg_size(content):
    if b"<!ENTITY" in content or b"xml-stylesheet" in content:
        raise ValueError("unsafe SVG: entities or style sheets from elsewhere")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ValueError(f"broken SVG: {error}") from None
    for element in root.iter():
        tag = _local_name(element.tag)
        if tag.lower() in {"script", "foreignobject", "iframe", "handler", "listener"}:
            raise ValueError(f"unsafe SVG: <{tag}>")
        for name, value in [*element.attrib.items(), ("", element.text or "")]:
            name = _local_name(name)
            outside = name in ("href", "src") and not re.match(r"#|data:image/(png|jpeg);", value)
            outside |= bool(re.search(r"url\(\s*['\"]?(?!#)|@import|javascript:", value, re.I))
            if outside or name.lower().startswith("on"):
                raise ValueError(f"unsafe SVG: {name or tag}={value.strip()[:40]!r}")
    box = (root.get("viewBox") or "").replace(",", " ").split()
    try:
        width, height = (round(float(number)) for number in box[2:4])
    except (ValueError, OverflowError):
        width = height = 0
    if _local_name(root.tag) != "svg" or not (0 < width < 1e5 and 0 < height < 1e5):
        raise ValueError("an SVG without a viewBox")
    return width, height


def _local_name(name):
    return str(name).rpartition("}")[2]


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
        faults = _execution_faults(nb)
        labels = set()
        for number, cell in enumerate(nb.cells, 1):
            for output in cell.get("outputs", []):
                for fault in _output_faults(output, labels, figures, manifests):
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


def _output_faults(output, labels, figures, manifests):
    """Faults of one output; what is right is added to the three collections."""
    data, report = output.get("data", {}), output.get("metadata", {}).get("report")
    if report is None:
        if any(mime.startswith("image/") for mime in data):
            yield "a picture without label, caption and alt text"
        return
    kind, label = report["kind"], report.get("label")
    name, needed = f"{kind} {label}" if label else kind, KINDS[kind].get("needs")
    if needed and needed not in data:
        yield f"{name} has no {needed}"
    if wrong := [f"{name}: {fault}" for fault in _unlike({"$ref": f"#/$defs/{kind}"}, report)]:
        yield from wrong
        return
    if kind == "provenance":
        manifests.append(report["manifest"])
    if kind not in ("figure", "table"):
        return
    if label in labels:
        yield f"the label {label} is there twice"
    labels.add(label)
    if kind == "table":
        for index, row in enumerate(report["rows"], 1):
            if len(row) != len(report["columns"]):
                columns = len(report["columns"])
                yield f"{name}, row {index} has {len(row)} cells for {columns} columns"
        return
    try:
        mime, content = picture_of(data)
        picture_size(mime, content)
    except ValueError as error:
        figures[label] = None
        yield f"{name}: {error}"
        return
    figures[label] = hashlib.sha256(content).hexdigest()
    if figures[label] != report["sha256"]:
        yield (
            f"{name} is not the picture that was drawn: sha256 {figures[label][:12]}, "
            f"recorded {report['sha256'][:12]}"
        )


def _manifest_faults(manifests, figures):
    if len(manifests) != 1:
        yield f"{len(manifests) or 'no'} provenance records, expected 1"
        return
    for label, digest in manifests[0].get("figures", {}).items():
        found = figures.get(label, "")
        if found == "":
            yield f"figure {label} is in the provenance record but not in the notebook"
        elif found and found != digest:
            yield (
                f"figure {label} is stale: sha256 {found[:12]}, "
                f"the provenance record has {digest[:12]}"
            )


def check_together(sources, allow_mixed=False):
    """Raise ReportError unless the notebooks belong in one report.

    Figures 1 to 6 must be there once each and no notebook twice; notebooks on the same dataset
    must have read the same images, unless `allow_mixed`, for looking at unfinished work.
    """
    faults = []
    for label in REQUIRED_FIGURES:
        holders = [str(source.path) for source in sources if label in source.figures]
        if len(holders) > 1:
            faults.append(f"{', '.join(holders)}: {label} appears twice")
        elif not holders:
            faults.append(f"{', '.join(str(s.path) for s in sources)}: {label} is missing")
    for first, second in combinations(sources, 2):
        pair = f"{first.path}, {second.path}"
        one, other = first.manifest, second.manifest
        if one["notebook"] == other["notebook"] or first.path.stem == second.path.stem:
            faults.append(f"{pair}: the same notebook {one['notebook']!r} twice")
        if not allow_mixed and _different_images(one["data"], other["data"]):
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
