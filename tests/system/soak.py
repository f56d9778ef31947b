"""Disturbs runs for a while, lets them end, and proves that nothing came out differently.

    make soak                                          about 15 minutes
    python tests/system/soak.py --minutes 2            a short one

The three notebooks are run on the stand-in data with small networks, first undisturbed. Then, in
rounds, each is started again and again while something happens to it (DISTURBANCES). After every
start the checkpoint must be whole and no epoch lost. At the end of a round state.pt, history.csv,
the figures, scores.json and what the notebooks show must be those of the undisturbed runs, byte
for byte; meanwhile a report is built.

Works on copies of the project in a temporary folder. The seed settles which disturbance comes
when; what it hits depends on the machine. Exit status: 0 if all is equal and nothing unexpected
was said, else 1.
"""

import argparse
import collections
import contextlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from running import ENVIRONMENT, begin_run, copy_project, kernel_of, results, start

from helpers import checkpoint

EPOCHS = 6
OWN = {
    "01_vae": ("-p", "hidden_dim", 16),
    "02_gan": ("-p", "base_channels", 8),
    "03_cgan": ("-p", "hidden_dims", "[32,64]"),
}
FULL = r"File too large|No space left|the kernel died"
STOPPED = r"interrupted|ended by a signal"


class World:
    """A copy of the project whose runs and report stay inside it."""

    def __init__(self, root, cache=None):
        self.root, self.build = root, root / "build"
        self.own = {"root": root, "env": ENVIRONMENT | {"XDG_CACHE_HOME": str(self.build / "xdg")}}
        copy_project(root)
        if cache and cache.exists():
            shutil.copytree(cache, self.build / "cache")

    def folder(self, name):
        return self.build / name / "run"

    def start(self, name, *more, output=None, largest=None):
        """The runner on one notebook; `largest`: bytes a file may have, for it and its kernel."""

        def limit():
            if largest:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

        words = ("-p", "source", "sample", "-p", "epochs", EPOCHS, *OWN[name], *more)
        options = {"output": output, "preexec_fn": limit} | self.own
        return begin_run(name, self.build / name, *words, **options)

    def report(self):
        """Start a build of the report, from copies of the notebooks that have their names."""
        for name in OWN:
            shutil.copy(self.build / name / "out.ipynb", self.build / f"{name}.ipynb")
        paths = [f"build/{name}.ipynb" for name in OWN]
        return start("workflow.report.build", *paths, "--out", self.build, **self.own)

    def results(self, name):
        """What a run leaves and what its notebook shows, but for what tells of times."""
        cells = nbformat.read(self.build / name / "out.ipynb", as_version=4).cells
        shown = [out for cell in cells for out in cell.get("outputs", []) if "data" in out]
        told = [out for out in shown if out.metadata.get("report", {}).get("kind") != "provenance"]
        return results(self.folder(name)) | {"out.ipynb": told}

    def epochs(self, name):
        """Epochs in the checkpoint, which must be whole; 0 without one."""
        path = self.folder(name) / "state.pt"
        return len(checkpoint.read(path)["history"]) if path.exists() else 0


def fill_disk(*numbers):
    for number in numbers:
        resource.prlimit(number, resource.RLIMIT_FSIZE, (20_000, 20_000))


def kill(*numbers):
    for number in numbers:
        os.kill(number, signal.SIGKILL)


# {what: (what is done to runner and kernel, how the run may end, what it must say if it fails)}
# A runner that has not yet set its handlers ends as Python does.
AT_A_MOMENT = {
    "kill -9 runner": (lambda runner, kernel: kill(runner), {0, -9}, ""),
    "kill -9 kernel": (lambda runner, kernel: kill(kernel), {0, 1}, "kernel died"),
    "kill -9 both": (kill, {0, -9}, ""),
    "SIGTERM": (lambda runner, _: os.kill(runner, signal.SIGTERM), {0, 1, 143, -15}, STOPPED),
    "SIGINT": (lambda runner, _: os.kill(runner, signal.SIGINT), {0, 1, 130, -2}, STOPPED),
    "disk fills up": (fill_disk, {0, 1}, FULL),
}
DAMAGES = ("cut", "flipped bit")
DISTURBANCES = (*AT_A_MOMENT, *DAMAGES, "full disk", "second run", "rests", "cache")


class Soak:
    def __init__(self, folder, seed, minutes):
        self.folder, self.rng = Path(folder), random.Random(seed)
        self.began, self.minutes = time.monotonic(), minutes
        self.faults, self.events = [], collections.Counter()
        self.seconds = {}  # of an undisturbed run, by notebook

    def say(self, text):
        seconds = int(time.monotonic() - self.began)
        print(f"{seconds // 60:3d}:{seconds % 60:02d}  {text}", flush=True)

    def fault(self, text):
        self.faults.append(text)
        self.say(f"UNEXPECTED: {text}")

    def expect(self, what, process, statuses, pattern=""):
        """Wait; the process must end with one of these statuses, saying one line at most."""
        out, errors = process.communicate(timeout=900)
        status, lines = process.returncode, errors.splitlines()
        young = status in (1, -2) and "KeyboardInterrupt" in errors  # before any handler was set
        right = status in statuses and len(lines) <= 1 and "Traceback" not in out + errors
        if status > 0:
            right = right and bool(re.search(pattern, errors))
        if not right and not young:
            self.fault(f"{what}: status {status}, said {(errors.strip() or out[-300:])!r}")
        return status

    def going(self, process, name):
        """Let some time pass, less than an undisturbed run took; whether it is still there."""
        try:
            process.wait(self.rng.uniform(0.5, self.seconds[name]))
        except subprocess.TimeoutExpired:
            return True
        return False

    def at_a_moment(self, world, name, what):
        act, statuses, pattern = AT_A_MOMENT[what]
        process = world.start(name)
        if self.going(process, name):
            with contextlib.suppress(ProcessLookupError, TypeError):  # ended, or no kernel yet
                act(process.pid, kernel_of(process))
        return self.expect(what, process, statuses, pattern)

    def full_disk(self, world, name):
        largest = self.rng.choice([4_000, 30_000, 100_000, 400_000])
        what = f"full disk ({largest:,} bytes a file)"
        return self.expect(what, world.start(name, largest=largest), {0, 1}, FULL)

    def second_run(self, world, name):
        """Another one in the same folder, to the same notebook or its own: refused meanwhile."""
        process, own = world.start(name), world.build / "second.ipynb"
        going = self.going(process, name)
        # the first may end, or not yet hold the folder, while the second starts
        second = world.start(name, output=self.rng.choice([None, own]))
        self.expect("second run", second, {0, 1, 2}, "in use by ")
        if going and process.poll() is None:
            process.kill()
        return self.expect("first of two", process, {0, 1, -9}, "in use by ")

    def damaged(self, world, name, what):
        """A damaged checkpoint is refused; then what the message advises is done."""
        path = world.folder(name) / "state.pt"
        previous, spoiled = path.with_name("state.previous.pt"), bytearray(path.read_bytes())
        spot = self.rng.randrange(len(spoiled))
        if what == "cut":
            del spoiled[spot:]
        else:
            spoiled[spot] ^= 1 << self.rng.randrange(8)
        path.write_bytes(spoiled)
        status = self.expect(what, world.start(name), {1}, r"state\.pt: damaged")
        if path.read_bytes() != spoiled:
            self.fault(f"{name}: a damaged checkpoint was changed")
        if previous.exists() and self.rng.random() < 0.7:
            os.replace(previous, path)
            return status
        process = world.start(name, "-p", "resume", "False")
        if self.going(process, name):
            process.send_signal(signal.SIGINT)
        self.expect("resume = False", process, {0, 1, 130, -2})
        try:
            checkpoint.read(path)
        except ValueError:  # interrupted before its first epoch
            path.unlink()
            previous.unlink(missing_ok=True)
        return status

    def rests(self, world, name):
        """Half files, locks and process numbers of processes that are gone."""
        folder, dead = world.folder(name), subprocess.Popen(["true"])
        dead.wait()
        folder.mkdir(parents=True, exist_ok=True)
        for rest in ("state.pt", "state.previous.pt", "history.csv"):
            (folder / f".{rest}.{dead.pid}.part").write_bytes(b"half")
        (folder / ".lock").write_text(self.rng.choice([f"process {dead.pid} on here\n", "x", ""]))
        (folder.parent / f"out.running.{dead.pid}.ipynb").write_text("{")
        status = self.at_a_moment(world, name, "kill -9 both")
        if self.rng.random() < 0.5:
            status = self.expect("with rests of the dead", world.start(name), {0})
            if left := [*folder.glob(".*.part"), *folder.parent.glob("*.running.*")]:
                self.fault(f"{name}: left behind {left}")
        return status

    def cache(self, world, name):
        entries = [p for p in sorted((world.build / "cache").rglob("*")) if p.is_file()]
        for path in self.rng.sample(entries, min(1, len(entries))):
            content = bytearray(path.read_bytes())
            content[self.rng.randrange(len(content))] ^= 255
            path.write_bytes(content)
        return self.at_a_moment(world, name, "kill -9 both")

    def disturb(self, world, name, what):
        """One start with one disturbance; True if the notebook is done."""
        before, output = world.epochs(name), world.build / name / "out.ipynb"
        old = output.read_bytes() if output.exists() else None
        if what in AT_A_MOMENT:
            status = self.at_a_moment(world, name, what)
        elif what in DAMAGES:
            status = self.damaged(world, name, what)
        else:
            status = getattr(self, what.replace(" ", "_"))(world, name)
        self.events[what] += 1
        try:
            epochs = world.epochs(name)
        except ValueError as error:
            self.fault(f"{name} after {what}: {error}")
            epochs = before
        if epochs < before and what not in DAMAGES:
            self.fault(f"{name} after {what}: {before} epochs before, {epochs} now")
        if status and old is not None and what != "second run" and output.read_bytes() != old:
            self.fault(f"{name} after {what}: the notebook changed though the run failed")
        self.say(f"{name}: {what}, status {status}, {before} -> {epochs} epochs")
        return status == 0 and epochs == EPOCHS

    def undisturbed(self):
        world = World(self.folder / "undisturbed")
        for name in OWN:
            made = []
            for turn in ("first", "again, complete already"):
                began = time.monotonic()
                self.expect(f"{name} undisturbed", world.start(name), {0})
                seconds = time.monotonic() - began
                self.seconds.setdefault(name, seconds)
                manifest = json.loads((world.folder(name) / "manifest.json").read_text("utf-8"))
                made.append([world.results(name), manifest["trained"]])
                self.say(f"undisturbed {name}, {turn}: {seconds:.0f} s")
            if made[0] != made[1]:
                self.fault(f"{name}: complete, and yet a second run trained or changed it")
        return world

    def round(self, number, reference, deadline):
        """Every notebook, disturbed until it is done; then compared."""
        world = World(self.folder / f"round-{number}", reference.build / "cache")
        names, deck = list(OWN), []
        while names and time.monotonic() < deadline:
            if not deck:  # each disturbance comes once before one comes again
                deck = self.rng.sample(DISTURBANCES, len(DISTURBANCES))
            name = self.rng.choice(names)
            if deck[-1] in DAMAGES and not world.epochs(name):
                deck.append("kill -9 both")  # nothing to damage yet
            if self.disturb(world, name, deck.pop()) and self.rng.random() < 0.5:
                names.remove(name)
        for name in OWN:  # now in peace; and once more, complete, as the undisturbed ones were
            for _ in range(2):
                self.expect(f"{name} in peace", world.start(name), {0})
        self.compare(number, world, reference)
        shutil.rmtree(world.root)

    def compare(self, number, world, reference):
        for name in OWN:
            mine, wanted = world.results(name), reference.results(name)
            for file in sorted(mine.keys() | wanted.keys()):
                if mine.get(file) != wanted.get(file):
                    self.fault(f"round {number}: {name}/{file} differs")
        # the report is built while a run goes on in the same folder
        process = world.start("02_gan")
        time.sleep(6)
        self.expect("report while a run goes on", world.report(), {0})
        self.expect("the run meanwhile", process, {0})
        self.say(f"round {number}: compared, {len(self.faults)} unexpected in all")

    def main(self):
        reference = self.undisturbed()
        rounds, deadline = 0, time.monotonic() + 60 * self.minutes
        while not rounds or time.monotonic() < deadline:
            rounds += 1
            self.round(rounds, reference, deadline)
        print(*(f"{name:22} {times:5d}" for name, times in sorted(self.events.items())), sep="\n")
        print(f"{rounds} rounds, {self.events.total()} disturbed starts in all.")
        if self.faults:
            print(f"FAILED: {len(self.faults)} unexpected:", *self.faults, sep="\n  ")
            return 1
        print("Equal to the undisturbed runs in every byte: weights, history, figures and scores.")
        return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=15, help="of disturbance, about")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        sys.exit(Soak(place, chosen.seed, chosen.minutes).main())
