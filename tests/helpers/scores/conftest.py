"""A small data set, its scores' options, and samplers of known quality."""

import pytest
import torch

from helpers import data
from helpers.data import cache


@pytest.fixture(scope="session")
def digits():
    """Some stand-in digits; called verified, so that the pinned network looks at them."""
    full = data.load("MNIST", "sample")
    train = data.Images(full.train.images[:4000], full.train.labels[:4000])
    test = data.Images(full.test.images[:1000], full.test.labels[:1000])
    return full._replace(train=train, test=test, verified=True)


@pytest.fixture(scope="session")
def options():
    return {"n": 300, "sampling_seeds": 1}


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(shared, digits, monkeypatch):
    """The tests share a cache, and the project's is left alone."""
    monkeypatch.setattr(cache, "FOLDER", shared)


@pytest.fixture(scope="session")
def sampler():
    """sampler(images, change): samples that are some of these images, changed."""

    def make(images, change=lambda images, rng: images):
        images = torch.from_numpy(images)

        def sample(n, rng, mixture=None):
            return change(images[torch.randperm(len(images), generator=rng)[:n]], rng)

        return sample

    return make


@pytest.fixture(scope="session")
def labeled_sampler():
    """labeled_sampler(part, wrong): images of the label asked for, but for a share of them."""

    def make(part, wrong):
        images, labels = torch.from_numpy(part.images), torch.from_numpy(part.labels)

        def sample(wanted, rng):
            other = torch.randint(10, wanted.shape, generator=rng)
            label = torch.where(torch.rand(wanted.shape, generator=rng) < wrong, other, wanted)
            score = torch.rand((len(label), len(labels)), generator=rng)
            return images[(score * (labels == label[:, None])).argmax(1)]

        return sample

    return make
