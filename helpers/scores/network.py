"""The networks whose features the scores are taken in: one fixed network per known dataset.

A Frechet or kernel distance is a property of the images and of the network that looks at them.
So the networks for MNIST and Fashion-MNIST are files of this project (helpers/scores/pinned),
checked by their SHA-256 when loaded; numbers that name the same one can be compared between
machines and years. For other data a network is trained on the spot: its numbers compare only with
themselves.

    python -m helpers.scores.network MNIST    trains the network again and prints its SHA-256
"""

import argparse
import hashlib
import sys
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from helpers import data as datasets
from helpers.data import cache
from helpers.data.sets import own
from helpers.files import safetensors_metadata, write_atomically
from helpers.paths import ROOT
from helpers.training import batches, memory_format, rng, seeded, set_up, to_unit

FEATURES = 128
PINNED = ROOT / "helpers" / "scores" / "pinned"
SHA256 = {
    "MNIST": "179f59d8ef0e5e68a67fc5151de254d49420b6bce4fa54f671170e712eac265c",
    "FashionMNIST": "da55c6540553f3006e51e937521a7b036ee75ef64f34f92aa02c481a5debe3d6",
}
EPOCHS = {"MNIST": 12, "FashionMNIST": 16}  # of the pinned networks
BATCH_SIZE = 128
FALLBACK_STEPS = 1000  # about a minute on one core


class FeatureNet(nn.Module):
    """images (N, 1, 28, 28) in [0, 1] -> logits (N, classes); `features` gives (N, 128) of them.

    The features come out of a BatchNorm without scale and shift: over the training images each has
    mean 0 and variance 1, as the kernel distance needs.
    """

    def __init__(self, classes):
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(1, 32, 5, 2),  # 28x28 -> 14x14
            *_convolution(32, 64, 3, 2),  # 14x14 -> 7x7
            *_convolution(64, 96, 3, 1),
            nn.MaxPool2d(2),  # 7x7 -> 3x3
            nn.Flatten(),
            nn.Linear(96 * 9, FEATURES, bias=False),
            nn.BatchNorm1d(FEATURES, affine=False),
        )
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, images):
        return self.head(F.relu(self.features(images)))


def _convolution(channels_in, channels_out, kernel, stride):
    convolution = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(channels_out), nn.ReLU()


class Network(NamedTuple):
    """A feature network ready for use, and what the reader must know about it."""

    net: FeatureNet
    sha256: str  # of the file's bytes
    accuracy: float | None  # on the test images; None if those have no labels
    pinned: bool


class Seen(NamedTuple):
    """What a network sees in N images: features (N, 128) float32, labels (N,) int64."""

    features: torch.Tensor
    labels: torch.Tensor


def describe(network):
    """One line for the reader."""
    known = network.accuracy is not None
    accuracy = f"{100 * network.accuracy:.2f}% test accuracy, " if known else ""
    facts = f"({accuracy}SHA-256 {network.sha256[:12]})"
    if network.pinned:
        return f"the project's fixed network {facts}"
    return f"a network trained on the spot {facts}, whose numbers compare only with themselves"


@torch.no_grad()
def look(net, images, chunk=1000):
    """Features and most probable labels of images (N, 28, 28) uint8, on the network's device."""
    net.eval()
    parts = torch.as_tensor(images).split(chunk)
    features = torch.cat([net.features(_batch(part, net.head.weight.device)) for part in parts])
    return Seen(features, net.head(F.relu(features)).argmax(1))


def accuracy(net, part):
    """The share of a data.Images that the network labels right; None if it has no labels."""
    if part.labels is None:
        return None
    seen = look(net, part.images).labels.cpu()
    return (seen == torch.as_tensor(part.labels)).double().mean().item()


def _batch(images, device):
    """(N, 28, 28) uint8 -> (N, 1, 28, 28) float32 in [0, 1] on the device."""
    return to_unit(images.to(device)).unsqueeze(1).contiguous(memory_format=memory_format(device))


# --- Files -----------------------------------------------------------------------------------


def for_dataset(data, device="cpu"):
    """The network for a data.Dataset: the pinned one for the published files, else one of its own.

    The latter is trained on the spot, once: the cache keeps it.
    """
    if data.name in SHA256 and data.verified:
        return load_pinned(data.name, device)
    count = len(data.train.images)
    steps = max(50, min(FALLBACK_STEPS, 10 * count // BATCH_SIZE))
    made_from = cache.key(data.sha256, count, len(data.classes), steps)
    content = cache.kept(f"features-{made_from[:16]}", lambda: train(data, steps, device))
    return _network(content, device, pinned=False)


def load_pinned(name, device="cpu", folder=PINNED):
    """The committed network of a dataset; ValueError naming the file if its bytes differ."""
    path = folder / f"{name}.safetensors"
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    content = path.read_bytes()
    found, known = hashlib.sha256(content).hexdigest(), SHA256[name]
    if found != known:
        raise ValueError(f"{shown}: SHA-256 {found[:12]}, expected {known[:12]}; restore the file")
    return _network(content, device, pinned=True)


def _network(content, device, pinned):
    tensors = load_tensors(content)
    net = FeatureNet(len(tensors["head.bias"]))
    net.load_state_dict(tensors)
    net = net.eval().to(device, memory_format=memory_format(torch.device(device)))
    known = safetensors_metadata(content).get("test_accuracy")
    sha256 = hashlib.sha256(content).hexdigest()
    return Network(net, sha256, known and float(known), pinned)


# --- Training --------------------------------------------------------------------------------


def train(data, steps, device="cpu", seed=0):
    """The file, as bytes, of a FeatureNet trained on data.train for `steps` batches of 128.

    Images are slightly moved in training. AdamW with one cycle of the learning rate (Smith & Topin
    2018, arXiv:1708.07120), labels smoothed by 0.1. The file's metadata hold the test accuracy, if
    there are labels. Deterministic given seed and thread count.
    """
    images = torch.as_tensor(data.train.images).to(device)
    labels = torch.as_tensor(data.train.labels).to(device)
    others = own(data.name, data.title, data.real, data.verified)
    garments, moves = data.name == "FashionMNIST" and not others, rng(seed, "moves")
    size, device, rate = min(BATCH_SIZE, len(images)), images.device, 4e-3
    with seeded(seed, "feature network"):
        net = FeatureNet(len(data.classes)).to(device, memory_format=memory_format(device))
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.2)
    step = epoch = 0
    while step < steps:
        epoch += 1
        for index in batches(len(images), size, rng(seed, "order", epoch))[: steps - step]:
            index = index.to(device)
            logits = net(moved(_batch(images[index], device), garments, moves))
            loss = F.cross_entropy(logits, labels[index], label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
    _standardize(net.eval(), images)
    tensors = {name: value.cpu().contiguous() for name, value in net.state_dict().items()}
    found = accuracy(net, data.test)
    metadata = {} if found is None else {"test_accuracy": f"{found:.4f}"}
    return save_tensors(tensors, metadata=metadata)


def moved(images, garments, rng):
    """Images (N, 1, 28, 28), slightly moved.

    Characters are turned by up to 10 degrees, scaled by up to 10% and shifted by up to 2 pixels;
    garments are mirrored, half of them, and shifted by up to 2 whole pixels (nothing is blurred).
    """
    n = len(images)
    if garments:
        down, right = torch.randint(-2, 3, (2, n), generator=rng) / 14  # the grid spans [-1, 1]
        flip = torch.where(torch.rand(n, generator=rng) < 0.5, -1.0, 1.0)
        rows = [flip, 0 * flip, right, 0 * flip, flip.abs(), down]
    else:
        angle, scale, right, down = torch.rand((4, n), generator=rng).mul(2).sub(1)
        angle, scale = 0.17 * angle, 1 + 0.1 * scale
        sin, cos = angle.sin() * scale, angle.cos() * scale
        rows = [cos, -sin, right / 7, sin, cos, down / 7]
    rows = torch.stack(rows, 1).view(n, 2, 3)
    grid = F.affine_grid(rows, images.shape, align_corners=False).to(images.device)
    mode = "nearest" if garments else "bilinear"
    images = F.grid_sample(images, grid, mode, align_corners=False)
    return images.contiguous(memory_format=memory_format(images.device))


@torch.no_grad()
def _standardize(net, images, chunk=1000):
    """Set the last BatchNorm to the exact mean and variance of its input over the images."""
    trunk, last = net.features[:-1], net.features[-1]
    seen = torch.cat([trunk(_batch(part, part.device)).cpu() for part in images.split(chunk)])
    last.running_mean.copy_(seen.double().mean(0))
    last.running_var.copy_(seen.double().var(0))


def main(dataset):
    """Train a pinned network again; to pin it, move the file and copy its SHA-256 into SHA256."""
    set_up(torch.device("cpu"), threads=1)  # part of what fixes every bit
    data = datasets.load(dataset)
    content = train(data, EPOCHS[dataset] * (len(data.train.images) // BATCH_SIZE))
    path = ROOT / "build" / f"{dataset}.safetensors"
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, content)
    print(f"{path}: {describe(_network(content, 'cpu', pinned=False))}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("dataset", choices=sorted(SHA256))
    try:
        main(parser.parse_args().dataset)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
