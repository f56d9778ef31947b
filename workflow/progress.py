"""What the terminal shows while a notebook runs: one line per epoch, warnings, nothing else."""

import re
import shutil
import time

EPOCH = re.compile(r"^epoch +(\d+)/(\d+)  ")
# Of a notebook's other lines only these matter to somebody who waits for it.
NOTABLE = re.compile(
    r"warning: |^(downloading|continuing|waiting) |stand-in|not the published files", re.IGNORECASE
)
LONGEST = 1000  # characters of one line that are looked at
# CSI and OSC sequences, other escapes, then every control character but tab.
CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\].*?(?:\x07|\x1b\\|$)|\x1b.?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


def plain(text):
    """One line of text without terminal escapes and control characters."""
    return CONTROL.sub("", text)


def duration(seconds):
    """12 s, 3 min 12 s, 1 h 5 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def roughly(seconds):
    """The time left, no finer than it is known: 40 s, 4 min, 1 h 20 min."""
    if seconds < 60:
        return f"{max(round(seconds, -1), 5):.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"


class Progress:
    """A file that a notebook's output is written to and that shows the part worth seeing.

    On a terminal (`live`) one status line is rewritten; elsewhere each epoch is a line of its own.
    `clock` gives seconds and is there for tests.
    """

    def __init__(self, name, cells, stream, live, clock=time.monotonic):
        self.name, self.cells = name, cells
        self.stream, self.live, self.clock = stream, live, clock
        self.started = clock()
        self.rest = ""  # of a line that has not ended yet
        self.cell, self.cell_started, self.epochs = 0, self.started, 0

    def start_cell(self, index):
        """The cell with that index (from 0) starts."""
        self.cell, self.cell_started, self.epochs = index + 1, self.clock(), 0
        self._status(f"cell {self.cell}/{self.cells}")

    def write(self, text):
        *lines, rest = re.split(r"[\r\n]+", self.rest + text)
        self.rest = rest[:LONGEST]
        for line in (plain(line[:LONGEST]) for line in lines):
            if record := EPOCH.match(line):
                self._epoch(line, int(record[1]), int(record[2]))
            elif NOTABLE.search(line):
                # "/long/path/to/file.py:12: UserWarning: text" starts with its last part
                self.say(re.sub(r"^.*?:\d+: (?=\w*Warning: )", "", line.strip()))

    def flush(self):
        """Files have it; here every line is written when it is whole."""

    def say(self, text):
        """One line that stays."""
        self._print(f"[{self.name}] {text}\n")

    def done(self, target):
        self.say(f"done in {duration(self.clock() - self.started)} -> {target}")

    def clear(self):
        """Leave an empty line for a message that somebody else prints."""
        if self.live:
            self._print("")

    def _epoch(self, line, epoch, last):
        self.epochs += 1  # of this run: a resumed run begins at a later number
        left = (self.clock() - self.cell_started) / self.epochs * (last - epoch)
        line = f"{line.rstrip()}   about {roughly(left)} left" if epoch < last else line.rstrip()
        (self._status if self.live else self.say)(line)

    def _status(self, text):
        if self.live:
            self._print(f"[{self.name}] {text}"[: shutil.get_terminal_size().columns - 1])

    def _print(self, text):
        clear = "\r\x1b[K" if self.live else ""
        print(clear + text, end="", file=self.stream, flush=True)
