"""Items -> one HTML file, or -> PDF through Typst; and the same as nbconvert's exporters:

    jupyter nbconvert --to workflow.report.exporters.PDFExporter notebook.ipynb

Neither needs TeX, a browser or the network. `report.build` calls both functions for the whole.
"""

import os
import re
import tempfile
from pathlib import Path

from nbconvert.exporters import Exporter
from traitlets import default

from workflow.report.check import ReportError
from workflow.report.document import items_of, translate

TEMPLATES = Path(__file__).parent / "templates"
_NO_GLYPH = re.compile(r'the text `"(.+?)"` could not be displayed')


def html(items, front, names, warn=None):
    """The page as text: no script, no request, mathematics as MathML."""
    return translate(items, front, names, "html5", warn)[0]


def pdf(items, front, names, warn=None, notice=print):
    """A tagged PDF (PDF/UA-1) as bytes; the same bytes when nothing changed."""
    return compile_typst(*translate(items, front, names, "typst", warn), notice)


def timestamp():
    """Seconds since 1970 that the PDF is dated: SOURCE_DATE_EPOCH, or 0 where it is not set."""
    value = os.environ.get("SOURCE_DATE_EPOCH", "0")
    if not re.fullmatch("[0-9]{1,11}", value):
        raise ReportError([f"SOURCE_DATE_EPOCH must be seconds since 1970, got {value!r}"])
    return int(value)


def compile_typst(source, pictures, notice=print):
    """PDF bytes of Typst source; `pictures` maps file names to bytes, `notice` is told what Typst
    remarked.

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
        for attempt in (1, 2):
            main.write_text(source, encoding="utf-8")
            try:
                compiled, warnings = typst.compile_with_warnings(
                    main,
                    root=folder,
                    format="pdf",
                    ignore_system_fonts=True,
                    pdf_standards=["ua-1"],
                    timestamp=timestamp(),
                )
                break
            except typst.TypstError as error:
                strange = "".join(_NO_GLYPH.findall(error.diagnostic or ""))
                if attempt == 2 or not strange:
                    place = _place(source, _line_of(error.diagnostic))
                    line = f"{place}: Typst: {_first_line(error.message)}"
                    raise ReportError([line]) from None
                # PDF/UA allows no missing glyph: print a box, and say so.
                place = _place(source, source[: source.find(strange[0])].count("\n") + 1)
                notice(f"{place}: no font for {strange!a}, printed as □ in the PDF")
                source = re.sub(f"[{re.escape(strange)}]", "□", source)
    for warning in warnings:
        place = _place(source, _line_of(warning.diagnostic))
        notice(f"{place}: Typst: {_first_line(warning.message)}")
    return compiled


def _first_line(text):
    return (text.strip().splitlines() or ["unknown error"])[0]


def _line_of(diagnostic):
    """Number of the line of main.typ that a Typst message is about, 0 if it names none."""
    line = re.search(r"main\.typ:(\d+)", diagnostic or "")
    return int(line[1]) if line else 0


def _place(source, line):
    """Notebook and cell of a line of Typst source: the last `// at: ` comment above it."""
    places = re.findall(r"^// at: (.*)$", "\n".join(source.split("\n")[:line]), re.M)
    return places[-1] if places else "title page"


class HTMLExporter(Exporter):
    """One notebook as a page; faults are warnings."""

    export_from_notebook = "Report (HTML)"
    output_mimetype = "text/html"

    @default("file_extension")
    def _default_extension(self):
        return ".html"

    def from_notebook_node(self, nb, resources=None, **kwargs):
        nb, resources = super().from_notebook_node(nb, resources, **kwargs)
        where = resources["metadata"]
        path = Path(where.get("path", "")) / f"{where.get('name', 'notebook')}.ipynb"
        items = list(items_of(nb, path, single=True))
        items.append({"kind": "References", "at": "the references", "notebook": ""})
        return self.made(items), resources

    def made(self, items):
        return html(items, {}, {}, self.log.warning)


class PDFExporter(HTMLExporter):
    """One notebook as a PDF; faults are warnings."""

    export_from_notebook = "Report (PDF)"
    output_mimetype = "application/pdf"

    @default("file_extension")
    def _default_extension(self):
        return ".pdf"

    def made(self, items):
        return pdf(items, {}, {}, self.log.warning, self.log.warning)
