"""Do generated images look like real ones (FID, KID), are all kinds there, and are they new?

Distances and overlaps of two clouds of features, and the nearest image by pixels. Work stays on
the device of the tensors, all-pairs work goes block by block (BLOCK entries of the distance
matrix at a time), and sums are taken in float64.
"""

import math

import torch

from helpers import gan
from helpers.scores import network, tables
from helpers.scores.setting import histogram, pixels, training
from helpers.training import from_unit, rng

BLOCK = 2**22  # entries of a distance matrix held at once: 16 MiB in float32, near the cache
LOOKED_UP = 500  # images whose nearest training image is searched


def likeness(setting, seen):
    """{score: value} of generated images, from what the network sees in them."""
    real = setting.real.features
    return {
        "fid": frechet(seen.features, real),
        "kid": 1000 * kernel_distance(seen.features, real),
        **manifold(real, seen.features),
    }


def frechet(a, b):
    """Frechet distance of the Gaussians fitted to features a (N, d) and b (M, d): "FID".

    |mean_a - mean_b|^2 + trace(A + B - 2 (A B)^(1/2)): Dowson & Landau 1982; Heusel et al. 2017,
    eq. 6 (arXiv:1706.08500). Biased upwards for few samples: compare equal N. trace (A B)^(1/2) is
    the sum of the roots of the eigenvalues of the symmetric A^(1/2) B A^(1/2), which stay real
    where a general matrix root does not.
    """
    (mean_a, cov_a), (mean_b, cov_b) = _moments(a), _moments(b)
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
    n, m = len(a), len(b)

    def within(x):  # without the pairs of a vector with itself
        own = (x.square().mean(1) + 1).pow(3).cpu().double().sum().item()
        return (_kernel_sum(x, x) - own) / (len(x) * (len(x) - 1))

    return within(a) + within(b) - 2 * _kernel_sum(a, b) / (n * m)


def manifold(real, fake, k=5):
    """How two clouds of features overlap: {score: value}; real (N, d), fake (M, d).

    A ball around each point reaches its k-th nearest neighbor of the same cloud. precision: share
    of fake points in some real ball; recall: share of real points in some fake ball (Kynkaanniemi
    et al. 2019, arXiv:1904.06991). density: real balls around a fake point, divided by k;
    coverage: share of real balls that hold a fake point (Naeem et al. 2020, arXiv:2002.09797).
    1 is a perfect match; density may exceed it.
    """
    real_reach, fake_reach = _kth_neighbor(real, k), _kth_neighbor(fake, k)
    balls = torch.zeros(len(fake), dtype=torch.int64, device=fake.device)
    covered = recalled = 0
    blocks = zip(_squared_distances(real, fake), _blocks(real_reach, fake), strict=True)
    for gaps, reach in blocks:
        inside = gaps <= reach[:, None]
        balls += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int((gaps <= fake_reach).any(1).sum())
    return {
        "precision": int((balls > 0).sum()) / len(fake),
        "recall": recalled / len(real),
        "density": int(balls.sum()) / (k * len(fake)),
        "coverage": covered / len(real),
    }


def reconstructions(setting, encode, decode, fid):
    """Of training images that were encoded and decoded: the entry "fid_recon", class shares.

    fid: the entry of that name.
    """
    codes = encode(pixels(training(setting)[0], setting.device))[0]
    images = from_unit(decode(codes)).view(-1, 28, 28)
    seen = network.look(setting.network.net, images)
    value = frechet(seen.features, setting.real.features)
    limits = fid["floor"], fid["ceiling"]
    shares = histogram(seen.labels, len(setting.data.classes))
    return tables.entry("fid_recon", [value], *limits, n=len(images)), shares.tolist()


# --- New, or copied? -------------------------------------------------------------------------


def nearest(queries, base):
    """The nearest row of base (M, d) to each row of queries (N, d): (distance, index), each (N,).

    Euclidean. Found in float32 by matrix products, then recomputed exactly for the winner.
    """
    index = torch.cat([gaps.argmin(1) for gaps in _squared_distances(queries, base)])
    return (queries - base[index]).norm(dim=1), index


def memorization(data, images, device="cpu"):
    """The nearest training image of each of the images (N, 28, 28) uint8, by pixels.

    Returns {"index": [...], "distance": [...], "percentile": [...]}, N each: the distance is
    Euclidean for pixels in [0, 1]; the percentile says how many of 500 real test images have a
    nearer training image. A copy has distance 0 and percentile 0. Smooth images lie near many
    others: a low percentile alone is no proof.
    """
    train = pixels(data.train.images, device)
    order = torch.randperm(len(data.test.images), generator=rng(0, "looked up"))[:LOOKED_UP]
    usual, _ = nearest(pixels(torch.as_tensor(data.test.images)[order], device), train)
    distance, index = nearest(pixels(images, device), train)
    below = (usual < distance[:, None]).sum(1)
    return {
        "index": index.tolist(),
        "distance": distance.tolist(),
        "percentile": (100 * below / len(usual)).tolist(),
    }


def trust(data, parts, seed, most=2000):
    """What a DCGAN's discriminator says of training, test and generated images.

    Returns {kind: images (N, 28, 28) uint8} and {kind: logits (N,)} of the kinds "training",
    "test" and "generated", as many of each, drawn at random.
    """
    count, draw = min(most, len(data.test.images)), rng(seed, "judged")
    drawn, images = gan.sample(parts.artist, count, draw), {}
    for kind, part in ("training", data.train), ("test", data.test):
        chosen = torch.randperm(len(part.images), generator=draw)[:count]
        images[kind] = torch.as_tensor(part.images)[chosen]
    images["generated"] = drawn
    return images, {kind: gan.logits(parts.discriminator, part) for kind, part in images.items()}


def unseen(setting, images):
    """The entry "unseen": how often is the nearest real image one of the training images?"""
    images = pixels(images[:LOOKED_UP], setting.device)
    train, test = setting.data.train.images, setting.data.test.images
    to_train, to_test = (
        nearest(images, pixels(real, setting.device))[0] for real in (train, test)
    )
    share = (to_train < to_test).double().mean().item()
    counts = {"looked": len(images), "train": len(train), "test": len(test)}
    chance = 100 * len(train) / (len(train) + len(test))
    error = 100 * math.sqrt(share * (1 - share) / len(images))
    spread = {"std": error, "spread": "standard error over generated images"}
    return tables.entry("unseen", [100 * share], chance, 100.0, **counts) | spread


# --- Inside ----------------------------------------------------------------------------------


def _moments(x):
    """Mean (d,) and covariance (d, d) of x (N, d) in float64."""
    x = x.cpu().double()  # float64 lives on the CPU: not every GPU has it
    return x.mean(0), x.T.cov()


def _blocks(rows, columns):
    """The rows (N, ...) in parts such that part x columns (M, d) holds at most BLOCK pairs."""
    return rows.split(max(1, BLOCK // len(columns)))


def _squared_distances(a, b):
    """Yields |a_i - b_j|^2 for the rows i of a block of a, and all of b.

    By one matrix product a block; rounding may leave 1e-6 of |a|^2 + |b|^2 where 0 is exact.
    """
    b_squared = b.square().sum(1)
    for part in _blocks(a, b):
        gaps = torch.addmm(b_squared, part, b.T, alpha=-2)
        yield gaps.add_(part.square().sum(1, keepdim=True)).clamp_(min=0)


def _kth_neighbor(x, k):
    """Squared distance of each row to its k-th nearest other row: (N,); the nearest is itself."""
    # topk: kthvalue has no deterministic form on a GPU, and is refused there
    parts = (gaps.topk(k + 1, dim=1, largest=False).values for gaps in _squared_distances(x, x))
    return torch.cat([nearest[:, -1] for nearest in parts])


def _kernel_sum(a, b):
    """Sum of (a_i.b_j / d + 1)^3 over all pairs."""
    ones = a.new_ones(())
    kernels = (
        torch.addmm(ones, part, b.T, alpha=1 / a.shape[1]).pow_(3) for part in _blocks(a, b)
    )
    return sum(kernel.sum(1).cpu().double().sum().item() for kernel in kernels)
