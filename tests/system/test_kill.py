"""kill -9 around a real notebook run: it ends with what an undisturbed run ends with."""

import os
import random
import signal
import subprocess
import sys

import pytest

from helpers.paths import ROOT

SMALL = {
    "source": "sample",
    "train_limit": 512,
    "epochs": 8,
    "batch_size": 32,
    "base_channels": 4,
    "score_samples": 60,
}


def start(folder):
    """The runner on 02_gan with a tiny network, leaving everything in the folder."""
    words = [word for name, value in SMALL.items() for word in ("-p", name, str(value))]
    command = [sys.executable, "-m", "workflow.run", "notebooks/02_gan.ipynb"]
    command += [str(folder / "out.ipynb"), "-p", "out_dir", str(folder / "run"), *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.fault(48)
def test_killed_twice_it_ends_as_if_nothing_had_happened(tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir(), killed.mkdir()
    process = start(straight)
    process.communicate()
    assert process.returncode == 0

    moments = random.Random(0).sample(range(1, 7), 2)
    for epoch in sorted(moments):
        process = start(killed)
        for line in process.stdout:
            if f" {epoch}/{SMALL['epochs']} " in line:
                process.kill()  # SIGKILL for the runner, then for its kernel
                os.kill(int((killed / "run" / ".pid").read_text().split()[0]), signal.SIGKILL)
                break
        else:
            raise AssertionError(f"the run ended before epoch {epoch}")
        process.communicate()
        assert not (killed / "out.ipynb").exists()
    process = start(killed)
    process.communicate()
    assert process.returncode == 0

    names = {path.name for path in (straight / "run").iterdir() if path.is_file()}
    assert {"state.pt", "history.csv", "scores.json", "figure_3.png", "figure_5.png"} <= names
    for name in sorted(names - {"manifest.json", ".pid", ".lock"}):
        assert (killed / "run" / name).read_bytes() == (straight / "run" / name).read_bytes(), name
