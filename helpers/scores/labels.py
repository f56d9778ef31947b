"""Which classes are drawn, how varied each is, and does a conditional GAN draw what it is told?

`gan_train` and `classroom` train classifiers on generated images and take minutes.
"""

import math

import torch

from helpers.scores import network, tables
from helpers.scores.samples import nearest
from helpers.scores.setting import checked, histogram, pixels, training
from helpers.training import rng


def classes(setting, seen):
    """{score: value} of group "classes", from what the network sees in generated images."""
    count, own, real = len(setting.data.classes), seen.labels.cpu(), setting.shares
    shares = histogram(own, count)
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
    alone = 1 - setting.shares.min().item()
    return {"uneven": alone, "rarest": 0.0, "diversity": 0.0, "least_diverse": 0.0}


def spread_within(features, labels, classes, fewest=10):
    """Total variance of the features (N, d) within each class: (classes,), NaN where few members.

    Half the mean squared distance of two members of the class.
    """
    features, labels = features.cpu().double(), labels.cpu()
    members = [features[labels == label] for label in range(classes)]
    spread = [part.var(0).sum().item() if len(part) >= fewest else math.nan for part in members]
    return torch.tensor(spread, dtype=torch.float64)


# --- Labels that were asked for --------------------------------------------------------------


def confusion(wanted, seen, classes):
    """Counts (classes, classes): row, the label wanted; column, the label seen."""
    return torch.bincount(wanted * classes + seen, minlength=classes**2).view(classes, classes)


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

    floor, chance = accuracy(*training(setting)), 100 / len(setting.data.classes)
    return tables.entry("gan_train_nn", [accuracy(images, labels)], floor, chance, n=len(test))


def gan_train(data, sample, device="cpu"):
    """Train a small CNN on generated images, test it on real ones (Shmelkov et al. 2018).

    sample: as for `cgan`.  Returns {"real": [accuracy, ...], "generated": [accuracy, ...]} in
    percent on the test images, one for each repeat with fresh weights. arXiv:1807.09499.
    """
    made = _generated(data, sample, rng(0, "gan-train"))
    sets = {"real": map(torch.as_tensor, data.train), "generated": made}
    return {name: _taught(data, *pair, 600, device) for name, pair in sets.items()}


def classroom(data, sample, device="cpu", shares=(0.1, 0.2, 0.5, 1.0)):
    """Does it help a classifier to see generated images beside few real ones?

    For each share of the training images a small CNN is trained on those alone and on those with
    as many generated ones; every training takes the same number of steps. sample: as for `cgan`.
    The generator itself has seen all the training images, which a real shortage would not allow.
    Returns [{"share", "images", "real": [accuracy, ...], "mixed": [accuracy, ...]}, ...], percent.
    """
    total, rows = len(data.train.images), []
    order = torch.randperm(total, generator=rng(0, "classroom"))
    real = [torch.as_tensor(part)[order] for part in data.train]
    made = _generated(data, sample, rng(0, "classroom", "made"))
    for share in shares:
        count = max(1, round(share * total))
        few, more = ([part[:count] for part in pair] for pair in (real, made))
        mixed = [torch.cat(pair) for pair in zip(few, more, strict=True)]
        row = {"share": share, "images": count}
        row["real"] = _taught(data, *few, 400, device)
        row["mixed"] = _taught(data, *mixed, 400, device)
        rows.append(row)
    return rows


def _generated(data, sample, rng):
    """As many generated images as there are training images, and their labels."""
    count = len(data.train.images)
    wanted = torch.randint(len(data.classes), (count,), generator=rng)
    return checked(sample(wanted, rng), count).cpu(), wanted


def _taught(data, images, labels, steps, device):
    """Test accuracies in percent of three fresh CNNs taught with these images."""
    images, labels = images.to(device), labels.to(device)
    nets = (network.fit(images, labels, len(data.classes), steps, seed) for seed in range(3))
    return [100 * network.accuracy(net, data.test) for net in nets]
