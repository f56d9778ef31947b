"""state.pt: whole or refused by name; never unpickled; one run a folder."""

import io
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from helpers import checkpoint, figures, files, show, vae
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


def parts_of(folder):
    """What lies in a run's folder: {name: bytes}, without lock and process number."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in (".lock", ".pid")}


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
    with pytest.raises(ValueError, match=r"state\.pt: missing; .* state\.previous\.pt: rename it"):
        resume(tmp_path)
    assert list(parts_of(tmp_path)) == ["state.previous.pt"]


def test_what_is_saved_comes_back(tmp_path):
    net, history = resume(tmp_path)
    assert history == []
    net = saved(tmp_path)
    again, history = resume(tmp_path)
    assert torch.equal(net.weight, again.weight)
    assert history == [Record(1, 1.0), Record(2, 0.5)]
    torch.load(tmp_path / "state.pt", weights_only=True)  # an ordinary torch file as well
    assert zipfile.ZipFile(tmp_path / "state.pt").testzip() is None


@pytest.mark.fault(37)
def test_cut_anywhere_it_is_damaged(tmp_path):
    """At every length, 0 included, and with more at the end."""
    saved(tmp_path)
    path = tmp_path / "state.pt"
    whole, previous = path.read_bytes(), (tmp_path / "state.previous.pt").read_bytes()
    assert len(whole) > 1000
    for content in [*(whole[:end] for end in range(len(whole))), whole + b"\0", whole + whole]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"state\.pt: damaged.*previous\.pt: rename it"):
            checkpoint.read(path)
        assert path.stat().st_size == len(content)  # looked at, not touched
    assert (tmp_path / "state.previous.pt").read_bytes() == previous


@pytest.mark.fault(38)
def test_one_flipped_bit_anywhere_is_damage(tmp_path):
    """In every byte, zip directory, comment and digest included."""
    saved(tmp_path)
    path = tmp_path / "state.pt"
    whole = bytearray(path.read_bytes())
    bits = np.random.default_rng(0).integers(8, size=len(whole)).tolist()
    for spot, bit in enumerate(bits):
        whole[spot] ^= 1 << bit
        path.write_bytes(whole)
        with pytest.raises(ValueError, match=r"state\.pt: damaged"):
            checkpoint.read(path)
        whole[spot] ^= 1 << bit
    path.write_bytes(whole)
    assert len(resume(tmp_path)[1]) == 2


def archive(value):
    """The bytes of torch.save."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def other_files():
    yield "text", b"no checkpoint at all\n"
    yield "json", json.dumps({"format": 1}).encode()
    yield "png", b"\x89PNG\r\n\x1a\n" + bytes(1000)
    yield "pickle", pickle.dumps({"format": 1})
    yield "zeros", bytes(5000)
    yield "torch, not ours", archive({"format": 1, "model": torch.ones(3)})
    yield "sealed list", checkpoint._sealed(archive([1, 2, 3]))
    yield "sealed model", checkpoint._sealed(archive({"model": torch.ones(3)}))
    yield "sealed half", checkpoint._sealed(archive({"format": 1, "config": {}}))
    yield "sealed text", checkpoint._sealed(b"no archive, but sealed\n" * 9)


@pytest.mark.fault(39)
@pytest.mark.parametrize(("kind", "content"), list(other_files()), ids=lambda v: str(v)[:20])
def test_another_kind_of_file_is_refused_by_name(tmp_path, kind, content):
    path = tmp_path / "state.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^\S*state\.pt: (damaged|no check|holds no 'h)"):
        resume(tmp_path)
    assert path.read_bytes() == content


@pytest.mark.fault(39)
def test_a_folder_in_its_place_is_named(tmp_path):
    (tmp_path / "state.pt").mkdir()
    with pytest.raises(OSError, match=r"directory.*state\.pt"):
        resume(tmp_path)


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
        # the first one that differs is named
        (VAEConfig(beta=2.0, batch_size=64), "made with batch_size = 32, now 64"),
        pytest.param(
            VAEConfig(epochs=1),
            "has 2 epochs, more than epochs = 1; nothing is cut off",
            marks=pytest.mark.fault(44),
        ),
    ],
)
@pytest.mark.fault(40)
def test_another_config_is_refused_by_field(tmp_path, config, message):
    saved(tmp_path)
    before, net = parts_of(tmp_path), nn.Linear(3, 2)
    weight = net.weight.clone()
    with pytest.raises(ValueError, match=rf"^\S*state\.pt: {message}"):
        resume(tmp_path, config, net=net)
    assert parts_of(tmp_path) == before and torch.equal(net.weight, weight)


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
@pytest.mark.fault(41)
def test_another_architecture_is_refused_by_key(tmp_path, net, message):
    saved(tmp_path)
    before, files = net.weight.clone(), parts_of(tmp_path)
    with pytest.raises(ValueError, match=rf"^\S*state\.pt: {message}"):
        resume(tmp_path, net=net)
    assert torch.equal(net.weight, before) and parts_of(tmp_path) == files


@pytest.mark.fault(41)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s["adam"]["state"].pop(1), r"adam\.1\.exp_avg has shape None, needed \(2,\)"),
        # said to be 8 TB, held in four bytes: nothing of that size is ever allocated
        (
            lambda s: s["adam"]["state"][0].update(exp_avg=torch.zeros(1).expand(2 * 10**12)),
            r"adam\.0\.exp_avg has shape \(2000000000000,\), needed \(2, 3\)",
        ),
        (lambda s: s.pop("adam"), "holds no 'adam'"),
        (
            lambda s: s["net"].update(more=torch.ones(2)),
            r"net\.more has shape \(2,\), needed None",
        ),
    ],
)
def test_an_optimizer_of_something_else_is_refused_before_anything_is_loaded(
    tmp_path, spoil, message
):
    checkpoint.save(tmp_path, VAEConfig(), DATA, [Record(1, 1.0)], stepped())
    state = checkpoint.read(tmp_path / "state.pt")
    spoil(state["parts"])
    (tmp_path / "state.pt").write_bytes(checkpoint._sealed(archive(state)))
    parts = stepped()
    before = parts["net"].weight.clone()
    with pytest.raises(ValueError, match=rf"^\S*state\.pt: {message}"):
        checkpoint.resume(tmp_path, VAEConfig(), DATA, Record, parts)
    assert torch.equal(parts["net"].weight, before)


@pytest.mark.fault(42)
def test_made_on_a_gpu_it_goes_on_here(tmp_path, monkeypatch):
    """A file whose every tensor says cuda:0, as torch writes it there."""
    made = stepped(capturable=True)
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        checkpoint.save(tmp_path, VAEConfig(), DATA, [Record(1, 1.0)], made)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(tmp_path / "state.pt", weights_only=True)
    here = stepped()
    checkpoint.resume(tmp_path, VAEConfig(), DATA, Record, here)
    assert here["adam"].param_groups[0]["capturable"] is False
    for parts in (made, here):
        parts["net"](torch.ones(1, 3)).square().sum().backward()
        if parts is made:
            parts["adam"].param_groups[0]["capturable"] = False
        parts["adam"].step()
    assert here["net"].weight.device.type == "cpu"
    assert torch.equal(here["net"].weight, made["net"].weight)


@pytest.mark.fault(42)
def test_settings_of_a_device_stay_with_the_device(tmp_path):
    """Made on a CPU it is recorded as a CUDA graph on a GPU: capturable there, not here."""
    checkpoint.save(tmp_path, VAEConfig(), DATA, [Record(1, 1.0)], stepped(lr=0.25))
    there = stepped()
    there["adam"].param_groups[0]["capturable"] = True
    checkpoint.resume(tmp_path, VAEConfig(), DATA, Record, there)
    group = there["adam"].param_groups[0]
    assert (group["capturable"], group["fused"], group["lr"]) == (True, True, 0.25)


@pytest.mark.fault(42)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("there", "here"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_run_changes_its_device(tmp_path, there, here, images):
    config = VAEConfig(epochs=2, batch_size=32)
    losses = []
    for device, epochs in ((there, 1), (here, 2)):
        model, optimizer = vae.build(config, torch.device(device))
        parts, shown = {"model": model, "optimizer": optimizer}, images.to(device)
        history = checkpoint.resume(tmp_path, config, DATA, vae.Record, parts)
        for record in vae.train_vae(
            replace(config, epochs=epochs), model, optimizer, shown, shown, start=len(history)
        ):
            history.append(record)
            checkpoint.save(tmp_path, config, DATA, history, parts)
        losses.append(history[-1].recon)
    assert len(history) == 2 and losses[1] < losses[0]


@pytest.mark.fault(46)
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_refused(tmp_path, number):
    for part, spot in (("net", "weight"), ("adam", "0.exp_avg")):
        made = stepped()
        weight = made["net"].weight
        held = weight.data if part == "net" else made["adam"].state[weight]["exp_avg"]
        held[0, 0] = number
        checkpoint.save(tmp_path, VAEConfig(), DATA, [Record(1, 1.0)], made)
        here, files = stepped(), parts_of(tmp_path)
        before = here["net"].weight.clone()
        with pytest.raises(ValueError, match=rf"state\.pt: {part}\.(state\.)?{spot} holds a numb"):
            checkpoint.resume(tmp_path, VAEConfig(), DATA, Record, here)
        assert torch.equal(here["net"].weight, before) and parts_of(tmp_path) == files


@pytest.mark.fault(45)
@pytest.mark.parametrize("number", [0, 2, "1", None])
def test_another_format_is_refused(tmp_path, monkeypatch, number):
    monkeypatch.setattr(checkpoint, "FORMAT", number)
    saved(tmp_path)
    monkeypatch.undo()
    before = parts_of(tmp_path)
    with pytest.raises(ValueError, match=rf"state\.pt: format {number!r}, this version reads 1"):
        resume(tmp_path)
    assert parts_of(tmp_path) == before


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.fault(83)
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


@pytest.mark.fault(88)
def test_a_bomb_is_not_unpacked(tmp_path):
    """256 MB of zeros in 300 kB, sealed, so that only its size gives it away."""
    plain, path = io.BytesIO(archive({"format": 1, "x": torch.zeros(4)})), tmp_path / "state.pt"
    with (
        zipfile.ZipFile(plain) as before,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as after,
    ):
        for entry in before.namelist():
            with after.open(entry, "w") as file:
                file.write(before.read(entry))
                for _ in range(256 * entry.endswith("data/0")):
                    file.write(bytes(2**20))
    path.write_bytes(checkpoint._sealed(path.read_bytes()))
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"state\.pt: [\d,]+ bytes that unpack to 268,\d+,\d+, "):
        checkpoint.read(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used
    assert grown < 100 * (2**20 if sys.platform == "darwin" else 2**10)


@pytest.mark.fault(88)
def test_a_file_too_large_is_not_even_read(tmp_path):
    path = tmp_path / "state.pt"
    with open(path, "wb") as file:
        file.truncate(2**31 + 1)  # no block of it is on the disk
    with pytest.raises(ValueError, match=r"state\.pt: 2,147,483,649 bytes, no checkpoint"):
        checkpoint.read(path)


def picture(folder):
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, 28, 28), np.uint8)
    figure = figures.image_grid(noise)
    show.show_figure(figure, 1, "Three.", "Three.", folder, SimpleNamespace(real=True))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_checkpoint import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder, soft = Path({folder!r}), resource.RLIM_INFINITY
figures.image_grid(np.zeros((1, 1, 28, 28), np.uint8))
for size, linked in ((1000, True), (1000, False), (0, True)):
    if not linked:
        os.link = lambda *names: (_ for _ in ()).throw(OSError("no hard links here"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, soft))
    for attempt in (
        lambda: saved(folder, epochs=1),
        lambda: files.write_json(folder / "scores.json", list(range(1000))),
        lambda: picture(folder),
        lambda: checkpoint.open_run(folder),
    ):
        try:
            attempt()
        except OSError as error:
            text = str(error)
        else:
            text = "written"
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, soft))
        print(text, sorted(p.name for p in folder.iterdir() if p.suffix == ".part"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, soft))
"""


@pytest.mark.fault(52, 54)
def test_a_full_disk_leaves_the_old_files(tmp_path):
    """Also without hard links, and when not even the process number can be noted."""
    saved(tmp_path)
    files.write_json(tmp_path / "scores.json", [1])
    (tmp_path / "figure_1.png").write_text("the old one")
    state = (tmp_path / "state.pt").read_bytes()
    code = FULL_DISK.format(tests=os.path.dirname(__file__), folder=str(tmp_path))
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    said = "{}/{}: cannot be written (File too large); the old one is kept []"
    expected = [
        said.format(tmp_path, "state.pt"),
        said.format(tmp_path, "scores.json"),
        said.format(tmp_path, "figure_1.png"),
        "written []",
        said.format(tmp_path, "state.previous.pt"),
        said.format(tmp_path, "scores.json"),
        said.format(tmp_path, "figure_1.png"),
        "written []",
        said.format(tmp_path, "state.previous.pt"),
        said.format(tmp_path, "scores.json"),
        said.format(tmp_path, "figure_1.png"),
        f"{tmp_path}: cannot be written (File too large); set out_dir []",
    ]
    assert told.stdout.splitlines() == expected, told.stderr
    assert (tmp_path / "state.pt").read_bytes() == state
    assert (tmp_path / "scores.json").read_text() == "[\n  1\n]\n"
    assert (tmp_path / "figure_1.png").read_text() == "the old one"
    checkpoint.read(tmp_path / "state.previous.pt")


@pytest.mark.fault(54, 47)
def test_a_save_after_one_that_failed_leaves_no_part(tmp_path, monkeypatch):
    """Both names are then one file, and to rename one to the other does nothing."""
    saved(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space")))
        with pytest.raises(OSError, match="state.pt: cannot be written .No space.; the old one"):
            saved(tmp_path, epochs=1)
    saved(tmp_path, epochs=1)
    assert sorted(parts_of(tmp_path)) == ["state.previous.pt", "state.pt"]


HOLDER = """
import os
from helpers import checkpoint
checkpoint.open_run({folder!r})
print("held", flush=True)
input()
"""


def hold(folder):
    """A process that has the run; it ends with its input."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(folder=str(folder))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.mark.fault(59, 63, 47)
def test_a_run_in_use_is_refused_and_freed_by_death(tmp_path):
    saved(tmp_path)
    holder = hold(tmp_path)
    (tmp_path / "state.pt.part").write_bytes(b"half")
    before = parts_of(tmp_path)
    with pytest.raises(OSError, match=rf"^{tmp_path}: in use by process {holder.pid}; wait"):
        checkpoint.open_run(tmp_path)
    assert parts_of(tmp_path) == before  # of a living run nothing is touched, no .part either
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert checkpoint.open_run(tmp_path) == tmp_path
    assert checkpoint.open_run(tmp_path) == tmp_path  # a cell run twice
    del before["state.pt.part"]
    assert parts_of(tmp_path) == before
    assert len(resume(tmp_path)[1]) == 2


@pytest.mark.fault(59, 63)
def test_a_kernel_whose_runner_was_killed_is_waited_for(tmp_path, capsys, monkeypatch):
    holder = hold(tmp_path)
    orphan = subprocess.Popen(["true"])
    orphan.wait()  # a process number that nobody has now
    (tmp_path / ".pid").write_text(f"{holder.pid} {orphan.pid}\n")
    monkeypatch.setattr(checkpoint, "PATIENCE", 0.2)
    with pytest.raises(OSError, match=f"in use by process {holder.pid}; wait"):
        checkpoint.open_run(tmp_path)
    monkeypatch.setattr(checkpoint, "PATIENCE", 10)
    holder.stdin.close()  # it will end, but takes its time over it
    assert checkpoint.open_run(tmp_path) == tmp_path
    holder.wait()
    line = f"waiting for process {holder.pid} to end, which process {orphan.pid} has left behind\n"
    assert capsys.readouterr().out.startswith(line)


@pytest.mark.fault(53)
def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file/run: cannot be written"):
        checkpoint.open_run(tmp_path / "file" / "run")


def test_json_refuses_nan_and_keeps_the_old(tmp_path):
    path = tmp_path / "scores.json"
    files.write_json(path, {"a": 1.0})
    with pytest.raises(ValueError):
        files.write_json(path, {"a": float("nan")})
    assert path.read_text() == '{\n  "a": 1.0\n}\n'
