"""Build the report: `python -m workflow.report.build NOTEBOOK... --out FOLDER`.

Writes report.html and report.pdf; a failed build leaves the earlier report as it was. Exit code
0: both written. 1: refused, nothing written, one line for each reason. 2: the HTML was written,
the PDF was not. 130: interrupted. 141: written, and nobody read what it says.
"""

import argparse
import sys
from pathlib import Path

from workflow.program import program


def main(arguments=None):
    options = _options(arguments)
    try:
        return build(options)
    except KeyboardInterrupt:
        _complain(f"{options.out}: interrupted, each file there is whole")
        return 130


def build(options):
    """Read, check, build and write; returns the exit code."""
    # imported here, where an interrupt is one line: they take a second
    from helpers.files import write_atomically
    from workflow.live import embed
    from workflow.report.check import ReportError
    from workflow.report.merge import merge
    from workflow.report.typeset import html, pdf

    files, reason = {}, ""
    try:
        sources = read_all(options.notebooks)
        report = merge(sources, options.profile, options.title, options.author, options.date)
        page, manifests = html(report), [source.manifest for source in sources]
        if options.live:
            page = embed(page, manifests, _complain)
        files["report.html"] = page.encode()
    except ReportError as error:
        for line in error.problems:
            _complain(line)
        _complain(f"{options.out}: no report written, what was there is unchanged")
        return 1
    try:
        files["report.pdf"] = pdf(report, notice=_complain)
    except (ImportError, OSError, RuntimeError, ReportError) as error:
        reason = f"{options.out / 'report.pdf'}: not written ({error}); an earlier one stays"
    options.out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomically(options.out / name, content)
    for name, content in files.items():
        print(f"{options.out / name}  {len(content) / 1e6:.2f} MB")
    for notice in report["front"]["notices"]:
        print(notice)
    if reason:
        _complain(reason)
    return 2 if reason else 0


def read_all(paths):
    """Sources of all notebooks, checked one by one and together; ReportError lists every fault."""
    from workflow.report.check import ReportError, faults_together, read

    sources, problems = [], []
    for path in paths:
        try:
            sources.append(read(path))
        except ReportError as error:
            problems += error.problems
    if problems := problems or list(faults_together(sources)):
        raise ReportError(problems)
    return sources


def _options(arguments):
    parser = argparse.ArgumentParser(prog="python -m workflow.report.build", description=__doc__)
    parser.add_argument("notebooks", nargs="+", type=Path, help="executed notebooks, in order")
    parser.add_argument("--out", required=True, type=Path, help="folder of the report")
    parser.add_argument("--profile", default="", help="named on the title page")
    parser.add_argument("--title", default="", help="in place of the report's own")
    parser.add_argument("--author", default="", help="on the title page; commas separate several")
    parser.add_argument("--date", default="", help="on the title page")
    parser.add_argument("--no-live", dest="live", action="store_false", help="no live figures")
    return parser.parse_args(arguments)


def _complain(text):
    """One line, whatever the text holds: notebooks and their names may be a stranger's."""
    from workflow.report.document import one_line

    print(one_line(text), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(program(main, sys.argv[1:]))
