"""The bounds against exactly solvable linear-Gaussian models, scipy and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from helpers import scores, training
from helpers.scores import likelihood, tables


@pytest.fixture
def linear_model():
    """x = W z + b + noise of variance 1/2 in 12 dimensions, 3 latents; p(x) is a Gaussian."""
    rng = torch.Generator().manual_seed(1)
    w, b = torch.randn(12, 3, generator=rng), torch.rand(12, generator=rng)
    z = torch.randn(200, 3, generator=rng)
    x = z @ w.T + b + math.sqrt(0.5) * torch.randn(200, 12, generator=rng)
    marginal = multivariate_normal(b.numpy(), (w @ w.T + 0.5 * torch.eye(12)).double().numpy())
    return w, b, x, torch.from_numpy(marginal.logpdf(x.double().numpy()))


def test_importance_bound_rises_towards_the_likelihood(linear_model):
    w, b, x, exact = linear_model

    def encode(x):  # a crude guess: shrunk and too wide
        mu = 0.7 * torch.linalg.lstsq(w, (x - b).T).solution.T
        return mu, torch.full_like(mu, math.log(0.3))

    rng = torch.Generator().manual_seed(0)
    weights = likelihood.log_weights(x, encode, lambda z: z @ w.T + b, 2000, rng, entries=2**20)
    bounds = [
        likelihood.importance_bound(weights.view(-1, k)).mean().item() for k in (1, 10, 100, 2000)
    ]
    assert bounds == sorted(bounds)
    assert bounds[0] < exact.mean() - 0.3
    assert bounds[-1] == pytest.approx(exact.mean().item(), abs=0.02)
    # K = 1 is the evidence lower bound: expected error and KL, in closed form
    mu, logvar = encode(x)
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
    error = (x - mu @ w.T - b).square().sum(1) + (logvar.exp() * w.square().sum(0)).sum(1)
    elbo = -(likelihood.gaussian_nll(error, width=12) + kl)
    assert bounds[0] == pytest.approx(elbo.mean().item(), abs=0.08)


def test_linear_vae_is_the_gaussian_of_its_axes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5)) * [3.0, 2.0, 0.4, 0.3, 0.2]
    values, vectors = (part[..., ::-1] for part in np.linalg.eigh(np.cov(x.T)))
    for variance, pca in (
        (values[3:].mean(), likelihood.linear_vae(x, 3)),
        (0.5, likelihood.with_variance(likelihood.linear_vae(x, 3), 0.5)),  # leaves out one axis
    ):
        w = vectors[:, :3] * np.sqrt(np.maximum(values[:3] - variance, 0))

        def density(factor, w=w, variance=variance):
            covariance = factor * w @ w.T + variance * np.eye(5)
            return multivariate_normal(x.mean(0), covariance).logpdf(x)

        np.testing.assert_allclose(pca.score_samples(x), density(1), rtol=1e-12)
        assert density(1).mean() > max(density(0.8).mean(), density(1.2).mean())


def test_the_best_linear_vae_reaches_its_yardstick(digits, options, sampler):
    pca = likelihood.linear_vae(
        training.to_unit(digits.train.images).flatten(1).double().numpy(), 16
    )
    mean, axes, along = (
        torch.from_numpy(part).float()
        for part in (pca.mean_, pca.components_.T, pca.explained_variance_)
    )
    scale = (along - 0.5).clamp(min=0).sqrt()

    def encode(x):  # the exact posterior of probabilistic PCA with variance 1/2
        mu = (x - mean) @ axes * scale / along.clamp(min=0.5)
        return mu, (0.5 / along.clamp(min=0.5)).log().expand_as(mu)

    def decode(z):
        return z * scale @ axes.T + mean

    def shifted(x):  # a code two units from where the prior expects it
        mu, logvar = encode(x)
        return mu + 2, logvar

    draw = sampler(digits.train.images)
    standard = mixture(0)
    result = scores.vae(digits, draw, encode, decode, standard, **options)
    moved = scores.vae(digits, draw, shifted, lambda z: decode(z - 2), mixture(2), **options)
    table = result["scores"]
    value, floor = ({key: table[key][what] for key in table} for what in ("value", "floor"))
    for key in ("neg_elbo", "neg_iwae", "loss"):
        assert value[key] == pytest.approx(floor[key], abs=0.2), key
    assert value["loss"] == pytest.approx(value["recon"] + value["kl"])
    assert value["neg_elbo"] - value["loss"] == pytest.approx(392 * np.log(np.pi))
    assert value["active"] == (0.5 * (2 * along).log() > 0.1).sum() == floor["active"]
    assert sum(table["kl"]["per_latent"]) == pytest.approx(value["kl"], rel=1e-5)
    assert floor["recon_mean"] < value["recon_mean"] < value["recon"]
    assert value["loss_mixture"] == pytest.approx(value["loss"])  # the mixture is the prior
    moved = {key: entry["value"] for key, entry in moved["scores"].items()}
    assert moved["kl"] == pytest.approx(value["kl"] + 16 * 2**2 / 2, abs=1.0)
    assert moved["loss_mixture"] == pytest.approx(value["loss"], abs=1.0)  # of 300 draws
    assert floor["fid_recon"] < value["fid_recon"] < table["fid_recon"]["ceiling"]


def mixture(mean):
    """A mixture of one component: N(mean, I) in 16 dimensions."""
    found = GaussianMixture(1).fit(np.random.default_rng(0).normal(size=(100, 16)))
    found.means_ = np.zeros((1, 16)) + mean
    found.covariances_ = found.precisions_cholesky_ = np.eye(16)[None]
    return found


def flat(z):
    """A decoder that draws every pixel as its first latent."""
    return z[:, :1].expand(-1, 784)


def test_a_vae_needs_no_test_labels(digits, options, sampler, labeled_sampler):
    bare = digits._replace(test=digits.test._replace(labels=None))

    def encode(x):
        return x[:, :16], x[:, :16]

    def draw(n, rng, mixture=None):
        images = digits.test.images if mixture else digits.train.images[:1].repeat(n, 0)
        return torch.from_numpy(images[:n])

    result = scores.vae(bare, draw, encode, flat, mixture(0), **options)
    fid, better = result["scores"]["fid"], result["mixture"]["scores"]["fid"]
    assert result["scores"]["fid_mixture"]["value"] == better["value"] < fid["value"] / 2
    columns, rows = tables.draws(result)
    assert {len(row) for row in rows} == {len(columns)}
    assert rows[1][2] == f"{better['value']:.2f}"
    assert result["scores"]["kl"]["value"] >= 0
    with pytest.raises(ValueError, match="test images need labels"):
        scores.cgan(bare, labeled_sampler(digits.train, 0), **options)
