"""Finished runs opened again: which run is meant, what is refused, what is said of several."""

import json
import os

import nbformat
import pytest
import torch

from helpers import cgan, checkpoint, data, gan, params, paths
from helpers.scores import tables
from helpers.training import rng
from workflow import comparison, finished

CPU = torch.device("cpu")
SMALL = {
    "02_gan": {"base_channels": 2, "latent_dim": 4, "batch_size": 4},
    "03_cgan": {"hidden_dims": (4,), "latent_dim": 4},
}


def finish(folder, notebook, images="a", seed=0):
    """A run as its notebook leaves it, of a network that never was trained."""
    config = params.CONFIGS[notebook](seed=seed, train_limit=100, **SMALL[notebook])
    parts = gan.build(config, CPU) if notebook == "02_gan" else cgan.build(config, 10, CPU)
    folder.mkdir(parents=True)
    checkpoint.save(folder, config, {"code": "0"}, [], parts._asdict())
    read = data.load("MNIST", "sample", train_limit=100)
    sha256 = read.sha256 | ({} if images == "a" else {"test-images": images})
    known = {"name": read.name, "title": read.title, "real": read.real, "sha256": sha256}
    values = params.defaults(notebook) | {"source": "sample", "train_limit": 100}
    manifest = {"notebook": notebook, "parameters": values, "data": known, "folder": str(folder)}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return parts


@pytest.fixture
def home(tmp_path, monkeypatch):
    """build/runs in an empty place."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    return tmp_path / "build" / "runs"


def test_a_run_is_found_by_folder_by_notebook_and_as_the_newest(home, tmp_path):
    older, newer = home / "02_gan" / "older", home / "02_gan" / "newer"
    parts = {folder: finish(folder, "02_gan", seed=i) for i, folder in enumerate((older, newer))}
    os.utime(older / "manifest.json", (1, 1))
    manifest = json.loads((older / "manifest.json").read_text("utf-8"))
    shown = nbformat.v4.new_output("display_data", {"text/plain": ""})
    shown.metadata["report"] = {"kind": "provenance", "manifest": manifest}
    cell = nbformat.v4.new_code_cell("", outputs=[shown])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "done.ipynb")
    for where, folder in ((str(older), older), ("done.ipynb", older), ("", newer)):
        run = finished.opened("02_gan", where, CPU)
        wanted = gan.sample(parts[folder].artist, 2, rng(0, "x"))
        assert torch.equal(gan.sample(run.parts.artist, 2, rng(0, "x")), wanted)
        assert len(run.data.train.images) == 100


def test_a_missing_run_and_one_on_other_images_are_refused_in_a_line(home):
    with pytest.raises(FileNotFoundError, match="^build/runs/02_gan: no finished run of notebook"):
        finished.opened("02_gan", "", CPU)
    finish(home / "02_gan" / "a", "02_gan")
    finish(home / "03_cgan" / "b", "03_cgan", images="other")
    dcgan = finished.opened("02_gan", "", CPU)
    for where in ("", "build/runs/03_cgan/b", "build/runs/02_gan/a"):
        with pytest.raises(
            FileNotFoundError, match=f"^{where}.*: no .*03_cgan.* on the same stan"
        ):
            finished.opened("03_cgan", where, CPU, like=dcgan)
    with pytest.raises(ValueError, match="^build/runs/03_cgan/b: made of other images than "):
        finished.opened("03_cgan", "", CPU)  # the files have changed since
    finish(home / "03_cgan" / "c", "03_cgan")
    assert finished.opened("03_cgan", "", CPU, like=dcgan).manifest["folder"].endswith("c")


def test_a_discriminator_is_asked_in_batches_of_one_kind_and_mixed(home):
    finish(home / "02_gan" / "a", "02_gan"), finish(home / "03_cgan" / "c", "03_cgan")
    dcgan = finished.opened("02_gan", "", CPU)
    conditional = finished.opened("03_cgan", "", CPU, like=dcgan)
    judge = dcgan.parts.discriminator
    before = {name: value.clone() for name, value in judge.state_dict().items()}
    real = torch.from_numpy(dcgan.data.test.images[:10])
    forged = torch.zeros_like(real)
    labels = torch.from_numpy(dcgan.data.test.labels[:10])
    asked = comparison.asked(dcgan, conditional, real, labels, [forged, forged])
    (_, apart), (_, mixed), *_ = asked
    assert [len(pair[0]) for pair in asked] == [8, 8, 10, 10]
    assert apart.std() == 0  # all alike, in batches of their own
    assert not torch.allclose(apart, mixed)
    assert all(torch.equal(before[name], value) for name, value in judge.state_dict().items())
    columns, rows = comparison.answers(asked)
    assert [len(row) for row in rows] == [len(columns)] * 4


def logits(apart, mixed):
    return [(torch.full((5,), a), torch.full((5,), -a)) for a in (apart, mixed, mixed, 0.3)]


def test_the_puzzle_is_answered_by_the_numbers():
    batch, single = comparison.puzzle(logits(2.0, 0.2)), comparison.puzzle(logits(2.0, 1.5))
    assert "has a loss of 0.25" in batch and "is 1.20" in batch and "guessing costs 1.39" in batch
    assert "depends on batches" in batch and "depends on batches" not in single
    assert "1.00 for the DCGAN's" in batch
    assert comparison.auc(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0])) == 0.75
    assert comparison.cost(torch.tensor([300.0]), torch.tensor([-300.0])) == 0


def result(fid, precision, unseen=86.0, std=0.02):
    values = dict.fromkeys(("kid", "recall", "density", "coverage"), 0.5)
    values |= {"fid": fid, "precision": precision, "unseen": unseen}
    floor, spread = {"fid": 0.2, "unseen": 85.7}, {"unseen": 1.5}
    return {
        "scores": {
            key: tables.SPECS[key]._asdict()
            | {"value": v, "std": spread.get(key, std), "floor": floor.get(key, 0.9)}
            for key, v in values.items()
        }
    }


def test_the_best_is_named_and_luck_is_not():
    results = {"VAE": result(48.0, 0.4), "DCGAN": result(1.21, 0.7), "cGAN": result(1.22, 0.9)}
    text = comparison.compared(results)
    assert "The cGAN is best in precision" in text and "images of no model lie nearer" in text
    assert "no difference between the DCGAN and the cGAN is shown in FID" in text
    found = comparison.abstract(results)
    assert found.endswith("an FID of 48.00 (VAE), 1.21 (DCGAN) and 1.22 (cGAN).")
    results["VAE"] = result(48.0, 0.4, unseen=99.0)
    assert "images of VAE lie nearer" in comparison.compared(results)
    columns, rows = comparison.table(
        [([torch.nn.Linear(2, 3)], 5, 60_000, time, "CPU") for time in (8.4, 929, 395)], results
    )
    assert {len(row) for row in rows} == {len(columns)} == {6}
    assert rows[0][:2] == ("trained parameters", "9") and rows[3][1:3] == ("8 s", "15 min")
    assert ("precision", "0.400 ± 0.020") in [row[:2] for row in rows]
