"""Disturbs runs for a while, lets them end, and proves that nothing came out differently.

    make soak                                          about 15 minutes
    python tests/system/soak.py --minutes 2            a short one

The three notebooks are run on the stand-in data with small networks, first undisturbed. Then, in
rounds, each is started again and again while something happens to it (DISTURBANCES): kills,
signals, a full disk, a damaged checkpoint or cache, rests of dead processes, a second run in the
same folder; and a report is built meanwhile. After every start the checkpoint must be whole and no
epoch lost. At the end of a round state.pt, history.csv, the figures and scores.json must be those
of the undisturbed runs byte for byte, and so must the HTML and the PDF of a report, once run times
and sessions in both are made the same: nothing else may differ.

Works on copies of the project in a temporary folder. The seed settles which disturbance comes
when; what it hits depends on the machine. Exit status: 0 if all is equal and nothing unexpected
was said, else 1.
"""

import argparse
import collections
import hashlib
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
import psutil

from helpers import checkpoint

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 6
SMALL = f"-p source sample -p train_limit 512 -p epochs {EPOCHS} -p score_samples 60 -p device cpu"
OWN = {
    "01_vae": "-p hidden_dim 16",
    "02_gan": "-p base_channels 8",
    "03_cgan": "-p hidden_dims [32,64]",
}
FULL = r"File too large|No space left|the kernel died"
STOPPED = r"interrupted|ended by a signal"


class World:
    """A copy of the project whose runs and report stay inside it."""

    def __init__(self, folder, cache=None):
        self.root, self.build = Path(folder), Path(folder) / "build"
        for name in ("helpers", "workflow", "notebooks"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, self.root / name, ignore=ignored)
        if cache and cache.exists():
            shutil.copytree(cache, self.build / "cache")

    def run_folder(self, name):
        return self.build / "runs" / name

    def start(self, name, *more, output=None, largest=None):
        """The runner on one notebook; `largest`: bytes a file may have, for it and its kernel."""
        output = output or f"build/{name}.ipynb"
        command = ["workflow.run", f"notebooks/{name}.ipynb", output, *SMALL.split()]
        command += [*OWN[name].split(), "-p", "out_dir", f"build/runs/{name}", *more]
        return self.popen(command, largest)

    def report(self, folder):
        """Start a build of the report."""
        paths = [f"build/{name}.ipynb" for name in OWN]
        return self.popen(["workflow.report.build", *paths, "--out", folder, "--profile", "soak"])

    def popen(self, words, largest=None):
        own = {"PYTHONPATH": str(self.root), "XDG_CACHE_HOME": str(self.build / "xdg")}

        def limit():
            if largest:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

        return subprocess.Popen(
            [sys.executable, "-m", *words], cwd=self.root, preexec_fn=limit, text=True,
            env=os.environ | own | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def results(self, name):
        """{file: SHA-256} of what a run leaves, without what tells its times and its process."""
        told = {"manifest.json", "sessions.json", "state.previous.pt", ".lock"}
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.run_folder(name).iterdir())
            if path.name not in told
        }

    def trained(self, name):
        """The sessions of training that the manifest lists, with their times."""
        path = self.run_folder(name) / "manifest.json"
        return json.loads(path.read_text(encoding="utf-8"))["trained"]

    def epochs(self, name):
        """Epochs in the checkpoint, which must be whole; 0 without one."""
        path = self.run_folder(name) / "state.pt"
        return len(checkpoint.read(path)["history"]) if path.exists() else 0


def kernel_of(process):
    try:
        children = psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return None
    return next((c.pid for c in children if "ipykernel" in " ".join(c.cmdline())), None)


def quietly(function, *words):
    """Do it to a process that may have ended meanwhile, or never begun."""
    try:
        if words[0]:
            function(*words)
    except ProcessLookupError:
        pass


def fill_disk(process, kernel):
    for number in (kernel, process.pid):
        quietly(resource.prlimit, number, resource.RLIMIT_FSIZE, (20_000, 20_000))


def kill_both(process, kernel):
    process.kill()
    quietly(os.kill, kernel, signal.SIGKILL)


# {what: (what is done at some moment of a run, how the run may end, what it must say if it fails)}
# A runner that has not yet set its handlers ends as Python does.
AT_A_MOMENT = {
    "kill -9 runner": (lambda p, k: p.kill(), {0, -9}, ""),
    "kill -9 kernel": (lambda p, k: quietly(os.kill, k, signal.SIGKILL), {0, 1}, "kernel died"),
    "kill -9 both": (kill_both, {0, -9}, ""),
    "SIGTERM": (lambda p, k: p.terminate(), {0, 1, 143, -15}, STOPPED),
    "SIGINT": (lambda p, k: p.send_signal(signal.SIGINT), {0, 1, 130, -2}, STOPPED),
    "disk fills up": (fill_disk, {0, 1}, FULL),
}
OTHERS = ("full disk", "second output", "second folder", "cut", "flipped bit", "rests", "cache")
DISTURBANCES = (*AT_A_MOMENT, *OTHERS)
DAMAGES = ("cut", "flipped bit")


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
        return status, out, errors

    def going(self, process, name):
        """Let some time pass, less than an undisturbed run took; whether it is still there."""
        try:
            process.wait(self.rng.uniform(0.5, self.seconds[name]))
        except subprocess.TimeoutExpired:
            return True
        return False

    def undisturbed(self):
        world = World(self.folder / "undisturbed")
        for name in OWN:
            for turn in ("first", "again, complete already"):
                began = time.monotonic()
                self.expect(f"{name} undisturbed", world.start(name), {0})
                made = world.results(name), world.trained(name)
                if turn == "first":
                    self.seconds[name], first = time.monotonic() - began, made
                elif made != first:
                    self.fault(f"{name}: complete, and yet a second run trained or changed it")
                self.say(f"undisturbed {name}, {turn}: {time.monotonic() - began:.0f} s")
        return world

    # -- one start with one disturbance ----------------------------------------------------------

    def at_a_moment(self, world, name, what):
        act, statuses, pattern = AT_A_MOMENT[what]
        process = world.start(name)
        if self.going(process, name):
            act(process, kernel_of(process))
        return self.expect(what, process, statuses, pattern)[0]

    def full_disk(self, world, name):
        largest = self.rng.choice([4_000, 30_000, 100_000, 400_000])
        what = f"full disk ({largest:,} bytes a file)"
        return self.expect(what, world.start(name, largest=largest), {0, 1}, FULL)[0]

    def second(self, world, name, output):
        """Another run to the same notebook, or in the same run folder: refused meanwhile."""
        process = world.start(name)
        going = self.going(process, name)
        # the first may end, or not yet hold the folder, while the second starts
        self.expect("second run", world.start(name, output=output), {0, 1, 2}, "in use by ")
        if going and process.poll() is None:
            process.kill()
        status = self.expect("first of two", process, {0, 1, -9}, "in use by ")[0]
        for path in world.build.glob("second*.ipynb"):
            path.unlink()
        return status

    def damaged(self, world, name, what):
        """A damaged checkpoint is refused; then what the message advises is done."""
        path = world.run_folder(name) / "state.pt"
        spoiled = bytearray(path.read_bytes())
        spot = self.rng.randrange(len(spoiled))
        if what == "cut":
            del spoiled[spot:]
        else:
            spoiled[spot] ^= 1 << self.rng.randrange(8)
        path.write_bytes(spoiled)
        status, _, line = self.expect(what, world.start(name), {1}, r"state\.pt: damaged")
        if path.read_bytes() != spoiled:
            self.fault(f"{name}: a damaged checkpoint was changed")
        if "rename it to state.pt" in line and self.rng.random() < 0.7:
            os.replace(path.with_name("state.previous.pt"), path)
            return status
        process = world.start(name, "-p", "resume", "False")
        if self.going(process, name):
            process.send_signal(signal.SIGINT)
        self.expect("resume = False", process, {0, 1, 130, -2})
        try:
            checkpoint.read(path)
        except ValueError:  # interrupted before its first epoch
            path.unlink()
            path.with_name("state.previous.pt").unlink(missing_ok=True)
        return status

    def rests(self, world, name):
        """Half files, locks and process numbers of processes that are gone."""
        folder = world.run_folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        dead = subprocess.Popen(["true"])
        dead.wait()
        for rest in ("state.pt", "state.previous.pt", "history.csv"):
            (folder / f".{rest}.{dead.pid}.part").write_bytes(b"half")
        (folder / ".lock").write_text(self.rng.choice([f"process {dead.pid} on here\n", "x", ""]))
        (world.build / f".{name}.ipynb.lock").write_text(f"{dead.pid}\n")
        (world.build / f"{name}.running.{dead.pid}.ipynb").write_text("{")
        status = self.at_a_moment(world, name, "kill -9 both")
        if self.rng.random() < 0.5:
            status = self.expect("with rests of the dead", world.start(name), {0})[0]
            if left := list(folder.glob("*.part")):
                self.fault(f"{name}: left behind {left}")
        return status

    def cache(self, world, name):
        entries = [p for p in sorted((world.build / "cache").rglob("*")) if p.is_file()]
        if entries:
            path = self.rng.choice(entries)
            data = bytearray(path.read_bytes())
            data[self.rng.randrange(len(data))] ^= 255
            path.write_bytes(data)
        return self.at_a_moment(world, name, "kill -9 both")

    def disturb(self, world, name, what):
        """One start with one disturbance; True if the notebook is done."""
        before, output = world.epochs(name), world.build / f"{name}.ipynb"
        old = output.read_bytes() if output.exists() else None
        if what in AT_A_MOMENT:
            status = self.at_a_moment(world, name, what)
        elif what in DAMAGES:
            status = self.damaged(world, name, what)
        elif what.startswith("second"):
            other = None if what == "second output" else "build/second.ipynb"
            status = self.second(world, name, other)
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
        if status != 0 and old is not None and output.read_bytes() != old:
            self.fault(f"{name} after {what}: the notebook changed though the run failed")
        self.say(f"{name}: {what}, status {status}, {before} -> {epochs} epochs")
        return status == 0 and epochs == EPOCHS

    # -- a round ---------------------------------------------------------------------------------

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
        before = len(self.faults)
        for name in OWN:
            mine, wanted = world.results(name), reference.results(name)
            for file in sorted(mine.keys() | wanted.keys()):
                if mine.get(file) != wanted.get(file):
                    self.fault(f"round {number}: {name}/{file} differs")
        # the report is built while a run goes on in the same folder
        process = world.start("02_gan")
        time.sleep(6)
        self.expect("report while a run goes on", world.report("build/meanwhile"), {0})
        self.expect("the run meanwhile", process, {0})
        for name in OWN:
            take_times(*(w.build / f"{name}.ipynb" for w in (world, reference)))
        for one in (world, reference):
            self.expect("report", one.report("build/compared"), {0})
        for file in ("report.html", "report.pdf"):
            mine, wanted = (w.build / "compared" / file for w in (world, reference))
            if mine.read_bytes() != wanted.read_bytes():
                self.fault(f"round {number}: {file} differs")
            if not (world.build / "meanwhile" / file).stat().st_size:
                self.fault(f"round {number}: {file}, built while a run went on, is empty")
        equal = "all equal" if len(self.faults) == before else "DIFFERENT"
        self.say(f"round {number}: compared with the undisturbed runs: {equal}")

    def main(self):
        reference = self.undisturbed()
        rounds, deadline = 0, time.monotonic() + 60 * self.minutes
        while not rounds or time.monotonic() < deadline:
            rounds += 1
            self.round(rounds, reference, deadline)
        for name, times in sorted(self.events.items()):
            print(f"{name:22} {times:5d}")
        print(f"{rounds} rounds, {self.events.total()} disturbed starts in all.")
        if self.faults:
            print(f"FAILED: {len(self.faults)} unexpected:", *self.faults, sep="\n  ")
            return 1
        print("Equal to the undisturbed runs in every byte (but for run times): weights, history,")
        print("figures, scores and report.")
        return 0


def take_times(path, other):
    """Put run times and sessions of another executed notebook into this one: they may differ."""
    notebook, wanted = (nbformat.read(p, as_version=4) for p in (path, other))
    for mine, theirs in zip(manifests(notebook), manifests(wanted), strict=True):
        mine["seconds"], mine["trained"] = theirs["seconds"], theirs["trained"]
    nbformat.write(notebook, path)


def manifests(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            report = output.get("metadata", {}).get("report", {})
            if report.get("kind") == "provenance":
                yield report["manifest"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=15, help="of disturbance, about")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        sys.exit(Soak(place, chosen.seed, chosen.minutes).main())
