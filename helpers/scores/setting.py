"""The ground all scores stand on: real images, the network that looks, floors kept in build/cache.

What is measured is in samples.py, labels.py and likelihood.py, which import this module and
nothing from each other but the search for nearest images.
"""

import hashlib
import json
import statistics
from pathlib import Path
from typing import NamedTuple

import torch

from helpers.data.cache import kept as kept_bytes
from helpers.paths import ROOT
from helpers.scores import network, tables
from helpers.training import rng, to_unit

CACHE = ROOT / "build" / "cache"


class Setting(NamedTuple):
    """What all scores of a run share."""

    data: object  # helpers.data.Dataset
    network: network.Network
    device: torch.device
    test: torch.Tensor  # (n, 28, 28) uint8: the test images compared with
    test_labels: torch.Tensor | None
    real: network.Seen  # what the network sees in them
    draws: int  # how many times images are drawn
    seed: int
    cache: Path | None  # None: nothing is kept


def prepare(data, n=10_000, sampling_seeds=3, seed=0, device="cpu", cache=CACHE):
    """The Setting: n test images drawn at random, all if there are fewer, and their features."""
    if n < 50:
        raise ValueError(f"n must be 50 or more images, got {n}")
    if sampling_seeds < 1:
        raise ValueError(f"sampling_seeds must be 1 or more, got {sampling_seeds}")
    train, test = len(data.train.images), len(data.test.images)
    if min(train, test) < 50:
        raise ValueError(
            f"{data.where}: scores need 50 or more training and 50 or more test images, "
            f"got {train} and {test}"
        )
    looking = network.for_dataset(data, device, cache)
    chosen = torch.randperm(test, generator=rng(0, "test images"))[: min(n, test, train)]
    images = torch.as_tensor(data.test.images)[chosen].to(device)
    labels = None if data.test.labels is None else torch.as_tensor(data.test.labels)[chosen]
    real = network.look(looking.net, images)
    place = torch.device(device)
    return Setting(data, looking, place, images, labels, real, sampling_seeds, seed, cache)


def training_indices(setting, draw=0):
    """Which training images take the place of a draw of generated ones: (n,) int64."""
    order = torch.randperm(
        len(setting.data.train.images), generator=rng(0, "training images", draw)
    )
    return order[: len(setting.test)]


def training_images(setting, draw=0):
    """Those images: (n, 28, 28) uint8 on the device."""
    images = torch.as_tensor(setting.data.train.images)
    return images[training_indices(setting, draw)].to(setting.device)


def references(setting, measure, worst):
    """Floor and ceiling of every score: {"floor": {score: ...}, "ceiling": {score: ...}}.

    measure(seen) -> {score: value}, of a network.Seen.  Floor: training images take the place of
    the generated ones, in as many draws. Ceiling: the pixels of each are shuffled; `worst` where
    that is known.
    """

    def values(images):
        return measure(network.look(setting.network.net, images))

    def compute():
        draws = [training_images(setting, draw) for draw in range(setting.draws)]
        real = [values(images) for images in draws]
        floor = {key: statistics.fmean(found[key] for found in real) for key in real[0]}
        shuffled = shuffle_pixels(draws[0].cpu(), rng(0, "shuffle"))
        return {"floor": floor, "ceiling": values(shuffled) | worst}

    key = [setting.network.sha256, len(setting.test), setting.draws, str(setting.device)]
    return kept(setting.cache, setting.data, "references", key, compute)


def shuffle_pixels(images, rng):
    """The images (N, 28, 28) with the pixels of each in an order of its own: the worst case."""
    flat = torch.as_tensor(images).flatten(1)
    order = torch.rand(flat.shape, generator=rng).argsort(1)
    return flat.gather(1, order).view(-1, 28, 28)


def kept(cache, data, kind, key, compute):
    """The JSON value kept for this data under this key, else compute(), which is then kept."""
    parts = [tables.FORMAT, kind, data.sha256, len(data.train.images), key]
    text = json.dumps(parts, sort_keys=True)
    name = f"scores-{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    path = cache / name if cache else None
    return json.loads(kept_bytes(path, lambda: json.dumps(compute()).encode()))


def pixels(images, device):
    """(N, 28, 28) uint8 -> (N, 784) float32 in [0, 1] on the device."""
    return to_unit(torch.as_tensor(images).to(device)).flatten(1)


def checked(images, n):
    """What a sampler returned, (n, 28, 28) uint8; ValueError if it is something else."""
    images = torch.as_tensor(images)
    if images.dtype != torch.uint8 or tuple(images.shape) != (n, 28, 28):
        raise ValueError(
            f"sample must return uint8 ({n}, 28, 28), got {images.dtype} {tuple(images.shape)}"
        )
    return images
