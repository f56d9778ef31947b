"""Items -> one HTML file, or -> PDF through Typst. Neither needs TeX, a browser or the network.

report.lua reads all items at once, so that headings, figures, tables and citations are numbered
over the whole document and both outputs read the same Markdown.
"""

import base64
import json
import os
import re
import subprocess
import tempfile
import textwrap
from datetime import datetime
from pathlib import Path

import pypandoc

from workflow.report.check import ReportError
from workflow.report.document import one_line

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"
CODE_COLUMNS = 99  # characters that fit on a line of code in the PDF
_LOCAL = {"picture", "sha256"}  # what pandoc need not know
_NO_GLYPH = re.compile(r'the text `"(.+?)"` could not be displayed')


def html(report):
    """The page as text: no request, mathematics as MathML; workflow.live adds the only script."""
    for item in report["items"]:
        if "picture" in item:
            mime, content = item["picture"]
            item["src"] = f"data:{mime};base64,{base64.b64encode(content).decode()}"
    markup = _pandoc(report, report["items"], "html5")
    # no line begins with the comma after a formula
    formula = r'(<math display="inline"(?:(?!</math>).)*</math>[,.;:!?)]+)'
    return re.sub(formula, r'<span class="together">\1</span>', markup, flags=re.S)


def pdf(report, notice=print):
    """A tagged PDF (PDF/UA-1) as bytes; the same bytes when nothing changed."""
    pictures, items = {}, []
    for item in report["items"]:
        if item.get("folded"):
            continue
        if "picture" in item:
            mime, content = item["picture"]
            name = f"picture-{len(pictures) + 1}.{'svg' if 'svg' in mime else 'png'}"
            pictures[name] = content
            item = item | {"src": name}
        elif item["kind"] == "Code":
            item = item | {"text": wrap(item["text"])}
        items.append(item)
    day = datetime.fromisoformat(report["front"]["day"] + "T12:00Z")
    return compile_typst(_pandoc(report, items, "typst"), pictures, notice, day)


def wrap(code, columns=CODE_COLUMNS):
    """Break long lines, at a space if there is one: Typst never breaks a word of code."""
    lines = []
    for line in code.expandtabs(4).split("\n"):
        indent = " " * min(len(line) - len(line.lstrip()) + 4, columns // 2)
        lines += textwrap.wrap(
            line,
            columns,
            subsequent_indent=indent,
            drop_whitespace=False,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(lines)


def _pandoc(report, items, target):
    """Markup of the items; ReportError has one line for each fault that report.lua found."""
    sent = [{k: v for k, v in item.items() if k not in _LOCAL} for item in items]
    job = report | {"target": target, "items": sent}
    try:
        command = [pypandoc.get_pandoc_path(), "--from", str(HERE / "report.lua"), "--to", target]
        command += ["--mathml", "--wrap=none", "--template", str(TEMPLATES / "report")]
        done = subprocess.run(
            command,
            input=json.dumps(job).encode(),
            capture_output=True,
            check=False,
            env=os.environ | {"LC_ALL": "C.UTF-8"},  # or it cannot name a folder with an é
        )
    except OSError as error:
        raise ReportError([f"pandoc cannot be run: {one_line(error)}"]) from None
    said = done.stderr.decode(errors="replace")
    faults = [line[7:] for line in said.splitlines() if line.startswith("report:")]
    if faults or done.returncode:
        raise ReportError(faults or [f"pandoc failed: {said}"])
    return done.stdout.decode()


def compile_typst(source, pictures, notice=print, day=None):
    """PDF bytes of Typst source; `pictures` maps file names to bytes, `notice` is told what Typst
    remarked, `day` is when it was made.

    Raises ReportError naming notebook and cell where Typst stumbles, ImportError without Typst.
    Fonts are the ones inside the typst package, so the bytes depend on nothing else.
    """
    import typst  # here, so that the HTML can be made without it

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name in ("report.typ", "code.tmTheme"):
            (folder / name).write_bytes((TEMPLATES / name).read_bytes())
        for name, content in pictures.items():
            (folder / name).write_bytes(content)
        main = folder / "main.typ"
        main.write_text(source, encoding="utf-8")
        strange = ""
        try:
            compiled, warnings = typst.compile_with_warnings(
                main,
                root=folder,
                format="pdf",
                ignore_system_fonts=True,
                pdf_standards=["ua-1"],
                timestamp=int(day.timestamp()) if day else 0,
            )
        except typst.TypstError as error:
            strange = "".join(_NO_GLYPH.findall(error.diagnostic or ""))
            if not strange:
                raise ReportError([_remark(source, error)]) from None
    if strange:  # PDF/UA allows no missing glyph: print a box, and say so
        place = _place(source, source[: source.find(strange[0])].count("\n") + 1)
        notice(f"{place}: no font for {strange!a}, printed as □ in the PDF")
        return compile_typst(re.sub(f"[{re.escape(strange)}]", "□", source), pictures, notice, day)
    for warning in warnings:
        notice(_remark(source, warning))
    return compiled


def _remark(source, told):
    """What Typst says of the source, after notebook and cell of the line that it names."""
    line = re.search(r"main\.typ:(\d+)", told.diagnostic or "")
    return f"{_place(source, int(line[1]) if line else 0)}: Typst: {one_line(told.message)}"


def _place(source, line):
    """Notebook and cell of a line of Typst source: the last `// at: ` comment above it."""
    places = re.findall(r"^// at: (.*)$", "\n".join(source.split("\n")[:line]), re.M)
    return places[-1] if places else "title page"
