"""The cells of an executed notebook as items.

An item is what a reader sees as one thing: a text, a listing, what code printed, a figure, a
table. typeset.py turns the items of the whole report into HTML or PDF. What must not reach a
report is a ValueError that says why.
"""

import base64
import hashlib
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

from jsonschema import Draft202012Validator
from nbconvert.filters import strip_ansi
from PIL import Image

TEXT_WIDTH, FIGURE_HEIGHT = 6.2, 4.7  # inches of a page that a figure may fill
LOG = 12  # lines that are printed in full
DEFAULTS = "Parameters and their defaults"  # the title of their cell
SCHEMA = json.loads((Path(__file__).parent / "schema.json").read_text(encoding="utf-8"))

# Control characters, separators that end a line for Typst, marks that turn the direction of
# writing, halves of characters.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_NUMBER = re.compile(
    r"[-+−–—~≈<>≤≥$\\]*\d[\d.,   ]*([eE][-+]?\d+)?( × \d+)*( ?(%|s|min|ms|MB|kB|x|×))?"
    r"( ?(±|\+-|\\pm) ?(< )?\d[\d.,]*%?)?\$?( ≠)?"
)
_BLANK = {"", "-", "–", "—", "n/a"}
_ARROWS = {"↑", "↓", "→", "≈", "=", "✓", "✗"}
_IMPORTS = re.compile("(from|import) ")
# A hyphen that stands for minus: before a number, or before the name that a label begins with.
_MINUS = re.compile(r"(?<![^\s(\[±])-(?=\.?\d)|^-(?=[A-Za-z])")
# Code, which stays, or mathematics between dollar signs.
_DISPLAY = re.compile(r"^ *(`{3,}|~{3,}).*?(?:^ *\1|\Z)|^[ \t]*\$\$.*?\$\$", re.M | re.S)


def clean(text):
    """Text without terminal escapes and control characters; line ends are \\n."""
    text = strip_ansi(str(text)).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", text)


def one_line(text):
    """The same on one line."""
    return " ".join(clean(text).split())


def text_item(text, at, notebook="", **rest):
    """An item of Markdown. `at` is where it stands, for messages; `notebook` owns its labels."""
    # no line of a formula begins with -, + or =, which would be a list or a heading
    text = _DISPLAY.sub(
        lambda found: found[0] if found[1] else found[0].replace("\n", " "), clean(text)
    )
    return {"kind": "Text", "text": text, "at": at, "notebook": notebook} | rest


def table_item(report, at, notebook=""):
    """An item of the metadata of a table: label, caption, columns, rows."""
    columns = [_minus(one_line(text)) for text in report["columns"]]
    rows = [[_minus(one_line(text)) for text in row] for row in report["rows"]]
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            raise ValueError(f"row {number} has {len(row)} cells for {len(columns)} columns")
    wordy = max(len(text) for row in rows for text in row) > 40
    return {
        "kind": "Table",
        "at": at,
        "notebook": notebook,
        "label": report["label"],
        "caption": one_line(report["caption"]),
        "columns": columns,
        "rows": rows,
        "align": ["Left", *(_alignment(cells) for cells in list(zip(*rows, strict=True))[1:])],
        "widths": [0.28, 0.72] if wordy and len(columns) == 2 else [],
        "size": "wide" if len(columns) > 5 else "narrow" if len(columns) < 4 and not wordy else "",
    }


def items_of(nb, notebook):
    """(items, faults) of a notebook's cells, in order; `notebook` is its name.

    The record of the run is an item too, of the kind Provenance.
    """
    items, faults, heading = [], [], ""
    for number, cell in enumerate(nb.cells, 1):
        tags = cell.metadata.get("tags", [])
        place = {"at": f"{notebook}, cell {number}", "notebook": notebook}
        if cell.cell_type == "markdown" and "remove-cell" not in tags:
            heading = ([heading] + re.findall(r"^#+ +(.+)", cell.source, re.M))[-1]
            items.append(text_item(cell.source, **place))
        if cell.cell_type != "code" or "remove-cell" in tags:
            continue
        shown = []
        for output in cell.outputs:
            try:
                shown += _output(output, place)
            except ValueError as fault:
                faults.append(f"cell {number}: {fault}")
        items += _code(cell.source, tags, heading, place, shown)
        items += shown
    return items, faults


def _code(source, tags, heading, place, shown):
    """The code of a cell, if it is shown. `heading` is the last one above it.

    Folded code takes what it printed out of `shown`, and is named after its figures and tables.
    """
    source = clean(source).strip("\n")
    if not source.strip() or "remove-input" in tags:
        return
    code = place | {"kind": "Code", "language": "python", "text": source}
    comment = re.match(r"# *(.+)", source)
    about = comment[1] if comment else "imports" if _IMPORTS.match(source) else heading
    titles = {
        "injected-parameters": "Parameters of this run",
        "parameters": DEFAULTS,
        "hide-input": f"Code: {about.rstrip('. ')}",
    }
    if title := next((titles[tag] for tag in titles if tag in tags), None):
        printed = [item for item in shown if item.get("language") == "stdout"]
        shown[:] = [item for item in shown if item not in printed]
        code |= {"title": one_line(title), "folded": True}
        code["printed"] = "\n".join(item["text"] for item in printed)
        code["labels"] = [] if comment else [it["label"] for it in shown if "label" in it]
    yield code


def _output(output, place):
    """The item that an output becomes, if any. ValueError: it must not reach a report."""
    printed = place | {"kind": "Code"}
    if output.output_type == "stream":
        lines = clean(output.text).rstrip("\n").split("\n")
        if len(lines) > LOG:  # of a long one the beginning and the end; the notebook has it whole
            lines = [*lines[:3], "⋮", *lines[-3:]]
        yield printed | {"language": output.name, "text": "\n".join(lines)}
        return
    data, report = output.data, output.metadata.get("report")
    kind = _kind(report, data)
    if kind == "figure":
        yield place | {"kind": "Figure"} | _figure(report, data)
    elif kind == "table":
        yield table_item(report, **place)
    elif kind == "source":
        code = {"language": "python", "text": _held(data, "text/plain").strip("\n")}
        yield printed | code | {"title": one_line(report["title"])}
    elif kind in ("text", "abstract"):
        yield text_item(_held(data, "text/markdown"), **place, abstract=kind == "abstract")
    elif kind == "provenance":
        yield {"kind": "Provenance", "manifest": report["manifest"]}
    elif kind is None and "text/plain" in data:
        text = _held(data, "text/plain").rstrip("\n")
        yield printed | {"language": "result", "text": text}


def _kind(report, data):
    """The kind of a display, None of one without metadata, which may be no picture."""
    if report is None:
        if any(mime.startswith("image/") for mime in data):
            raise ValueError(
                "a picture without label, caption and alt text; run.figure shows one with them"
            )
        return None
    kind = str(report.get("kind")) if isinstance(report, dict) else ""
    if kind not in SCHEMA["kinds"]:
        raise ValueError(f"metadata.report of no known kind: {str(report)[:60]}")
    rules = Draft202012Validator({"$defs": SCHEMA["$defs"]} | SCHEMA["kinds"][kind])
    if error := next(rules.iter_errors(report), None):
        where = " ".join(map(str, [kind, report.get("label", ""), *error.absolute_path]))
        raise ValueError(f"{where}: {error.message[:100]}")
    return kind


def _held(data, mime):
    if mime not in data:
        raise ValueError(f"a display without {mime}")
    return clean(data[mime])


def _figure(report, data):
    mime = "image/svg+xml" if "image/svg+xml" in data else "image/png"
    content = data.get(mime, "")
    content = content.encode() if "svg" in mime else base64.b64decode(content)
    width, height = picture_size(mime, content)
    inches = report["width"]
    return {
        "label": report["label"],
        "caption": one_line(report["caption"]),
        "alt": one_line(report["alt"]),
        "picture": (mime, content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "width": width,
        "height": height,
        "inches": f"{inches:.2f}",
        "page_inches": round(min(inches, TEXT_WIDTH, FIGURE_HEIGHT * width / height), 3),
    }


def picture_size(mime, content):
    """(width, height) of a whole PNG or SVG; ValueError for any other bytes.

    An SVG that would run or fetch something does neither: a page shows it as an image.
    """
    try:
        if "svg" in mime:
            box = ElementTree.fromstring(content).get("viewBox").split()
            width, height = (round(float(length)) for length in box[2:])
            if not (0 < width < 1e5 and 0 < height < 1e5):
                raise ValueError
            return width, height
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            picture.load()
            return picture.size
    except Exception:  # damage is met with errors of many kinds
        raise ValueError(f"no whole picture: {len(content)} bytes of {mime}") from None


def _minus(text):
    """A cell of a table with true minus signs; code and formulas stay as they are."""
    return text if "`" in text or "$" in text else _MINUS.sub("−", text)


def _alignment(cells):
    """A column of numbers, but for a few cells, to the right, arrows to the middle, words left."""
    filled = [cell.strip() for cell in cells if cell.strip() not in _BLANK]
    if filled and _ARROWS.issuperset(filled):
        return "Center"
    numbers = sum(bool(_NUMBER.fullmatch(cell)) for cell in filled)
    return "Right" if 3 * numbers >= 2 * len(filled) else "Left"
