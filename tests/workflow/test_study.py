"""Several trainings of one model."""

import dataclasses

import numpy as np
import pytest
import torch

from helpers import cgan, gan, study, vae
from helpers import scores as evaluate
from helpers.data import Dataset, Images
from helpers.params import CGANConfig, GANConfig, VAEConfig
from helpers.scores import tables

CPU = torch.device("cpu")
TINY = {"epochs": 1, "batch_size": 50, "score_samples": 60, "latent_dim": 6}
MODELS = {
    "vae": (study.train_vae, VAEConfig(**TINY, dataset="MNIST", hidden_dim=8)),
    "gan": (study.train_gan, GANConfig(**TINY, base_channels=2)),
    "cgan": (study.train_cgan, CGANConfig(**TINY, hidden_dims=[16])),
}


@pytest.fixture
def digits():
    """100 training and 60 test images of noise."""
    pixels = np.random.default_rng(0)
    train, test = (
        Images(pixels.integers(0, 256, (n, 28, 28), np.uint8), np.arange(n) % 10)
        for n in (100, 60)
    )
    names = ("train-images", "train-labels", "test-images", "test-labels")
    where = ("sample", "built in", False, False)
    return Dataset("MNIST", train, test, tuple("0123456789"), *where, {n: n for n in names})


@pytest.fixture
def quick(monkeypatch):
    """Scores that cost nothing."""

    def score(data, *functions, n, device):
        return {"scores": {"fid": {"value": float(n), "floor": 0.0, "digits": 2}}}

    for name in ("vae", "gan", "cgan"):
        monkeypatch.setattr(evaluate, name, score)


@pytest.mark.parametrize("model", MODELS)
def test_a_study_is_kept_and_made_again_when_its_config_differs(
    model, digits, quick, tmp_path, capsys, monkeypatch
):
    train, config = MODELS[model]
    variants = study.seeds(config, 2) | {"slow": {"learning_rate": 1e-5}}
    first = study.repeat(train, variants, config, digits, tmp_path, CPU)
    assert list(first) == ["seed 1", "slow"]
    lines = capsys.readouterr().out
    states = {path: path.read_bytes() for path in tmp_path.glob("*/state.pt")}
    assert len(states) == 2 and len(set(states.values())) == 2

    def never(*arguments, **options):
        raise AssertionError("trained again")

    for module in (vae, gan, cgan):
        name = f"train_{module.__name__.split('.')[1]}"
        monkeypatch.setattr(module, name, never)
    monkeypatch.setattr(evaluate, model, never)
    assert study.repeat(train, variants, config, digits, tmp_path, CPU) == first
    assert capsys.readouterr().out == lines
    longer = dataclasses.replace(config, score_samples=70)
    with pytest.raises(AssertionError, match="trained again"):
        study.repeat(train, variants, longer, digits, tmp_path, CPU)


def test_rows_of_a_study_give_mean_and_spread():
    def result(value):
        return {"scores": {"fid": tables.entry("fid", [value], 0.5, 9.0, n=9)}}

    alike = {"seed 0": result(1.0), "seed 1": result(2.0), "seed 2": result(3.0)}
    columns, rows = tables.study_rows(alike, {"other": result(7.0)}, {"fid": "FID"})
    assert columns == ("run", "FID ↓")
    assert rows[2:] == [
        ("seed 2", "3.00"),
        ("mean ± standard deviation", "2.00 ± 1.00"),
        ("other", "7.00"),
        ("real images", "0.50"),
    ]
    assert len(tables.study_rows({"seed 0": result(1.0)}, {}, {"fid": "FID"})[1]) == 2


def test_a_variant_is_not_studied_itself():
    config = CGANConfig(study=True, classroom=True)
    assert study.changed(config, {"num_d_steps": 5}) == CGANConfig(num_d_steps=5)


def test_a_variant_has_a_folder_name_of_its_own():
    assert study.folder("num_d_steps = 3") == "num-d-steps-3"
    assert study.folder("../averaged, twice") == "averaged-twice"
