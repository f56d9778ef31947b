"""Turns notebooks into results: runs, comparisons, the report, what is published."""

import sys


def _interrupted(kind, error, trace):
    """Ctrl-C is one line, also while a program is still importing what it needs."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _interrupted
