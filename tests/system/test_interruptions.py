"""A run that is stopped, killed, or out of disk, again and again, ends as if nothing had been."""

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import NamedTuple

import nbformat
import numpy as np
import pytest
import report_fixture as fixture
import torch

from helpers import checkpoint, files, vae
from helpers.data import cache
from helpers.params import VAEConfig
from helpers.paths import ROOT

DATA = {"train-images": "ab" * 32}
GOOD = "the result of an earlier run"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def start(*words, **options):
    """A module of the project in a process of its own, its lines to be read."""
    options = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    words = [sys.executable, "-m", *map(str, words)]
    return subprocess.Popen(words, env=ENVIRONMENT, text=True, **options)


def parts_of(folder):
    """What a run leaves: {name: bytes}, without its lock and what tells its times."""
    told = (".lock", "manifest.json", "sessions.json")
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.name not in told}


def kernel_of(folder):
    return int((folder / ".lock").read_text().split()[1])


# -- kill -9, in forks of a process that has nothing else to do


def by_itself(function, folder):
    """Call a function of this module with the folder in a fresh process; its last line."""
    tests = [str(ROOT / "tests" / name) for name in ("system", "workflow")]
    code = f"import pathlib, sys; sys.path[:0] = {tests}; import test_interruptions as t; "
    code += f"t.torch.set_num_threads(1); t.{function}(pathlib.Path({str(folder)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def fork(task):
    """A child that does the task and ends with 0."""
    if process := os.fork():
        return process
    try:
        task()
        os._exit(0)
    finally:
        os._exit(1)


class Record(NamedTuple):
    epoch: int
    loss: float


def save_epochs(folder, epochs):
    history = [Record(k, 1 / k) for k in range(1, epochs + 1)]
    checkpoint.save(folder, VAEConfig(), DATA, history, {"net": torch.nn.Linear(3, 2)})


class Deadline:
    """Lets functions pass until the n-th moment, before or after one of them or within a write."""

    def __init__(self, moments):
        self.left = moments

    def moment(self):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, function):
        def watched(*words, **named):
            self.moment()
            result = function(*words, **named)
            self.moment()
            return result

        return watched


class Halves:
    """A file that writes in two halves, with a moment before and between them."""

    def __init__(self, file, deadline):
        self.file, self.deadline = file, deadline
        self.flush, self.fileno = file.flush, file.fileno

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        for half in (data[: len(data) // 2], data[len(data) // 2 :]):
            self.deadline.moment()
            self.file.write(half)
            self.file.flush()


def kill_at_every_moment_of_save(folder):
    stages = []
    save_epochs(folder, 1)
    save_epochs(folder, 2)
    before = parts_of(folder)
    for moment in range(1, 100):
        for name, content in before.items():
            (folder / name).unlink(missing_ok=True)
            (folder / name).write_bytes(content)

        def third_epoch(moment=moment):
            deadline = Deadline(moment)
            for name in ("link", "replace", "fsync"):
                setattr(os, name, deadline.watch(getattr(os, name)))
            files.open = lambda *words: Halves(open(*words), deadline)
            save_epochs(folder, 3)

        status = os.waitpid(fork(third_epoch), 0)[1]
        have = len(checkpoint.read(folder / "state.pt")["history"])
        previous = len(checkpoint.read(folder / "state.previous.pt")["history"])
        checkpoint.open_run(folder)
        assert not list(folder.glob("*.part"))
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        stages.append(f"{previous}{have}")
    assert have == 3
    print(*stages)


@pytest.mark.fault(49, 47)
def test_killed_at_any_moment_of_a_save_the_epoch_before_loads(tmp_path):
    """Before and after each link, write, sync and rename: all of the old or all of the new."""
    stages = by_itself("kill_at_every_moment_of_save", tmp_path).split()
    assert stages == 3 * ["12"] + 6 * ["22"] + ["23"]


EPOCHS = 40


def train(folder, most=None):
    """What a notebook does in its training cells; after that epoch it only waits."""
    config = VAEConfig(epochs=EPOCHS, batch_size=32, hidden_dim=8, latent_dim=2)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (256, 28, 28), np.uint8))
    checkpoint.open_run(folder)
    model, optimizer = vae.build(config, torch.device("cpu"))
    parts = {"model": model, "optimizer": optimizer}
    history = checkpoint.resume(folder, config, DATA, vae.Record, parts)
    for record in vae.train_vae(config, model, optimizer, images, images, start=len(history)):
        history.append(record)
        checkpoint.save(folder, config, DATA, history, parts)
        files.write_json(folder / "history.json", history)
        if most and len(history) == most:
            signal.pause()


def kill_fifty_times(folder):
    straight, killed = folder / "straight", folder / "killed"
    began = time.monotonic()
    train(straight)  # in this process: what torch does once is then done before a fork
    epoch = (time.monotonic() - began) / EPOCHS
    moments, epochs = random.Random(0), [0]
    for _ in range(50):
        child = fork(lambda: train(killed, most=EPOCHS - 1))  # never to the end
        time.sleep(moments.uniform(0, 2 * epoch))
        os.kill(child, signal.SIGKILL)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        path = killed / "state.pt"
        epochs.append(len(checkpoint.read(path)["history"]) if path.exists() else 0)
        assert epochs[-1] >= epochs[-2]
        if epochs[-1] == EPOCHS - 1:
            shutil.rmtree(killed)  # begin anew rather than have nothing left to kill
            epochs.append(0)
    assert os.waitpid(fork(lambda: train(killed)), 0)[1] == 0
    assert parts_of(straight) == parts_of(killed)
    print(*epochs)


@pytest.mark.fault(48, 57, 58)
def test_killed_fifty_times_at_random_moments_the_weights_are_the_same(tmp_path):
    epochs = list(map(int, by_itself("kill_fifty_times", tmp_path).split()))
    assert len(epochs) >= 51 and max(epochs) > 5  # killed late enough to have got on


# -- a notebook through the runner

SMALL = (
    "-p source sample -p train_limit 512 -p epochs 8 -p batch_size 32 -p base_channels 4 "
    "-p score_samples 60"
).split()


@pytest.mark.fault(48, 57)
def test_a_real_notebook_killed_twice_ends_as_if_nothing_had_happened(tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"

    def begin(folder):
        words = ("workflow.run", "notebooks/02_gan.ipynb", folder / "out.ipynb", *SMALL)
        return start(*words, "-p", "out_dir", folder / "run", stderr=subprocess.DEVNULL)

    undisturbed = begin(straight)
    for epoch in sorted(random.Random(0).sample(range(1, 7), 2)):
        process = begin(killed)
        assert any(f" {epoch}/8 " in line for line in process.stdout)
        process.kill()  # SIGKILL for the runner, then for its kernel
        os.kill(kernel_of(killed / "run"), signal.SIGKILL)
        process.communicate()
        assert not (killed / "out.ipynb").exists()
    for process in (begin(killed), undisturbed):
        process.communicate()
        assert process.returncode == 0
    made = parts_of(straight / "run")
    assert {"state.pt", "history.csv", "scores.json", "figure_3.png", "figure_5.png"} <= set(made)
    again = parts_of(killed / "run")
    assert [n for n in made.keys() | again.keys() if made.get(n) != again.get(n)] == []
    rows = made["history.csv"].decode().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == list("12345678")  # each once, in order


PARAMETERS = """out_dir: str = ""  # of the run
hidden_dim: int = 8  # of the network
epochs: int = 6  # passes over the data
halt: int = 0  # wait after this epoch until a file named go is there
"""
CELLS = [
    """import time
import numpy as np, torch
from helpers import checkpoint, files, params, vae
config = params.VAEConfig(epochs=epochs, hidden_dim=hidden_dim, latent_dim=2)
run = checkpoint.open_run(out_dir)
images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (256, 28, 28), np.uint8))""",
    """model, optimizer = vae.build(config, torch.device("cpu"))
parts = {"model": model, "optimizer": optimizer}
history = checkpoint.resume(run, config, {"data": "0" * 64}, vae.Record, parts)
print(f"continuing after epoch {len(history)}" if history else "warning: starting afresh")""",
    """for record in vae.train_vae(config, model, optimizer, images, images, start=len(history)):
    history.append(record)
    print(f"epoch {record.epoch:2d}/{epochs}  recon {record.recon:.3f}", flush=True)
    checkpoint.save(run, config, {"data": "0" * 64}, history, parts)
    if record.epoch == halt:
        print("warning: halted", flush=True)
        while not (run / "go").exists():
            time.sleep(0.01)""",
    """samples = vae.sample(model, 5, torch.Generator().manual_seed(0))
files.write_atomically(run / "figure_1.png", samples.numpy().tobytes())
files.write_json(run / "history.json", [record.epoch for record in history])""",
]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """The training cells of 01_vae on 256 random images, without tables and scores."""
    path = tmp_path_factory.mktemp("short") / "short.ipynb"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    code = nbformat.v4.new_code_cell
    made.cells = [code(PARAMETERS, metadata={"tags": ["parameters"]}), *map(code, CELLS)]
    nbformat.write(made, path)
    return path


def begin(notebook, folder, *words, name="run"):
    output = folder / ("out.ipynb" if name == "run" else f"{name}.ipynb")
    words = (notebook, output, "-p", "out_dir", folder / name, *words)
    return start("workflow.run", *words, cwd=folder)


@pytest.fixture(scope="module")
def straight(notebook, tmp_path_factory):
    """The files of an undisturbed run, made while another config runs."""
    folder = tmp_path_factory.mktemp("straight")
    both = [begin(notebook, folder, "-p", "hidden_dim", 9, name="other"), begin(notebook, folder)]
    for one in both:
        said = one.communicate(timeout=200)
        assert one.returncode == 0, said
    return {name: parts_of(folder / name) for name in ("run", "other")}


@pytest.mark.fault(60)
def test_two_configs_at_once_do_not_meet(straight):
    """Each leaves the same names in its own folder, and other numbers."""
    run, other = straight["run"], straight["other"]
    assert run.keys() == other.keys() and not [name for name in run if "part" in name]
    assert [name for name in run if run[name] == other[name]] == ["history.json"]


def stop(process, folder, how):
    """Disturb a run that waits after an epoch; what its end must look like: status, message."""
    kernel = kernel_of(folder / "run")
    if how == "disk":
        resource.prlimit(kernel, resource.RLIMIT_FSIZE, (1000, 1000))
        (folder / "run" / "go").touch()
        full = rf"{folder}/run/state\.pt: cannot be written \(File too large\); the old one is"
        return 1, f"OSError: {full}"
    if how == "runner":
        process.kill()
        return -9, "^$"
    if how == "kernel":
        os.kill(kernel, signal.SIGKILL)
        return 1, r"short\.ipynb, cell 5: the kernel died \(out of memory\?\); see .*out\.failed"
    process.send_signal(how)
    return 128 + how, r"; to go on, run the same command again"


@pytest.mark.fault(36, 43, 48, 50, 51, 52, 54, 55, 57, 58, 63)
def test_stopped_in_every_way_one_after_the_other_it_ends_the_same(straight, notebook, tmp_path):
    (tmp_path / "out.ipynb").write_text(GOOD)
    stops = [signal.SIGINT, signal.SIGTERM, "disk", "kernel", "runner"]
    for epoch, how in enumerate(stops, 1):
        process, lines = begin(notebook, tmp_path, "-p", "halt", epoch), []
        while "halted" not in "".join(lines[-1:]):
            lines.append(process.stdout.readline())
            assert lines[-1], (lines, process.stderr.read())
        begun = "starting afresh" if epoch == 1 else f"continuing after epoch {epoch - 1}"
        assert begun in "".join(lines) and "".join(lines).count("/6 ") == 1  # none trained twice
        status, message = stop(process, tmp_path, how)
        errors = process.communicate(timeout=100)[1]
        assert process.returncode == status and re.search(message, errors), (how, errors)
        assert errors.count("\n") == (how != "runner")
        assert (tmp_path / "out.ipynb").read_text() == GOOD
        have = checkpoint.read(tmp_path / "run" / "state.pt")["history"]
        assert [record["epoch"] for record in have] == list(range(1, epoch + 1))
        assert not list((tmp_path / "run").glob("*.part"))
        (tmp_path / "run" / "go").unlink(missing_ok=True)
    # at once, while the kernel of the killed runner may be there; then once more, complete
    for expected in ([5, 6], [6]):
        process = begin(notebook, tmp_path)
        out, errors = process.communicate(timeout=100)
        assert (process.returncode, errors) == (0, "")
        assert f"continuing after epoch {expected[0]}" in out
        assert re.findall(r"epoch +(\d+)/6", out) == list(map(str, expected[1:]))
        assert parts_of(tmp_path / "run") == straight["run"]
        (tmp_path / "run" / "figure_1.png").write_bytes(b"lost")
    nbformat.validate(nbformat.read(tmp_path / "out.ipynb", as_version=4))
    assert {p.name for p in tmp_path.iterdir() if p.name[0] != "."} == {"out.ipynb", "run"}


@pytest.mark.fault(53, 54)
def test_a_read_only_folder_is_noticed_before_the_training(notebook, tmp_path):
    """By its permissions; for root, who need not respect them, as a read-only mount."""
    folder = tmp_path / "ro" / "run"
    folder.mkdir(parents=True)
    if root := os.geteuid() == 0:
        if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
            pytest.skip("no mount of its own may be made here")
        mounted = 'mount --bind ro ro && mount -o remount,ro,bind ro && exec "$0" "$@"'
        before, why = ["unshare", "-m", "sh", "-c", mounted], "Read-only file system"
    else:
        before, why = [], "Permission denied"
        folder.chmod(0o555), folder.parent.chmod(0o555)
    refused = f"cell 3: OSError: {folder}: cannot be written ({why}); set out_dir; "
    for output, message in (("ro/out.ipynb", f": {why}\n"), ("out.ipynb", refused)):
        command = [sys.executable, "-m", "workflow.run", notebook, output, "-p", "out_dir", folder]
        done = subprocess.run(
            [*before, *command], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
        )
        assert done.returncode == 1 and "epoch" not in done.stdout
        assert message in done.stderr and done.stderr.count("\n") == 1, (root, done.stderr)
        assert "ro/" in done.stderr
        assert not (tmp_path / "out.ipynb").exists()
    folder.parent.chmod(0o755), folder.chmod(0o755)


# -- two at once


@pytest.mark.fault(52, 82)
@pytest.mark.parametrize("largest", [0, 100_000])
def test_a_full_disk_leaves_the_old_report(tmp_path, largest):
    paths = fixture.write(tmp_path / "in")
    for name in ("report.html", "report.pdf"):
        (tmp_path / name).write_text(GOOD)
    process = start(
        *("workflow.report.build", *paths, "--out", tmp_path),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)),
    )
    errors = process.communicate()[1]
    assert process.returncode == 1
    assert re.fullmatch(rf"{tmp_path}/report\.(html|pdf): File too large\n", errors)
    for name in ("report.html", "report.pdf"):
        assert (tmp_path / name).read_text() == GOOD
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "report.html", "report.pdf"]


@pytest.mark.fault(61)
def test_a_report_is_read_while_two_write_it(tmp_path):
    """Whole, old or new, at every moment, and the two builds do not meet."""
    paths = fixture.write(tmp_path / "in")
    page = tmp_path / "report.html"
    page.write_text(GOOD)
    words = ("workflow.report.build", *paths, "--out", tmp_path)
    both, seen = [start(*words), start(*words)], []
    while any(process.poll() is None for process in both):
        if not seen or page.read_bytes() != seen[-1]:
            seen.append(page.read_bytes())
    assert [process.returncode for process in both] == [0, 0], both[0].stderr.read()
    assert seen[0] == GOOD.encode() and seen[1:] in ([], [page.read_bytes()])
    assert not list(tmp_path.glob("*.part"))
    for process in both:
        process.communicate()


@pytest.mark.fault(60)
def test_a_cache_entry_is_read_while_two_write_it(tmp_path):
    entry, contents = tmp_path / "entry", [letter * 500_000 for letter in (b"a", b"b")]
    cache.write(entry, contents[0])
    writers = [
        threading.Thread(target=lambda c=content: [cache.write(entry, c) for _ in range(40)])
        for content in contents
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert cache.read(entry) in contents
    assert list(tmp_path.iterdir()) == [entry]


@pytest.mark.fault(62)
def test_two_sets_of_tests_at_once_do_not_meet():
    words = ("pytest", "-p", "no:cacheprovider", "tests/helpers/test_files.py")
    both = [start(*words), start(*words)]
    assert [process.communicate()[0] and process.returncode for process in both] == [0, 0]
