"""Which scores each model gets, and from which images.

`vae`, `gan` and `cgan` return the contents of scores.json: plain numbers, lists and texts. Each
score carries its value, its standard deviation, what real images reach under the same protocol
(floor), what the worst case reaches (ceiling), and the protocol in one line; how all that reads in
a table is in tables.py. Floors and ceilings are computed once for each dataset and kept in
build/cache. `gan_train` and `classroom` train classifiers and take minutes.
"""

import hashlib
import json
import math
import statistics
from typing import NamedTuple

import torch

from helpers.data import to_unit
from helpers.data.cache import kept
from helpers.files import write_json
from helpers.paths import ROOT
from helpers.scores import measures as scores
from helpers.scores import network as features
from helpers.scores import tables
from helpers.training import rng

CACHE = ROOT / "build" / "cache"
NEIGHBORS = 5
LOOKED_UP = 500  # images whose nearest training image is searched


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
    return result


def gan(data, sample, **options):
    """Scores of an unconditional GAN: samples, classes, Parzen windows.

    sample(n, rng) -> (n, 28, 28) uint8.  options: those of `set_out`.
    """
    setting = set_out(data, **options)
    result, draws, _ = _of_samples(setting, "gan", sample)
    result["scores"] |= _parzen(setting, draws[0])
    return result


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
    result["scores"]["agreement"] = tables.entry(
        "agreement",
        [100 * (labels == wanted).double().mean() for labels in seen],
        100 * right,
        100 / classes,
        n=len(wanted),
    )
    result["confusion"] = counts.tolist()
    share = 100 * counts.diagonal() / counts.sum(1)
    result["per_class"] = dict(zip(data.classes, _listed(share), strict=True))
    return result


def save(run, result):
    """Write scores.json into the run's folder, whole or not at all."""
    write_json(run / "scores.json", result)


# --- Scores of samples -----------------------------------------------------------------------


def _of_samples(setting, model, sample):
    """The scores that every model gets; the images of each draw; the labels seen in them."""
    n, data = len(setting.test), setting.data
    classes = len(data.classes)
    draws, found, seen = [], [], []
    for draw in range(setting.draws):
        images = _checked(sample(n, rng(setting.seed, "scores", draw)), n).to(setting.device)
        values, labels = _image_scores(setting, images)
        draws.append(images)
        found.append(values)
        seen.append(labels)
    reference = _references(setting)
    counts = {"n": n, "classes": classes}
    table = {
        key: tables.entry(
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
        "format": tables.FORMAT,
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
    values = {
        "fid": scores.frechet(seen.features, real.features),
        "kid": 1000 * scores.kernel_distance(seen.features, real.features),
        **overlap._asdict(),
        "uneven": scores.distance_from_uniform(shares),
        "rarest": 100 * shares.min().item(),
        "diversity": ratio.mean().item(),
        "least_diverse": ratio.min().item() if len(ratio) else math.nan,
    }
    return values, labels


def _references(setting):
    """Floor and ceiling of every sample score: {"floor": {score: ...}, "ceiling": {score: ...}}.

    Floor: real training images take the place of the generated ones, in as many draws. Ceiling:
    the pixels of each training image are shuffled; for the scores of classes, one class only.
    """

    def compute():
        draws = [_training_images(setting, draw) for draw in range(setting.draws)]
        real = [_image_scores(setting, images)[0] for images in draws]
        floor = {key: statistics.fmean(values[key] for values in real) for key in real[0]}
        shuffled = scores.shuffle_pixels(draws[0].cpu(), rng(0, "shuffle"))
        ceiling, _ = _image_scores(setting, shuffled.to(setting.device))
        one_class = 1 - 1 / len(setting.data.classes)
        ceiling |= {"uneven": one_class, "rarest": 0.0, "diversity": 0.0, "least_diverse": 0.0}
        return {"floor": floor, "ceiling": ceiling}

    key = [setting.network.sha256, len(setting.test), setting.draws, str(setting.device)]
    return _kept(setting, "references", key, compute)


def _training_images(setting, draw=0):
    """Training images that take the place of a draw of generated ones: (n, 28, 28) uint8."""
    images = torch.as_tensor(setting.data.train.images)
    return images[_training_indices(setting, draw)].to(setting.device)


def _training_indices(setting, draw=0):
    """Which those are; the images held out for the Parzen width are never among them."""
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
        images = _training_images(setting)
        shuffled = scores.shuffle_pixels(images.cpu(), rng(0, "shuffle"))
        return {"floor": measure(images), "ceiling": measure(shuffled)}

    value, error, sigma = measure(images)
    reference = _kept(setting, "parzen", [len(test), str(setting.device)], compute)
    entry = tables.entry(
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
    entry = tables.entry(
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
    decoded = decode(encode(_pixels(setting, _training_images(setting)))[0])
    images = decoded.mul(255).round().clamp(0, 255).to(torch.uint8).view(-1, 28, 28)
    seen = features.look(setting.network.net, images)
    reference = _references(setting)
    value = scores.frechet(seen.features, setting.real.features)
    floor, ceiling = reference["floor"]["fid"], reference["ceiling"]["fid"]
    return {"fid_recon": tables.entry("fid_recon", [value], floor, ceiling, n=len(images))}


def _likelihood(setting, encode, decode):
    """Errors and bounds in nats per test image; the scores of group "likelihood"."""
    x = _pixels(setting, setting.test)
    mu, logvar = encode(x)
    error, kl = _elbo_terms(setting, x, encode, decode)
    train = _pixels(setting, _training_images(setting))
    train_error, _ = _elbo_terms(setting, train, encode, decode)
    variance = statistics.fmean(train_error) / scores.WIDTH
    few = max(50, len(x) // 10)

    def weights(x, k):
        return scores.log_weights(x, encode, decode, k, rng(setting.seed, "bound", k))

    bound = -scores.importance_bound(weights(x, 100))
    many = weights(x[:few], 1000)
    active = scores.active_units(mu)
    linear = _linear(setting, mu.shape[1], few)
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
        key: tables.entry(key, value, *linear[key], **counts) for key, value in values.items()
    }
    bounds = {
        "neg_iwae": bound,
        "neg_iwae_few": -scores.importance_bound(many, 100),
        "neg_iwae_1000": -scores.importance_bound(many),
    }
    for key, value in bounds.items():
        entry = tables.entry(key, [value.mean()], *linear[key], **counts)
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


def _linear(setting, rank, few):
    """The yardsticks {score: (linear VAE with `rank` latents, mean image alone)}.

    few: of how many test images the scores neg_iwae_few and neg_iwae_1000 are.
    """
    test = to_unit(setting.test.cpu()).flatten(1)

    def compute():
        pca = scores.fit_pca(to_unit(setting.data.train.images).flatten(1), min(rank, 783))
        errors = (test - pca.mean).square().sum(1)
        bounds = scores.linear_vae_nll(pca, test, 0.5)
        error, bound = errors.mean().item(), bounds.mean().item()
        best = scores.linear_vae_nll(pca, test).mean().item()
        alone = scores.gaussian_nll(error)
        of_few = bounds[:few].mean().item(), scores.gaussian_nll(errors[:few].mean().item())
        return {
            "recon": (None, error),
            "recon_mean": (scores.pca_error(pca, test).mean().item(), error),
            "kl": (None, 0.0),
            "loss": (bound - scores.gaussian_nll(0.0), error),
            "neg_elbo": (bound, alone),
            "neg_iwae": (bound, alone),
            "neg_iwae_few": of_few,
            "neg_iwae_1000": of_few,
            "neg_elbo_best": (best, scores.gaussian_nll(error, pca.values.mean().item())),
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
        own = torch.as_tensor(setting.data.train.labels)[_training_indices(setting)]
        return accuracy(_training_images(setting), own)

    floor = _kept(setting, "nearest", [len(test)], compute)
    chance = 100 / len(setting.data.classes)
    value = accuracy(images, labels)
    return {"gan_train_nn": tables.entry("gan_train_nn", [value], floor, chance, n=len(test))}


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


# --- Inside ----------------------------------------------------------------------------------


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
    text = json.dumps([tables.FORMAT, kind, key], sort_keys=True)
    name = f"scores-{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    path = cache / name if cache else None
    return json.loads(kept(path, lambda: json.dumps(compute()).encode()))


def _listed(tensor):
    return [tables.finite(value) for value in tensor.tolist()]
