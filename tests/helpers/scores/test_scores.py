"""The assembled scores: they notice what is wrong with images, and scores.json is what it says."""

import json
import math
import re
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from helpers import cgan, gan, params, scores, training, weights
from helpers.data import cache
from helpers.scores import epochs, network, setting, tables


def noise(level):
    def change(images, rng):
        added = images + level * torch.randn(images.shape, generator=rng)
        return added.clamp(0, 255).to(torch.uint8)

    return change


def test_new_real_images_score_like_the_floor(digits, options, sampler):
    result = scores.gan(
        digits, sampler(digits.train.images), **options | {"sampling_seeds": 3, "seed": 5}
    )
    for key in ("fid", "precision", "recall", "coverage", "diversity"):
        entry = result["scores"][key]
        near, far = abs(entry["value"] - entry["floor"]), abs(entry["value"] - entry["ceiling"])
        assert near < 0.15 * far, key


def test_more_noise_is_worse(digits, options, sampler):
    found = [
        scores.gan(digits, sampler(digits.train.images, noise(level)), **options)["scores"]
        for level in (0, 40, 90)
    ]
    for key in ("fid", "kid"):
        assert found[0][key]["value"] < found[1][key]["value"] < found[2][key]["value"]
    for key in ("recall", "coverage"):
        assert found[0][key]["value"] > found[1][key]["value"] >= found[2][key]["value"]


def test_scores_repeat_themselves_and_the_seed_matters(
    digits, options, sampler, tmp_path, monkeypatch
):
    def text(seed):
        choices = options | {"seed": seed, "sampling_seeds": 2}
        result = scores.gan(digits, sampler(digits.train.images), **choices)
        assert result["scores"]["fid"]["std"] > 0  # the draws differ
        return json.dumps(result | {"seed": 0}, allow_nan=False)

    first = text(0)
    assert first == text(0) != text(1)
    monkeypatch.setattr(cache, "FOLDER", tmp_path)
    assert first == text(0)  # what is kept is what would be computed


def test_floors_are_kept(tmp_path, digits, monkeypatch):
    monkeypatch.setattr(cache, "FOLDER", tmp_path)
    assert setting.kept(digits, lambda: 3, "key") == 3
    assert setting.kept(digits, lambda: 4, "key") == 3
    assert setting.kept(digits, lambda: 4, "other key") == 4


def test_every_score_says_what_it_is(digits, options, labeled_sampler):
    result = scores.cgan(
        digits, labeled_sampler(digits.train, 0), **options | {"sampling_seeds": 2}
    )
    for key, entry in result["scores"].items():
        assert not re.search(r"[{}]", entry["protocol"]), key
    assert network.SHA256["MNIST"][:12] in tables.protocol(result)
    for group in ("samples", "classes", "labels"):
        columns, rows = tables.rows(result, group)
        assert rows and all(len(row) == len(columns) == 5 for row in rows)
        assert len(tables.protocols(result, group)[1]) == len(rows)
    assert tables.rows(result, "likelihood")[1] == []
    fid = result["scores"]["fid"]
    assert tables.rows(result, "samples")[1][0][1] == f"{fid['value']:.2f} ± {fid['std']:.2f}"


def test_a_score_that_no_draw_or_not_every_draw_has_is_none():
    for values in ([math.nan] * 3, [0.5, math.nan, 0.5]):
        entry = tables.entry("diversity", values, 1.0, 0.0)
        assert entry["value"] is None and entry["std"] is None and tables.cell(entry) == "–"


def test_the_epochs_of_a_run_are_scored_alike_and_other_runs_left_out(tmp_path, digits):
    config = params.GANConfig(epochs=3, base_channels=4, latent_dim=8)
    parts, cpu = gan.build(config, torch.device("cpu")), torch.device("cpu")
    fixed = [torch.full((16, 28, 28), level, dtype=torch.uint8) for level in (0, 1)]
    fixed.append(torch.from_numpy(digits.train.images[:16]))
    history = [gan.Record(i + 1, 1, 1, 0.8, 0.2, 1, 1, images) for i, images in enumerate(fixed)]
    for epoch in (1, 2, 3):
        weights.save(tmp_path, parts.artist, replace(config, epochs=2), epoch)
    weights.save(tmp_path, parts.discriminator, config, 2, name="discriminator")
    run = SimpleNamespace(folder=tmp_path, config=config, device=cpu, data=digits)
    result = scores.gan(digits, partial(gan.sample, parts.artist), n=100, sampling_seeds=2)
    rows = scores.by_epoch(run, history, result)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert (
        rows[0]["fid"] == rows[1]["fid"] == pytest.approx(result["scores"]["fid"]["value"], 0.01)
    )
    assert rows[2]["fid"] == result["scores"]["fid"]["value"] and rows[2]["d_real"] == 0.8
    assert [row["moved"] for row in rows[:2]] == [None, 0.0] and rows[2]["moved"] > 0.5
    columns, shown = tables.epochs(rows)
    assert [row[0] for row in shown] == ["1", "2", "3"] and len(columns) == len(shown[0])
    weights.save(tmp_path, parts.artist, replace(config, beta1=0.4), 2)
    (tmp_path / "weights_1.safetensors").unlink()
    assert scores.by_epoch(run, history, result) == rows  # known, though the weights are gone
    (tmp_path / "epochs.json").write_text("[1, 2")  # damaged
    assert [row["epoch"] for row in scores.by_epoch(run, history, result)] == [3]


def test_a_conditional_generator_draws_its_labels_in_turn():
    config = params.CGANConfig(hidden_dims=(8,), latent_dim=4)
    net = cgan.build(config, 3, torch.device("cpu")).artist
    images = epochs.sampler(net)(7, training.rng(0, "x"))
    wanted = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    assert torch.equal(images, cgan.sample(net, wanted, training.rng(0, "x")))


@pytest.mark.parametrize(
    ("std", "text"),
    [
        (None, "0.250"),
        (0.0, "0.250"),
        (0.0002, "0.2500 ± 0.0002"),
        (1e-9, "0.25000 ± < 0.00001"),
        (0.0105, "0.250 ± 0.011"),
    ],
)
def test_a_spread_is_never_shown_as_zero(std, text):
    assert tables.cell({"value": 0.25, "std": std, "digits": 3}) == text


def test_trust_asks_about_as_many_images_of_each_kind(digits):
    parts = gan.build(params.GANConfig(base_channels=4, latent_dim=8), torch.device("cpu"))
    images, logits = scores.trust(digits, parts, seed=0, most=20)
    known = {bytes(image) for image in digits.test.images}
    assert all(bytes(image.numpy()) in known for image in images["test"])
    assert list(logits) == ["training", "test", "generated"]
    assert {len(found) for found in logits.values()} == {20}
    for kind, found in logits.items():
        assert torch.equal(found, gan.logits(parts.discriminator, images[kind]))
