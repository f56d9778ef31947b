"""An executed notebook as a list of items, and pandoc's translation of items to HTML or Typst.

An item is what a reader sees as one thing: a text, a listing, what code printed, a figure, a
table. report.lua reads them all at once, so that headings, figures, tables and citations are
numbered over the whole document and both outputs read the same Markdown.
"""

import base64
import binascii
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pypandoc
from nbconvert.filters import strip_ansi

from workflow.report.check import ReportError, picture_of, picture_size

HERE = Path(__file__).parent
TEXT_WIDTH, FIGURE_HEIGHT = 6.2, 3.8  # inches of a page that a figure may fill
INLINE_HEIGHT = 2.6  # inches; a lower figure stands where it is called, a higher one may float
CODE_COLUMNS = 99  # characters that fit on a line of code in the PDF

# Control characters, separators that end a line for Typst, marks that turn the direction of
# writing, halves of characters, and the two private characters that mark pictures.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ue000\ue001]"
)
_NUMBER = re.compile(
    r"[-+−–—~≈<>≤≥$\\]*\d[\d.,   ]*([eE][-+]?\d+)?( ?(%|s|ms|MB|kB|x|×))?"
    r"( ?(±|\+-|\\pm) ?\d[\d.,]*%?)?\$?"
)
_BLANK = {"", "-", "–", "—", "n/a"}
_ARROWS = {"↑", "↓", "→", "≈", "=", "✓", "✗"}
# A hyphen that stands for minus: before a number, or before the name that a label begins with.
_MINUS = re.compile(r"(?<![^\s(\[±])-(?=\.?\d)|^-(?=[A-Za-z])")
# Code, which stays; mathematics between dollar signs; a bare LaTeX environment.
_DISPLAY = re.compile(
    r"^ *(`{3,}|~{3,}).*?(?:^ *\1|\Z)|^[ \t]*\$\$.*?\$\$"
    r"|^[ \t]*\\begin\{(align|gather|equation)(\*?)\}(?P<tex>.*?)\\end\{\2\3\}",
    re.M | re.S,
)
_ENVIRONMENT = {"align": "aligned", "gather": "gathered"}


def clean(text):
    """Text without terminal escapes and control characters; line ends are \\n."""
    text = strip_ansi(str(text)).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", text)


def one_line(text):
    """The same on one line."""
    return " ".join(clean(text).split())


def wrap(text, columns=CODE_COLUMNS):
    """Break long lines, at a space if there is one near: Typst never breaks a word of code."""
    lines = []
    for line in text.expandtabs(4).split("\n"):
        indent = " " * min(len(line) - len(line.lstrip()) + 4, columns // 2)
        while len(line) > columns:
            cut = line.rfind(" ", columns * 2 // 3, columns) + 1 or columns
            lines.append(line[:cut])
            line = indent + line[cut:]
        lines.append(line)
    return "\n".join(lines)


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
        "label": report.get("label"),
        "caption": one_line(report.get("caption", "")),
        "columns": [_minus(text) for text in columns],
        "rows": rows,
        "align": ["Left", *(_alignment(cells) for cells in list(zip(*rows, strict=True))[1:])],
        "size": "wide" if len(columns) > 5 else "narrow" if len(columns) < 4 and not wordy else "",
    }


def items_of(nb, path, single=False):
    """The items of one notebook, in order.

    `single`: the notebook is the whole document; else the report's front repeats its abstract and
    the appendix its provenance, and neither is printed here.
    """
    notebook = one_line(path.stem)
    for number, cell in enumerate(nb.cells, 1):
        tags, at = cell.metadata.get("tags", []), f"{notebook}, cell {number}"
        place = {"at": at, "notebook": notebook}
        if "remove-cell" in tags:
            continue
        if cell.cell_type == "markdown":
            attached = cell.get("attachments", {})
            yield text_item(cell.source, at, notebook, folder=path.parent, attached=attached)
        if cell.cell_type != "code":
            continue
        source = clean(cell.source).strip("\n")
        if source.strip() and "remove-input" not in tags:
            hidden = "hide-input" in tags
            title = _code_title(source, tags)
            yield place | {
                "kind": "Code",
                "language": "python",
                "text": source,
                "hidden": hidden,
                "folded": hidden or title.startswith("Parameters"),
                "title": title if hidden or title.startswith("Parameters") else None,
            }
        yield from _outputs(cell, place | {"folder": path.parent}, single)


def _code_title(source, tags):
    if "injected-parameters" in tags:
        return "Parameters of this run"
    if "parameters" in tags:
        return "Parameters and their defaults"
    comment = re.search(r"^# *(.+)", source, re.M)
    return comment[1].rstrip(". ") if comment else "Code"


def _outputs(cell, place, single):
    for output in cell.outputs:
        if output.output_type == "stream":
            yield _stream(output.name, output.text, place)
        elif output.output_type == "error":
            text = "\n".join(output.traceback) or f"{output.ename}: {output.evalue}"
            yield _stream("stderr", text, place)
        else:
            data, report = output.data, output.metadata.get("report") or {}
            kind = report.get("kind")
            if kind == "caption" or kind == "provenance" and not single:
                continue
            if kind == "table":
                yield table_item(report, **{k: place[k] for k in ("at", "notebook")})
            elif kind == "source":
                code, title = clean(data["text/plain"]).strip("\n"), one_line(report["title"])
                yield place | {"kind": "Code", "language": "python", "text": code, "title": title}
            elif "image/png" in data or "image/svg+xml" in data:
                yield _figure(data, report, place)
            elif "text/markdown" in data:
                front = {"abstract": True} if kind == "abstract" and not single else {}
                yield text_item(data["text/markdown"], **place, **front)
            elif "text/plain" in data:
                yield _stream("result", data["text/plain"], place)


def _stream(name, text, place):
    return place | {"kind": "Code", "language": name, "text": clean(text).rstrip("\n")}


def _figure(data, report, place):
    try:
        mime, content = picture_of(data)
        width, height = picture_size(mime, content)
    except ValueError as error:
        raise ReportError([f"{place['at']}: damaged picture: {error}"]) from None
    inches = report.get("width", width / 100)
    paper = round(min(inches, TEXT_WIDTH, FIGURE_HEIGHT * width / height), 3)
    return place | {
        "kind": "Figure",
        "label": report.get("label"),
        "caption": one_line(report.get("caption", "")),
        "alt": one_line(report.get("alt") or "Picture without a description"),
        "picture": (mime, content),
        "width": width,
        "height": height,
        "inches": f"{inches:.2f}",
        "page_inches": paper,
        "floats": "label" in report and paper * height / width > INLINE_HEIGHT,
    }


def translate(items, front, names, target, warn=None):
    """(markup, {file name: bytes}) of items, for `target` "html5" or "typst".

    `front` goes on the title page, `names` maps names of notebooks in links to those in items.
    Faults raise ReportError, one line each, or go to `warn` if that is given.
    """
    pictures, faults, marks = {}, [], []
    html = target == "html5"
    sent = []
    for item in items:
        if not html and item.get("hidden"):
            continue
        plain = {k: v for k, v in item.items() if k not in _LOCAL and v is not None}
        if "picture" in item:
            plain["src"] = _source(*item["picture"], pictures, html)
        if not html and item["kind"] == "Code":
            plain["text"] = wrap(item["text"])
        sent.append((item, plain))
    job = {"target": "html" if html else target, "front": front, "names": names}
    job |= {"single": not front, "items": [plain for _, plain in sent]}
    markup, found = _pandoc(job, target)
    for fault in found:
        item = sent[fault["item"]][0]
        text = fault.get("text")
        if not text:
            mark, text = _local(fault, item, pictures, html)
            marks.append(mark)
        if text:
            faults.append(f"{item['at']}: {one_line(text)}")
    for line in faults if warn else ():
        warn(line)
    if faults and not warn:
        raise ReportError(faults)
    markup = re.sub("\ue000([0-9]+)\ue001", lambda mark: marks[int(mark[1]) - 1], markup)
    if html:  # no line begins with the comma after a formula
        formula = r'(<math display="inline"(?:(?!</math>).)*</math>[,.;:!?)]+)'
        markup = re.sub(formula, r'<span class="together">\1</span>', markup, flags=re.S)
    return markup, pictures


_LOCAL = {"picture", "folder", "attached", "hidden"}  # what pandoc need not know


def _pandoc(job, target):
    try:
        command = [pypandoc.get_pandoc_path(), "--from", str(HERE / "report.lua"), "--to", target]
        command += ["--mathml", "--wrap=none", "--template", str(HERE / "templates" / "report")]
        done = subprocess.run(
            command, input=json.dumps(job).encode(), capture_output=True, check=False
        )
    except OSError as error:
        raise ReportError([f"pandoc cannot be run: {_first_line(error)}"]) from None
    lines = done.stderr.decode(errors="replace").splitlines()
    if done.returncode:
        raise ReportError([f"pandoc failed: {_first_line(' '.join(lines))}"])
    found = [json.loads(line[7:]) for line in lines if line.startswith("report:")]
    return done.stdout.decode(), found


def _source(mime, content, pictures, html):
    """Where the markup finds a picture: a data URI, or a file name beside the source."""
    if html:
        return f"data:{mime};base64,{base64.b64encode(content).decode()}"
    name = f"picture-{len(pictures) + 1}.{'svg' if 'svg' in mime else 'png'}"
    pictures[name] = content
    return name


def _local(file, item, pictures, html):
    """(markup of a file that a Markdown text names, what is wrong with it or None)."""
    target, content = file["target"], None
    what = "picture" if file["image"] else "link"
    if target.startswith("attachment:"):
        data = item.get("attached", {}).get(unquote(target[11:]), {})
        content = _decoded(data["image/png"]) if "image/png" in data else None
    elif not re.match(r"[A-Za-z][\w+.-]*:|//", target):
        path = _nearby(Path(item.get("folder", "")), unquote(target.split("#")[0]))
        content = path and path.read_bytes()
    if content is None:
        return "", f"the {what} {target} is not there"
    if not file["image"]:
        return "", None
    try:
        width, height = picture_size("image/png", content)
    except ValueError as error:
        return "", f"the picture {target}: {error}"
    source, alt = _source("image/png", content, pictures, html), one_line(file["alt"])
    if not html:
        alt = alt.replace("\\", "\\\\").replace('"', '\\"')
        return f'#image("{source}", alt: "{alt}", width: {min(width / 100, TEXT_WIDTH)}in);', None
    alt = alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'<img src="{source}" alt="{alt}" width="{width}" height="{height}">', None


def _decoded(text):
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return b""


def _nearby(folder, name):
    """The file of that name beside the notebook or in the project, links followed, or None.

    A report never carries other files away.
    """
    try:
        folder, path = folder.resolve(), (folder / name).resolve()
        there = path.is_file() and any(path.is_relative_to(p) for p in (folder, HERE.parents[1]))
    except (OSError, ValueError):  # no name of a file: too long, or with a NUL
        return None
    return path if there else None


def _formulas_on_one_line(text):
    """Markdown with each displayed formula on one line.

    A line of it that begins with -, + or = would be read as a list or a heading. A bare LaTeX
    environment, which JupyterLab accepts, gets its dollar signs.
    """

    def joined(found):
        if found[1]:
            return found[0]
        tex = found[0]
        if found[2]:
            inner = _ENVIRONMENT.get(found[2])
            tex = found["tex"]
            tex = rf"$$\begin{{{inner}}}{tex}\end{{{inner}}}$$" if inner else f"$${tex}$$"
        return " ".join(tex.split("\n"))

    return _DISPLAY.sub(joined, text)


def _minus(text):
    """A cell of a table with true minus signs; code and formulas stay as they are."""
    return text if "`" in text or "$" in text else _MINUS.sub("−", text)


def _first_line(text):
    return (str(text).strip().splitlines() or ["no message"])[0]


def _alignment(cells):
    """Numbers to the right, a column of arrows to the middle, words to the left."""
    cells = {cell.strip() for cell in cells}
    if cells - _BLANK and cells - _BLANK <= _ARROWS:
        return "Center"
    return "Right" if all(cell in _BLANK or _NUMBER.fullmatch(cell) for cell in cells) else "Left"
