"""Turn a notebook into what the templates print: every Markdown text becomes HTML or Typst.

All texts of a notebook go through one pandoc process (markup.lua), so headings, citations and
cross references are numbered over the whole document, and both outputs read the same Markdown.
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

from workflow.report.check import ReportError, png_size

HERE = Path(__file__).parent
TEXT_WIDTH, FIGURE_HEIGHT = 6.2, 3.8  # inches of a page that a figure may fill
INLINE_HEIGHT = 2.6  # inches; a lower figure stands where it is called, a higher one may float
CODE_COLUMNS = 99  # characters that fit on a line of code in the PDF

# Control characters, separators that end a line for Typst, marks that turn the direction of
# writing, halves of characters, and the two private characters that mark pictures.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ue000\ue001]"
)
_NUMBER = re.compile(
    r"[-+−–—~≈<>≤≥$\\]*\d[\d.,   ]*([eE][-+]?\d+)?( ?(%|s|ms|MB|kB|x|×))?"
    r"( ?(±|\+-|\\pm) ?\d[\d.,]*%?)?\$?"
)
_BLANK = {"", "-", "–", "—", "n/a"}
_ARROWS = {"↑", "↓", "→", "≈", "=", "✓", "✗"}
# A hyphen that stands for minus: before a number, or before the name that a label begins with.
_MINUS = re.compile(r"(?<![^\s(\[±])-(?=\.?\d)|^-(?=[A-Za-z])")


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


def minus(text):
    """A cell of a table with true minus signs; code and formulas stay as they are."""
    text = str(text)
    return text if "`" in text or "$" in text else _MINUS.sub("−", text)


def typst_string(text):
    """A Typst string literal: nothing in it can end the string."""
    text = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + text.replace("\n", "\\n").replace("\t", "    ") + '"'


def prepare(nb, resources, target, strict=False, warn=print):
    """Return (nb, resources) ready for the templates of `target`, "html" or "typst".

    Markdown cells hold markup afterwards, code cells a list `shown` of what follows the code, and
    resources["report"] the title page, headings, references and (for Typst) the picture files.
    With `strict`, whatever is wrong raises ReportError, one line for each fault; without, as for a
    single notebook on nbconvert's command line, the faults are passed to `warn`.
    """
    front = nb.metadata.get("report_front", {})
    single = not front
    name = resources.get("metadata", {}).get("name", "notebook")
    folder = resources.get("metadata", {}).get("path", "")
    job = _Job(target, single)
    for number, cell in enumerate(nb.cells, 1):
        place = cell.metadata.get("report_place", {}) if front else {}
        place = {"notebook": name, "cell": number, "folder": folder} | place
        place["notebook"] = one_line(place["notebook"])
        cell["place"] = place
        if cell.cell_type == "markdown":
            job.add(cell, "source", cell.source, place, attachments=cell.get("attachments"))
        elif cell.cell_type == "code":
            cell["source"] = clean(cell.source)
            cell["shown"] = [item for out in cell.outputs for item in job.show(out, place)]
    answer = job.run()
    problems = [f"{_where(place)}: {text}" for place, text in job.problems]
    if strict and problems:
        raise ReportError(problems)
    for line in problems:
        warn(line)
    resources["report"] = {
        "title": front.get("title") or answer["title"] or name,
        "subtitle": front.get("subtitle", ""),
        "author": clean(front.get("author", "")),
        "notices": [clean(notice) for notice in front.get("notices", [])],
        "facts": [clean(fact) for fact in front.get("facts", [])],
        "single": single,
        "headings": [h for h in answer["headings"] or [] if h["level"] <= 2],
        "references": list(answer["references"] or []),
        "pictures": job.pictures,
    }
    return nb, resources


def _where(place):
    cell = f", cell {place['cell']}" if place.get("cell") else ""
    return f"{place['notebook']}{cell}"


class _Job:
    """What is collected for pandoc, and where each answer goes."""

    def __init__(self, target, single):
        self.target, self.single = target, single
        self.fragments, self.holders, self.places, self.attachments = [], [], [], []
        self.labels, self.notebooks, self.pictures, self.problems = {}, {}, {}, []

    def add(self, holder, key, text, place, inline=False, attachments=None):
        fragment = {"text": clean(text), "inline": inline, "notebook": place["notebook"]}
        if "numbering" in place:
            fragment["numbering"] = place["numbering"]
        if "section" in place:
            self.notebooks[f"{place['notebook']}.ipynb"] = f"section-{place['section']}"
        self.fragments.append(fragment)
        self.holders.append((holder, key))
        self.places.append(place)
        self.attachments.append(attachments or {})

    def show(self, output, place):
        """Yield what the templates print for one output."""
        if output.output_type == "stream":
            yield {"kind": "stream", "name": output.name, "text": clean(output.text).rstrip("\n")}
            return
        if output.output_type == "error":
            text = clean("\n".join(output.traceback)) or f"{output.ename}: {output.evalue}"
            yield {"kind": "stream", "name": "stderr", "text": text}
            return
        data, report = output.data, output.metadata.get("report")
        report = report if isinstance(report, dict) else {}
        if report.get("kind") == "caption":  # for JupyterLab; here the figure prints its own
            return
        if report.get("kind") == "table" and report.get("columns") and report.get("rows"):
            yield self._table(report, place)
        elif "image/png" in data or "image/jpeg" in data:
            yield self._figure(data, report, output.metadata, place)
        elif "text/markdown" in data:
            item = {"kind": "markup"}
            self.add(item, "markup", data["text/markdown"], place)
            yield item
        elif "text/plain" in data:
            yield {"kind": "stream", "name": "result", "text": clean(data["text/plain"])}

    def _label(self, kind, report):
        if type(report.get("number")) is not int:
            return {"kind": kind}
        label = f"{kind}-{report['number']}"
        self.labels[label] = True
        return {"kind": kind, "id": label, "label": f"{kind.capitalize()} {report['number']}"}

    def _figure(self, data, report, metadata, place):
        mime = "image/png" if "image/png" in data else "image/jpeg"
        item = self._label("figure", report)
        of_picture = metadata.get(mime)
        of_picture = of_picture if isinstance(of_picture, dict) else {}
        alt = clean(report.get("alt") or of_picture.get("alt") or "")
        if not alt:
            alt = "Picture without a description"
            self.problems.append((place, "a picture has no alt text"))
        try:
            content = base64.b64decode(data[mime])
            item["width"], item["height"] = png_size(content) if mime == "image/png" else (0, 0)
        except (binascii.Error, ValueError) as error:
            raise ReportError([f"{_where(place)}: damaged picture: {error}"]) from None
        item |= {"alt": alt, "src": self._source(content, mime)}
        inches = report.get("width")
        if not isinstance(inches, int | float) or not inches > 0:
            inches = (item["width"] or 600) / 100
        tall = item["height"] / item["width"] if item["width"] else 1
        item["inches"] = inches
        item["page_inches"] = round(min(inches, TEXT_WIDTH, FIGURE_HEIGHT / tall), 3)
        item["floats"] = bool(report.get("number")) and item["page_inches"] * tall > INLINE_HEIGHT
        if report.get("caption"):
            self.add(item, "caption", report["caption"], place, inline=True)
        return item

    def _table(self, report, place):
        item = self._label("table", report)
        columns, rows = report["columns"], report["rows"]
        item["long"] = len(rows) > 24
        item["wide"] = len(columns) > 5
        item["wordy"] = max(len(str(cell)) for row in rows for cell in row) > 40
        item["align"] = ["left"]
        item["align"] += [_alignment([row[i] for row in rows]) for i in range(1, len(columns))]
        self.add(item, "caption", report.get("caption", ""), place, inline=True)
        item["columns"], item["rows"] = [], []
        for holder, cells in [(item["columns"], columns)] + [(None, row) for row in rows]:
            if holder is None:
                holder = []
                item["rows"].append(holder)
            holder.extend([""] * len(columns))
            for i, text in enumerate(cells):
                self.add(holder, i, minus(text), place, inline=True)
        return item

    def _source(self, content, mime):
        """Where the template finds a picture: a data URI, or a file name beside the source."""
        if self.target == "html":
            return f"data:{mime};base64,{base64.b64encode(content).decode()}"
        name = f"picture-{len(self.pictures) + 1}.{mime.split('/')[1]}"
        self.pictures[name] = content
        return name

    def run(self):
        job = {
            "target": self.target,
            "single": self.single,
            "bibliography": (HERE / "refs.bib").read_text(encoding="utf-8"),
            "labels": self.labels or {"none": False},
            "notebooks": self.notebooks or {"none": False},
            "fragments": self.fragments,
        }
        try:
            process = subprocess.run(
                [pypandoc.get_pandoc_path(), "lua", str(HERE / "markup.lua")],
                input=json.dumps(job).encode(),
                capture_output=True,
                check=False,
            )
        except OSError as error:
            raise ReportError([f"pandoc cannot be run: {_first_line(error)}"]) from None
        if process.returncode:
            message = process.stderr.decode(errors="replace")
            raise ReportError([f"pandoc failed: {_first_line(message)}"])
        answer = json.loads(process.stdout)
        for fault in answer["problems"] or []:
            self.problems.append((self.places[fault["fragment"]], fault["text"]))
        pictures = [self._local(file) for file in answer["files"] or []]
        for (holder, key), text in zip(self.holders, answer["fragments"], strict=True):
            holder[key] = re.sub(
                "\ue000([0-9]+)\ue001", lambda match: pictures[int(match[1])], text
            )
        return answer

    def _local(self, file):
        """Markup of a picture that a Markdown text names; a file that is not there is a fault."""
        target, index = file["target"], file["fragment"]
        place, attached = self.places[index], self.attachments[index]
        content = None
        if target.startswith("attachment:"):
            data = attached.get(unquote(target[11:]), {})
            try:
                content = base64.b64decode(data["image/png"]) if "image/png" in data else None
            except (binascii.Error, ValueError):
                content = b""
        elif not re.match(r"[A-Za-z][\w+.-]*:|//", target):
            path = _nearby(Path(place.get("folder", "")), unquote(target.split("#")[0]))
            if path:
                content = path.read_bytes() if file["image"] else b""
        if content is None:
            what = "picture" if file["image"] else "link"
            self.problems.append((place, f"the {what} {target} is not there"))
            return ""
        if not file["image"]:
            return ""
        try:
            width, height = png_size(content)
        except ValueError as error:
            self.problems.append((place, f"the picture {target}: {error}"))
            return ""
        source, alt = self._source(content, "image/png"), file["alt"]
        if self.target == "typst":
            inches = min(width / 100, TEXT_WIDTH)
            return f"#image({typst_string(source)}, alt: {typst_string(alt)}, width: {inches}in);"
        alt = alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
        return f'<img src="{source}" alt="{alt}" width="{width}" height="{height}">'


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


def _first_line(text):
    return (str(text).strip().splitlines() or ["no message"])[0]


def _alignment(cells):
    """Numbers to the right, a column of arrows to the middle, words to the left."""
    words = {str(cell).strip() for cell in cells} - _BLANK
    if words and words <= _ARROWS:
        return "center"
    return "right" if all(_is_number(cell) for cell in cells) else "left"


def _is_number(cell):
    return str(cell).strip() in _BLANK or bool(_NUMBER.fullmatch(str(cell).strip()))
