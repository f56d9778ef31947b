"""Which classes are drawn, how varied each is, and does a conditional GAN draw what it is told?

`gan_train` and `classroom` train classifiers on generated images and take minutes.
"""

import math

import torch

from helpers.scores import network, tables
from helpers.scores.samples import nearest
from helpers.scores.setting import checked, kept, pixels, training_images, training_indices
from helpers.training import rng


def classes(setting, seen):
    """{score: value} of group "classes", from what the network sees in generated images."""
    count, own = len(setting.data.classes), seen.labels.cpu()
    shares, real = histogram(own, count), real_shares(setting)
    spread = spread_within(seen.features, own, count)
    usual = spread_within(setting.real.features, setting.real.labels, count)
    ratio = (spread.nan_to_num(0) / usual)[usual > 0]
    return {
        "uneven": 0.5 * (shares - real).abs().sum().item(),
        "rarest": (shares / real)[real > 0].min().item(),
        "diversity": ratio.mean().item(),
        "least_diverse": ratio.min().item() if len(ratio) else math.nan,
    }


def worst_classes(setting):
    """The same of a model that draws one image of the rarest class again and again."""
    alone = 1 - real_shares(setting).min().item()
    return {"uneven": alone, "rarest": 0.0, "diversity": 0.0, "least_diverse": 0.0}


def real_shares(setting):
    """The share of each class among all training images, as the network sees them: (classes,)."""

    def compute():
        images = torch.as_tensor(setting.data.train.images)
        seen = network.look(setting.network.net, images).labels.cpu()
        return histogram(seen, len(setting.data.classes)).tolist()

    key = [setting.network.sha256, str(setting.device)]
    shares = kept(setting.cache, setting.data, "shares", key, compute)
    return torch.tensor(shares, dtype=torch.float64)


def histogram(labels, classes):
    """The share of each class 0..classes-1 among labels (N,): (classes,) float64."""
    return torch.bincount(torch.as_tensor(labels), minlength=classes).double() / len(labels)


def confusion(wanted, seen, classes):
    """Counts (classes, classes): row, the label wanted; column, the label seen."""
    pairs = torch.as_tensor(wanted) * classes + torch.as_tensor(seen)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def spread_within(features, labels, classes, fewest=10):
    """Total variance of the features (N, d) within each class: (classes,), NaN where few members.

    Half the mean squared distance of two members of the class.
    """
    features, labels = torch.as_tensor(features).cpu().double(), torch.as_tensor(labels).cpu()
    spread = torch.full((classes,), math.nan, dtype=torch.float64)
    for label in range(classes):
        members = features[labels == label]
        if len(members) >= fewest:
            spread[label] = members.var(0).sum()
    return spread


# --- Labels that were asked for --------------------------------------------------------------


def agreement(setting, wanted, seen):
    """The entry "agreement": labels wanted (n,), and for each draw the labels seen (n,)."""
    right = (setting.real.labels.cpu() == setting.test_labels).double().mean()
    values = [100 * (labels == wanted).double().mean() for labels in seen]
    chance = 100 / len(setting.data.classes)
    return tables.entry("agreement", values, 100 * right, chance, n=len(wanted))


def nearest_reader(setting, images, labels):
    """The entry "gan_train_nn": reading by the nearest generated image.

    Radford et al. 2016, section 8.1 (arXiv:1511.06434).
    """
    test = pixels(setting.test, setting.device)

    def accuracy(images, labels):
        _, index = nearest(test, pixels(images, setting.device))
        return 100 * (labels[index.cpu()] == setting.test_labels).double().mean().item()

    def compute():
        own = torch.as_tensor(setting.data.train.labels)[training_indices(setting)]
        return accuracy(training_images(setting), own)

    floor = kept(setting.cache, setting.data, "nearest", [len(test)], compute)
    chance = 100 / len(setting.data.classes)
    return tables.entry("gan_train_nn", [accuracy(images, labels)], floor, chance, n=len(test))


def gan_train(data, sample, count=0, steps=600, repeats=3, seed=0, device="cpu"):
    """Train a small CNN on generated images, test it on real ones (Shmelkov et al. 2018).

    sample: as for `cgan`.  count: generated images, 0 for as many as there are training images.
    Returns {"generated": [accuracy, ...], "real": [accuracy, ...], ...} in percent, one for each
    repeat with fresh weights. arXiv:1807.09499.
    """
    made = _generated(data, sample, count or len(data.train.images), rng(seed, "gan-train"))
    real = torch.as_tensor(data.train.images), torch.as_tensor(data.train.labels)
    return {
        "count": len(made[0]),
        "steps": steps,
        "generated": _taught(data, *made, steps, repeats, seed, device),
        "real": _taught(data, *real, steps, repeats, seed, device),
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
    total = len(data.train.images)
    order = torch.randperm(total, generator=rng(seed, "classroom"))
    own = [torch.as_tensor(part)[order] for part in (data.train.images, data.train.labels)]
    made = _generated(data, sample, total, rng(seed, "classroom", "made"))
    rows = []
    for share in shares:
        count = max(1, round(share * total))
        real = [part[:count] for part in own]
        mixed = [torch.cat([a[:count], b[:count]]) for a, b in zip(own, made, strict=True)]
        row = {"share": share, "images": count}
        for name, pair in {"real": real, "mixed": mixed}.items():
            row[name] = _taught(data, *pair, steps, repeats, seed, device)
        rows.append(row)
    return rows


def _generated(data, sample, count, rng):
    wanted = torch.randint(len(data.classes), (count,), generator=rng)
    return checked(sample(wanted, rng), count).cpu(), wanted


def _taught(data, images, labels, steps, repeats, seed, device):
    """Test accuracies in percent of fresh CNNs taught with these images."""
    images, labels = images.to(device), labels.to(device)
    nets = (
        network.fit(images, labels, len(data.classes), steps, seed + repeat)
        for repeat in range(repeats)
    )
    return [100 * network.accuracy(net, data.test) for net in nets]
