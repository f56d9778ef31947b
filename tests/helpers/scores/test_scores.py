"""The assembled scores: they notice what is wrong with images, and scores.json is what it says."""

import json
import math
import re

import pytest
import torch

from helpers import scores
from helpers.scores import network, setting, tables


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


def test_scores_repeat_themselves_and_the_seed_matters(digits, options, sampler):
    def text(seed, cache=options["cache"]):
        choices = options | {"seed": seed, "cache": cache, "sampling_seeds": 2}
        result = scores.gan(digits, sampler(digits.train.images), **choices)
        assert result["scores"]["fid"]["std"] > 0  # the draws differ
        return json.dumps(result | {"seed": 0}, allow_nan=False)

    assert text(0) == text(0) != text(1)
    assert text(0) == text(0, cache=None)  # what is kept is what would be computed


def test_floors_are_kept_and_damaged_ones_made_again(tmp_path, digits):
    for _ in range(2):
        assert setting.kept(tmp_path, digits, lambda: 3, "key") == 3
        assert setting.kept(tmp_path, digits, lambda: 4, "key") == 3
        assert setting.kept(tmp_path, digits, lambda: 4, "other key") == 4
        for path in tmp_path.iterdir():
            path.write_bytes(path.read_bytes()[:-1] + b"9")


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


def test_a_sampler_that_returns_something_else_is_refused(digits, options):
    with pytest.raises(ValueError, match=r"sample must return uint8 \(300, 28, 28\), got"):
        scores.gan(digits, lambda n, rng: torch.zeros(n, 784, dtype=torch.uint8), **options)


def test_a_score_that_no_draw_or_not_every_draw_has_is_none():
    for values in ([math.nan] * 3, [0.5, math.nan, 0.5]):
        entry = tables.entry("diversity", values, 1.0, 0.0)
        assert entry["value"] is None and entry["std"] is None and tables.cell(entry) == "–"
