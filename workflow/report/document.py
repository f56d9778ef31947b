"""An executed notebook as a list of items.

An item is what a reader sees as one thing: a text, a listing, what code printed, a figure, a
table. typeset.py turns the items of the whole report into HTML or PDF.
"""

import re

from nbconvert.filters import strip_ansi

from workflow.report.check import picture_of, picture_size

TEXT_WIDTH, FIGURE_HEIGHT = 6.2, 5.4  # inches of a page that a figure may fill

# Control characters, separators that end a line for Typst, marks that turn the direction of
# writing, halves of characters.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_NUMBER = re.compile(
    r"[-+−–—~≈<>≤≥$\\]*\d[\d.,   ]*([eE][-+]?\d+)?( ?(%|s|ms|MB|kB|x|×))?"
    r"( ?(±|\+-|\\pm) ?\d[\d.,]*%?)?\$?"
)
_BLANK = {"", "-", "–", "—", "n/a"}
_ARROWS = {"↑", "↓", "→", "≈", "=", "✓", "✗"}
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
    return {
        "kind": "Text",
        "text": _formulas_on_one_line(clean(text)),
        "at": at,
        "notebook": notebook,
    } | rest


def table_item(report, at, notebook=""):
    """An item of the metadata of a table: label, caption, columns, rows."""
    columns, rows = ([one_line(text) for text in report["columns"]], report["rows"])
    rows = [[_minus(one_line(text)) for text in row] for row in rows]
    wordy = max(len(text) for row in rows for text in row) > 40
    return {
        "kind": "Table",
        "at": at,
        "notebook": notebook,
        "label": report["label"],
        "caption": one_line(report["caption"]),
        "columns": [_minus(text) for text in columns],
        "rows": rows,
        "align": ["Left", *(_alignment(cells) for cells in list(zip(*rows, strict=True))[1:])],
        "size": "wide" if len(columns) > 5 else "narrow" if len(columns) < 4 and not wordy else "",
    }


def items_of(nb, path):
    """The items of one notebook, in order. What it says of its provenance is in the appendix."""
    notebook, heading = one_line(path.stem), ""
    for number, cell in enumerate(nb.cells, 1):
        tags, at = cell.metadata.get("tags", []), f"{notebook}, cell {number}"
        if "remove-cell" in tags:
            continue
        if cell.cell_type == "markdown":
            heading = ([heading] + re.findall(r"^#+ +(.+)", cell.source, re.M))[-1]
            yield text_item(cell.source, at, notebook)
        if cell.cell_type != "code":
            continue
        place, source = {"at": at, "notebook": notebook}, clean(cell.source).strip("\n")
        if source.strip() and "remove-input" not in tags:
            code = place | {"kind": "Code", "language": "python", "text": source}
            hidden = "hide-input" in tags
            if hidden or "parameters" in tags or "injected-parameters" in tags:
                code |= {
                    "title": _code_title(source, tags, heading),
                    "folded": True,
                    "hidden": hidden,
                }
            yield code
        for output in cell.outputs:
            yield from _output(output, place)


def _code_title(source, tags, heading):
    if "injected-parameters" in tags:
        return "Parameters of this run"
    if "parameters" in tags:
        return "Parameters and their defaults"
    comment = re.match(r"# *(.+)", source)
    return one_line(f"Code: {(comment[1] if comment else heading).rstrip('. ')}")


def _output(output, place):
    printed = place | {"kind": "Code"}
    if output.output_type == "stream":
        yield printed | {"language": output.name, "text": clean(output.text).rstrip("\n")}
        return
    data, report = output.data, output.metadata.get("report", {})
    kind = report.get("kind")
    if kind == "figure":
        yield _figure(data, report, place)
    elif kind == "table":
        yield table_item(report, **place)
    elif kind == "source":
        code = {"language": "python", "text": clean(data["text/plain"]).strip("\n")}
        yield printed | code | {"title": one_line(report["title"])}
    elif kind in ("text", "abstract"):
        yield text_item(data["text/markdown"], **place, abstract=kind == "abstract")
    elif kind is None and "text/plain" in data:
        yield printed | {"language": "result", "text": clean(data["text/plain"]).rstrip("\n")}


def _figure(data, report, place):
    mime, content = picture_of(data)
    width, height = picture_size(mime, content)
    inches = report["width"]
    return place | {
        "kind": "Figure",
        "label": report["label"],
        "caption": one_line(report["caption"]),
        "alt": one_line(report["alt"]),
        "picture": (mime, content),
        "width": width,
        "height": height,
        "inches": f"{inches:.2f}",
        "page_inches": round(min(inches, TEXT_WIDTH, FIGURE_HEIGHT * width / height), 3),
    }


def _formulas_on_one_line(text):
    """Markdown in which no line of a formula begins with -, + or =, a list or a heading else."""
    return _DISPLAY.sub(lambda found: found[0] if found[1] else found[0].replace("\n", " "), text)


def _minus(text):
    """A cell of a table with true minus signs; code and formulas stay as they are."""
    return text if "`" in text or "$" in text else _MINUS.sub("−", text)


def _alignment(cells):
    """Numbers to the right, a column of arrows to the middle, words to the left."""
    cells = {cell.strip() for cell in cells}
    if cells - _BLANK and cells - _BLANK <= _ARROWS:
        return "Center"
    return "Right" if all(cell in _BLANK or _NUMBER.fullmatch(cell) for cell in cells) else "Left"
