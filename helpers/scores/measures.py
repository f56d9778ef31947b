"""Scores of generated images: pure functions of arrays; which model gets which is in evaluate.py.

Arguments are tensors or arrays. Work stays on the device of the tensors, all-pairs work goes block
by block (BLOCK entries of the distance matrix at a time), and sums are taken in float64.
"""

import math
from typing import NamedTuple

import torch

BLOCK = 2**22  # entries of a distance matrix held at once: 16 MiB in float32, near the cache
WIDTH = 784  # pixels of an image


# --- Two clouds of feature vectors -----------------------------------------------------------


def frechet(a, b):
    """Frechet distance of the Gaussians fitted to features a (N, d) and b (M, d): "FID".

    Heusel et al. 2017, eq. 6 (arXiv:1706.08500). Biased upwards for few samples: compare equal N.
    """
    return frechet_of_gaussians(*_moments(a), *_moments(b))


def frechet_of_gaussians(mean_a, cov_a, mean_b, cov_b):
    """|mean_a - mean_b|^2 + trace(A + B - 2 (A B)^(1/2)) for means (d,), covariances (d, d).

    Dowson & Landau 1982. trace (A B)^(1/2) is the sum of the roots of the eigenvalues of the
    symmetric A^(1/2) B A^(1/2), which stay real where a general matrix root does not.
    """
    mean_a, cov_a, mean_b, cov_b = (_double(value) for value in (mean_a, cov_a, mean_b, cov_b))
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    gap = (mean_a - mean_b).square().sum()
    return max(0.0, float(gap + cov_a.trace() + cov_b.trace() - 2 * cross))


def kernel_distance(a, b):
    """Squared maximum mean discrepancy of features a (N, d), b (M, d): "KID", unbiased.

    Kernel (x.y / d + 1)^3; all pairs instead of random subsets; may fall below 0. The kernel is
    not scale free: features should have unit variance. Binkowski et al. 2018 (arXiv:1801.01401).
    """
    a, b = _floats(a), _floats(b)
    n, m = len(a), len(b)
    if min(n, m) < 2:
        raise ValueError(f"kernel_distance needs two or more vectors a side, got {n} and {m}")
    within_a = (_kernel_sum(a, a) - _kernel_diagonal(a)) / (n * (n - 1))
    within_b = (_kernel_sum(b, b) - _kernel_diagonal(b)) / (m * (m - 1))
    return within_a + within_b - 2 * _kernel_sum(a, b) / (n * m)


class Manifold(NamedTuple):
    """Precision, recall, density and coverage: 1 is a perfect match (density may exceed it)."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(real, fake, k=5):
    """How two clouds of features overlap: real (N, d), fake (M, d) -> Manifold.

    A ball around each point reaches its k-th nearest neighbor of the same cloud. precision: share
    of fake points in some real ball; recall: share of real points in some fake ball (Kynkaanniemi
    et al. 2019, arXiv:1904.06991). density: real balls around a fake point, divided by k;
    coverage: share of real balls that hold a fake point (Naeem et al. 2020, arXiv:2002.09797).
    """
    real, fake = _floats(real), _floats(fake)
    if min(len(real), len(fake)) <= k:
        raise ValueError(f"k must be below the number of vectors, got {k} for {len(fake)}")
    real_reach, fake_reach = _kth_neighbor(real, k), _kth_neighbor(fake, k)
    balls = torch.zeros(len(fake), dtype=torch.int64, device=fake.device)
    covered = recalled = 0
    for rows, gaps in _squared_distances(real, fake):
        inside = gaps <= real_reach[rows, None]
        balls += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int((gaps <= fake_reach).any(1).sum())
    return Manifold(
        precision=int((balls > 0).sum()) / len(fake),
        recall=recalled / len(real),
        density=int(balls.sum()) / (k * len(fake)),
        coverage=covered / len(real),
    )


def nearest(queries, base):
    """The nearest row of base (M, d) to each row of queries (N, d): (distance, index), each (N,).

    Euclidean. Found in float32 by matrix products, then recomputed exactly for the winner.
    """
    queries, base = _floats(queries), _floats(base)
    index = torch.cat([gaps.argmin(1) for _, gaps in _squared_distances(queries, base)])
    return (queries - base[index]).norm(dim=1), index


# --- Labels ----------------------------------------------------------------------------------


def histogram(labels, classes):
    """The share of each class 0..classes-1 among labels (N,): (classes,) float64."""
    return torch.bincount(torch.as_tensor(labels), minlength=classes).double() / len(labels)


def distance_from_uniform(shares):
    """Total variation distance of class shares (C,) from 1/C each: 0 even, 1 - 1/C one class."""
    shares = torch.as_tensor(shares)
    return 0.5 * float((shares - 1 / len(shares)).abs().sum())


def confusion(wanted, seen, classes):
    """Counts (classes, classes): row, the label wanted; column, the label seen."""
    pairs = torch.as_tensor(wanted) * classes + torch.as_tensor(seen)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def spread_within(features, labels, classes, fewest=10):
    """Total variance of the features (N, d) within each class: (classes,), NaN where few members.

    Half the mean squared distance of two members of the class.
    """
    features, labels = _double(features), torch.as_tensor(labels).cpu()
    spread = torch.full((classes,), math.nan, dtype=torch.float64)
    for label in range(classes):
        members = features[labels == label]
        if len(members) >= fewest:
            spread[label] = members.var(0).sum()
    return spread


# --- Densities -------------------------------------------------------------------------------


class Parzen(NamedTuple):
    """Mean log-density of the test images in nats, its standard error, the chosen width."""

    value: float
    error: float
    sigma: float


def parzen(samples, validation, test, sigmas=None):
    """Parzen-window log-likelihood: a Gaussian of width sigma on each sample.

    samples (N, d), validation (V, d), test (T, d), in [0, 1]. sigma is the one of `sigmas`
    (default: ten from 0.1 to 1, evenly spaced in the logarithm) that gives the validation images
    the highest density. The protocol of Goodfellow et al. 2014, section 5 (arXiv:1406.2661); Theis
    et al. 2016 (arXiv:1511.01844) show why it says little about the quality of images.
    """
    sigmas = torch.logspace(-1, 0, 10).tolist() if sigmas is None else list(sigmas)
    likelihood = [means.mean().item() for means in _log_densities(samples, validation, sigmas)]
    sigma = sigmas[max(range(len(sigmas)), key=likelihood.__getitem__)]
    (density,) = _log_densities(samples, test, [sigma])
    return Parzen(density.mean().item(), density.std().item() / math.sqrt(len(density)), sigma)


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
        x_hat = decode(z.flatten(0, 1)).view(k, *part.shape)
        gap = x_hat - part
        error = _double(torch.linalg.vecdot(gap, gap))
        prior_over_posterior = _double(0.5 * (noise.square() - z.square() + logvar).sum(2))
        rows.append((prior_over_posterior - gaussian_nll(error, variance, x.shape[1])).T)
    return torch.cat(rows)


def importance_bound(weights, k=None):
    """Lower bound on log p(x) of each image from log weights (N, K): (N,), in nats.

    With k < K: the mean over the K // k disjoint groups of k; k = 1 is the evidence lower bound.
    Burda et al. 2016, eq. 8 (arXiv:1509.00519).
    """
    n, total = weights.shape
    k = k or total
    groups = weights[:, : total // k * k].view(n, -1, k)
    return (groups.logsumexp(2) - math.log(k)).mean(1)


def active_units(mu, least=0.01):
    """Which latents carry information: variance of mu (N, latents) over the images above `least`.

    Burda et al. 2016, section 5 (arXiv:1509.00519). Returns (latents,) bool.
    """
    return _double(mu).var(0) > least


class PCA(NamedTuple):
    """Mean (d,), the leading `rank` eigenvectors (d, rank) and all eigenvalues (d,), falling."""

    mean: torch.Tensor
    axes: torch.Tensor
    values: torch.Tensor


def fit_pca(x, rank):
    """Principal components of x (N, d), from the float64 covariance."""
    mean, covariance = _moments(x)
    values, vectors = torch.linalg.eigh(covariance)
    return PCA(mean, vectors.flip(1)[:, :rank], values.flip(0).clamp(min=0))


def pca_error(pca, x):
    """Squared error of x (N, d) projected on the axes, summed over the d: (N,) float64."""
    centered = _double(x) - pca.mean
    return centered.square().sum(1) - (centered @ pca.axes).square().sum(1)


def linear_vae_nll(pca, x, variance=None):
    """-log p(x) in nats of the best linear VAE with as many latents as axes: (N,) float64.

    Probabilistic PCA (Tipping & Bishop 1999) is what a VAE with a linear decoder becomes (Lucas et
    al. 2019, arXiv:1911.02469): the data is Gaussian, with variance `variance` around the axes
    (None: the best one, the mean of the remaining eigenvalues). No bound: the exact likelihood.
    """
    d, rank = pca.axes.shape
    noise = float(pca.values[rank:].mean()) if variance is None else variance
    along = pca.values[:rank].clamp(min=noise)  # an axis weaker than the noise is left out
    centered = _double(x) - pca.mean
    scores = (centered @ pca.axes).square()
    outside = centered.square().sum(1) - scores.sum(1)
    log_det = along.log().sum() + (d - rank) * math.log(noise)
    return 0.5 * ((scores / along).sum(1) + outside / noise + log_det + d * math.log(2 * math.pi))


# --- Reference images ------------------------------------------------------------------------


def shuffle_pixels(images, rng):
    """The images (N, 28, 28) with the pixels of each in an order of its own: the worst case."""
    flat = torch.as_tensor(images).flatten(1)
    order = torch.rand(flat.shape, generator=rng).argsort(1)
    return flat.gather(1, order).view(-1, 28, 28)


# --- Inside ----------------------------------------------------------------------------------


def _floats(x):
    return torch.as_tensor(x).flatten(1).float()


def _double(x):
    return torch.as_tensor(x).cpu().double()  # float64 lives on the CPU: not every GPU has it


def _moments(x):
    """Mean (d,) and covariance (d, d) of x (N, d) in float64, converting block by block."""
    x = torch.as_tensor(x)
    if len(x) < 2:
        raise ValueError(f"a covariance needs two or more vectors, got {len(x)}")
    parts = x.split(10_000)
    mean = sum(_double(part).sum(0) for part in parts) / len(x)
    scatter = 0
    for part in parts:
        centered = _double(part) - mean
        scatter = scatter + centered.T @ centered
    return mean, scatter / (len(x) - 1)


def _blocks(rows, columns):
    """Slices of the rows such that a block of rows x columns holds at most BLOCK entries."""
    step = max(1, BLOCK // max(1, columns))
    return [slice(start, start + step) for start in range(0, rows, step)]


def _squared_distances(a, b):
    """Yields (slice of the rows of a, |a_i - b_j|^2 for these rows and all of b), block by block.

    By one matrix product a block; rounding may leave 1e-6 of |a|^2 + |b|^2 where 0 is exact.
    """
    b_squared = (b * b).sum(1)
    for rows in _blocks(len(a), len(b)):
        part = a[rows]
        gaps = torch.addmm(b_squared, part, b.T, alpha=-2)
        yield rows, gaps.add_((part * part).sum(1, keepdim=True)).clamp_(min=0)


def _kth_neighbor(x, k):
    """Squared distance of each row to its k-th nearest other row: (N,)."""
    reach = []
    for rows, gaps in _squared_distances(x, x):
        own = torch.arange(len(gaps), device=x.device)
        gaps[own, own + rows.start] = math.inf
        reach.append(gaps.topk(k, dim=1, largest=False).values[:, -1])
    return torch.cat(reach)


def _kernel_sum(a, b):
    """Sum of (a_i.b_j / d + 1)^3 over all pairs."""
    ones, total = a.new_ones(()), 0.0
    for rows in _blocks(len(a), len(b)):
        kernel = torch.addmm(ones, a[rows], b.T, alpha=1 / a.shape[1]).pow_(3)
        total += _double(kernel.sum(1)).sum().item()
    return total


def _kernel_diagonal(a):
    """The same over the pairs of a vector with itself."""
    return _double((a.square().mean(1) + 1).pow(3)).sum().item()


def _log_densities(samples, points, sigmas):
    """Log density of points (T, d) under the windows of each sigma: a list of (T,) float64."""
    samples, points = _floats(samples), _floats(points)
    n, d = samples.shape
    densities = [[] for _ in sigmas]
    for _, gaps in _squared_distances(points, samples):
        for sigma, density in zip(sigmas, densities, strict=True):
            density.append(_double((gaps * (-0.5 / sigma**2)).logsumexp(1)))
    return [
        torch.cat(density) - math.log(n) - 0.5 * d * math.log(2 * math.pi * sigma**2)
        for sigma, density in zip(sigmas, densities, strict=True)
    ]
