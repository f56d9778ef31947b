"""state.pt: whole or refused by name; never unpickled; one run a folder."""

import os
import pickle
import signal
import subprocess
import sys
import zipfile
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from helpers import checkpoint
from helpers.params import VAEConfig

DATA = {"train-images": "ab" * 32}


class Record(NamedTuple):
    epoch: int
    loss: float


def saved(folder, epochs=2, config=None):
    """A run of that many epochs; returns its network."""
    net = nn.Linear(3, 2)
    for epoch in range(1, epochs + 1):
        history = [Record(k, 1 / k) for k in range(1, epoch + 1)]
        checkpoint.save(folder, config or VAEConfig(), DATA, history, {"net": net})
    return net


def resume(folder, config=None, data=None, net=None):
    net = net or nn.Linear(3, 2)
    history = checkpoint.resume(folder, config or VAEConfig(), data or DATA, Record, {"net": net})
    return net, history


def test_what_is_saved_comes_back(tmp_path):
    net, history = resume(tmp_path)
    assert history == []
    net = saved(tmp_path)
    again, history = resume(tmp_path)
    assert torch.equal(net.weight, again.weight)
    assert history == [Record(1, 1.0), Record(2, 0.5)]
    torch.load(tmp_path / "state.pt", weights_only=True)  # an ordinary torch file as well
    assert zipfile.ZipFile(tmp_path / "state.pt").testzip() is None


def test_cut_anywhere_it_is_damaged(tmp_path):
    saved(tmp_path)
    path = tmp_path / "state.pt"
    whole = path.read_bytes()
    for end in [
        *range(0, 200),
        *range(200, len(whole) - 200, 37),
        *range(len(whole) - 200, len(whole)),
    ]:
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"state\.pt: damaged.*state\.previous\.pt"):
            checkpoint.read(path)


def test_one_flipped_bit_anywhere_is_damage(tmp_path):
    saved(tmp_path)
    path = tmp_path / "state.pt"
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    spots = {*range(0, 64), *range(len(whole) - 128, len(whole))}
    spots |= set(rng.integers(0, len(whole), 300).tolist())
    for spot in spots:
        bit = 1 << int(rng.integers(8))
        whole[spot] ^= bit
        path.write_bytes(whole)
        with pytest.raises(ValueError, match=r"state\.pt: damaged"):
            checkpoint.read(path)
        whole[spot] ^= bit


def test_the_one_before_is_kept_and_whole(tmp_path):
    saved(tmp_path, epochs=3)
    assert len(checkpoint.read(tmp_path / "state.previous.pt")["history"]) == 2
    os.replace(tmp_path / "state.previous.pt", tmp_path / "state.pt")  # what the message advises
    assert len(resume(tmp_path)[1]) == 2


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (VAEConfig(latent_dim=8), "made with latent_dim = 16, now 8"),
        (VAEConfig(seed=1), "made with seed = 0, now 1"),
        (VAEConfig(epochs=1), "has 2 epochs, more than epochs = 1"),
    ],
)
def test_another_config_is_refused_by_field(tmp_path, config, message):
    saved(tmp_path)
    before = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(ValueError, match=message):
        resume(tmp_path, config)
    assert (tmp_path / "state.pt").read_bytes() == before


def test_more_epochs_and_other_views_go_on(tmp_path):
    saved(tmp_path)
    assert len(resume(tmp_path, VAEConfig(epochs=50, score_samples=500))[1]) == 2


def test_other_data_is_refused(tmp_path):
    saved(tmp_path)
    with pytest.raises(ValueError, match="other train-images .*abab.* now cdcd"):
        resume(tmp_path, data={"train-images": "cd" * 32})


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Linear(4, 2), r"net\.weight has shape \(2, 3\), needed \(2, 4\)"),
        (nn.Linear(3, 2, bias=False), r"net\.bias has shape \(2,\), needed None"),
    ],
)
def test_another_architecture_is_refused_by_key(tmp_path, net, message):
    saved(tmp_path)
    before = net.weight.clone()
    with pytest.raises(ValueError, match=message):
        resume(tmp_path, net=net)
    assert torch.equal(net.weight, before)


def test_a_number_that_is_not_finite_is_refused(tmp_path):
    net = saved(tmp_path)
    net.weight.data[0, 0] = float("nan")
    checkpoint.save(tmp_path, VAEConfig(), DATA, [Record(1, 1.0)], {"net": net})
    with pytest.raises(ValueError, match=r"net\.weight holds a number that is not finite"):
        resume(tmp_path)


def test_another_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    saved(tmp_path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="format 2, this version reads 1"):
        resume(tmp_path)


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_code_in_a_checkpoint_never_runs(tmp_path):
    """Not as a bare pickle, not inside a well sealed torch archive."""
    trace, path = tmp_path / "trace", tmp_path / "state.pt"
    path.write_bytes(pickle.dumps(Payload(trace)))
    with pytest.raises(ValueError, match="damaged"):
        checkpoint.read(path)
    torch.save({"format": 1, "x": Payload(trace)}, path)
    path.write_bytes(checkpoint._sealed(path.read_bytes()))
    with pytest.raises(ValueError, match=r"state\.pt: holds more than numbers"):
        checkpoint.read(path)
    assert not trace.exists()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_checkpoint import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    saved(Path({folder!r}), epochs=1)
except OSError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path):
    saved(tmp_path)
    before = (tmp_path / "state.pt").read_bytes()
    code = FULL_DISK.format(tests=os.path.dirname(__file__), folder=str(tmp_path))
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "state.pt: cannot be written (File too large); the old one is kept" in told.stdout
    assert (tmp_path / "state.pt").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


HOLDER = """
from helpers import checkpoint
checkpoint.open_run({folder!r})
print("held", flush=True)
input()
"""


def test_a_run_in_use_is_refused_and_freed_by_death(tmp_path):
    code = HOLDER.format(folder=str(tmp_path))
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(OSError, match=f"in use by process {holder.pid}"):
        checkpoint.open_run(tmp_path)
    (tmp_path / "state.pt.part").write_bytes(b"half")
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert checkpoint.open_run(tmp_path) == tmp_path
    assert checkpoint.open_run(tmp_path) == tmp_path  # a cell run twice
    assert not (tmp_path / "state.pt.part").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file/run: cannot be written"):
        checkpoint.open_run(tmp_path / "file" / "run")


def test_json_refuses_nan_and_keeps_the_old(tmp_path):
    path = tmp_path / "scores.json"
    checkpoint.write_json(path, {"a": 1.0})
    with pytest.raises(ValueError):
        checkpoint.write_json(path, {"a": float("nan")})
    assert path.read_text() == '{\n  "a": 1.0\n}\n'
