"""What the terminal shows while a notebook runs: one line per epoch, warnings, nothing else."""

import re
import shutil
import time

from helpers.watch import duration
from workflow.program import plain

EPOCH = re.compile(r"^epoch +(\d+)/(\d+)  ")
# Of a notebook's other lines only these matter to somebody who waits for it.
NOTABLE = re.compile(
    r"warning: |^(downloading|continuing|waiting) |stand-in|not the published files", re.IGNORECASE
)
LONGEST = 1000  # characters of one line that are looked at


class Progress:
    """A file that a notebook's output is written to and that shows the part worth seeing.

    On a terminal (`live`) one status line is rewritten; elsewhere each epoch is a line of its own.
    """

    def __init__(self, name, cells, stream, live):
        self.name, self.cells, self.stream, self.live = name, cells, stream, live
        self.started = time.monotonic()
        self.rest = ""  # of a line that has not ended yet

    def start_cell(self, index):
        """The cell with that index (from 0) starts."""
        self.last = time.monotonic()
        if self.live:
            self._rewrite(f"cell {index + 1}/{self.cells}")

    def write(self, text):
        *lines, rest = re.split(r"[\r\n]+", self.rest + text)
        self.rest = rest[:LONGEST]
        for line in (plain(line[:LONGEST]).strip() for line in lines):
            if record := EPOCH.match(line):
                self._epoch(line, int(record[1]), int(record[2]))
            elif NOTABLE.search(line):
                # "/long/path/to/file.py:12: UserWarning: text" starts with its last part
                self.say(re.sub(r"^.*?:\d+: (?=\w*Warning: )", "", line))

    def flush(self):
        """Files have it; here every line is written when it is whole."""

    def say(self, text):
        """One line that stays."""
        self.clear()
        print(f"[{self.name}] {text}", file=self.stream, flush=True)

    def done(self, target):
        self.say(f"done in {duration(time.monotonic() - self.started)} -> {target}")

    def clear(self):
        """Leave an empty line for a message that somebody else prints."""
        if self.live:
            print("\r\x1b[K", end="", file=self.stream, flush=True)

    def _epoch(self, line, epoch, last):
        before, self.last = self.last, time.monotonic()
        left = (self.last - before) * (last - epoch)
        if left >= 1:  # less: the epochs of a resumed run, told again
            line += f"   about {duration(left)} left"
        self._rewrite(line) if self.live else self.say(line)

    def _rewrite(self, text):
        self.clear()
        width = shutil.get_terminal_size().columns - 1
        print(f"[{self.name}] {text}"[:width], end="", file=self.stream, flush=True)
