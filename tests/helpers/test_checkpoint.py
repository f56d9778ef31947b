"""state.pt: whole or refused by name; never unpickled; one run a folder."""

import io
import os
import pickle
import signal
import time
import zipfile
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from helpers import checkpoint
from helpers.params import VAEConfig
from helpers.paths import ROOT

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


def parts_of(folder):
    """What lies in a run's folder: {name: bytes}, without its lock."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"}


def stepped(width=2, **settings):
    """A network and its Adam after one step."""
    net = nn.Linear(3, width)
    adam = torch.optim.Adam(net.parameters(), **{"fused": True, **settings})
    net(torch.ones(1, 3)).sum().backward()
    adam.step()
    return {"net": net, "adam": adam}


@pytest.mark.fault(36)
def test_without_a_checkpoint_it_starts_afresh_or_says_what_is_missing(tmp_path):
    net = nn.Linear(3, 2)
    before = net.weight.clone()
    assert resume(tmp_path, net=net)[1] == []
    assert torch.equal(net.weight, before) and parts_of(tmp_path) == {}
    with pytest.raises(FileNotFoundError, match=r"state\.pt: no such checkpoint"):
        checkpoint.read(tmp_path / "state.pt")
    saved(tmp_path)
    (tmp_path / "state.pt").unlink()  # not a new run: the one before is still there
    with pytest.raises(FileNotFoundError, match=r"state\.pt: no such .*previous\.pt: rename it"):
        resume(tmp_path)
    assert list(parts_of(tmp_path)) == ["state.previous.pt"]


def test_a_file_larger_than_any_checkpoint_is_not_read(tmp_path):
    with (tmp_path / "state.pt").open("wb") as file:
        file.truncate(checkpoint.LARGEST + 1)  # sparse: takes no room
    with pytest.raises(ValueError, match=r"state\.pt: 2,147,483,649 bytes, no checkpoint of this"):
        checkpoint.read(tmp_path / "state.pt")


def test_what_is_saved_comes_back_and_so_does_the_one_before(tmp_path):
    net = saved(tmp_path)
    again, history = resume(tmp_path, VAEConfig(epochs=50, score_samples=500))  # which may differ
    assert torch.equal(net.weight, again.weight)
    assert history == [Record(1, 1.0), Record(2, 0.5)]
    torch.load(tmp_path / "state.pt", weights_only=True)  # an ordinary torch file as well
    assert zipfile.ZipFile(tmp_path / "state.pt").testzip() is None
    os.replace(tmp_path / "state.previous.pt", tmp_path / "state.pt")  # what messages advise
    assert resume(tmp_path)[1] == [Record(1, 1.0)]


@pytest.mark.fault(37, 38)
def test_cut_or_with_one_bit_flipped_anywhere_it_is_damaged(tmp_path):
    """At every length, with more at the end, in every byte: zip directory and digest included."""
    saved(tmp_path)
    path = tmp_path / "state.pt"
    whole, previous = path.read_bytes(), (tmp_path / "state.previous.pt").read_bytes()
    assert len(whole) > 1000
    damaged = [*(whole[:end] for end in range(len(whole))), whole + b"\0", whole + whole]
    for spot, bit in enumerate(np.random.default_rng(0).integers(8, size=len(whole)).tolist()):
        damaged.append(whole[:spot] + bytes([whole[spot] ^ 1 << bit]) + whole[spot + 1 :])
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"state\.pt: damaged.*previous\.pt: rename it"):
            checkpoint.read(path)
        assert path.stat().st_size == len(content)  # looked at, not touched
    assert (tmp_path / "state.previous.pt").read_bytes() == previous


class Payload:
    """Whoever unpickles it makes the file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.fault(39, 45, 83)
def test_another_kind_of_file_is_refused_by_name_and_no_code_in_it_runs(tmp_path):
    """Not as a bare pickle, not inside a well sealed torch archive."""
    trace, path = tmp_path / "trace", tmp_path / "state.pt"

    def archive(value):
        torch.save(value, buffer := io.BytesIO())
        return buffer.getvalue()

    sealed = checkpoint._sealed(archive({"format": 1, "x": Payload(trace)}))
    for content, says in (
        (b"no checkpoint at all\n", "damaged"),
        (pickle.dumps(Payload(trace)), "damaged"),
        (archive({"format": 1, "model": torch.ones(3)}), "damaged"),  # of torch, not ours
        (checkpoint._sealed(archive([1, 2, 3])), "format None, this version reads 1"),
        *((checkpoint._sealed(archive({"format": n})), f"format {n!r}, ") for n in (0, 2, "1")),
        (checkpoint._sealed(b"no archive, but sealed\n" * 9), "holds more than numbers and text"),
        (sealed, "holds more than numbers and text"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"^\S*state\.pt: {says}") as error:
            resume(tmp_path)
        assert "\n" not in str(error.value) and "weights_only" not in str(error.value)
        assert not trace.exists() and path.read_bytes() == content
    torch.load(path, weights_only=False)
    assert trace.exists()  # so it would have


@pytest.mark.fault(40, 44, 126)
@pytest.mark.parametrize(
    ("config", "data", "message"),
    [
        ({"latent_dim": 8}, "ab", "made with latent_dim = 16, now 8; set resume = False to start"),
        # the first one that differs is named
        ({"beta": 2.0, "batch_size": 64}, "ab", "made with batch_size = 32, now 64"),
        ({"epochs": 1}, "ab", "has 2 epochs, more than epochs = 1; nothing is cut off"),
        ({}, "cd", "made with train-images .*(ab){6}', now '(cd){6}'"),
    ],
)
def test_another_config_or_other_data_is_refused_by_name(tmp_path, config, data, message):
    """Also when only asked whether the run may go on, which is done before anything is written."""
    saved(tmp_path)
    config, made_from = VAEConfig(**config), {"train-images": data * 32}
    before, net = parts_of(tmp_path), nn.Linear(3, 2)
    weight = net.weight.clone()
    with pytest.raises(ValueError, match=rf"^\S*state\.pt: {message}"):
        resume(tmp_path, config, made_from, net)
    with pytest.raises(ValueError, match=message):
        checkpoint.matching(tmp_path, config, made_from)
    assert parts_of(tmp_path) == before and torch.equal(net.weight, weight)


@pytest.mark.fault(42)
def test_made_on_a_gpu_it_goes_on_here(tmp_path, monkeypatch):
    """A file whose every tensor says cuda:0, as torch writes it there."""
    made = stepped(capturable=True, lr=0.25)
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        checkpoint.save(tmp_path, VAEConfig(), DATA, [Record(1, 1.0)], made)
    here = stepped()
    checkpoint.resume(tmp_path, VAEConfig(), DATA, Record, here)
    group = here["adam"].param_groups[0]  # settings of a device stay with the device
    assert (group["capturable"], group["fused"], group["lr"]) == (False, True, 0.25)
    here["net"](torch.ones(1, 3)).sum().backward()
    here["adam"].step()


@pytest.mark.fault(128)
@pytest.mark.parametrize("number", [float("nan"), -float("inf")])
def test_a_number_that_is_not_finite_is_not_saved(tmp_path, number):
    saved(tmp_path)
    before = parts_of(tmp_path)
    for spot in ("net.bias", "adam.state.0.exp_avg"):
        made = stepped()
        weight = made["net"].weight
        held = made["net"].bias.data if "bias" in spot else made["adam"].state[weight]["exp_avg"]
        held[0] = number
        with pytest.raises(ValueError, match=rf"^\S*state\.pt: not saved, {spot} holds a number"):
            checkpoint.save(tmp_path, VAEConfig(), DATA, [Record(1, 1.0)], made)
    assert parts_of(tmp_path) == before


def hold(folder):
    """The number of a process that has the run, at most as long as this one lives."""
    ends, starts = os.pipe()
    here = os.getpid()
    if not (child := os.fork()):
        try:
            checkpoint.open_run(folder)
            os.write(starts, b"held")
            while os.getppid() == here:
                time.sleep(0.05)
        finally:
            os._exit(0)
    assert os.read(ends, 4) == b"held"
    return child


@pytest.mark.fault(59, 63, 47, 132)
def test_a_run_in_use_is_refused_and_freed_by_death(tmp_path, monkeypatch):
    saved(tmp_path)
    holder = hold(tmp_path)
    (tmp_path / f".state.pt.{holder}.part").write_bytes(b"half")
    (tmp_path / "notes.part").write_text("somebody's own")
    before = parts_of(tmp_path)
    monkeypatch.setattr(checkpoint, "PATIENCE", 0.2)
    other_name = tmp_path.with_name("link")
    other_name.symlink_to(tmp_path)
    for name in (tmp_path, other_name):
        with pytest.raises(OSError, match=rf"^{name}: in use by process {holder} on \S+; if "):
            checkpoint.open_run(name)
    assert parts_of(tmp_path) == before  # of a living run nothing is touched, no part either
    os.kill(holder, signal.SIGKILL)
    monkeypatch.setattr(checkpoint, "PATIENCE", 10)  # it dies, but takes its time over it
    assert checkpoint.open_run(tmp_path) == tmp_path
    os.waitpid(holder, 0)
    assert checkpoint.open_run(tmp_path) == tmp_path  # a cell run twice
    del before[f".state.pt.{holder}.part"]
    assert parts_of(tmp_path) == before
    assert len(resume(tmp_path)[1]) == 2


@pytest.mark.fault(53, 124, 126)
def test_a_folder_that_is_no_runs_is_refused_untouched(tmp_path):
    """Neither history.csv nor a .part of somebody else is lost; nothing is added."""
    for name in ("history.csv", "film.part", ".film.1.part", "manifest.json"):
        (tmp_path / name).write_text("precious")
    before = parts_of(tmp_path)
    with pytest.raises(ValueError, match=rf"^{tmp_path}: no run, and holds \S+; set "):
        checkpoint.open_run(tmp_path)
    with pytest.raises(OSError, match="film.part/run: cannot be written"):
        checkpoint.open_run(tmp_path / "film.part" / "run")
    assert parts_of(tmp_path) == before and not (tmp_path / ".lock").exists()


@pytest.mark.fault(124)
@pytest.mark.parametrize("earlier", [[], ["out.ipynb", ".out.lock", "run.log"], ["state.pt", "x"]])
def test_an_empty_folder_or_a_runs_is_taken(tmp_path, earlier):
    """So is one with the notebook that is being run, and a run copied without its lock."""
    for name in earlier:
        (tmp_path / name).touch()
    assert checkpoint.open_run(tmp_path) == tmp_path
    (tmp_path / "figure_1.png").touch()
    assert checkpoint.open_run(tmp_path) == tmp_path  # interrupted before its first epoch


@pytest.mark.fault(125, 126)
@pytest.mark.parametrize("name", ["", "report/new/x", "data/x", "tests"])
def test_the_projects_own_folders_are_refused(tmp_path, name):
    (tmp_path / "link").symlink_to(ROOT)
    for folder in (ROOT / name, tmp_path / "link" / name, ROOT / "build" / ".." / name):
        with pytest.raises(ValueError, match=r"^\S*: belongs to the project, not to a"):
            checkpoint.open_run(folder)
    assert not (ROOT / name / ".lock").exists() and not (ROOT / "report" / "new").exists()
