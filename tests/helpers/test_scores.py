"""The scores against closed forms, other implementations, and direct float64 computations."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.data import download as vision
from helpers.scores import measures as scores


@pytest.fixture
def clouds():
    """Two clouds of 16 features with correlations, of different sizes."""
    rng = np.random.default_rng(0)
    mix = np.eye(16) + 0.3 * rng.normal(size=(16, 16))
    a, b = rng.normal(size=(400, 16)), rng.normal(size=(300, 16)) @ mix + 0.5
    return a.astype(np.float32), b.astype(np.float32)


def test_frechet_of_gaussians_with_diagonal_covariances_is_the_closed_form():
    mean = torch.tensor([1.0, -2.0, 0.0])
    a, b = torch.tensor([1.0, 4.0, 9.0]), torch.tensor([4.0, 1.0, 0.0])
    found = scores.frechet_of_gaussians(mean, a.diag(), torch.zeros(3), b.diag())
    assert found == pytest.approx(5 + ((a.sqrt() - b.sqrt()) ** 2).sum().item(), abs=1e-9)


def test_frechet_matches_a_general_matrix_root(clouds):
    a, b = (cloud.astype(np.float64) for cloud in clouds)
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    gap = a.mean(0) - b.mean(0)
    direct = gap @ gap + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert scores.frechet(*clouds) == pytest.approx(direct, rel=1e-6)
    assert scores.frechet(a, a) == pytest.approx(0, abs=1e-9)


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

    a, b = (torch.from_numpy(cloud).view(-1, 1, 4, 4) for cloud in clouds)
    fid = FrechetInceptionDistance(Stretch(), normalize=False, input_img_size=(1, 4, 4))
    n = len(b)
    kid = KernelInceptionDistance(Stretch(), subsets=1, subset_size=n)
    for metric in (fid.set_dtype(torch.float64), kid):
        metric.update(a[:n], real=True)
        metric.update(b, real=False)
    flat = a[:n].flatten(1), b.flatten(1)
    assert scores.frechet(*flat) == pytest.approx(fid.compute().item(), rel=1e-5)
    assert scores.kernel_distance(*flat) == pytest.approx(kid.compute()[0].item(), rel=1e-4)


def test_kernel_distance_is_the_mean_over_all_pairs(clouds):
    a, b = (cloud.astype(np.float64)[:40] for cloud in clouds)
    b = b[:30]

    def mean(x, y, own):
        values = [
            (x[i] @ y[j] / 16 + 1) ** 3
            for i in range(len(x))
            for j in range(len(y))
            if not (own and i == j)
        ]
        return sum(values) / len(values)

    direct = mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False)
    assert scores.kernel_distance(a, b) == pytest.approx(direct, rel=1e-5)


def test_kernel_distance_of_one_distribution_is_zero_on_average():
    rng = torch.Generator().manual_seed(0)
    values = [scores.kernel_distance(*torch.randn(2, 100, 8, generator=rng)) for _ in range(60)]
    mean, error = np.mean(values), np.std(values) / math.sqrt(60)
    assert abs(mean) < 3 * error  # a biased estimate would be 100 * error away
    assert min(values) < 0


def test_manifold_by_hand():
    # Real points 0, 1, 2, 10 with k = 1: the balls reach 1, 1, 1 and 8.
    # Fake points 0.5, 1.5, 18.5, 30: they reach 1, 1, 11.5 and 11.5.
    real = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    fake = torch.tensor([[0.5], [1.5], [18.5], [30.0]])
    found = scores.manifold(real, fake, k=1)
    assert found.precision == 2 / 4  # 18.5 and 30 lie in no real ball
    assert found.recall == 4 / 4  # 0, 1 and 2 lie near 0.5 or 1.5; 10 in the ball of 18.5
    assert found.density == (2 + 2) / 4  # 0.5 in the balls of 0, 1; 1.5 in those of 1, 2
    assert found.coverage == 3 / 4  # 10's ball ends at 18


def test_manifold_of_a_cloud_with_itself_and_with_a_far_one():
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    same = scores.manifold(x, x)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    assert scores.manifold(x, x + 100) == (0, 0, 0, 0)


def test_manifold_tells_lost_modes_from_bad_images():
    rng = torch.Generator().manual_seed(0)
    centers = torch.tensor([[-20.0, 0.0], [20.0, 0.0]])
    real = torch.randn(400, 2, generator=rng) + centers.repeat(200, 1)
    one_mode = scores.manifold(real, torch.randn(400, 2, generator=rng) + centers[0])
    smeared = scores.manifold(real, 10 * torch.randn(400, 2, generator=rng))
    assert one_mode.precision > 0.9 and one_mode.coverage < 0.6 and one_mode.recall < 0.6
    assert smeared.precision < 0.5


def test_manifold_needs_more_points_than_neighbors():
    with pytest.raises(ValueError, match="^k must be below the number of vectors, got 5"):
        scores.manifold(torch.zeros(10, 2), torch.zeros(5, 2))


def test_nearest_matches_scipy(monkeypatch, clouds):
    monkeypatch.setattr(scores, "BLOCK", 1000)  # three rows a block
    distance, index = scores.nearest(*clouds)
    direct = cdist(*clouds)
    assert index.tolist() == direct.argmin(1).tolist()
    np.testing.assert_allclose(distance, direct.min(1), rtol=1e-5)


def test_nearest_gives_a_copy_distance_zero():
    x = torch.rand(50, 784, generator=torch.Generator().manual_seed(0))
    distance, index = scores.nearest(x[[7, 31]], x)
    assert distance.tolist() == [0, 0] and index.tolist() == [7, 31]


def test_blocks_do_not_change_the_scores(monkeypatch, clouds):
    whole = scores.manifold(*clouds), scores.kernel_distance(*clouds)
    monkeypatch.setattr(scores, "BLOCK", 1000)
    parts = scores.manifold(*clouds), scores.kernel_distance(*clouds)
    assert parts[0] == whole[0]
    assert parts[1] == pytest.approx(whole[1], rel=1e-6)


def test_labels():
    wanted, seen = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 0])
    assert scores.confusion(wanted, seen, 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert scores.histogram(seen, 3).tolist() == [0.5, 0.5, 0]
    assert scores.distance_from_uniform(torch.full((10,), 0.1)) == pytest.approx(0)
    assert scores.distance_from_uniform([1.0, 0, 0, 0]) == pytest.approx(0.75)


def test_spread_within_is_half_the_mean_squared_distance():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1] * 18 + [2] * 4)
    spread = scores.spread_within(x, labels, 3)
    members = x[labels == 1].double()
    pairs = torch.cdist(members, members).square().sum() / (18 * 17)
    assert spread[1].item() == pytest.approx(pairs.item() / 2)
    assert math.isnan(spread[2])


def test_parzen_matches_a_direct_mixture():
    rng = np.random.default_rng(0)
    samples, held, test = rng.random((30, 5)), rng.random((20, 5)), rng.random((10, 5))

    def density(points, sigma):
        parts = [multivariate_normal(s, sigma**2 * np.eye(5)).pdf(points) for s in samples]
        return np.log(np.mean(parts, axis=0))

    sigmas = np.logspace(-1, 0, 10)
    best = max(sigmas, key=lambda sigma: density(held, sigma).mean())
    found = scores.parzen(samples, held, test)
    assert found.sigma == pytest.approx(best, rel=1e-6)
    assert found.value == pytest.approx(density(test, best).mean(), abs=1e-4)
    assert found.error == pytest.approx(density(test, best).std(ddof=1) / math.sqrt(10), abs=1e-4)


@pytest.fixture
def linear_model():
    """x = W z + b + noise of variance 1/2 in 12 dimensions, 3 latents; p(x) is a Gaussian."""
    rng = torch.Generator().manual_seed(1)
    w, b = torch.randn(12, 3, generator=rng), torch.rand(12, generator=rng)
    z = torch.randn(200, 3, generator=rng)
    x = z @ w.T + b + math.sqrt(0.5) * torch.randn(200, 12, generator=rng)
    marginal = multivariate_normal(b.numpy(), (w @ w.T + 0.5 * torch.eye(12)).double().numpy())
    return w, b, x, torch.from_numpy(marginal.logpdf(x.double().numpy()))


def test_importance_bound_is_exact_at_the_true_posterior(linear_model):
    w, b, x, exact = linear_model
    precision = torch.eye(3) + 2 * w.T @ w
    # The posterior is not diagonal: rotate z so that it is
    _, rotation = torch.linalg.eigh(precision)
    w = w @ rotation
    variance = 1 / (1 + 2 * w.square().sum(0))

    def encode(x):
        mu = 2 * (x - b) @ w * variance
        return mu, variance.log().expand_as(mu)

    rng = torch.Generator().manual_seed(0)
    weights = scores.log_weights(x, encode, lambda z: z @ w.T + b, 7, rng, entries=500)
    torch.testing.assert_close(weights, exact[:, None].expand(-1, 7), atol=1e-3, rtol=0)


def test_importance_bound_rises_towards_the_likelihood(linear_model):
    w, b, x, exact = linear_model

    def encode(x):  # a crude guess: shrunk and too wide
        mu = 0.7 * torch.linalg.lstsq(w, (x - b).T).solution.T
        return mu, torch.full_like(mu, math.log(0.3))

    rng = torch.Generator().manual_seed(0)
    weights = scores.log_weights(x, encode, lambda z: z @ w.T + b, 2000, rng)
    bounds = [scores.importance_bound(weights, k).mean().item() for k in (1, 10, 100, 2000)]
    assert bounds == sorted(bounds)
    assert bounds[0] < exact.mean() - 0.3
    assert bounds[-1] == pytest.approx(exact.mean().item(), abs=0.02)
    # K = 1 is the evidence lower bound: expected error and KL, in closed form
    mu, logvar = encode(x)
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
    error = (x - mu @ w.T - b).square().sum(1) + (logvar.exp() * w.square().sum(0)).sum(1)
    elbo = -(scores.gaussian_nll(error, width=12) + kl)
    assert bounds[0] == pytest.approx(elbo.mean().item(), abs=0.08)


def test_gaussian_nll_is_scipys():
    x = np.random.default_rng(0).random(784)
    for variance in (0.5, 0.02):
        direct = -multivariate_normal(np.zeros(784), variance * np.eye(784)).logpdf(x)
        assert scores.gaussian_nll((x**2).sum(), variance) == pytest.approx(direct)


def test_linear_vae_matches_scikit_learn():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(500, 6)) * [3, 2, 1, 0.5, 0.5, 0.5]) @ rng.normal(size=(6, 6))
    fitted, ours = PCA(2).fit(x), scores.fit_pca(x, 2)
    np.testing.assert_allclose(
        -scores.linear_vae_nll(ours, x[:50]), fitted.score_samples(x[:50]), rtol=1e-6
    )
    error = ((x - fitted.inverse_transform(fitted.transform(x))) ** 2).sum(1)
    np.testing.assert_allclose(scores.pca_error(ours, x), error, rtol=1e-6)


def test_linear_vae_with_fixed_variance_is_the_best_of_its_kind():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(400, 5, generator=rng) * torch.tensor([3.0, 2.0, 0.4, 0.3, 0.2])
    pca = scores.fit_pca(x, 3)
    best = scores.linear_vae_nll(pca, x, 0.5).mean()
    axes, scale = pca.axes, (pca.values[:3] - 0.5).clamp(min=0).sqrt()
    for factor in (0.9, 1.0, 1.1):
        w = axes * scale * factor
        model = multivariate_normal(pca.mean.numpy(), (w @ w.T).numpy() + 0.5 * np.eye(5))
        direct = -model.logpdf(x.double().numpy()).mean()
        assert direct == pytest.approx(best.item()) if factor == 1 else direct > best


def test_active_units():
    rng = torch.Generator().manual_seed(0)
    mu = torch.randn(1000, 3, generator=rng) * torch.tensor([1.0, 0.15, 0.05])
    assert scores.active_units(mu).tolist() == [True, True, False]


def test_shuffle_pixels_keeps_each_images_gray_levels():
    images = torch.arange(784, dtype=torch.int32).remainder(256).to(torch.uint8).view(1, 28, 28)
    images = images.repeat(2, 1, 1)
    shuffled = scores.shuffle_pixels(images, torch.Generator().manual_seed(0))
    assert shuffled.dtype == torch.uint8 and shuffled.shape == images.shape
    assert torch.equal(shuffled.flatten(1).sort().values, images.flatten(1).sort().values)
    assert not torch.equal(shuffled[0], shuffled[1])


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
    assert scores.BLOCK * 4 <= 2**25  # bytes; a handful of blocks is far from 2 GB
    monkeypatch.setattr(scores, "BLOCK", 2**17)
    a, b = torch.rand(2, 2000, 4, generator=torch.Generator().manual_seed(0))
    with Largest() as largest:
        scores.kernel_distance(a, b)
        scores.manifold(a, b)
        scores.nearest(a, b)
        scores.parzen(a, b[:100], b)
    assert largest.numel <= scores.BLOCK  # all pairs at once would be 30 times as many


def test_memory_of_the_importance_weights_stays_bounded():
    x = torch.rand(300, 784, generator=torch.Generator().manual_seed(0))
    with Largest() as largest:
        scores.log_weights(
            x,
            lambda x: (x[:, :2], x[:, :2]),
            lambda z: z[:, :1].expand(-1, 784),
            100,
            torch.Generator().manual_seed(0),
            entries=2**21,
        )
    assert largest.numel <= 2**21
