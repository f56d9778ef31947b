"""The assembled scores: they notice what is wrong with images, and scores.json is what it says."""

import json
import re

import pytest
import torch
import torch.nn.functional as F

from helpers import data, scores
from helpers.scores import network, setting, tables


def noise(level):
    def change(images, rng):
        added = images + level * torch.randn(images.shape, generator=rng)
        return added.clamp(0, 255).to(torch.uint8)

    return change


def blur(width):
    kernel = torch.ones(1, 1, width, width) / width**2

    def change(images, rng):
        smooth = F.conv2d(images[:, None].float(), kernel, padding=width // 2)
        return smooth[:, 0].round().to(torch.uint8)

    return change


def test_new_real_images_score_like_the_floor(digits, options, sampler):
    result = scores.gan(
        digits, sampler(digits.train), **options | {"sampling_seeds": 3, "seed": 5}
    )
    for key in ("fid", "precision", "recall", "coverage", "diversity"):
        entry = result["scores"][key]
        near, far = abs(entry["value"] - entry["floor"]), abs(entry["value"] - entry["ceiling"])
        assert near < 0.15 * far, key


@pytest.mark.parametrize("spoil", [[noise(0), noise(40), noise(90)], [blur(1), blur(3), blur(5)]])
def test_more_noise_or_blur_is_worse(digits, options, sampler, spoil):
    found = [
        vars(tables.values(scores.gan(digits, sampler(digits.train, s), **options))) for s in spoil
    ]
    for key in ("fid", "kid"):
        assert found[0][key] < found[1][key] < found[2][key]
    for key in ("recall", "coverage"):
        assert found[0][key] > found[1][key] >= found[2][key]


def test_scores_repeat_themselves_and_the_seed_matters(digits, options, sampler):
    def text(seed, cache=options["cache"]):
        choices = options | {"seed": seed, "cache": cache, "sampling_seeds": 2}
        result = scores.gan(digits, sampler(digits.train), **choices)
        assert result["scores"]["fid"]["std"] > 0  # the draws differ
        return json.dumps(result | {"seconds": 0, "seed": 0}, allow_nan=False)

    assert text(0) == text(0) != text(1)
    assert text(0) == text(0, cache=None)  # what is kept is what would be computed


def test_kept_floors_are_used_and_damaged_ones_made_again(digits, options, sampler, tmp_path):
    options = options | {"cache": tmp_path}
    first = scores.gan(digits, sampler(digits.train), **options)
    files = sorted(tmp_path.iterdir())
    stamps = [path.stat().st_mtime_ns for path in files]
    assert scores.gan(digits, sampler(digits.train), **options)["scores"] == first["scores"]
    assert [path.stat().st_mtime_ns for path in files] == stamps
    files[0].write_bytes(files[0].read_bytes()[:-2] + b"9}")
    assert scores.gan(digits, sampler(digits.train), **options)["scores"] == first["scores"]


def test_every_score_says_what_it_is(digits, options, labeled_sampler):
    result = scores.cgan(
        digits, labeled_sampler(digits.train, 0), **options | {"sampling_seeds": 2}
    )
    needed = {"group", "label", "unit", "better", "digits", "value", "std", "spread"}
    needed |= {"floor", "ceiling", "protocol"}
    for key, entry in result["scores"].items():
        assert needed <= set(entry), key
        assert not re.search(r"[{}]", entry["protocol"]), key
        assert isinstance(entry["value"], float) and entry["better"] in ("↓", "↑", "≈")
    assert network.SHA256["MNIST"][:12] in tables.protocol(result)
    for group in ("samples", "classes", "labels"):
        columns, rows = tables.rows(result, group)
        assert rows and all(len(row) == len(columns) == 5 for row in rows)
        assert all(isinstance(cell, str) for row in rows for cell in row)
        assert len(tables.protocols(result, group)[1]) == len(rows)
    assert tables.rows(result, "likelihood")[1] == []
    fid = next(row for row in tables.rows(result, "samples")[1] if "FID" in row[0])
    assert (
        fid[1] == f"{result['scores']['fid']['value']:.2f} ± {result['scores']['fid']['std']:.2f}"
    )
    assert len(tables.per_class_rows(result)[1]) == 10


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda n, rng: torch.zeros(n, 28, 28), r"sample must return uint8 \(300, 28, 28\), got"),
        (lambda n, rng: torch.zeros(n, 784, dtype=torch.uint8), r"got torch.uint8 \(300, 784\)"),
    ],
)
def test_a_sampler_that_returns_something_else_is_refused(digits, options, bad, message):
    with pytest.raises(ValueError, match=message):
        scores.gan(digits, bad, **options)


def test_bad_counts_are_refused(digits):
    with pytest.raises(ValueError, match="^n must be 50 or more images, got 10"):
        setting.prepare(digits, n=10)
    few = digits._replace(train=data.Images(digits.train.images[:40], digits.train.labels[:40]))
    with pytest.raises(ValueError, match="need 50 or more training .* got 40 and 1000"):
        setting.prepare(few)
    with pytest.raises(ValueError, match="^sampling_seeds must be 1 or more, got 0"):
        setting.prepare(digits, sampling_seeds=0)


def test_pixels_are_shuffled_within_their_image():
    images = torch.arange(784).remainder(256).to(torch.uint8).view(1, 28, 28).repeat(2, 1, 1)
    shuffled = setting.shuffle_pixels(images, torch.Generator().manual_seed(0))
    assert torch.equal(shuffled.flatten(1).sort().values, images.flatten(1).sort().values)
    assert not torch.equal(shuffled[0], shuffled[1])
