"""Classes seen and labels obeyed."""

import numpy as np
import pytest
import torch

from helpers import scores
from helpers.scores import labels, network, setting


def values(result):
    return {key: score["value"] for key, score in result["scores"].items()}


def test_class_shares_are_compared_with_the_real_ones(digits, options):
    ground = setting.prepare(digits, **options)
    real = ground.shares
    assert real.sum() == pytest.approx(1)
    counts = (1000 * real).round().long()
    counts[3], counts[7] = counts[3] // 2, counts[7] + counts[3] - counts[3] // 2
    own = torch.repeat_interleave(torch.arange(10), counts)
    found = labels.classes(ground, network.Seen(torch.randn(len(own), 128), own))
    assert found["rarest"] == pytest.approx(0.5, abs=0.02)
    assert found["uneven"] == pytest.approx(real[3].item() / 2, abs=0.005)


def test_shuffled_labels_are_worse(digits, options, labeled_sampler):
    results = [
        scores.cgan(digits, labeled_sampler(digits.train, s), **options) for s in (0, 0.4, 1)
    ]
    found = [values(result) for result in results]
    for key in ("agreement", "gan_train_nn"):
        assert found[0][key] > found[1][key] + 10 > found[2][key] + 20
    assert found[0]["agreement"] > 90 and found[2]["agreement"] < 25
    counts = np.array(results[1]["confusion"])
    assert counts.sum() == 300 and (counts.sum(1) == 30).all()  # rows: labels asked for
    assert 100 * counts.trace() / 300 == pytest.approx(found[1]["agreement"])
    assert results[1]["per_class"]["3"] == pytest.approx(100 * counts[3, 3] / 30)


def test_one_class_and_one_image_are_noticed(digits, options, sampler):
    zeros = digits.train.images[digits.train.labels == 0]
    found = values(scores.gan(digits, sampler(zeros), **options))
    assert found["uneven"] > 0.85 and found["rarest"] == found["least_diverse"] == 0
    assert found["coverage"] < 0.2
    same = np.repeat(digits.train.images[:1], 300, 0)
    found = values(scores.gan(digits, sampler(same), **options))
    assert found["diversity"] < 1e-6 and found["recall"] == 0
