"""The scores of likeness against closed forms, other implementations and direct computations."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from helpers import scores
from helpers.scores import fid


@pytest.fixture
def clouds():
    """Two clouds of 16 features with correlations, of different sizes."""
    rng = np.random.default_rng(0)
    mix = np.eye(16) + 0.3 * rng.normal(size=(16, 16))
    a, b = rng.normal(size=(400, 16)), rng.normal(size=(300, 16)) @ mix + 0.5
    return torch.from_numpy(a).float(), torch.from_numpy(b).float()


def test_frechet_and_kernel_distance_are_those_of_the_papers(clouds):
    """By a general matrix root, and by a sum over pairs of different images."""
    a, b = (cloud.double().numpy() for cloud in clouds)
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    gap = ((a.mean(0) - b.mean(0)) ** 2).sum()
    wanted = gap + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert fid.frechet(*clouds) == pytest.approx(wanted, rel=1e-5)

    def mean_kernel(x, y, pairs):
        return ((x @ y.T / 16 + 1) ** 3)[pairs].mean()

    n, m = len(a), len(b)
    wanted = mean_kernel(a, a, ~np.eye(n, dtype=bool)) + mean_kernel(b, b, ~np.eye(m, dtype=bool))
    wanted -= 2 * mean_kernel(a, b, np.ones((n, m), bool))
    assert fid.kernel_distance(*clouds) == pytest.approx(wanted, rel=1e-4)


def test_manifold_by_hand():
    # Real points 0, 1, 2, 10 with k = 1: the balls reach 1, 1, 1 and 8.
    # Fake points 0.5, 1.5, 18.5, 30: they reach 1, 1, 11.5 and 11.5.
    real = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    fake = torch.tensor([[0.5], [1.5], [18.5], [30.0]])
    found = fid.manifold(real, fake, k=1)
    assert found["precision"] == 2 / 4  # 18.5 and 30 lie in no real ball
    assert found["recall"] == 4 / 4  # 0, 1 and 2 lie near 0.5 or 1.5; 10 in the ball of 18.5
    assert found["density"] == (2 + 2) / 4  # 0.5 in the balls of 0, 1; 1.5 in those of 1, 2
    assert found["coverage"] == 3 / 4  # 10's ball ends at 18


def test_blocks_do_not_change_the_scores(monkeypatch, clouds):
    whole = fid.manifold(*clouds), fid.kernel_distance(*clouds)
    monkeypatch.setattr(fid, "BLOCK", 1000)
    assert {len(part) for part in fid._blocks(*clouds)} == {1, 3}  # rows, of 300 pairs each
    assert fid.manifold(*clouds) == whole[0]
    assert fid.kernel_distance(*clouds) == pytest.approx(whole[1], rel=1e-6)
    distance, index = fid.nearest(*clouds)
    direct = cdist(*clouds)
    assert index.tolist() == direct.argmin(1).tolist()
    np.testing.assert_allclose(distance, direct.min(1), rtol=1e-5)


def test_memorization_finds_copies(digits):
    chosen = [5, 77, 3000]
    copies = scores.memorization(digits, digits.train.images[chosen])
    assert copies["index"] == chosen
    assert copies["distance"] == [0, 0, 0] and copies["percentile"] == [0, 0, 0]
    real = scores.memorization(digits, digits.test.images[:100])
    assert 40 < np.mean(real["percentile"]) < 60 and max(real["percentile"]) > 90


def test_copies_of_training_images_show_in_the_unseen_share(digits, options, sampler):
    copied = scores.gan(digits, sampler(digits.train.images), **options)["scores"]["unseen"]
    new = scores.gan(digits, sampler(digits.test.images), **options)["scores"]["unseen"]
    assert copied["value"] == 100 and new["value"] == 0
    assert copied["floor"] == pytest.approx(80)
