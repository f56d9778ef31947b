"""Build the report: `python -m workflow.report.build NOTEBOOK... --out FOLDER`.

Writes report.html and report.pdf, each built aside and renamed, so that a failed build leaves the
earlier report as it was. Exit code 0: both written. 1: refused, nothing written, one line for each
reason. 2: the HTML was written, the PDF was not. 130: interrupted, nothing written.

A report of some notebooks, or of one: `... 02_gan.ipynb --out FOLDER --partial`, which accepts
missing figures, links to notebooks that are not there and other data under the same name.
"""

import argparse
import os
import signal
import sys
from pathlib import Path


def main(arguments=None):
    options = _options(arguments)
    try:
        return build(options)
    except KeyboardInterrupt:
        _complain(f"{options.out}: interrupted, no report written, what was there is unchanged")
        return 130
    except OSError as error:
        _complain(f"{error.filename or options.out}: {error.strerror or error}")
        return 1


def build(options):
    """Read, check, build and write; returns the exit code."""
    # imported here, where an interrupt is one line: they take a second
    from workflow.live import embed
    from workflow.report.check import ReportError
    from workflow.report.merge import merge
    from workflow.report.typeset import html, pdf, timestamp

    paths = options.out / "report.html", options.out / "report.pdf"
    authors = [name for text in options.author for name in text.split(",") if name.strip()]
    try:
        timestamp()
        sources = read_all(options.notebooks, options.partial)
        front = options.profile, options.title, authors, options.date
        report = merge(sources, *front, options.partial)
        page, manifests = html(report), [source.manifest for source in sources]
        files = {paths[0]: (embed(page, manifests, _complain) if options.live else page).encode()}
        options.out.mkdir(parents=True, exist_ok=True)
    except ReportError as error:
        for line in error.problems:
            _complain(line)
        _complain(f"{options.out}: no report written, what was there is unchanged")
        return 1
    try:
        files[paths[1]] = pdf(report, notice=_complain)
    except (ImportError, OSError, RuntimeError, ReportError) as error:
        reason = str(getattr(error, "strerror", None) or error)
    write(files)
    for path, content in files.items():
        _say(f"{path}  {len(content) / 1e6:.2f} MB")
    for notice in report["front"]["notices"]:
        _say(notice)
    if paths[1] in files:
        return 0
    _complain(reason)
    old = "; the report.pdf there is from an earlier run" if paths[1].exists() else ""
    _complain(f"{paths[1]}: not written{old}")
    return 2


def read_all(paths, partial=False):
    """Sources of all notebooks, checked one by one and together; ReportError lists every fault."""
    from workflow.report.check import ReportError, check_together, read

    sources, problems = [], []
    for path in paths:
        try:
            sources.append(read(path))
        except ReportError as error:
            problems += error.problems
    if problems:
        raise ReportError(problems)
    check_together(sources, partial)
    return sources


def write(files):
    """Write {path: bytes}: all of them aside first, then renamed, so that a full disk, an
    interrupt or a reader at the wrong moment finds the old files or the new ones."""
    aside = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in files}
    try:
        for path, content in files.items():
            aside[path].write_bytes(content)
        earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)  # all renamed, or none
        for path in files:
            os.replace(aside[path], path)
        signal.signal(signal.SIGINT, earlier)
    except OSError as error:  # which does not name the file when the disk is full
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        for part in aside.values():
            part.unlink(missing_ok=True)


def _options(arguments):
    parser = argparse.ArgumentParser(prog="python -m workflow.report.build", description=__doc__)
    parser.add_argument("notebooks", nargs="+", type=Path, help="executed notebooks, in order")
    parser.add_argument("--out", required=True, type=Path, help="folder of the report")
    parser.add_argument("--profile", default="", help="named on the title page")
    parser.add_argument("--title", default="", help="in place of the report's own")
    parser.add_argument(
        "--author", action="append", default=[], help="may be repeated; commas separate several"
    )
    parser.add_argument("--date", default="", help="named on the title page")
    parser.add_argument("--no-live", dest="live", action="store_false", help="no live figures")
    parser.add_argument("--partial", action="store_true", help="accept unfinished work")
    return parser.parse_args(arguments)


def _complain(text):
    """One line, whatever the text holds: notebooks and their names may be a stranger's."""
    from workflow.report.document import one_line

    if sys.stderr:
        print(one_line(text), file=sys.stderr)


def _say(text):
    """A line for whoever still reads: the report is written, closed pipe or not."""
    try:
        print(text, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, else Python complains at exit


if __name__ == "__main__":
    sys.exit(main())
