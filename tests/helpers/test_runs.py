"""A run's folder and what is displayed of it."""

import hashlib
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas
import pytest
import torch

from helpers import data, figures, params, paths, runs, training, vae

SMALL = {
    "source": "idx",
    "train_limit": 64,
    "epochs": 2,
    "batch_size": 16,
    "hidden_dim": 4,
    "latent_dim": 2,
    "score_samples": 50,
    "device": "cpu",
}


@pytest.fixture
def shown(monkeypatch):
    """Everything that is displayed: (bundle, metadata) pairs."""
    found = []
    monkeypatch.setattr(
        "helpers.display.display", lambda b, raw, metadata: found.append((b, metadata))
    )
    return found


@pytest.fixture
def few(monkeypatch):
    """Small random images in place of a data set."""
    rng = np.random.default_rng(0)
    part = data.Images(rng.integers(0, 256, (64, 28, 28), np.uint8), np.arange(64) % 10)
    known = data.Dataset(
        "FashionMNIST", part, part, tuple("0123456789"), "idx", "here", True, True, {"x": "ab"}
    )
    monkeypatch.setattr(runs.data, "load", lambda *words, **options: known)
    return known


def started(folder, **changed):
    values = params.defaults("01_vae") | SMALL | {"out_dir": str(folder)} | changed
    return runs.start("01_vae", values)


def trained(folder, **changed):
    run = started(folder, **changed)
    parts = vae.build(run.config, run.device)
    images = torch.from_numpy(run.data.train.images)
    history = run.resume(parts)
    for record in vae.train_vae(run.config, parts, images, images, start=len(history)):
        history.append(record)
        run.save(history, parts)
    run.finish(history, parts)
    return run


def test_a_run_leaves_what_it_promises_and_goes_on(few, shown, tmp_path, capsys):
    trained(tmp_path / "a")
    names = {path.name for path in (tmp_path / "a").iterdir() if path.name[0] != "."}
    assert names == {
        "state.pt", "state.previous.pt", "history.csv", "manifest.json", "sessions.json",
        "weights_2.safetensors",
    }  # fmt: skip
    log = re.findall("^epoch.*", capsys.readouterr().out, re.M)
    trained(tmp_path / "a", epochs=3)
    trained(tmp_path / "b", epochs=3)
    again, straight = capsys.readouterr().out.split("torch ")[1:]
    lines = [re.findall("^epoch.*", text, re.M) for text in (again, straight)]
    assert lines[0] == lines[1] and len(log) == 2  # the log of a resumed run is that of one go
    assert "continuing after epoch 2" in again and "continuing" not in straight
    for name in ("state.pt", "history.csv", "weights_3.safetensors"):
        a, b = (tmp_path / folder / name for folder in "ab")
        assert a.read_bytes() == b.read_bytes()
    assert pandas.read_csv(tmp_path / "a" / "history.csv").epoch.tolist() == [1, 2, 3]
    trained_in = json.loads((tmp_path / "a" / "manifest.json").read_text())["trained"]
    assert [session["epochs"] for session in trained_in] == [[1, 2], [3, 3]]


def test_other_settings_get_a_folder_of_their_own(few, shown, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(runs.paths, "ROOT", tmp_path)
    plain, other = (trained("", beta=beta).folder for beta in (1.0, 4.0))
    more = trained("", epochs=3).folder
    fewer = trained("", epochs=1).folder
    assert plain == more != other and "beta-4" in other.name and fewer not in (plain, other)
    assert "of its own" not in capsys.readouterr().out
    monkeypatch.setattr(training, "code_digest", lambda module: "other code")
    assert trained("").folder not in (plain, other)
    assert "of its own" in capsys.readouterr().out


INJECTED = ["", "epochs: int = 3", "# Parameters\nepoch = 7\n"]  # by papermill
BAD = {"epochs": "2"}, {"source": "nowhere"}, {"device": "gpu"}, {"epoch": 7, "In": INJECTED}


@pytest.mark.parametrize("values", BAD)
def test_wrong_parameters_are_refused_before_anything_is_written(few, tmp_path, values):
    with pytest.raises(ValueError, match=f"^{next(iter(values))}\\b"):
        started(tmp_path / "run", **values)
    assert not (tmp_path / "run").exists()


@pytest.mark.fault(40, 126)
def test_a_run_with_another_setting_is_refused_before_it_writes(few, shown, tmp_path):
    trained(tmp_path)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"state\.pt: made with beta = 1\.0, now 2\.0"):
        started(tmp_path, beta=2.0)
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()}
    assert before == after


def test_a_figure_is_the_file_and_its_hash_is_seen(few, shown, tmp_path):
    run = started(tmp_path / "run")
    grid = figures.image_grid(np.zeros((1, 2, 28, 28), np.uint8))
    curve = figures.curves([1, 2], {"a": [1, 2]}, "x")
    for label, file, figure in (
        ("figure-1", "figure_1.png", grid),
        ("losses", "losses.svg", curve),
    ):
        shown.clear()
        run.figure(label, figure, "Caption.", "Alt.")
        ((anchor, _), (bundle, meta), (caption, _)) = shown
        digest = hashlib.sha256((run.folder / file).read_bytes()).hexdigest()
        assert bundle["image/png"].startswith(b"\x89PNG")  # for a notebook that is not trusted too
        vector = bundle.get("image/svg+xml", "").encode()
        assert bool(vector) == file.endswith("svg")
        assert hashlib.sha256(vector or bundle["image/png"]).hexdigest() == digest
        assert digest == meta["report"]["sha256"] == run.figures[label]
        assert digest[:12] in bundle["text/plain"] and meta["report"]["label"] == label
        assert anchor["text/markdown"] == f'<a id="{label}"></a>'
        assert caption["text/markdown"].endswith("** Caption.")
        json.dumps(meta)


@pytest.mark.fault(86, 113)
@pytest.mark.parametrize("label", ["losses", "../evil", "a/b", "", "A", "x" * 80, "figure_1"])
def test_a_label_is_new_and_no_path(few, shown, tmp_path, label):
    run = started(tmp_path / "run")
    run.table("losses", (["a"], [["1"]]), "A.")
    with pytest.raises(ValueError, match="label"):
        run.figure(label, figures.bars([1], ["a"], "y"), "A.", "B.")


@pytest.mark.fault(84)
def test_a_table_is_escaped_and_kept_as_rows(few, shown, tmp_path):
    run = started(tmp_path / "run")
    run.table("t", (["<b>", "x"], [["<script>alert(1)</script>", "1"]]), "<i>")
    ((bundle, metadata),) = shown
    assert "<script>" not in bundle["text/html"] and "<i>" not in bundle["text/html"]
    assert metadata["report"]["rows"] == [["<script>alert(1)</script>", "1"]]
    output = nbformat.v4.new_output("display_data", data=bundle, metadata=metadata)
    nbformat.validate(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])
    )


def test_a_stand_in_is_named_in_every_caption(few, shown, tmp_path, monkeypatch):
    other = few._replace(real=False, title="<i>$my$ T-shirts")
    monkeypatch.setattr(runs.data, "load", lambda *a, **k: other)
    run = started(tmp_path / "run")
    run.figure("a", figures.bars([1], ["a"], "y"), "A.", "B.")
    run.table("b", (["a"], [["1"]]), "A.")
    captions = {meta["report"]["caption"] for _, meta in shown if "caption" in meta["report"]}
    assert captions == {f"A. (Stand-in images, not {few.name}.)"}
    assert run.title == r"\<i\>\$my\$ T-shirts"  # text and no markup


def test_the_source_shown_is_the_code_that_runs(few, shown, tmp_path):
    started(tmp_path / "run").source(vae.train_step)
    ((bundle, meta),) = shown
    assert meta["report"]["title"] == "helpers/vae.py: train_step"
    assert bundle["text/plain"] in Path(vae.__file__).read_text(encoding="utf-8")
