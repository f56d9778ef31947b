"""Build the report: `python -m workflow.report.build NOTEBOOK... --out FOLDER`.

Writes report.html and report.pdf, each built aside and renamed, so that a failed build leaves the
earlier report as it was. Exit code 0: both written. 1: refused, nothing written, one line for each
reason. 2: the HTML was written, the PDF was not.
"""

import argparse
import io
import os
import sys
from pathlib import Path

from pypdf import PdfReader

from workflow.report.check import ReportError, check_together, read
from workflow.report.exporters import HTMLExporter, PDFExporter
from workflow.report.markup import one_line
from workflow.report.merge import merge


def read_all(paths, allow_mixed=False):
    """Sources of all notebooks, checked one by one and together; ReportError lists every fault."""
    sources, problems = [], []
    for path in paths:
        try:
            sources.append(read(path))
        except ReportError as error:
            problems += error.problems
    if problems:
        raise ReportError(problems)
    check_together(sources, allow_mixed)
    return sources


def write(files):
    """Write {path: bytes}: all of them aside first, then renamed, so that a full disk or a reader
    at the wrong moment finds the old files or the new ones."""
    aside = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in files}
    try:
        for path, content in files.items():
            aside[path].write_bytes(content)
        for path in files:
            os.replace(aside[path], path)
    except OSError as error:  # which does not name the file when the disk is full
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        for part in aside.values():
            part.unlink(missing_ok=True)


def main(arguments=None):
    options = _options(arguments)
    html_path, pdf_path = options.out / "report.html", options.out / "report.pdf"
    try:
        sources = read_all(options.notebooks, options.allow_mixed)
        nb = merge(sources, options.profile, options.author)
        text, resources = HTMLExporter(strict=True).from_notebook_node(nb)
        html = text.encode()
        options.out.mkdir(parents=True, exist_ok=True)
    except ReportError as error:
        for line in error.problems:
            _complain(line)
        _complain(f"{options.out}: no report written, what was there is unchanged")
        return 1
    except OSError as error:
        _complain(f"{error.filename or options.out}: {error.strerror}")
        return 1
    try:
        pdf, _ = PDFExporter(strict=True).from_notebook_node(nb)
    except (ImportError, OSError, RuntimeError, ReportError) as error:
        pdf, reason = None, str(error)
    try:
        write({html_path: html, pdf_path: pdf} if pdf else {html_path: html})
    except OSError as error:
        _complain(f"{error.filename or options.out}: {error.strerror}")
        return 1
    sections = sum(heading["level"] == 1 for heading in resources["report"]["headings"])
    print(f"{html_path}  {sections} sections, {_size(html)}")
    if not pdf:
        old = "; the report.pdf there is from an earlier run" if pdf_path.exists() else ""
        _complain(reason)
        _complain(f"{pdf_path}: not written{old}")
        return 2
    print(f"{pdf_path}  {_pages(pdf)} pages, {_size(pdf)}")
    return 0


def _options(arguments):
    parser = argparse.ArgumentParser(prog="python -m workflow.report.build", description=__doc__)
    parser.add_argument("notebooks", nargs="+", type=Path, help="executed notebooks, in order")
    parser.add_argument("--out", required=True, type=Path, help="folder of the report")
    parser.add_argument("--profile", default="", help="named on the title page")
    parser.add_argument("--author", default="", help="named on the title page")
    parser.add_argument(
        "--allow-mixed", action="store_true", help="accept different revisions or data"
    )
    return parser.parse_args(arguments)


def _complain(text):
    """One line, whatever the text holds: notebooks and their names may be a stranger's."""
    print(one_line(text), file=sys.stderr)


def _pages(pdf):
    return len(PdfReader(io.BytesIO(pdf)).pages)


def _size(content):
    size = len(content)
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"


if __name__ == "__main__":
    sys.exit(main())
