"""The scores of likeness against closed forms, other implementations and direct computations."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from helpers import scores
from helpers.data import download as vision
from helpers.scores import fid, likelihood


@pytest.fixture
def clouds():
    """Two clouds of 16 features with correlations, of different sizes."""
    rng = np.random.default_rng(0)
    mix = np.eye(16) + 0.3 * rng.normal(size=(16, 16))
    a, b = rng.normal(size=(400, 16)), rng.normal(size=(300, 16)) @ mix + 0.5
    return torch.from_numpy(a).float(), torch.from_numpy(b).float()


@pytest.mark.filterwarnings("ignore:Metric `Kernel")
def test_frechet_and_kernel_distance_match_torchmetrics(clouds):
    vision.import_torchvision()
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    class Stretch(nn.Module):
        """Any image -> 16 of its numbers: lets torchmetrics see the clouds as they are."""

        num_features = 16

        def forward(self, x):
            return x.flatten(1)[:, :16]

    a, b = (cloud.view(-1, 1, 4, 4) for cloud in clouds)
    frechet = FrechetInceptionDistance(Stretch(), normalize=False, input_img_size=(1, 4, 4))
    n = len(b)
    kid = KernelInceptionDistance(Stretch(), subsets=1, subset_size=n)
    for metric in (frechet.set_dtype(torch.float64), kid):
        metric.update(a[:n], real=True)
        metric.update(b, real=False)
    flat = a[:n].flatten(1), b.flatten(1)
    assert fid.frechet(*flat) == pytest.approx(frechet.compute().item(), rel=1e-5)
    assert fid.kernel_distance(*flat) == pytest.approx(kid.compute()[0].item(), rel=1e-4)


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
    monkeypatch.setattr(fid, "BLOCK", 1000)  # three rows a block
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


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation returned."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


def test_memory_stays_bounded(monkeypatch):
    assert fid.BLOCK * 4 <= 2**25  # bytes; a handful of blocks is far from 2 GB
    monkeypatch.setattr(fid, "BLOCK", 2**17)
    a, b = torch.rand(2, 2000, 4, generator=torch.Generator().manual_seed(0))
    with Largest() as largest:
        fid.kernel_distance(a, b)
        fid.manifold(a, b)
        fid.nearest(a, b)
    assert largest.numel <= fid.BLOCK  # all pairs at once would be 30 times as many
    x, codes = torch.rand(300, 784), lambda x: (x[:, :2], x[:, :2])
    with Largest() as largest:
        likelihood.log_weights(
            x, codes, lambda z: z[:, :1].expand(-1, 784), 100, torch.Generator(), entries=2**21
        )
    assert largest.numel <= 2**21
