"""Which scores each model gets, from which images, and how they read in a table.

`vae`, `gan` and `cgan` return the contents of scores.json: plain numbers, lists and texts. Each
score carries its value, its standard deviation, what real images reach under the same protocol
(floor), what the worst case reaches (ceiling), and the protocol in one line. Floors and ceilings
are computed once for each dataset and kept in build/cache. `gan_train` and `classroom` train
classifiers and take minutes; they belong to the paper profile.
"""

import hashlib
import json
import math
import statistics
from types import SimpleNamespace
from typing import NamedTuple

import torch

from helpers import features, scores
from helpers.cache import kept
from helpers.checkpoint import write_json
from helpers.data import to_unit
from helpers.engine import rng
from helpers.paths import ROOT

FORMAT = 1  # raise it when a protocol changes, so that no kept floor is used for another protocol
CACHE = ROOT / "build" / "cache"
NEIGHBORS = 5
LOOKED_UP = 500  # images whose nearest training image is searched


class Spec(NamedTuple):
    """How a score is shown and computed."""

    group: str
    label: str
    better: str  # "↓" lower, "↑" higher, "≈" near the floor
    digits: int
    unit: str
    protocol: str


SPECS = {
    "fid": Spec(
        "samples", "Fréchet distance (FID)", "↓", 2, "",
        "fit a Gaussian to the 128 features of {n} generated and of {n} test images: "
        "|m - m'|² + tr(C + C' - 2 (C C')^½)",
    ),
    "kid": Spec(
        "samples", "kernel distance (KID) × 1,000", "↓", 2, "",
        "mean kernel value within generated + within test - 2 × across, kernel (x·y/128 + 1)³, "
        "over all pairs of {n} and {n} images; real images give 0 on average",
    ),
    "precision": Spec(
        "samples", "precision", "↑", 3, "",
        "share of generated images that lie in the ball of some test image, which reaches its 5th "
        "nearest test image in feature space",
    ),
    "recall": Spec(
        "samples", "recall", "↑", 3, "",
        "share of test images that lie in the ball of some generated image, which reaches its 5th "
        "nearest generated image",
    ),
    "density": Spec(
        "samples", "density", "↑", 3, "",
        "number of test images' balls around a generated image, on average, divided by 5",
    ),
    "coverage": Spec(
        "samples", "coverage", "↑", 3, "",
        "share of test images' balls that hold a generated image",
    ),
    "fid_recon": Spec(
        "samples", "FID of reconstructions", "↓", 2, "",
        "the same distance for {n} training images that were encoded (mean) and decoded",
    ),
    "unseen": Spec(
        "samples", "nearest real image is a training image", "≈", 1, "%",
        "share of {looked} generated images whose nearest real image, in pixels, is one of the "
        "{train} training and not of the {test} test images; the floor is the training images' "
        "share of all, which new images hit; a copier reaches 100 %",
    ),
    "uneven": Spec(
        "classes", "distance of class shares from uniform", "↓", 3, "",
        "½ Σ |share - 1/{classes}| over the classes that the feature network sees in {n} images",
    ),
    "rarest": Spec(
        "classes", "share of the rarest class", "↑", 1, "%",
        "as above; an even spread gives 100/{classes} %",
    ),
    "diversity": Spec(
        "classes", "diversity within classes", "≈", 3, "",
        "total variance of the features within a class, divided by that of the test images of the "
        "class; mean over classes",
    ),
    "least_diverse": Spec(
        "classes", "diversity of the least diverse class", "≈", 3, "",
        "the smallest of these ratios; 0 if a class never appears",
    ),
    "parzen": Spec(
        "parzen", "Parzen-window log-likelihood", "↑", 1, "nats",
        "mean log-density of {n} test images under Gaussians around {n} generated ones, their "
        "width chosen on {held} training images (Goodfellow et al. 2014); ± is the standard error "
        "over test images",
    ),
    "recon": Spec(
        "likelihood", "test error", "↓", 2, "",
        "squared error summed over 784 pixels in [0, 1], z drawn from q(z|x), {n} test images",
    ),
    "recon_mean": Spec(
        "likelihood", "test error, decoding the mean", "↓", 2, "",
        "the same with z = mu(x); PCA with as many numbers is the best linear code",
    ),
    "kl": Spec(
        "likelihood", "KL", "", 2, "nats",
        "KL(q(z|x) || N(0, I)), summed over latents",
    ),
    "loss": Spec(
        "likelihood", "test error + KL", "↓", 2, "nats",
        "the negative evidence lower bound under p(x|z) = N(x_hat, I/2), without its constant "
        "392 ln π; weight 1 for the KL whatever beta was in training",
    ),
    "neg_elbo": Spec(
        "likelihood", "-ELBO, variance 1/2", "↓", 2, "nats",
        "the line above + 392 ln π = 448.7 nats: an upper bound on -ln p(x)",
    ),
    "neg_iwae": Spec(
        "likelihood", "importance-weighted bound, K = 100", "↓", 2, "nats",
        "-ln of the mean of 100 weights p(x, z)/q(z|x), variance 1/2: a tighter upper bound on "
        "-ln p(x); ± is the standard error over {n} test images",
    ),
    "neg_iwae_few": Spec(
        "likelihood", "the same, fewer images", "↓", 2, "nats",
        "the K = 100 bound on the {few} test images of the next line",
    ),
    "neg_iwae_1000": Spec(
        "likelihood", "the same, K = 1,000", "↓", 2, "nats",
        "as above with 1,000 weights: what is left of the gap between bound and -ln p(x)",
    ),
    "neg_elbo_best": Spec(
        "likelihood", "-ELBO, best variance", "↓", 2, "nats",
        "as -ELBO, with the one pixel variance that suits the training images best ({variance}); "
        "a density of values in [0, 1], so it may be negative",
    ),
    "active": Spec(
        "likelihood", "active latents", "", 0, "",
        "latents whose mu(x) varies over the test images by more than 0.01 (variance)",
    ),
    "agreement": Spec(
        "labels", "label agreement", "↑", 1, "%",
        "share of {n} generated images, all labels equally often, in which the feature network "
        "sees the label that was asked for; floor: its accuracy on real test images",
    ),
    "gan_train_nn": Spec(
        "labels", "GAN-train, nearest neighbor", "↑", 1, "%",
        "accuracy on {n} real test images of the label of the nearest of {n} generated images, in "
        "pixels; floor: the same with {n} real training images",
    ),
}  # fmt: skip

# The headings of floor and ceiling in each group's table
GROUPS = {
    "samples": ("real training images", "shuffled pixels"),
    "classes": ("real training images", "worst"),
    "parzen": ("real training images", "shuffled pixels"),
    "likelihood": ("linear VAE (PCA)", "mean image"),
    "labels": ("real images", "chance"),
}

GOODFELLOW = "Goodfellow et al. 2014, Table 1"
PARZEN_PUBLISHED = (
    ("Stacked contractive autoencoder", 121.0, 1.6, GOODFELLOW),
    ("Conditional GAN", 132.0, 1.8, "Mirza & Osindero 2014, Table 1"),
    ("Deep belief network", 138.0, 2.0, GOODFELLOW),
    ("Deep generative stochastic network", 214.0, 1.1, GOODFELLOW),
    ("GAN", 225.0, 2.0, GOODFELLOW),
)


class Setting(NamedTuple):
    """What all scores of a run share."""

    data: object  # helpers.data.Dataset
    network: features.Network
    device: torch.device
    test: torch.Tensor  # (n, 28, 28) uint8: the test images compared with
    test_labels: torch.Tensor | None
    real: features.Seen  # what the network sees in them
    spread: torch.Tensor  # (classes,) the variance of the features within each class
    draws: int  # how many times images are drawn
    seed: int
    cache: object  # folder or None


def set_out(data, n=10_000, sampling_seeds=3, seed=0, device="cpu", cache=CACHE):
    """The Setting: n test images drawn at random, all if there are fewer, and their features."""
    if n < 50:
        raise ValueError(f"n must be 50 or more images, got {n}")
    if sampling_seeds < 1:
        raise ValueError(f"sampling_seeds must be 1 or more, got {sampling_seeds}")
    network = features.for_dataset(data, device, cache)
    n = min(n, len(data.test.images), _held_from(data))
    if n < 50:
        raise ValueError(
            f"{data.where}: scores need 56 or more training and 50 or more test images, "
            f"got {len(data.train.images)} and {len(data.test.images)}"
        )
    chosen = torch.randperm(len(data.test.images), generator=rng(0, "test images"))[:n]
    test = torch.as_tensor(data.test.images)[chosen].to(device)
    labels = None if data.test.labels is None else torch.as_tensor(data.test.labels)[chosen]
    real = features.look(network.net, test)
    spread = scores.spread_within(real.features, real.labels, len(data.classes))
    place = torch.device(device)
    return Setting(data, network, place, test, labels, real, spread, sampling_seeds, seed, cache)


# --- The three models ------------------------------------------------------------------------


def vae(data, sample, encode, decode, **options):
    """Scores of a VAE: samples, classes, likelihood.

    sample(n, rng) -> (n, 28, 28) uint8.  encode(x (N, 784) in [0, 1]) -> mu, logvar (N, latents).
    decode(z (N, latents)) -> x_hat (N, 784) in [0, 1].  options: those of `set_out`.
    """
    setting = set_out(data, **options)
    result, *_ = _of_samples(setting, "vae", sample)
    with torch.no_grad():
        result["scores"] |= _reconstructions(setting, encode, decode)
        result["scores"] |= _likelihood(setting, encode, decode)
    return _finish(result)


def gan(data, sample, **options):
    """Scores of an unconditional GAN: samples, classes, Parzen windows.

    sample(n, rng) -> (n, 28, 28) uint8.  options: those of `set_out`.
    """
    setting = set_out(data, **options)
    result, draws, _ = _of_samples(setting, "gan", sample)
    result["scores"] |= _parzen(setting, draws[0])
    return _finish(result)


def cgan(data, sample, **options):
    """Scores of a conditional GAN: samples, classes, Parzen windows, labels.

    sample(labels (n,) int64, rng) -> (n, 28, 28) uint8.  options: those of `set_out`.
    Adds `confusion` (rows: label asked for, columns: label seen; counts) and `per_class` (the
    agreement of each class in percent).
    """
    setting = set_out(data, **options)
    if setting.test_labels is None:
        raise ValueError(f"{data.where}: the test images need labels to score a conditional GAN")
    classes = len(data.classes)
    wanted = torch.arange(len(setting.test)) % classes
    result, draws, seen = _of_samples(setting, "cgan", lambda n, rng: sample(wanted, rng))
    result["scores"] |= _parzen(setting, draws[0]) | _one_nearest(setting, draws[0], wanted)

    counts = sum(scores.confusion(wanted, labels, classes) for labels in seen)
    right = (setting.real.labels.cpu() == setting.test_labels).double().mean()
    result["scores"]["agreement"] = _score(
        "agreement",
        [100 * (labels == wanted).double().mean() for labels in seen],
        100 * right,
        100 / classes,
        n=len(wanted),
    )
    result["confusion"] = counts.tolist()
    share = 100 * counts.diagonal() / counts.sum(1)
    result["per_class"] = dict(zip(data.classes, _listed(share), strict=True))
    return _finish(result)


# --- Scores of samples -----------------------------------------------------------------------


def _of_samples(setting, model, sample):
    """The scores that every model gets; the images of each draw; the labels seen in them."""
    n, data = len(setting.test), setting.data
    classes = len(data.classes)
    draws, found, seen = [], [], []
    for draw in range(setting.draws):
        images = _checked(sample(n, rng(setting.seed, "scores", draw)), n).to(setting.device)
        values, labels = _image_scores(setting, images)
        draws.append(images), found.append(values), seen.append(labels)
    reference = _references(setting)
    counts = {"n": n, "classes": classes}
    table = {
        key: _score(
            key,
            [values[key] for values in found],
            reference["floor"][key],
            reference["ceiling"][key],
            **counts,
        )
        for key in found[0]
    }
    table["unseen"] = _unseen(setting, draws[0])
    result = {
        "format": FORMAT,
        "model": model,
        "data": {
            "name": data.name,
            "real": data.real,
            "verified": data.verified,
            "train": len(data.train.images),
            "test-images": data.sha256.get("test-images"),
        },
        "network": {
            "line": features.describe(setting.network),
            "sha256": setting.network.sha256,
            "test_accuracy": setting.network.accuracy,
            "pinned": setting.network.pinned,
        },
        "n": n,
        "draws": setting.draws,
        "seed": setting.seed,
        "classes": list(data.classes),
        "class_shares": _listed(scores.histogram(torch.cat(seen), classes)),
        "scores": table,
    }
    return result, draws, seen


def _image_scores(setting, images):
    """{score: value} of n images against the test images, and the labels (n,) seen in them."""
    seen, real = features.look(setting.network.net, images), setting.real
    overlap = scores.manifold(real.features, seen.features, NEIGHBORS)
    classes = len(setting.data.classes)
    labels = seen.labels.cpu()
    shares = scores.histogram(labels, classes)
    spread = scores.spread_within(seen.features, labels, classes)
    ratio = (spread.nan_to_num(0) / setting.spread)[setting.spread > 0]
    some = len(ratio) > 0
    values = {
        "fid": scores.frechet(seen.features, real.features),
        "kid": 1000 * scores.kernel_distance(seen.features, real.features),
        **overlap._asdict(),
        "uneven": scores.distance_from_uniform(shares),
        "rarest": 100 * shares.min().item(),
        "diversity": ratio.mean().item() if some else math.nan,
        "least_diverse": ratio.min().item() if some else math.nan,
    }
    return values, labels


def _references(setting):
    """Floor and ceiling of every sample score: {"floor": {score: ...}, "ceiling": {score: ...}}.

    Floor: real training images take the place of the generated ones, in as many draws. Ceiling:
    the pixels of each training image are shuffled; for the scores of classes, one class only.
    """

    def compute():
        real = [_image_scores(setting, images)[0] for images in _training_draws(setting)]
        floor = {key: statistics.fmean(values[key] for values in real) for key in real[0]}
        shuffled = scores.shuffle_pixels(_training_draws(setting)[0].cpu(), rng(0, "shuffle"))
        ceiling, _ = _image_scores(setting, shuffled.to(setting.device))
        one_class = 1 - 1 / len(setting.data.classes)
        ceiling |= {"uneven": one_class, "rarest": 0.0, "diversity": 0.0, "least_diverse": 0.0}
        return {"floor": floor, "ceiling": ceiling}

    key = [setting.network.sha256, len(setting.test), setting.draws, str(setting.device)]
    return _kept(setting, "references", key, compute)


def _training_draws(setting):
    """Training images that take the place of generated ones: a list of (n, 28, 28) uint8."""
    images = torch.as_tensor(setting.data.train.images)
    return [
        images[_training_indices(setting, draw)].to(setting.device)
        for draw in range(setting.draws)
    ]


def _training_indices(setting, draw):
    """Of one draw; the images held out for the Parzen width are never among them."""
    order = torch.randperm(_held_from(setting.data), generator=rng(0, "training images", draw))
    return order[: len(setting.test)]


def _held_from(data):
    """Where the training images begin that choose the Parzen width; 50,000 in the protocol."""
    total = len(data.train.images)
    return 50_000 if total >= 51_000 else total - max(1, min(1000, total // 10))


def _parzen(setting, images):
    start = _held_from(setting.data)
    held = _pixels(setting, setting.data.train.images[start : start + 1000])
    test = _pixels(setting, setting.test)

    def measure(images):
        return list(scores.parzen(_pixels(setting, images), held, test))

    def compute():
        images = _training_draws(setting)[0]
        shuffled = scores.shuffle_pixels(images.cpu(), rng(0, "shuffle"))
        return {"floor": measure(images), "ceiling": measure(shuffled)}

    value, error, sigma = measure(images)
    reference = _kept(setting, "parzen", [len(test), str(setting.device)], compute)
    entry = _score(
        "parzen",
        [value],
        reference["floor"][0],
        reference["ceiling"][0],
        n=len(test),
        held=len(held),
    )
    entry |= {"std": error, "spread": "standard error over test images", "sigma": sigma}
    return {"parzen": entry}


# --- Copies of training images ---------------------------------------------------------------


def memorization(data, images, device="cpu", cache=CACHE):
    """The nearest training image of each of the images (N, 28, 28) uint8, by pixels.

    Returns {"index": [...], "distance": [...], "percentile": [...]}, N each: the distance is
    Euclidean for pixels in [0, 1]; the percentile says how many of 500 real test images have a
    nearer training image. A copy has distance 0 and percentile 0. Smooth images lie near many
    others: a low percentile alone is no proof.
    """
    train = _flat(data.train.images, device)

    def compute():
        order = torch.randperm(len(data.test.images), generator=rng(0, "looked up"))[:LOOKED_UP]
        test = _flat(torch.as_tensor(data.test.images)[order], device)
        return scores.nearest(test, train)[0].sort().values.tolist()

    known = torch.tensor(_kept_file(cache, "distances", [_identity(data)], compute))
    distance, index = scores.nearest(_flat(images, device), train)
    below = torch.searchsorted(known, distance.cpu().contiguous())
    return {
        "index": index.tolist(),
        "distance": distance.tolist(),
        "percentile": (100 * below / len(known)).tolist(),
    }


def _unseen(setting, images):
    """How often the nearest real image of a generated one is one of the training images."""
    data = setting.data
    images = _pixels(setting, images[:LOOKED_UP])
    to_train, _ = scores.nearest(images, _pixels(setting, data.train.images))
    to_test, _ = scores.nearest(images, _pixels(setting, data.test.images))
    train, test = len(data.train.images), len(data.test.images)
    share = (to_train < to_test).double().mean().item()
    entry = _score(
        "unseen",
        [100 * share],
        100 * train / (train + test),
        100.0,
        looked=len(images),
        train=train,
        test=test,
    )
    error = 100 * math.sqrt(share * (1 - share) / len(images))
    return entry | {"std": error, "spread": "standard error over generated images"}


# --- Likelihood of a VAE ---------------------------------------------------------------------


def _reconstructions(setting, encode, decode):
    decoded = decode(encode(_pixels(setting, _training_draws(setting)[0]))[0])
    images = decoded.mul(255).round().clamp(0, 255).to(torch.uint8).view(-1, 28, 28)
    seen = features.look(setting.network.net, images)
    reference = _references(setting)
    value = scores.frechet(seen.features, setting.real.features)
    floor, ceiling = reference["floor"]["fid"], reference["ceiling"]["fid"]
    return {"fid_recon": _score("fid_recon", [value], floor, ceiling, n=len(images))}


def _likelihood(setting, encode, decode):
    """Errors and bounds in nats per test image; the scores of group "likelihood"."""
    x = _pixels(setting, setting.test)
    mu, logvar = encode(x)
    error, kl = _elbo_terms(setting, x, encode, decode)
    train_error, _ = _elbo_terms(
        setting, _pixels(setting, _training_draws(setting)[0]), encode, decode
    )
    variance = statistics.fmean(train_error) / scores.WIDTH
    few = max(50, len(x) // 10)

    def weights(x, k):
        return scores.log_weights(x, encode, decode, k, rng(setting.seed, "bound", k))

    bound = -scores.importance_bound(weights(x, 100))
    many = weights(x[:few], 1000)
    active = scores.active_units(mu)
    linear = _linear(setting, mu.shape[1])
    values = {
        "recon": error,
        "recon_mean": [(x - decode(mu)).square().sum(1).cpu().double().mean()],
        "kl": [kl],
        "loss": [value + kl for value in error],
        "neg_elbo": [scores.gaussian_nll(value) + kl for value in error],
        "neg_elbo_best": [scores.gaussian_nll(value, variance) + kl for value in error],
        "active": [int(active.sum())],
    }
    counts = {"n": len(x), "few": few, "variance": f"{variance:.4f}"}
    table = {
        key: _score(key, value, *linear.get(key, (None, None)), **counts)
        for key, value in values.items()
    }
    bounds = {
        "neg_iwae": bound,
        "neg_iwae_few": -scores.importance_bound(many, 100),
        "neg_iwae_1000": -scores.importance_bound(many),
    }
    for key, value in bounds.items():
        entry = _score(key, [value.mean()], *linear[key], **counts)
        entry["std"] = (value.std() / math.sqrt(len(value))).item()
        table[key] = entry | {"spread": "standard error over test images"}
    per_latent = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).cpu().double().mean(0)
    table["kl"]["per_latent"] = _listed(per_latent)
    table["active"]["latents"] = active.nonzero().flatten().tolist()
    return table


def _elbo_terms(setting, x, encode, decode):
    """The squared error of x (N, 784) for each draw of z: a list; and the KL: both means, nats."""
    mu, logvar = encode(x)
    errors = []
    for draw in range(setting.draws):
        noise = torch.randn(mu.shape, generator=rng(setting.seed, "codes", draw)).to(mu)
        x_hat = decode(mu + (0.5 * logvar).exp() * noise)
        errors.append((x - x_hat).square().sum(1).cpu().double().mean().item())
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
    return errors, kl.cpu().double().mean().item()


def _linear(setting, rank):
    """The yardsticks {score: (linear VAE with `rank` latents, mean image alone)}."""
    test = to_unit(setting.test.cpu()).flatten(1)

    def compute():
        pca = scores.fit_pca(to_unit(setting.data.train.images).flatten(1), min(rank, 783))
        alone = (test - pca.mean).square().sum(1).mean().item()
        exact = scores.linear_vae_nll(pca, test, 0.5)
        few = exact[: max(50, len(test) // 10)].mean().item()
        exact = exact.mean().item()
        best = scores.linear_vae_nll(pca, test).mean().item()
        mean_image = scores.gaussian_nll(alone)
        mean_best = scores.gaussian_nll(alone, pca.values.mean().item())
        constant = scores.gaussian_nll(0.0)
        alone_few = (test[: max(50, len(test) // 10)] - pca.mean).square().sum(1).mean().item()
        mean_few = scores.gaussian_nll(alone_few)
        return {
            "recon": (None, alone),
            "recon_mean": (scores.pca_error(pca, test).mean().item(), alone),
            "kl": (None, 0.0),
            "loss": (exact - constant, alone),
            "neg_elbo": (exact, mean_image),
            "neg_iwae": (exact, mean_image),
            "neg_iwae_few": (few, mean_few),
            "neg_iwae_1000": (few, mean_few),
            "neg_elbo_best": (best, mean_best),
            "active": (int((pca.values[:rank] > 0.5).sum()), 0),
        }

    return _kept(setting, "linear", [rank, len(test)], compute)


# --- Labels of a conditional GAN -------------------------------------------------------------


def _one_nearest(setting, images, labels):
    """GAN-train by 1-nearest-neighbor (Radford et al. 2016, section 8.1, arXiv:1511.06434)."""
    test = _pixels(setting, setting.test)

    def accuracy(images, labels):
        _, index = scores.nearest(test, _pixels(setting, images))
        return 100 * (labels[index.cpu()] == setting.test_labels).double().mean().item()

    def compute():
        own = torch.as_tensor(setting.data.train.labels)[_training_indices(setting, 0)]
        return accuracy(_training_draws(setting)[0], own)

    floor = _kept(setting, "nearest", [len(test)], compute)
    chance = 100 / len(setting.data.classes)
    value = accuracy(images, labels)
    return {"gan_train_nn": _score("gan_train_nn", [value], floor, chance, n=len(test))}


def gan_train(data, sample, count=0, steps=600, repeats=3, seed=0, device="cpu"):
    """Train a small CNN on generated images, test it on real ones (Shmelkov et al. 2018).

    sample: as for `cgan`.  count: generated images, 0 for as many as there are training images.
    Returns {"generated": [accuracy, ...], "real": [accuracy, ...], ...} in percent, one for each
    repeat with fresh weights. arXiv:1807.09499. Takes minutes.
    """
    count = count or len(data.train.images)
    images, labels = _generated(data, sample, count, rng(seed, "gan-train"))
    real = torch.as_tensor(data.train.images), torch.as_tensor(data.train.labels)
    sets = {"generated": (images, labels), "real": real}
    return {
        "count": count,
        "steps": steps,
        **{
            name: [_taught(data, *pair, steps, seed + repeat, device) for repeat in range(repeats)]
            for name, pair in sets.items()
        },
    }


def classroom(
    data, sample, shares=(0.1, 0.2, 0.5, 1.0), steps=400, repeats=3, seed=0, device="cpu"
):
    """Does it help a classifier to see generated images beside few real ones?

    For each share of the training images a small CNN is trained on those alone and on those with
    as many generated ones; every training takes the same number of steps. sample: as for `cgan`.
    The generator itself has seen all the training images, which a real shortage would not allow.
    Returns [{"share", "images", "real": [accuracy, ...], "mixed": [accuracy, ...]}, ...], percent.
    """
    order = torch.randperm(len(data.train.images), generator=rng(seed, "classroom"))
    images = torch.as_tensor(data.train.images)[order]
    labels = torch.as_tensor(data.train.labels)[order]
    made, asked = _generated(data, sample, len(images), rng(seed, "classroom", "made"))
    rows = []
    for share in shares:
        count = max(1, round(share * len(images)))
        own = images[:count], labels[:count]
        mixed = torch.cat([own[0], made[:count]]), torch.cat([own[1], asked[:count]])
        row = {"share": share, "images": count}
        for name, pair in {"real": own, "mixed": mixed}.items():
            row[name] = [_taught(data, *pair, steps, seed + i, device) for i in range(repeats)]
        rows.append(row)
    return rows


def _generated(data, sample, count, rng):
    labels = torch.randint(len(data.classes), (count,), generator=rng)
    return _checked(sample(labels, rng), count).cpu(), labels


def _taught(data, images, labels, steps, seed, device):
    """Test accuracy in percent of a fresh CNN taught with these images."""
    net = features.fit(images.to(device), labels.to(device), len(data.classes), steps, seed)
    return 100 * features.accuracy(net, data.test)


# --- Tables ----------------------------------------------------------------------------------


def values(result, what="value"):
    """{score: number} of a result as attributes; what: "value", "std", "floor" or "ceiling"."""
    return SimpleNamespace(**{key: entry[what] for key, entry in result["scores"].items()})


def rows(result, group):
    """(columns, rows) of formatted strings for one of GROUPS; no rows if the model has no such."""
    floor, ceiling = GROUPS[group]
    table = [
        (
            _label(entry),
            _with_spread(entry),
            _number(entry["floor"], entry["digits"]),
            _number(entry["ceiling"], entry["digits"]),
            entry["better"],
        )
        for entry in result["scores"].values()
        if entry["group"] == group
    ]
    return ("score", "this run", floor, ceiling, "better"), table


def protocols(result, *groups):
    """(columns, rows): how each score of the groups is computed, in one line."""
    table = [
        (entry["label"], entry["protocol"])
        for entry in result["scores"].values()
        if entry["group"] in groups
    ]
    return ("score", "protocol"), table


def protocol(result):
    """One sentence on what all scores of a result share, for a caption."""
    return (
        f"{result['n']:,} generated images, rounded to 8-bit gray levels, against {result['n']:,} "
        f"test images; mean ± standard deviation over {result['draws']} draws unless the protocol "
        f"says otherwise; features of {result['network']['line']}."
    )


def parzen_rows(result):
    """(columns, rows): this run's Parzen log-likelihood beside the published ones, worst first.

    The published rows are of MNIST with 10,000 samples; for anything else they are left out.
    """
    entry = result["scores"]["parzen"]
    here = f"{result['n']:,} samples, σ = {entry['sigma']:.3f}"
    table = [
        ("real training images", entry["floor"], None, f"{result['n']:,} samples, this project"),
        ("this run", entry["value"], entry["std"], here),
    ]
    if result["data"]["name"] == "MNIST" and result["data"]["verified"] and result["n"] == 10_000:
        table += PARZEN_PUBLISHED
    return ("model", "log-likelihood in nats", "source"), [
        (name, _number(value, 1) + (f" ± {error:.1f}" if error else ""), source)
        for name, value, error, source in sorted(table, key=lambda row: row[1])
    ]


def per_class_rows(result):
    """(columns, rows): what the network sees when each label is asked for (`cgan` only)."""
    columns = ("label", "agreement", "most frequent confusion")
    table = []
    for row, (name, share) in enumerate(result["per_class"].items()):
        counts = list(result["confusion"][row])
        total, counts[row] = sum(counts), 0
        other = max(range(len(counts)), key=counts.__getitem__)
        mistake = f"{result['classes'][other]}: {100 * counts[other] / total:.1f} %"
        table.append((name, f"{share:.1f} %", mistake if counts[other] else "none"))
    return columns, table


def classroom_rows(result):
    """(columns, rows) of what `classroom` returns."""
    columns = ("share of the training images", "images", "real only", "with as many generated")
    table = [
        (
            f"{100 * row['share']:.0f} %",
            f"{row['images']:,}",
            _mean_of(row["real"]),
            _mean_of(row["mixed"]),
        )
        for row in result
    ]
    return columns, table


def gan_train_rows(result):
    """(columns, rows) of what `gan_train` returns."""
    columns = ("trained on", "accuracy on real test images")
    return columns, [(name, _mean_of(result[name])) for name in ("real", "generated")]


def save(run, result):
    """Write scores.json into the run's folder, whole or not at all."""
    write_json(run / "scores.json", result)


# --- Inside ----------------------------------------------------------------------------------


def _score(key, values, floor, ceiling, **counts):
    """One entry of scores.json."""
    spec = SPECS[key]
    values = [float(value) for value in values]
    shown = {name: f"{c:,}" if isinstance(c, int) else c for name, c in counts.items()}
    several = len(values) > 1
    return {
        "group": spec.group,
        "label": spec.label,
        "unit": spec.unit,
        "better": spec.better,
        "digits": spec.digits,
        "value": _finite(statistics.fmean(values)),
        "std": _finite(statistics.stdev(values)) if several else None,
        "spread": f"standard deviation over {len(values)} draws" if several else "",
        "floor": _finite(floor),
        "ceiling": _finite(ceiling),
        "protocol": spec.protocol.format(**shown),
    }


def _finish(result):
    result["scores"] = {key: result["scores"][key] for key in SPECS if key in result["scores"]}
    return result


def _checked(images, n):
    images = torch.as_tensor(images)
    if images.dtype != torch.uint8 or tuple(images.shape) != (n, 28, 28):
        raise ValueError(
            f"sample must return uint8 ({n}, 28, 28), got {images.dtype} {tuple(images.shape)}"
        )
    return images


def _pixels(setting, images):
    return _flat(images, setting.device)


def _flat(images, device):
    """(N, 28, 28) uint8 -> (N, 784) float32 in [0, 1] on the device."""
    return to_unit(torch.as_tensor(images).to(device)).flatten(1)


def _identity(data):
    return [data.sha256, len(data.train.images)]


def _kept(setting, kind, key, compute):
    return _kept_file(setting.cache, kind, [_identity(setting.data), *key], compute)


def _kept_file(cache, kind, key, compute):
    """The JSON value kept under this key, else that of compute(), which is then kept."""
    text = json.dumps([FORMAT, kind, key], sort_keys=True)
    name = f"scores-{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    path = cache / name if cache else None
    return json.loads(kept(path, lambda: json.dumps(compute()).encode()))


def _finite(value):
    """JSON has no NaN: a score that cannot be computed is None."""
    return None if value is None or not math.isfinite(value) else float(value)


def _listed(tensor):
    return [_finite(value) for value in tensor.tolist()]


def _label(entry):
    return f"{entry['label']}, {entry['unit']}" if entry["unit"] else entry["label"]


def _number(value, digits):
    return "–" if value is None else f"{value:,.{digits}f}"


def _with_spread(entry):
    text = _number(entry["value"], entry["digits"])
    return text if entry["std"] is None else f"{text} ± {entry['std']:,.{entry['digits']}f}"


def _mean_of(values):
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread} %"
