"""The ground all scores stand on: real images, the network that looks, floors that are cached.

What is measured is in fid.py, labels.py and likelihood.py, which import this module and
nothing from each other but the search for nearest images.
"""

import json
import statistics
from typing import NamedTuple

import torch

from helpers.data import cache
from helpers.scores import network, tables
from helpers.training import rng, to_unit


class Setting(NamedTuple):
    """What all scores of a run share."""

    data: object  # helpers.data.Dataset
    network: network.Network
    device: torch.device
    test: torch.Tensor  # (n, 28, 28) uint8: the test images compared with
    test_labels: torch.Tensor | None
    real: network.Seen  # what the network sees in them
    shares: torch.Tensor  # (classes,) float64: of each class among all training images, as seen
    draws: int  # how many times images are drawn
    seed: int


def prepare(data, n=10_000, sampling_seeds=3, seed=0, device="cpu"):
    """The Setting: n test images drawn at random, all if there are fewer, and their features."""
    test = torch.randperm(len(data.test.images), generator=rng(0, "test images"))
    chosen = test[: min(n, len(data.train.images))]
    looking = network.for_dataset(data, device)
    images = torch.as_tensor(data.test.images)[chosen].to(device)
    labels = None if data.test.labels is None else torch.as_tensor(data.test.labels)[chosen]

    def compute():
        seen = network.look(looking.net, data.train.images).labels
        return histogram(seen, len(data.classes)).tolist()

    shares = kept(data, compute, "shares", looking.sha256, device)
    return Setting(
        data=data,
        network=looking,
        device=torch.device(device),
        test=images,
        test_labels=labels,
        real=network.look(looking.net, images),
        shares=torch.tensor(shares, dtype=torch.float64),
        draws=sampling_seeds,
        seed=seed,
    )


def training(setting, draw=0):
    """The training images that take the place of a draw of generated ones, and their labels."""
    images, labels = (torch.as_tensor(part) for part in setting.data.train)
    order = torch.randperm(len(images), generator=rng(0, "training images", draw))
    chosen = order[: len(setting.test)]
    return images[chosen].to(setting.device), labels[chosen]


def references(setting, measure):
    """Floor and ceiling of every score: {"floor": {score: ...}, "ceiling": {score: ...}}.

    measure(seen) -> {score: value}, of a network.Seen.  Floor: training images take the place of
    the generated ones, in as many draws. Ceiling: the pixels of each are shuffled.
    """

    def values(images):
        return measure(network.look(setting.network.net, images))

    def compute():
        draws = [training(setting, draw)[0] for draw in range(setting.draws)]
        real = [values(images) for images in draws]
        floor = {key: statistics.fmean(found[key] for found in real) for key in real[0]}
        return {"floor": floor, "ceiling": values(shuffle_pixels(draws[0], rng(0, "shuffle")))}

    key = setting.network.sha256, len(setting.test), setting.draws, setting.device
    return kept(setting.data, compute, "references", *key)


def shuffle_pixels(images, rng):
    """The images (N, 28, 28) with the pixels of each in an order of its own: the worst case."""
    flat = images.flatten(1)
    order = torch.rand(flat.shape, generator=rng).argsort(1).to(flat.device)
    return flat.gather(1, order).view(-1, 28, 28)


def histogram(labels, classes):
    """The share of each class 0..classes-1 among labels (N,): (classes,) float64."""
    return torch.bincount(labels.cpu(), minlength=classes).double() / len(labels)


def kept(data, compute, *key):
    """The JSON value cached for this data under this key, else compute(), which is then cached."""
    name = f"scores-{cache.key(tables.FORMAT, data.sha256, len(data.train.images), *key)[:16]}"
    return json.loads(cache.kept(name, lambda: json.dumps(compute()).encode()))


def pixels(images, device):
    """(N, 28, 28) uint8 -> (N, 784) float32 in [0, 1] on the device."""
    return to_unit(torch.as_tensor(images).to(device)).flatten(1)
