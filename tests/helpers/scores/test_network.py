"""The feature networks: pinned bytes, the claim about their accuracy, and the training command."""

import os
import shutil

import numpy as np
import pytest
import torch

from helpers import data
from helpers.scores import network


@pytest.fixture(scope="module")
def few():
    """The stand-in set, cut to 600 training and 200 test images."""
    full = data.load("MNIST", "sample")
    cut = [
        data.Images(p.images[:n], p.labels[:n]) for p, n in ((full.train, 600), (full.test, 200))
    ]
    return full._replace(train=cut[0], test=cut[1])


@pytest.mark.parametrize("name", network.SHA256)
def test_pinned_network_loads_and_is_small(name):
    loaded = network.load_pinned(name)
    assert (network.PINNED / f"{name}.safetensors").stat().st_size < 2**20
    assert loaded.pinned and loaded.sha256 == network.SHA256[name]
    assert loaded.accuracy >= {"MNIST": 0.993, "FashionMNIST": 0.92}[name]
    line = network.describe(loaded)
    assert loaded.sha256[:12] in line and f"{100 * loaded.accuracy:.2f}%" in line
    seen = network.look(loaded.net, torch.zeros(3, 28, 28, dtype=torch.uint8))
    assert seen.features.shape == (3, 128) and seen.labels.shape == (3,)


@pytest.mark.skipif(not os.environ.get("DATA_DIR"), reason="needs the real images: set DATA_DIR")
@pytest.mark.parametrize("name", network.SHA256)
def test_pinned_accuracy_is_true_and_features_have_unit_variance(name):
    real, loaded = data.load(name), network.load_pinned(name)
    assert real.verified
    assert network.accuracy(loaded.net, real.test) == pytest.approx(loaded.accuracy, abs=2e-4)
    seen = network.look(loaded.net, real.train.images[:20_000]).features
    assert seen.mean(0).abs().max() < 0.05
    assert (seen.var(0) - 1).abs().max() < 0.05


def test_a_changed_or_missing_pinned_file_is_named(tmp_path):
    path = tmp_path / "MNIST.safetensors"
    with pytest.raises(FileNotFoundError, match="MNIST.safetensors: not found"):
        network.load_pinned("MNIST", path=path)
    shutil.copy(network.PINNED / "MNIST.safetensors", path)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"MNIST.safetensors: SHA-256 .*expected 179f"):
        network.load_pinned("MNIST", path=path)


@pytest.fixture(scope="module")
def own(few, tmp_path_factory):
    """A network trained on the spot, and the folder where it is kept."""
    folder = tmp_path_factory.mktemp("cache")
    return network.for_dataset(few, cache=folder), folder


def test_published_files_get_the_pinned_network_and_others_their_own(few, own):
    assert network.for_dataset(few._replace(verified=True)).pinned
    loaded, _ = own
    assert not loaded.pinned and "trained on the spot" in network.describe(loaded)
    assert loaded.accuracy > 0.8
    seen = network.look(loaded.net, few.train.images).features
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(seen.var(0), 1, atol=1e-2)


def test_own_network_is_kept_and_a_damaged_one_made_again(few, own, monkeypatch):
    first, folder = own
    trained = []
    monkeypatch.setattr(
        network, "train", lambda data, steps, **_: trained.append(steps) or (first.net, 0.5)
    )
    assert network.for_dataset(few, cache=folder).sha256 == first.sha256 and not trained
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert network.for_dataset(few, cache=folder).accuracy == 0.5 and len(trained) == 1
    other = few._replace(sha256=few.sha256 | {"train-images": "other"})
    network.for_dataset(other, cache=folder)
    assert len(trained) == 2


def test_training_repeats_itself_and_the_seed_matters(few):
    def weights(seed):
        net, _ = network.train(few, 3, seed)
        return torch.cat([value.flatten().double() for value in net.state_dict().values()])

    before = torch.random.get_rng_state()
    first = weights(0)
    assert torch.equal(first, weights(0)) and not torch.equal(first, weights(1))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_features_do_not_depend_on_the_other_images_of_a_batch():
    net = network.load_pinned("MNIST").net.train()  # `look` must not leave BatchNorm to the batch
    images = torch.randint(256, (50, 28, 28), generator=torch.Generator().manual_seed(0))
    images = images.to(torch.uint8)
    alone = network.look(net, images[:1]).features
    torch.testing.assert_close(network.look(net, images).features[:1], alone, atol=1e-4, rtol=1e-4)


def test_moved_images_stay_recognizable():
    rng = torch.Generator().manual_seed(0)
    image = torch.zeros(200, 1, 28, 28)
    image[:, :, 10:18, 8:10] = 1  # a bar left of the middle
    bent, shifted = network._bend(image, rng), network._mirror_and_shift(image, rng)
    for moved in (bent, shifted):
        assert moved.shape == image.shape
        assert 0 <= moved.min() and moved.max() <= 1 + 1e-6
        rows = moved.sum((1, 3)).argmax(1)
        assert ((6 <= rows) & (rows <= 21)).all()
    assert torch.equal(shifted.sum((1, 2, 3)), image.sum((1, 2, 3)))
    left = (shifted * torch.arange(28.0)).sum((1, 2, 3)) / 16
    assert (left > 16).any() and (left < 11).any()  # mirrored and not


def test_command_writes_a_network_that_loads(few, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(network.datasets, "load", lambda name, data_dir: few)
    monkeypatch.setattr(network, "set_up", lambda device, threads: None)
    out = tmp_path / "new" / "net.safetensors"
    assert network.main(["MNIST", "--epochs", "1", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    loaded = network._network(out.read_bytes(), "cpu", pinned=False)
    assert f"{100 * loaded.accuracy:.2f}% test accuracy" in text and loaded.sha256 in text


def test_command_names_what_is_wrong_with_the_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(network, "set_up", lambda device, threads: None)
    assert network.main(["MNIST", "--data-dir", str(tmp_path / "nowhere")]) == 2
    error = capsys.readouterr().err
    assert "nowhere" in error and error.count("\n") == 1
