"""The feature networks: pinned bytes, the claim about their accuracy, and their training."""

import os
import shutil

import numpy as np
import pytest
import torch

from helpers import data
from helpers.data import cache
from helpers.scores import network


@pytest.fixture
def few(digits):
    """The stand-in set, cut to 600 training and 200 test images."""
    cut = ((1, 600), (2, 200))
    train, test = (data.Images(*(of[:n] for of in digits[part])) for part, n in cut)
    return digits._replace(train=train, test=test, verified=False)


@pytest.mark.skipif(not os.environ.get("DATA_DIR"), reason="needs the real images: set DATA_DIR")
@pytest.mark.parametrize("name", network.SHA256)
def test_pinned_accuracy_is_true_and_features_have_unit_variance(name):
    real, loaded = data.load(name), network.load_pinned(name)
    assert real.verified
    assert network.accuracy(loaded.net, real.test) == pytest.approx(loaded.accuracy, abs=2e-4)
    seen = network.look(loaded.net, real.train.images[:20_000]).features
    assert seen.mean(0).abs().max() < 0.05
    assert (seen.var(0) - 1).abs().max() < 0.05


def test_a_changed_pinned_file_is_named(tmp_path):
    path = tmp_path / "MNIST.safetensors"
    shutil.copy(network.PINNED / path.name, path)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"MNIST.safetensors: SHA-256 .*expected 179f"):
        network.load_pinned("MNIST", folder=tmp_path)


def test_published_files_get_the_pinned_network_and_others_their_own(few, tmp_path, monkeypatch):
    pinned = network.for_dataset(few._replace(verified=True))
    assert pinned.pinned and pinned.accuracy > 0.993 and "fixed" in network.describe(pinned)
    monkeypatch.setattr(cache, "FOLDER", tmp_path)
    own = network.for_dataset(few)
    assert not own.pinned and own.accuracy > 0.8 and "on the spot" in network.describe(own)
    seen = network.look(own.net, few.train.images).features
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(seen.var(0), 1, atol=1e-2)
    # It is kept, for these images alone
    other = few._replace(sha256={"train-images": "other"})
    monkeypatch.setattr(network, "train", lambda *words: pytest.fail("trained"))
    assert network.for_dataset(few).sha256 == own.sha256
    with pytest.raises(pytest.fail.Exception, match="trained"):
        network.for_dataset(other)


def test_images_of_ones_own_are_not_mirrored_like_garments(few, monkeypatch):
    base = {"name": "FashionMNIST", "verified": False, "real": True}
    seen = []
    monkeypatch.setattr(network, "moved", lambda x, garments, rng: seen.append(garments) or x)
    for known in {"verified": True}, {"title": "letters"}, {"real": False}:
        network.train(few._replace(**base | known), 1)
    assert seen == [True, False, True]


def test_training_repeats_itself_and_the_seed_matters(few):
    before = torch.random.get_rng_state()
    first = network.train(few, 3)
    assert first == network.train(few, 3) != network.train(few, 3, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_features_do_not_depend_on_the_other_images_of_a_batch():
    net = network.load_pinned("MNIST").net.train()  # `look` must not leave BatchNorm to the batch
    images = torch.randint(256, (50, 28, 28), dtype=torch.uint8)
    alone = network.look(net, images[:1]).features
    torch.testing.assert_close(network.look(net, images).features[:1], alone, atol=1e-4, rtol=1e-4)
