"""Classes seen, labels obeyed, and classifiers taught with generated images."""

import math

import numpy as np
import pytest
import torch

from helpers import data, scores
from helpers.scores import labels, network, samples, setting, tables


def test_confusion_and_histogram():
    wanted, seen = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 0])
    assert labels.confusion(wanted, seen, 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert labels.histogram(seen, 3).tolist() == [0.5, 0.5, 0]


def test_spread_within_is_half_the_mean_squared_distance():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    own = torch.tensor([0, 1] * 18 + [2] * 4)
    spread = labels.spread_within(x, own, 3)
    members = x[own == 1].double()
    pairs = torch.cdist(members, members).square().sum() / (18 * 17)
    assert spread[1].item() == pytest.approx(pairs.item() / 2)
    assert math.isnan(spread[2])


def test_class_shares_are_compared_with_the_real_ones(digits, options):
    ground = setting.prepare(digits, **options)
    real = labels.real_shares(ground)
    assert real.sum() == pytest.approx(1)
    counts = (1000 * real).round().long()
    counts[3], counts[7] = counts[3] // 2, counts[7] + counts[3] - counts[3] // 2
    own = torch.repeat_interleave(torch.arange(10), counts)
    features = torch.randn(len(own), 128, generator=torch.Generator().manual_seed(0))
    found = labels.classes(ground, network.Seen(features, own))
    assert found["rarest"] == pytest.approx(0.5, abs=0.02)
    assert found["uneven"] == pytest.approx(real[3].item() / 2, abs=0.005)
    assert labels.worst_classes(ground)["uneven"] == pytest.approx(1 - real.min().item())


def test_shuffled_labels_are_worse(digits, options, labeled_sampler):
    results = [
        scores.cgan(digits, labeled_sampler(digits.train, s), **options) for s in (0, 0.4, 1)
    ]
    found = [tables.values(result) for result in results]
    for key in ("agreement", "gan_train_nn"):
        good, half, bad = (getattr(scored, key) for scored in found)
        assert good > half + 10 > bad + 20
    assert found[0].agreement > 90 and found[2].agreement < 25
    counts = np.array(results[0]["confusion"])
    assert counts.sum() == 300 and (counts.sum(1) == 30).all()
    assert 100 * counts.trace() / 300 == pytest.approx(found[0].agreement)
    assert results[0]["per_class"]["3"] == pytest.approx(100 * counts[3, 3] / 30)


def test_one_class_and_one_image_are_noticed(digits, options, sampler):
    zeros = digits.train._replace(images=digits.train.images[digits.train.labels == 0])
    one_class = tables.values(scores.gan(digits, sampler(zeros), **options))
    assert one_class.uneven > 0.85 and one_class.rarest == 0
    assert one_class.least_diverse == 0 and one_class.coverage < 0.2
    same = digits.train._replace(images=np.repeat(digits.train.images[:1], 300, 0))
    one_image = tables.values(scores.gan(digits, sampler(same), **options))
    assert one_image.diversity < 1e-6 and one_image.recall == 0


def test_classroom_and_gan_train(digits, labeled_sampler, monkeypatch):
    def taught(data, images, labels, steps, repeats, seed, device):  # seconds, not minutes
        _, index = samples.nearest(data.test.images[:200], images[:400])
        return [100 * np.mean(labels[index].numpy() == data.test.labels[:200])] * repeats

    monkeypatch.setattr(labels, "_taught", taught)
    sample, deaf = labeled_sampler(digits.train, 0), labeled_sampler(digits.train, 1)
    rows = scores.classroom(digits, sample, shares=(0.05, 1.0), repeats=2)
    assert [row["images"] for row in rows] == [200, 4000]
    assert all(len(row["real"]) == len(row["mixed"]) == 2 for row in rows)
    assert len(tables.classroom_rows(rows)[1]) == 2
    misled = scores.classroom(digits, deaf, shares=(0.05,), repeats=2)
    assert np.mean(rows[0]["mixed"]) > np.mean(misled[0]["mixed"])
    assert rows[0]["real"] == misled[0]["real"]
    good, bad = (scores.gan_train(digits, s, count=500, repeats=2) for s in (sample, deaf))
    assert np.mean(good["generated"]) > 60 > np.mean(bad["generated"]) + 30
    assert good["real"] == bad["real"] and good["count"] == 500
    assert tables.gan_train_rows(good)[1][0][0] == "real"


def test_a_taught_network_learns(digits):
    pair = torch.from_numpy(digits.train.images[:500]), torch.from_numpy(digits.train.labels[:500])
    small = digits._replace(test=data.Images(digits.test.images[:200], digits.test.labels[:200]))
    first, second = labels._taught(small, *pair, 40, 2, 0, "cpu")
    assert first > 50 and first != second  # fresh weights
