"""A run that is stopped, killed, or out of disk, again and again, ends as if nothing had been."""

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import pytest
import report_fixture
import torch
from conftest import EPOCHS
from running import begin_run, end, kernel_of, results, start, until

from helpers import checkpoint, files
from helpers.params import VAEConfig

GOOD = "the result of an earlier run"
STOPS = (signal.SIGINT, signal.SIGTERM, "disk", "kernel", "runner")


class Record(NamedTuple):
    epoch: int


def save_epochs(folder, epochs):
    history = [Record(k) for k in range(1, epochs + 1)]
    checkpoint.save(folder, VAEConfig(), {"x": "ab" * 32}, history, {"net": torch.nn.Linear(3, 2)})


def third_epoch(folder, moment):
    """Save it, but die at the n-th moment before or after a call of a C function in the saving."""

    def watch(frame, event, function):
        nonlocal moment
        own = frame.f_code.co_filename in (files.__file__, checkpoint.__file__)
        moment -= own and event in ("c_call", "c_return")
        if moment == 0 and function.__name__ == "write":
            function.__self__.write(frame.f_locals["data"][:99]), function.__self__.flush()
        if moment == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.setprofile(watch)
        save_epochs(folder, 3)
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.fault(47, 49)
def test_killed_at_any_moment_of_a_save_the_epoch_before_loads(tmp_path):
    """Around each link, write, sync and rename: all of the old or all of the new."""
    torch.set_num_threads(1)  # of a process that forks
    for epochs in (1, 2):
        save_epochs(tmp_path, epochs)
    before, stages, status = {p: p.read_bytes() for p in tmp_path.iterdir()}, [], None
    while status != 0:
        for path, content in before.items():
            path.unlink()  # both names may be one file
            path.write_bytes(content)
        if not (child := os.fork()):
            third_epoch(tmp_path, len(stages) + 1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL)
        stages.append([len(checkpoint.read(path)["history"]) for path in sorted(before)])
        checkpoint.open_run(tmp_path)
        assert not list(tmp_path.glob("*.part"))
    assert len(stages) > 30 and sorted(stages) == stages
    assert {tuple(stage) for stage in stages} == {(1, 2), (2, 2), (2, 3)}


def disturb(process, folder, how):
    """Stop a run that trains; what its end must look like: status, message."""
    kernel = kernel_of(process)
    if how == "disk":
        resource.prlimit(kernel, resource.RLIMIT_FSIZE, (1000, 1000))
        return 1, rf"OSError: {folder}/run/\S+: cannot be written \(File too large\); the old"
    if how == "runner":
        process.kill()
        return -9, "^$"
    if how == "kernel":
        os.kill(kernel, signal.SIGKILL)
        return 1, r"cell \d+: the kernel died \(out of memory\?\); see .*out\.failed"
    process.send_signal(how)
    return 128 + how, "; to go on, run the same command again"


@pytest.mark.fault(36, 43, 48, 50, 51, 52, 54, 55, 57, 58, 63)
def test_stopped_in_every_way_one_after_the_other_it_ends_the_same(usual, words, tmp_path):
    (tmp_path / "out.ipynb").write_text(GOOD)
    done, moments = 0, random.Random(0)
    for how in STOPS:
        process = begin_run("01_vae", tmp_path, *words)
        said = until(process, f"epoch {done + 2:2d}/{EPOCHS}")
        assert f"continuing after epoch {done}\n" in said if done else "continuing" not in said
        time.sleep(moments.uniform(0, 0.1))
        status, message = disturb(process, tmp_path, how)
        assert re.search(message, end(process, status)[1])
        assert (tmp_path / "out.ipynb").read_text() == GOOD
        history = checkpoint.read(tmp_path / "run" / "state.pt")["history"]
        have, least, done = [record["epoch"] for record in history], done + 2, len(history)
        assert have == list(range(1, done + 1)) and least <= done < EPOCHS
        # a process that is killed in the middle of a save cannot tidy up: the next start does
        assert how != "disk" or not list((tmp_path / "run").glob(".*.part"))
    # at once, while the kernel of the killed runner is there and trains; once more, complete
    for least in (done, EPOCHS):
        said = end(begin_run("01_vae", tmp_path, *words))[0]
        shown = re.findall(rf"epoch +(\d+)/{EPOCHS}", said)  # also those of before; each once
        assert list(map(int, shown)) == list(range(1, EPOCHS + 1))
        assert all(int(k) >= least for k in re.findall(r"continuing after epoch (\d+)", said))
        assert results(tmp_path / "run") == results(usual / "run")
        (tmp_path / "run" / "figure_1.png").write_bytes(b"lost")
    assert not list((tmp_path / "run").glob(".*.part"))
    assert {p.name for p in tmp_path.iterdir() if p.name[0] != "."} == {"out.ipynb", "run"}


SMALL = {
    "01_vae": {"hidden_dim": 16},
    "02_gan": {"base_channels": 4, "epochs": 6},
    "03_cgan": {"hidden_dims": "[32,64]", "epochs": 6},
}


@pytest.mark.skipif("SOAK" not in os.environ, reason="dozens of stops: make soak")
@pytest.mark.parametrize("name", SMALL)
def test_stopped_at_any_moment_again_and_again_it_ends_the_same(name, words, tmp_path):
    """As many runs as fit into $SOAK minutes for each notebook, each stopped until it is done."""
    own = dict(zip(words[1::3], words[2::3], strict=True)) | SMALL[name]
    words, moments = [word for pair in own.items() for word in ("-p", *pair)], random.Random(0)
    began, stops = time.monotonic(), 0
    end(begin_run(name, tmp_path / "usual", *words))
    seconds = time.monotonic() - began
    while time.monotonic() < began + 60 * float(os.environ["SOAK"]):
        process, state = begin_run(name, tmp_path, *words), tmp_path / "run" / "state.pt"
        before = len(checkpoint.read(state)["history"]) if state.exists() else 0
        try:
            process.wait(moments.uniform(0.5, seconds))
        except subprocess.TimeoutExpired:
            if kernel_of(process):
                disturb(process, tmp_path, moments.choice(STOPS))
                stops += 1
        said, errors = process.communicate()
        assert "Traceback" not in said and errors.count("\n") <= 1, errors
        assert not state.exists() or len(checkpoint.read(state)["history"]) >= before
        if process.returncode == 0:
            assert results(tmp_path / "run") == results(tmp_path / "usual" / "run")
            shutil.rmtree(tmp_path / "run")
    assert stops


@pytest.mark.fault(61)
def test_a_report_is_read_while_two_write_it(tmp_path):
    """Whole, old or new, at every moment, and the two builds do not meet."""
    paths, page, seen = report_fixture.write(tmp_path / "in"), tmp_path / "report.html", []
    page.write_text(GOOD)
    words = ("workflow.report.build", *paths, "--out", tmp_path)
    both = [start(*words), start(*words)]
    while any(process.poll() is None for process in both):
        if not seen or page.read_bytes() != seen[-1]:
            seen.append(page.read_bytes())
    end(both[0]), end(both[1])
    assert seen[0] == GOOD.encode() and seen[1:] in ([], [page.read_bytes()])
    assert not list(tmp_path.glob(".*.part"))
