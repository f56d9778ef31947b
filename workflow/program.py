"""What every `python -m workflow.x` does with what goes wrong: one line, and a status."""

import contextlib
import os
import re
import signal
import sys

# CSI and OSC sequences, other escapes, then every control character but tab.
CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\].*?(?:\x07|\x1b\\|$)|\x1b.?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


def plain(text):
    """One line of text without terminal escapes and control characters."""
    return CONTROL.sub("", text)


def program(main, words):
    """The exit status of main(words): its own, 2 if it refuses (ValueError), 1 if it fails.

    What went wrong is one line on stderr; 141 and silence when nobody reads the output any more.
    """
    try:
        status = main(words)
        print(end="", flush=True)  # there may be no stdout at all
        return status or 0
    except BrokenPipeError:  # as after | head -1; what Python still holds back goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (OSError, ValueError) as error:
        named = getattr(error, "filename", None)
        complain(f"{named}: {error.strerror}" if named else str(error))
        return 2 if isinstance(error, ValueError) else 1


def complain(text):
    """One line on stderr."""
    with contextlib.suppress(OSError):  # nobody reads that either
        print(plain(text.replace("\n", " ")), file=sys.stderr)
