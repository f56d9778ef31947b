"""Which scores each model gets: what the notebooks call.

`vae`, `gan` and `cgan` return the contents of scores.json: plain numbers, lists and texts. Each
score carries its value, its standard deviation, what real images reach under the same protocol
(floor), what the worst case reaches (ceiling), and the protocol in one line. How that reads in a
table is in tables.py, and in sentences in verdict.py; what is measured, and how, is in fid.py,
labels.py and likelihood.py.
"""

from functools import partial

import torch

from helpers.files import write_json
from helpers.scores import fid, labels, likelihood, network, tables
from helpers.scores.epochs import by_epoch
from helpers.scores.fid import memorization, trust
from helpers.scores.setting import histogram, prepare, references
from helpers.training import rng

__all__ = ["by_epoch", "cgan", "gan", "memorization", "save", "trust", "vae"]


def vae(data, sample, encode, decode, mixture, **options):
    """Scores of a VAE: samples, classes, likelihood.

    sample(n, rng) -> (n, 28, 28) uint8.  encode(x (N, 784) in [0, 1]) -> mu, logvar (N, latents).
    decode(z (N, latents)) -> x_hat (N, 784) in [0, 1].  options: those of `setting.prepare`.
    mixture: of `vae.fit_codes`; what sample(n, rng, mixture) draws is scored, once, as "mixture".
    """
    setting = prepare(data, **options)
    result, *_ = _of_samples(setting, "vae", sample)
    other, *_ = _of_samples(setting._replace(draws=1), "vae", partial(sample, mixture=mixture))
    scores, known, n = result["scores"], result["scores"]["fid"], result["n"]
    ends, drawn = (known["floor"], known["ceiling"]), [other["scores"]["fid"]["value"]]
    scores["fid_mixture"] = tables.entry("fid_mixture", drawn, *ends, n=n)
    with torch.no_grad():
        scores["fid_recon"], decoded = fid.reconstructions(setting, encode, decode, known)
        scores |= likelihood.of_vae(setting, encode, decode, mixture)
    return result | {"mixture": other, "reconstructed_shares": decoded}


def gan(data, sample, **options):
    """Scores of an unconditional GAN: samples, classes.

    sample(n, rng) -> (n, 28, 28) uint8.  options: those of `setting.prepare`.
    """
    return _of_samples(prepare(data, **options), "gan", sample)[0]


def cgan(data, sample, **options):
    """Scores of a conditional GAN: samples, classes, labels.

    sample(labels (n,) int64, rng) -> (n, 28, 28) uint8.  options: those of `setting.prepare`.
    Adds `confusion` (rows: label asked for, columns: label seen; counts) and `per_class` (the
    agreement of each class in percent).
    """
    setting = prepare(data, **options)
    if setting.test_labels is None:
        raise ValueError(f"{data.where}: the test images need labels to score a conditional GAN")
    count = len(data.classes)
    wanted = torch.arange(len(setting.test)) % count
    result, images, seen = _of_samples(setting, "cgan", lambda n, rng: sample(wanted, rng))
    result["scores"]["gan_train_nn"] = labels.nearest_reader(setting, images, wanted)
    result["scores"]["agreement"] = labels.agreement(setting, wanted, seen)
    counts = sum(labels.confusion(wanted, found, count) for found in seen)
    share = (100 * counts.diagonal() / counts.sum(1)).tolist()
    result["confusion"] = counts.tolist()
    result["per_class"] = dict(zip(data.classes, share, strict=True))
    return result


def save(run, result):
    """Write scores.json into the run's folder, whole or not at all."""
    write_json(run / "scores.json", result)


def _of_samples(setting, model, sample):
    """The scores that every model gets; the images of the first draw; the labels seen in each."""

    def measure(seen):
        return fid.likeness(setting, seen) | labels.classes(setting, seen)

    data, looking, n = setting.data, setting.network, len(setting.test)
    draws = [sample(n, rng(setting.seed, "scores", draw)) for draw in range(setting.draws)]
    looked = [network.look(looking.net, images) for images in draws]
    seen = [found.labels.cpu() for found in looked]
    values = [measure(found) for found in looked]
    reference = references(setting, measure)
    floor, ceiling = reference["floor"], reference["ceiling"] | labels.worst_classes(setting)
    scores = {
        key: tables.entry(key, [value[key] for value in values], floor[key], ceiling[key], n=n)
        for key in floor
    }
    scores["unseen"] = fid.unseen(setting, draws[0])
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
            "line": network.describe(looking),
            "sha256": looking.sha256,
            "test_accuracy": looking.accuracy,
            "pinned": looking.pinned,
        },
        "n": n,
        "draws": setting.draws,
        "seed": setting.seed,
        "classes": list(data.classes),
        "class_shares": histogram(torch.cat(seen), len(data.classes)).tolist(),
        "real_shares": setting.shares.tolist(),
        "scores": scores,
    }
    return result, draws[0], seen
