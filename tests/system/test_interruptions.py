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
from pathlib import Path

import nbformat
import numpy as np
import pytest
import report_fixture as fixture
import torch
from test_checkpoint import DATA, Record, parts_of, saved

from helpers import checkpoint, files, provenance, vae
from helpers.data import cache
from helpers.params import VAEConfig
from helpers.paths import ROOT
from workflow.report import build

# -- kill -9, in forks of a process that has nothing else to do


def by_itself(function, folder):
    """Call a function of this module with the folder in a fresh process; its last line."""
    code = f"import test_interruptions as t; t.torch.set_num_threads(1); t.{function}({folder!r})"
    tests = os.path.dirname(__file__)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {tests!r}); {code}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def fork(task):
    """A child that does the task and ends with 0."""
    process = os.fork()
    if process:
        return process
    try:
        task()
        os._exit(0)
    finally:
        os._exit(1)


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


def kill_at_every_moment_of_save(folder):
    folder, stages = Path(folder), []
    saved(folder)
    before = parts_of(folder)
    for moment in range(1, 100):
        for name, content in before.items():
            (folder / name).unlink(missing_ok=True)
            (folder / name).write_bytes(content)

        def third_epoch(moment=moment):
            deadline = Deadline(moment)
            for name in ("link", "replace", "fsync"):
                setattr(os, name, deadline.watch(getattr(os, name)))
            checkpoint.open = lambda *words: Halves(open(*words), deadline)
            net = torch.nn.Linear(3, 2)
            history = [Record(k, 1 / k) for k in (1, 2, 3)]
            checkpoint.save(folder, VAEConfig(), DATA, history, {"net": net})

        status = os.waitpid(fork(third_epoch), 0)[1]
        have = len(checkpoint.read(folder / "state.pt")["history"])
        previous = len(checkpoint.read(folder / "state.previous.pt")["history"])
        assert previous in (1, 2) and have in (2, 3) and previous < 3, (moment, previous, have)
        checkpoint.open_run(folder)
        assert not list(folder.glob("*.part"))
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        stages.append(f"{previous}{have}")
    assert have == 3
    print(" ".join(stages))


class Halves:
    """A file that writes in two halves, with a moment between them."""

    def __init__(self, file, deadline):
        self.file, self.deadline = file, deadline
        self.flush, self.fileno = file.flush, file.fileno

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        self.deadline.moment()
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        self.deadline.moment()
        self.file.write(data[len(data) // 2 :])


@pytest.mark.fault(49, 47)
def test_killed_at_any_moment_of_a_save_the_epoch_before_loads(tmp_path):
    """Before and after each link, write, sync and rename: all of the old or all of the new."""
    stages = by_itself("kill_at_every_moment_of_save", str(tmp_path)).split()
    assert stages == sorted(stages, key=lambda stage: int(stage[::-1])) and len(stages) == 10
    assert set(stages) == {"12", "22", "23"}


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
        provenance.write_history(folder, history)
        if most and len(history) == most:
            signal.pause()


def kill_fifty_times(folder):
    straight, killed = Path(folder, "straight"), Path(folder, "killed")
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
    epochs = list(map(int, by_itself("kill_fifty_times", str(tmp_path)).split()))
    assert len(epochs) >= 51 and max(epochs) > 5  # killed late enough to have got on
    lines = (tmp_path / "killed" / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [str(n + 1) for n in range(EPOCHS)]


# -- a notebook through the runner

PARAMETERS = """\
out_dir: str = ""  # of the run
hidden_dim: int = 8  # of the network
epochs: int = 6  # passes over the data
halt: int = 0  # wait after this epoch until a file named go is there
"""
CELLS = [
    """\
import os, time
from types import SimpleNamespace
import numpy as np, torch
from helpers import checkpoint, figures, params, provenance, show, vae
from helpers.data import cache
config = params.VAEConfig(epochs=epochs, hidden_dim=hidden_dim, latent_dim=2)
run = checkpoint.open_run(out_dir)
images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (256, 28, 28), np.uint8))""",
    """\
model, optimizer = vae.build(config, torch.device("cpu"))
parts = {"model": model, "optimizer": optimizer}
history = checkpoint.resume(run, config, {"data": "0" * 64}, vae.Record, parts)
print(f"continuing after epoch {len(history)}" if history else "warning: starting afresh")""",
    """\
for record in vae.train_vae(config, model, optimizer, images, images, start=len(history)):
    history.append(record)
    print(f"epoch {record.epoch:2d}/{epochs}  recon {record.recon:.3f}", flush=True)
    checkpoint.save(run, config, {"data": "0" * 64}, history, parts)
    if record.epoch == halt:
        print("warning: halted", flush=True)
        while not (run / "go").exists():
            time.sleep(0.01)""",
    """\
samples = vae.sample(model, 5, torch.Generator().manual_seed(0))
data = SimpleNamespace(real=True, name="noise")
show.show_figure(figures.image_grid(samples.numpy()[None]), 1, "Five.", "Five.", run, data)
provenance.write_history(run, history)""",
]
GOOD = "the notebook of an earlier run"


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


def start(notebook, folder, *words, name="run"):
    output = folder / ("out.ipynb" if name == "run" else f"{name}.ipynb")
    command = [sys.executable, "-m", "workflow.run", str(notebook), str(output)]
    command += ["-p", "out_dir", str(folder / name), *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=folder,
    )


def until(process, word):
    """The lines up to the one with this word."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if word in line:
            return lines
    raise AssertionError(f"no {word!r}: {lines} {process.stderr.read()}")


def kernel_of(folder):
    return int((folder / "run" / ".pid").read_text().split()[0])


@pytest.fixture(scope="module")
def straight(notebook, tmp_path_factory):
    """The files of an undisturbed run, made while another config runs."""
    folder = tmp_path_factory.mktemp("straight")
    other = start(notebook, folder, "-p", "hidden_dim", 9, name="other")
    process = start(notebook, folder)
    for one in (process, other):
        said = one.communicate(timeout=200)
        assert one.returncode == 0, said
    return {name: parts_of(folder / name) for name in ("run", "other")}


@pytest.mark.fault(60)
def test_two_configs_at_once_do_not_meet(straight):
    """Each leaves the same names in its own folder, and other numbers."""
    run_, other = straight["run"], straight["other"]
    assert run_.keys() == other.keys() and not [name for name in run_ if "part" in name]
    assert all(run_[name] != other[name] for name in run_)


def stop(process, folder, how):
    """Disturb a run that waits after an epoch; what its end must look like: status, message."""
    kernel = kernel_of(folder)
    if how == "disk":
        resource.prlimit(kernel, resource.RLIMIT_FSIZE, (1000, 1000))
        (folder / "run" / "go").touch()
        return (
            1,
            rf"OSError: {folder}/run/state\.pt: cannot be written \(File too large\); the old",
        )
    if how == "runner":
        process.kill()
        return -9, "^$"
    if how == "kernel":
        os.kill(kernel, signal.SIGKILL)
        return 1, r"short\.ipynb, cell 5: the kernel died \(out of memory\?\); see .*out\.failed"
    process.send_signal(how)
    return 128 + how, r"; to go on, run the same command again\n$"


@pytest.mark.fault(36, 43, 48, 50, 51, 52, 54, 55, 57, 58, 63)
def test_stopped_in_every_way_one_after_the_other_it_ends_the_same(straight, notebook, tmp_path):
    (tmp_path / "out.ipynb").write_text(GOOD)
    stops = [signal.SIGINT, signal.SIGTERM, "disk", "kernel", "runner"]
    for epoch, how in enumerate(stops, 1):
        process = start(notebook, tmp_path, "-p", "halt", epoch)
        lines = "".join(until(process, "halted"))
        begun = "starting afresh" if epoch == 1 else f"continuing after epoch {epoch - 1}"
        assert begun in lines and lines.count("/6 ") == 1  # no epoch is trained twice
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
        process = start(notebook, tmp_path)
        out, errors = process.communicate(timeout=100)
        assert (process.returncode, errors) == (0, "")
        assert f"continuing after epoch {expected[0]}" in out
        assert re.findall(r"epoch +(\d+)/6", out) == list(map(str, expected[1:]))
        assert parts_of(tmp_path / "run") == straight["run"]
        (tmp_path / "run" / "figure_1.png").write_bytes(b"lost")
    assert straight["run"]["history.csv"].decode().splitlines()[0].startswith("epoch,")
    rows = straight["run"]["history.csv"].decode().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == list("123456")
    nbformat.validate(nbformat.read(tmp_path / "out.ipynb", as_version=4))
    assert {p.name for p in tmp_path.iterdir() if p.name[0] != "."} == {"out.ipynb", "run"}


@pytest.mark.fault(53)
def test_a_read_only_folder_is_noticed_before_the_training(notebook, tmp_path):
    """A read-only mount, as even root has to respect."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("no mount of its own may be made here")
    (tmp_path / "ro" / "run").mkdir(parents=True)
    mounted = 'mount --bind ro ro && mount -o remount,ro,bind ro && exec "$0" "$@"'
    folder = tmp_path / "ro" / "run"
    refused = (
        f"cell 3: OSError: {folder}: cannot be written (Read-only file system); set out_dir; "
    )
    for output, message in (
        ("ro/out.ipynb", "ro/.out.ipynb.lock: Read-only file system\n"),
        ("out.ipynb", refused),
    ):
        command = [sys.executable, "-m", "workflow.run", notebook, output, "-p", "out_dir", folder]
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", mounted, *command],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1 and "epoch" not in done.stdout
        assert message in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert not (tmp_path / "out.ipynb").exists()


# -- a report beside it


@pytest.mark.fault(52, 82)
@pytest.mark.parametrize("largest", [0, 100_000])
def test_a_full_disk_leaves_the_old_report(tmp_path, largest):
    paths = fixture.write(tmp_path / "in")
    for name in ("report.html", "report.pdf"):
        (tmp_path / name).write_text(GOOD)
    done = subprocess.run(
        [sys.executable, "-m", "workflow.report.build", *paths, "--out", tmp_path],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert re.fullmatch(rf"{tmp_path}/report\.(html|pdf): File too large\n", done.stderr)
    for name in ("report.html", "report.pdf"):
        assert (tmp_path / name).read_text() == GOOD
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "report.html", "report.pdf"]


@pytest.mark.fault(61)
def test_a_report_is_read_while_it_is_written(tmp_path):
    """Whole, old or new, at every moment; so is a notebook that is read while it is replaced."""
    page, executed = tmp_path / "report.html", tmp_path / "out.ipynb"
    versions = [letter.encode() * 2_000_000 for letter in "ab"]
    cells = [[nbformat.v4.new_markdown_cell(letter * 500_000)] for letter in "ab"]
    texts = [nbformat.writes(nbformat.v4.new_notebook(cells=cell)) for cell in cells]
    build.write({page: versions[0]})
    executed.write_text(texts[0])
    read, ended = 0, threading.Event()

    def write():
        try:
            for turn in range(1, 60):
                build.write({page: versions[turn % 2]})
                files.write_atomically(executed, texts[turn % 2].encode())
        finally:
            ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not ended.is_set():
        assert page.read_bytes() in versions
        assert executed.read_text() in texts
        read += 1
    writer.join()
    assert read > 5 and sorted(path.name for path in tmp_path.iterdir()) == [
        "out.ipynb",
        "report.html",
    ]


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
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-k",
        "comes_back or in_use",
    ]
    command += ["tests/test_checkpoint.py"]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=200) for process in both] == [0, 0]
