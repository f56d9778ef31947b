"""The networks whose features the scores are taken in: one fixed network per known dataset.

A Frechet or kernel distance is a property of the images and of the network that looks at them.
So the networks for MNIST and Fashion-MNIST are files of this project (helpers/scores/pinned),
checked by their SHA-256 when loaded; numbers that name the same one can be compared between
machines and years. For other data a network is trained on the spot: its numbers compare only with
themselves.

    python -m helpers.scores.network MNIST    trains the network again and prints its accuracy
"""

import argparse
import hashlib
import json
import struct
import sys
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from helpers import data as datasets
from helpers.data.cache import kept
from helpers.files import write_atomically
from helpers.paths import ROOT
from helpers.training import batches, memory_format, pick_device, rng, seeded, set_up, to_unit

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
    device = net.head.weight.device
    features, labels = [], []
    for part in torch.as_tensor(images).split(chunk):
        seen = net.features(_batch(part.to(device)))
        features.append(seen)
        labels.append(net.head(F.relu(seen)).argmax(1))
    return Seen(torch.cat(features), torch.cat(labels))


def for_dataset(data, device="cpu", cache=None):
    """The network for a data.Dataset: the pinned one for the published files, else one of its own.

    cache: a folder where a network trained on the spot is kept and looked for (None: nowhere).
    """
    if data.name in SHA256 and data.verified:
        return load_pinned(data.name, device)
    path = Path(cache) / f"features-{_fingerprint(data)}" if cache else None
    steps = max(50, min(FALLBACK_STEPS, 10 * len(data.train.images) // BATCH_SIZE))
    content = kept(path, lambda: _serialize(*train(data, steps, device=device)))
    return _network(content, device, pinned=False)


def load_pinned(name, device="cpu", path=None):
    """The committed network of a dataset; ValueError naming the file if its bytes differ."""
    path = path or PINNED / f"{name}.safetensors"
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    if not path.is_file():
        raise FileNotFoundError(f"{shown}: not found; it is part of the project, restore it")
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != SHA256[name]:
        raise ValueError(
            f"{shown}: SHA-256 {sha256[:12]}..., expected {SHA256[name][:12]}...; restore the file"
        )
    return _network(content, device, pinned=True)


def train(data, steps, seed=0, device="cpu", report=None):
    """Train a FeatureNet on data.train for `steps` batches of 128; returns (net, test accuracy).

    AdamW with one cycle of the learning rate (Smith & Topin 2018, arXiv:1708.07120), labels
    smoothed by 0.1, images slightly moved. report(step, loss) is called once an epoch. The
    accuracy is None where data.test has no labels. Deterministic given seed and thread count.
    """
    images = torch.as_tensor(data.train.images).to(device)
    moves = rng(seed, "moves")
    move = _mirror_and_shift if data.name == "FashionMNIST" else _bend
    net = fit(
        images,
        torch.as_tensor(data.train.labels).to(device),
        len(data.classes),
        steps,
        seed,
        move=lambda x: move(x, moves),
        report=report,
    )
    _standardize(net, images)
    return net, accuracy(net, data.test)


def fit(images, labels, classes, steps, seed, move=None, report=None):
    """A FeatureNet trained on images (N, 28, 28) uint8 and labels (N,) int64 of one device.

    move: a function of a batch in [0, 1] that varies it.
    """
    device, rate = images.device, 4e-3
    with seeded(seed, "feature network"):
        net = FeatureNet(classes).to(device, memory_format=memory_format(device))
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.2)
    size, step, epoch = min(BATCH_SIZE, len(images)), 0, 0
    net.train()
    while step < steps:
        epoch += 1
        for index in batches(len(images), size, rng(seed, "order", epoch))[: steps - step]:
            index = index.to(device)
            x = _batch(images[index])
            logits = net(move(x) if move else x)
            loss = F.cross_entropy(logits, labels[index], label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
        if report:
            report(step, loss.item())
    return net.eval()


def _bend(images, rng):
    """Characters turned by up to 10 degrees, scaled by up to 10%, shifted by up to 2 pixels."""
    n = len(images)
    angle, scale, right, down = torch.rand((4, n), generator=rng).mul(2).sub(1)
    angle, scale = angle * 0.17, 1 + 0.1 * scale
    right, down = right / 7, down / 7  # the grid spans [-1, 1], 14 pixels to each side
    sin, cos = angle.sin() * scale, angle.cos() * scale
    rows = torch.stack([cos, -sin, right, sin, cos, down], 1).view(n, 2, 3)
    grid = F.affine_grid(rows, images.shape, align_corners=False).to(images.device)
    moved = F.grid_sample(images, grid, align_corners=False)
    return moved.contiguous(memory_format=memory_format(images.device))


def _mirror_and_shift(images, rng):
    """Garments, half of them mirrored, shifted by up to 2 whole pixels (so nothing is blurred)."""
    n, line = len(images), torch.arange(28)
    down, right = torch.randint(5, (2, n, 1), generator=rng)
    mirrored = torch.rand((n, 1), generator=rng) < 0.5
    rows, columns = line + down, torch.where(mirrored, 27 - line, line) + right
    one, rows, columns = torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]
    moved = F.pad(images, (2, 2, 2, 2))[one, 0, rows, columns].unsqueeze(1)
    return moved.contiguous(memory_format=memory_format(images.device))


@torch.no_grad()
def _standardize(net, images, chunk=1000):
    """Set the last BatchNorm to the exact mean and variance of its input over the images."""
    net.eval()
    *trunk, last = net.features
    seen = torch.cat([nn.Sequential(*trunk)(_batch(part)).cpu() for part in images.split(chunk)])
    last.running_mean.copy_(seen.double().mean(0))
    last.running_var.copy_(seen.double().var(0))


def accuracy(net, part):
    """The share of a data.Images that the network labels right; None if it has no labels."""
    if part.labels is None:
        return None
    seen = look(net, part.images).labels.cpu()
    return (seen == torch.as_tensor(part.labels)).double().mean().item()


def _batch(images):
    """(N, 28, 28) uint8 -> (N, 1, 28, 28) float32 in [0, 1]."""
    return to_unit(images).unsqueeze(1).contiguous(memory_format=memory_format(images.device))


def _fingerprint(data):
    """Of everything a network trained on the spot depends on."""
    parts = [data.sha256, len(data.train.images), len(data.classes), FALLBACK_STEPS]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _serialize(net, test_accuracy):
    tensors = {name: value.cpu().contiguous() for name, value in net.state_dict().items()}
    metadata = {} if test_accuracy is None else {"test_accuracy": f"{test_accuracy:.4f}"}
    return save_tensors(tensors, metadata=metadata)


def _network(content, device, pinned):
    tensors = load_tensors(content)
    (length,) = struct.unpack("<Q", content[:8])  # the format: length, JSON header, numbers
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    net = FeatureNet(len(tensors["head.bias"]))
    net.load_state_dict(tensors)
    net = net.to(device, memory_format=memory_format(torch.device(device)))
    known = float(metadata["test_accuracy"]) if "test_accuracy" in metadata else None
    return Network(net.eval(), hashlib.sha256(content).hexdigest(), known, pinned)


def main(arguments=None):
    """Train a pinned network again; to pin it, move the file and copy the SHA-256 into SHA256."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.scores.network", description=main.__doc__
    )
    parser.add_argument("dataset", choices=sorted(SHA256))
    parser.add_argument("--data-dir", default="", help="default: $DATA_DIR, else data/")
    parser.add_argument("--epochs", type=int, help="default: those of the pinned file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="part of what fixes every bit")
    parser.add_argument("--out", type=Path, help="default: build/<dataset>.safetensors")
    options = parser.parse_args(arguments)
    out = options.out or ROOT / "build" / f"{options.dataset}.safetensors"
    set_up(pick_device("cpu"), options.threads)
    try:
        data = datasets.load(options.dataset, data_dir=options.data_dir)
        per_epoch = len(data.train.images) // BATCH_SIZE
        content = _serialize(
            *train(
                data,
                (options.epochs or EPOCHS[options.dataset]) * per_epoch,
                options.seed,
                report=lambda step, loss: print(f"step {step:5d}  loss {loss:.4f}", flush=True),
            )
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, content)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    network = _network(content, "cpu", pinned=False)
    print(f"{out}: {len(content):,} bytes, {100 * network.accuracy:.2f}% test accuracy")
    print(f"SHA-256 {network.sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
