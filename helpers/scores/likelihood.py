"""How many nats does a test image cost a VAE, and how many the best linear model?

Bounds on -log p(x) in nats per image of 784 pixels, with p(x|z) = N(x_hat, variance I).
"""

import copy
import math
import statistics

import numpy as np
import torch
from sklearn.decomposition import PCA

from helpers.scores import tables
from helpers.scores.setting import kept, pixels, training
from helpers.training import rng

WIDTH = 784  # pixels of an image
CARRIES = 0.1  # nats of KL above which a latent counts as active


def of_vae(setting, encode, decode, mixture):
    """{score: entry} of group "likelihood", on the test images of the setting.

    mixture: of `vae.fit_codes`. Its log density of codes exceeds that of the prior: that part of
    the KL is no news of the image (Hoffman & Johnson 2016, "ELBO surgery").
    """
    x = pixels(setting.test, setting.device)
    mu, logvar = encode(x)
    nats = 0.5 * (mu.square() + logvar.exp() - 1 - logvar)  # KL(q(z|x) || N(0, I)): (n, latents)
    kl, per_latent = nats.sum(1).cpu().double().mean().item(), nats.cpu().double().mean(0)
    z = _codes(setting, mu, logvar, 0).cpu().double().numpy()
    nearer = mixture.score(z) + 0.5 * (z**2 + math.log(2 * math.pi)).sum(1).mean()
    error = _errors(setting, x, encode, decode)
    train = pixels(training(setting)[0], setting.device)
    variance = statistics.fmean(_errors(setting, train, encode, decode)) / WIDTH
    weights = log_weights(x, encode, decode, 100, rng(setting.seed, "bound", 100))
    bound = -importance_bound(weights)
    values = {
        "recon": error,
        "recon_mean": [(x - decode(mu)).square().sum(1).cpu().double().mean()],
        "kl": [kl],
        "loss": [value + kl for value in error],
        "loss_mixture": [value + kl - nearer for value in error],
        "neg_elbo": [gaussian_nll(value) + kl for value in error],
        "neg_iwae": [bound.mean()],
        "neg_elbo_best": [gaussian_nll(value, variance) + kl for value in error],
        "active": [(per_latent > CARRIES).sum()],
    }
    counts = {"n": len(x), "variance": f"{variance:.4f}", "carries": str(CARRIES)}
    linear = _yardsticks(setting, mu.shape[1]) | {"loss_mixture": (None, None)}
    table = {
        key: tables.entry(key, found, *linear[key], **counts) for key, found in values.items()
    }
    table["neg_iwae"] |= {
        "std": (bound.std() / math.sqrt(len(bound))).item(),
        "spread": "standard error over test images",
    }
    table["kl"]["per_latent"] = [tables.finite(value) for value in per_latent.tolist()]
    return table


def gaussian_nll(squared_error, variance=0.5, width=WIDTH):
    """-log N(x; x_hat, variance I) in nats, from the squared error summed over the pixels.

    The VAE's loss is this at variance 1/2, without the constant width/2 log(pi) = 448.7 nats.
    """
    return squared_error / (2 * variance) + 0.5 * width * math.log(2 * math.pi * variance)


def log_weights(x, encode, decode, k, rng, variance=0.5, entries=2**21):
    """Importance weights of a Gaussian VAE: log p(x, z) - log q(z|x), z ~ q(z|x): (N, k) float64.

    x: (N, width) in [0, 1].  encode(x) -> mu, logvar (N, latents).  decode(z) -> x_hat.
    p(x|z) = N(x_hat, variance I), p(z) = N(0, I). rng draws on the CPU, at most about `entries`
    pixels are decoded at once.
    """
    rows = []
    for part in x.split(max(1, entries // (k * x.shape[1]))):
        mu, logvar = encode(part)
        noise = torch.randn((k, *mu.shape), generator=rng).to(mu)
        z = mu + (0.5 * logvar).exp() * noise
        gap = decode(z.flatten(0, 1)).view(k, *part.shape) - part
        error = torch.linalg.vecdot(gap, gap).cpu().double()
        prior_over_posterior = 0.5 * (noise.square() - z.square() + logvar).sum(2).cpu().double()
        rows.append((prior_over_posterior - gaussian_nll(error, variance, x.shape[1])).T)
    return torch.cat(rows)


def importance_bound(weights):
    """Lower bound on log p(x) of each image from log weights (N, K): (N,), in nats.

    K = 1 is the evidence lower bound. Burda et al. 2016, eq. 8 (arXiv:1509.00519).
    """
    return weights.logsumexp(1) - math.log(weights.shape[1])


def linear_vae(x, latents):
    """The best linear VAE of x (N, d): a PCA whose `score_samples` gives log p(x), exact.

    Probabilistic PCA (Tipping & Bishop 1999) is what a VAE with a linear decoder becomes (Lucas et
    al. 2019, arXiv:1911.02469): a Gaussian, whose variance around the axes is the mean of the
    remaining eigenvalues.
    """
    rank = min(latents, len(x) - 1, x.shape[1] - 1)
    return PCA(rank, svd_solver="covariance_eigh").fit(x)


def with_variance(pca, variance):
    """The same with this variance around the axes; those that are weaker are switched off."""
    fixed = copy.copy(pca)
    fixed.n_components_ = int((pca.explained_variance_ > variance).sum())
    fixed.components_ = pca.components_[: fixed.n_components_]
    fixed.explained_variance_ = pca.explained_variance_[: fixed.n_components_]
    fixed.noise_variance_ = variance
    return fixed


def _yardsticks(setting, latents):
    """{score: (linear VAE with as many latents, mean image alone)}."""

    def compute():
        train, test = (
            pixels(images, "cpu").double().numpy()
            for images in (setting.data.train.images, setting.test)
        )
        pca = linear_vae(train, latents)
        fixed = with_variance(pca, 0.5)
        alone = ((test - pca.mean_) ** 2).sum(1).mean()
        error = ((test - pca.inverse_transform(pca.transform(test))) ** 2).sum(1).mean()
        bound = -fixed.score(test)
        # With fewer images than latents no variance is left around the axes: there is no density
        best = -pca.score(test) if pca.noise_variance_ > 1e-9 else None
        best_alone = gaussian_nll(alone, train.var(0, ddof=1).mean())
        active = 0.5 * np.log(2 * fixed.explained_variance_) > CARRIES  # their KL
        return {
            "recon": (None, alone),
            "recon_mean": (error, alone),
            "kl": (None, 0.0),
            "loss": (bound - gaussian_nll(0.0), alone),
            "neg_elbo": (bound, gaussian_nll(alone)),
            "neg_iwae": (bound, gaussian_nll(alone)),
            "neg_elbo_best": (best, best_alone),
            "active": (int(active.sum()), 0),
        }

    return kept(setting.data, compute, "linear", latents, len(setting.test))


def _errors(setting, x, encode, decode):
    """The squared error of x (N, 784), a mean over the images, for each draw of z: a list."""
    mu, logvar = encode(x)
    drawn = (decode(_codes(setting, mu, logvar, draw)) for draw in range(setting.draws))
    return [(x - x_hat).square().sum(1).cpu().double().mean().item() for x_hat in drawn]


def _codes(setting, mu, logvar, draw):
    """One code for each image, z ~ q(z|x): (N, latents)."""
    noise = torch.randn(mu.shape, generator=rng(setting.seed, "codes", draw)).to(mu)
    return mu + (0.5 * logvar).exp() * noise
