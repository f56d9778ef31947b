"""Which classes are drawn, how varied each is, and does a conditional GAN draw what it is told?"""

import math

import torch

from helpers.scores import tables
from helpers.scores.fid import nearest
from helpers.scores.setting import histogram, pixels, training


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
