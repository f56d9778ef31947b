"""Two nbconvert exporters: an executed notebook -> one HTML file, or -> PDF through Typst.

    jupyter nbconvert --to workflow.report.exporters.PDFExporter notebook.ipynb

Neither needs TeX, a browser or the network. `report.build` runs both over the merged notebooks.
"""

import os
import re
import tempfile
from pathlib import Path

from markupsafe import Markup, escape
from nbconvert.exporters import TemplateExporter
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from traitlets import Bool, default
from traitlets.config import Config

from workflow.report.check import ReportError
from workflow.report.markup import prepare, typst_string, wrap

HERE = Path(__file__).parent
_NO_GLYPH = re.compile(r'the text `"(.+?)"` could not be displayed')


def code_html(source):
    """Python source as HTML, each token in a span with a short class."""
    return highlight(source, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)).rstrip("\n")


class _ReportExporter(TemplateExporter):
    """What both share: tags that hide cells, and `prepare` as the last preprocessor."""

    export_from_notebook = False
    target = ""
    strict = Bool(False, help="Refuse a notebook with broken references.").tag(config=True)

    @default("extra_template_basedirs")
    def _default_basedirs(self):
        return [str(HERE / "templates")]

    @property
    def default_config(self):
        config = Config(
            {
                "CoalesceStreamsPreprocessor": {"enabled": True},
                "TagRemovePreprocessor": {
                    "enabled": True,
                    "remove_cell_tags": {"remove-cell"},
                    "remove_input_tags": {"remove-input"},
                    "remove_all_outputs_tags": {"remove-output"},
                },
            }
        )
        config.merge(super().default_config)
        return config

    def _preprocess(self, nb, resources):
        nb, resources = super()._preprocess(nb, resources)
        return prepare(nb, resources, self.target, self.strict, self.log.warning)


class HTMLExporter(_ReportExporter):
    """One HTML file: no script, no request, mathematics as MathML."""

    export_from_notebook = "Report (HTML)"
    output_mimetype = "text/html"
    target = "html"

    @default("file_extension")
    def _default_extension(self):
        return ".html"

    @default("template_name")
    def _default_template(self):
        return "report_html"

    def default_filters(self):
        yield from super().default_filters()
        yield "code_html", code_html
        yield "escape", lambda text: Markup(escape(text))


class PDFExporter(_ReportExporter):
    """A tagged PDF (PDF/UA-1); the same bytes when nothing changed."""

    export_from_notebook = "Report (PDF)"
    output_mimetype = "application/pdf"
    target = "typst"

    @default("file_extension")
    def _default_extension(self):
        return ".pdf"

    @default("template_extension")
    def _default_template_extension(self):
        return ".typ.j2"

    @default("template_name")
    def _default_template(self):
        return "report_typst"

    @property
    def default_config(self):
        config = super().default_config
        # On paper, code that only draws or lays out would bury the code that computes.
        config.TagRemovePreprocessor.remove_input_tags = {"remove-input", "hide-input"}
        return config

    def default_filters(self):
        yield from super().default_filters()
        yield "typst_string", typst_string
        yield "wrap", wrap

    def from_notebook_node(self, nb, resources=None, **kwargs):
        source, resources = super().from_notebook_node(nb, resources, **kwargs)
        pdf = compile_typst(source, resources["report"]["pictures"], self.log.warning)
        return pdf, resources


def compile_typst(source, pictures, warn=print):
    """PDF bytes of Typst source; `pictures` maps file names to bytes.

    Raises ReportError naming notebook and cell where Typst stumbles, ImportError without Typst.
    Fonts are the ones inside the typst package, and the time is SOURCE_DATE_EPOCH or 1970, so the
    bytes depend on nothing else.
    """
    import typst  # here, so that the HTML can be made without it

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for template in (HERE / "templates" / "report_typst").glob("*.t*"):
            if template.suffix in {".typ", ".tmTheme"}:
                (folder / template.name).write_bytes(template.read_bytes())
        for name, content in pictures.items():
            (folder / name).write_bytes(content)
        main = folder / "main.typ"
        for attempt in (1, 2):
            main.write_text(source, encoding="utf-8")
            try:
                pdf, warnings = typst.compile_with_warnings(
                    main,
                    root=folder,
                    format="pdf",
                    ignore_system_fonts=True,
                    pdf_standards=["ua-1"],
                    timestamp=int(os.environ.get("SOURCE_DATE_EPOCH", 0)),
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
                warn(f"{place}: no font for {strange!a}, printed as □ in the PDF")
                source = re.sub(f"[{re.escape(strange)}]", "□", source)
    for warning in warnings:
        place = _place(source, _line_of(warning.diagnostic))
        warn(f"{place}: Typst: {_first_line(warning.message)}")
    return pdf


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
