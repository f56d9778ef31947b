"""Disturbs runs for a while, lets them end, and proves that nothing came out differently.

    make soak                                   about 15 minutes
    python tests/soak.py --minutes 2            a short one

The three notebooks are run on the stand-in data with small networks, first undisturbed. Then, in
rounds, each is started again and again while something happens to it: runner, kernel or both are
killed; SIGTERM, SIGINT; a disk that is full; a checkpoint cut short or with a flipped bit; rests
of dead processes; a second run in the same folder; a report built meanwhile. After every start
the checkpoint must be whole and no epoch lost. At the end of a round state.pt, history.csv, the
figures and scores.json must be those of the undisturbed runs byte for byte, and so must the HTML
and the PDF of a report, once run times and sessions in both are made the same: nothing else may
differ.

Works on copies of the project in a temporary folder. The seed settles which disturbance comes
when; what it hits depends on the machine. Exit status: 0 if all is equal and nothing unexpected
was said, else 1.
"""

import argparse
import collections
import hashlib
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
SMALL = "-p source sample -p train_limit 512 -p epochs 6 -p score_samples 60 -p device cpu"
OWN = {
    "01_vae": "-p hidden_dim 16",
    "02_gan": "-p base_channels 8",
    "03_cgan": "-p hidden_dims [32,64]",
}
IN_USE = r"in use by "
DAMAGED = r"state\.pt: damaged"
MISSING = r"state\.pt: missing"
FULL = r"File too large|No space left|the kernel died"
GOES_ON = r"to go on, run the same command again"
KERNEL_DIED = r"the kernel died"


class World:
    """A copy of the project whose runs and report stay inside it."""

    def __init__(self, folder, model=ROOT):
        self.root = Path(folder)
        for name in ("helpers", "report", "notebooks"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(model / name, self.root / name, ignore=ignored)
        if model != ROOT:
            shutil.copytree(model / "build" / "cache", self.cache)

    @property
    def cache(self):
        return self.root / "build" / "cache"

    def run_folder(self, name):
        return self.root / "build" / "runs" / name

    def notebook(self, name):
        return self.root / "build" / f"{name}.ipynb"

    def start(self, name, *more, output=None, largest=None):
        """The runner on one notebook; `largest`: bytes a file may have, for it and its kernel."""
        command = [sys.executable, "-m", "workflow.run", f"notebooks/{name}.ipynb"]
        command += [str(output or f"build/{name}.ipynb")]
        command += [*SMALL.split(), *OWN[name].split(), *more]
        return self._popen(command, largest)

    def _popen(self, command, largest=None):
        home = str(self.root)
        environment = os.environ | {"PYTHONPATH": home, "XDG_CACHE_HOME": f"{home}/cache"}
        environment |= {"OMP_NUM_THREADS": "1"}

        def limit():
            if largest:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

        return subprocess.Popen(
            command, cwd=self.root, env=environment, preexec_fn=limit,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def report(self, folder="build", names=tuple(OWN)):
        """Start a build of the report."""
        paths = [f"build/{name}.ipynb" for name in names]
        return self._popen(
            [
                sys.executable,
                "-m",
                "workflow.report.build",
                *paths,
                "--out",
                folder,
                "--profile",
                "soak",
            ]
        )

    def results(self, name):
        """{file: SHA-256} of what a run leaves, without what tells its times and its process."""
        told = {"manifest.json", "state.previous.pt", ".pid", ".lock"}
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.run_folder(name).iterdir())
            if path.name not in told
        }

    def epochs(self, name):
        """Epochs in the checkpoint, which must be whole; 0 without one."""
        path = self.run_folder(name) / "state.pt"
        return len(checkpoint.read(path)["history"]) if path.exists() else 0


class Soak:
    def __init__(self, folder, seed, minutes):
        self.folder, self.rng = Path(folder), random.Random(seed)
        self.began, self.minutes, self.deadline = time.monotonic(), minutes, None
        self.faults, self.events, self.restarts = [], collections.Counter(), 0
        self.seconds = {}  # of an undisturbed run, by notebook

    def say(self, text):
        seconds = int(time.monotonic() - self.began)
        print(f"{seconds // 60:3d}:{seconds % 60:02d}  {text}", flush=True)

    def fault(self, text):
        self.faults.append(text)
        self.say(f"UNEXPECTED: {text}")

    def time_is_up(self):
        return time.monotonic() > self.deadline

    def expect(self, what, process, statuses, pattern=""):
        """Wait; the process must end with one of these statuses, saying one line at most."""
        out, errors = process.communicate(timeout=900)
        status, lines = process.returncode, errors.splitlines()
        right = status in statuses and len(lines) <= 1 and "Traceback" not in out + errors
        if right and status not in (0, -signal.SIGKILL) and pattern:
            right = bool(re.search(pattern, errors))
        if not right:
            self.fault(f"{what}: status {status}, said {(errors.strip() or out[-300:])!r}")
        return status, out, lines[0] if lines else ""

    def undisturbed(self):
        world = World(self.folder / "undisturbed")
        for name in OWN:
            for turn in ("first", "again, complete already"):
                began = time.monotonic()
                _, out, _ = self.expect(f"{name} undisturbed", world.start(name), {0})
                seconds = time.monotonic() - began
                if turn == "first":
                    self.seconds[name], results = seconds, world.results(name)
                elif re.search(r"epoch +\d+/", out) or world.results(name) != results:
                    self.fault(f"{name}: complete, and yet a second run trained or changed it")
                self.say(f"undisturbed {name}, {turn}: {seconds:.0f} s")
        return world

    # -- one start with one disturbance ----------------------------------------------------------

    def moment(self, name):
        """Somewhere within a run: at most as long as an undisturbed one took."""
        return self.rng.uniform(0.5, self.seconds[name])

    def after(self, process, seconds):
        """Let that time pass; False if the process has ended by itself meanwhile."""
        try:
            process.wait(seconds)
            return False
        except subprocess.TimeoutExpired:
            return True

    def kernel_of(self, process):
        try:
            children = psutil.Process(process.pid).children()
        except psutil.NoSuchProcess:
            return None
        return next((c.pid for c in children if "ipykernel" in " ".join(c.cmdline())), None)

    def kill(self, process):
        """kill -9 by number; a process that has ended meanwhile is none to worry about."""
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def killed_runner(self, world, name):
        process = world.start(name)
        if self.after(process, self.moment(name)):
            process.kill()
        return self.expect("kill -9 runner", process, {0, -9})

    def killed_kernel(self, world, name):
        process = world.start(name)
        if self.after(process, self.moment(name)) and (kernel := self.kernel_of(process)):
            self.kill(kernel)
            return self.expect("kill -9 kernel", process, {0, 1}, KERNEL_DIED)
        return self.expect("kill -9 kernel", process, {0})

    def killed_both(self, world, name):
        process = world.start(name)
        if self.after(process, self.moment(name)):
            kernel = self.kernel_of(process)
            process.kill()
            if kernel:
                self.kill(kernel)
        return self.expect("kill -9 both", process, {0, -9})

    def told_to_stop(self, world, name, number):
        process = world.start(name)
        if self.after(process, self.moment(name)):
            process.send_signal(number)
            # before the runner has set its handlers, Python's own ending is all there is
            young = {-number, 1} if number == signal.SIGTERM else {-number, 1, 130}
            if not self.after(process, 0) and process.returncode in young:
                return self.expect(number.name, process, young)
        return self.expect(number.name, process, {0, 128 + number, -number}, GOES_ON)

    def sigterm(self, world, name):
        return self.told_to_stop(world, name, signal.SIGTERM)

    def sigint(self, world, name):
        return self.told_to_stop(world, name, signal.SIGINT)

    def full_disk(self, world, name):
        largest = self.rng.choice([4_000, 30_000, 100_000, 400_000])
        process = world.start(name, largest=largest)
        return self.expect(f"full disk ({largest:,} bytes a file)", process, {0, 1}, FULL)

    def disk_fills(self, world, name):
        """The disk becomes full at some moment of a run."""
        process = world.start(name)
        if self.after(process, self.moment(name)):
            for number in (self.kernel_of(process), process.pid):
                try:
                    resource.prlimit(number or process.pid, resource.RLIMIT_FSIZE, (20_000,) * 2)
                except ProcessLookupError:
                    pass
        return self.expect("disk fills up", process, {0, 1}, FULL)

    def second_output(self, world, name):
        """Another run to the same notebook: refused while the first goes on."""
        return self._second(world, name, None)

    def second_folder(self, world, name):
        """Another run to another notebook, in the same run folder: refused as well."""
        return self._second(world, name, "build/second.ipynb")

    def _second(self, world, name, output):
        process = world.start(name)
        going = self.after(process, self.moment(name))
        second = world.start(name, output=output)
        # the first may end, or not yet hold the folder, while the second starts
        self.expect("second run", second, {0, 1, 2}, IN_USE)
        if going and process.poll() is None:
            process.kill()
        status = self.expect("first of two", process, {0, 1, -9}, IN_USE)
        for path in (world.root / "build").glob("second*.ipynb"):
            path.unlink()
        return status

    def cut_checkpoint(self, world, name):
        return self._damaged(world, name, lambda data: data[: self.rng.randrange(len(data))])

    def flipped_bit(self, world, name):
        def flip(data):
            data = bytearray(data)
            data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
            return bytes(data)

        return self._damaged(world, name, flip)

    def _damaged(self, world, name, damage):
        """A damaged checkpoint is refused; then what the message advises is done."""
        path = world.run_folder(name) / "state.pt"
        spoiled = damage(path.read_bytes())
        path.write_bytes(spoiled)
        status, out, line = self.expect("damaged checkpoint", world.start(name), {1}, DAMAGED)
        if path.read_bytes() != spoiled:
            self.fault(f"{name}: a damaged checkpoint was changed")
        if "rename it to state.pt" in line and self.rng.random() < 0.7:
            os.replace(path.with_name("state.previous.pt"), path)
            self.say(f"    {name}: recovered from state.previous.pt")
        else:
            process = world.start(name, "-p", "resume", "False")
            if self.after(process, self.moment(name)):
                process.send_signal(signal.SIGINT)
            self.expect("resume = False", process, {0, 1, 130, -2}, "")
            if self.broken(path):  # interrupted before its first epoch
                path.unlink()
                path.with_name("state.previous.pt").unlink(missing_ok=True)
            self.say(f"    {name}: started again with resume = False")
        return status, out, line

    def broken(self, path):
        try:
            checkpoint.read(path)
        except ValueError:
            return True
        return False

    def rests_of_the_dead(self, world, name):
        """Half files, locks and process numbers of processes that are gone."""
        folder, built = world.run_folder(name), world.root / "build"
        folder.mkdir(parents=True, exist_ok=True)
        dead = subprocess.Popen(["true"])
        dead.wait()
        for rest in ("state.pt.part", "state.previous.pt.part", "history.csv.part"):
            (folder / rest).write_bytes(b"half")
        (folder / ".lock").touch()
        (folder / ".pid").write_text(self.rng.choice([f"{dead.pid} {dead.pid}\n", "x", ""]))
        (built / f".{name}.ipynb.lock").write_text(f"{dead.pid}\n")
        (built / f"{name}.running.ipynb").write_text("{")
        status = self.killed_both(world, name)
        if self.rng.random() < 0.5:
            return status
        status = self.expect("with rests of the dead", world.start(name), {0})
        if left := list(folder.glob("*.part")) + list(built.glob(f"{name}.running.ipynb")):
            self.fault(f"{name}: left behind {left}")
        return status

    def damaged_cache(self, world, name):
        entries = sorted(world.cache.glob("*")) if world.cache.exists() else []
        if entries:
            path = self.rng.choice(entries)
            data = bytearray(path.read_bytes())
            data[self.rng.randrange(len(data))] ^= 255
            path.write_bytes(data)
        return self.killed_both(world, name)

    DISTURBANCES = (
        killed_runner, killed_kernel, killed_both, sigterm, sigint, full_disk, disk_fills,
        second_output, second_folder, cut_checkpoint, flipped_bit, rests_of_the_dead,
        damaged_cache,
    )  # fmt: skip

    DAMAGES = (cut_checkpoint, flipped_bit)

    def disturb(self, world, name, disturbance):
        """One start with one disturbance; True if the notebook is done."""
        before = world.epochs(name)
        output, running = world.notebook(name), disturbance.__name__.replace("_", " ")
        old = output.read_bytes() if output.exists() else None
        status = disturbance(self, world, name)[0]
        self.events[running] += 1
        self.restarts += 1
        try:
            epochs = world.epochs(name)
        except ValueError as error:
            self.fault(f"{name} after {running}: {error}")
            epochs = before
        if epochs < before and disturbance not in self.DAMAGES:
            self.fault(f"{name} after {running}: {before} epochs before, {epochs} now")
        if status != 0 and old is not None and output.read_bytes() != old:
            self.fault(f"{name} after {running}: the notebook changed though the run failed")
        self.say(f"{name}: {running}, status {status}, {before} -> {epochs} epochs")
        return status == 0 and epochs == 6

    # -- a round ---------------------------------------------------------------------------------

    def round(self, number, reference):
        """Every notebook, disturbed until it is done; then compared."""
        world = World(self.folder / f"round-{number}", reference.root)
        names, deck = list(OWN), []
        while names and not self.time_is_up():
            if not deck:  # each disturbance comes once before one comes again
                deck = self.rng.sample(self.DISTURBANCES, len(self.DISTURBANCES))
            name = self.rng.choice(names)
            if deck[-1] in self.DAMAGES and not (world.run_folder(name) / "state.pt").exists():
                deck.append(Soak.killed_both)  # nothing to damage yet
            done = self.disturb(world, name, deck.pop())
            if done and self.rng.random() < 0.5:
                names.remove(name)
        for name in OWN:  # now in peace; and once more, complete, as the undisturbed ones were
            for _ in range(2):
                self.expect(f"{name} in peace", world.start(name), {0})
        self.compare(number, world, reference)

    def compare(self, number, world, reference):
        before = len(self.faults)
        for name in OWN:
            mine, wanted = world.results(name), reference.results(name)
            for file in sorted(mine.keys() | wanted.keys()):
                if mine.get(file) != wanted.get(file):
                    self.fault(f"round {number}: {name}/{file} differs")
            shown = {
                key: checkpoint.read(w.run_folder(name) / "state.pt")["parts"]
                for key, w in (("mine", world), ("wanted", reference))
            }
            if not same(shown["mine"], shown["wanted"]):
                self.fault(f"round {number}: {name}: other final weights")
        # the report is built while a run goes on in the same folder
        process = world.start("02_gan")
        self.after(process, 6)
        self.expect("report while a run goes on", world.report("build/meanwhile"), {0})
        self.expect("the run meanwhile", process, {0})
        for name in OWN:
            take_times(world.notebook(name), reference.notebook(name))
        self.expect("report", world.report("build/compared"), {0})
        self.expect("report", reference.report("build/compared"), {0})
        for file in ("report.html", "report.pdf"):
            mine, wanted = (w.root / "build/compared" / file for w in (world, reference))
            if mine.read_bytes() != wanted.read_bytes():
                self.fault(f"round {number}: {file} differs")
        for file in ("report.html", "report.pdf"):
            if not (world.root / "build/meanwhile" / file).stat().st_size:
                self.fault(f"round {number}: {file}, built while a run went on, is empty")
        equal = "all equal" if len(self.faults) == before else "DIFFERENT"
        self.say(f"round {number}: compared with the undisturbed runs: {equal}")

    def main(self):
        reference = self.undisturbed()
        rounds, self.deadline = 0, time.monotonic() + 60 * self.minutes
        while not rounds or not self.time_is_up():
            rounds += 1
            self.round(rounds, reference)
            shutil.rmtree(self.folder / f"round-{rounds}")
        print(f"\n{'disturbance':22} times")
        for name, times in sorted(self.events.items()):
            print(f"{name:22} {times:5d}")
        compared = "weights, history, figures, scores and report"
        print(f"{rounds} rounds, {self.restarts} disturbed starts in all.")
        if self.faults:
            print(f"FAILED: {len(self.faults)} unexpected:", *self.faults, sep="\n  ")
            return 1
        print(f"Equal to the undisturbed runs in every byte: {compared} (but for run times).")
        return 0


def same(a, b):
    """Whether two nested states are equal, tensors bit for bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool((a == b).all()) if hasattr(a, "shape") else a == b


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


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=15, help="of disturbance, about")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    chosen = options()
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        sys.exit(Soak(place, chosen.seed, chosen.minutes).main())
