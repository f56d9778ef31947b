"""How fast the training loops are: `python -m workflow.bench [--seconds 10]`, or `make bench`.

Each loop is measured beside another in the same process, the two taking turns, and the median of
several turns counts. The first three rows compare with the textbook's loop for the same network;
the last two with loops that people copy, written here from their published descriptions. The
arithmetic is counted by torch and set against a product of 2048 x 2048 matrices on the same
machine. Writes build/bench.md.
"""

import argparse
import os
import statistics
import sys
import time
from functools import partial

from helpers import cgan, data, gan, training, vae  # before torch: sets GOMP_SPINCOUNT
from helpers.data.download import import_torchvision
from helpers.files import write_atomically
from helpers.params import CGANConfig, GANConfig, VAEConfig
from helpers.paths import ROOT
from workflow.program import program

# isort: split
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

TURNS = 5
transforms = import_torchvision().transforms


class TextbookImages(Dataset):
    """What torchvision.datasets.MNIST does for each image: PIL, then the transform."""

    def __init__(self, images, labels, *steps):
        self.images, self.labels = images.cpu().numpy(), labels.tolist()
        self.transform = transforms.Compose(steps)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def textbook_vae(config, images, labels, device, loss_of=F.mse_loss):
    """The loop of countless tutorials, and of PyTorch's examples; runs one epoch when called."""
    model = vae.build(config, device).model
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate)
    shown = TextbookImages(images, labels, transforms.ToTensor())
    loader = DataLoader(shown, config.batch_size, shuffle=True, drop_last=True)

    def epoch():
        total = 0.0
        for x, _ in loader:
            x = x.to(device).view(len(x), -1)
            mu, logvar = model.encode(x)
            z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
            recon = loss_of(model.decode(z), x, reduction="sum") / len(x)
            kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / len(x)
            loss = recon + config.beta * kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total

    return epoch


def textbook_gan(config, images, labels, device, nets=None, resize=()):
    """The loop of the DCGAN tutorial, for either GAN; a function that runs one epoch."""
    conditional = isinstance(config, CGANConfig)
    nets = nets or (cgan.build(config, 10, device) if conditional else gan.build(config, device))
    g, d = (net.to(device, memory_format=torch.contiguous_format) for net in nets[:2])
    betas = (config.beta1, config.beta2)
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), config.learning_rate, betas) for n in (g, d))
    bce = nn.BCEWithLogitsLoss()
    steps = transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))
    shown = TextbookImages(images, labels, *resize, *steps)
    loader = DataLoader(shown, config.batch_size, shuffle=True, drop_last=True)

    def epoch():
        total = 0.0
        for number, (x, y) in enumerate(loader, start=1):
            n = len(x)
            x, y = x.to(device), y.to(device)
            z = torch.rand(n, config.latent_dim, device=device) * 2 - 1
            ones, zeros = torch.ones(n, device=device), torch.zeros(n, device=device)
            x, extra = (x.view(n, -1), (y,)) if conditional else (x, ())
            opt_d.zero_grad()
            loss_real = bce(d(x, *extra), ones)
            loss_real.backward()
            fake = g(z, *extra)
            loss_fake = bce(d(fake.detach(), *extra), zeros)
            loss_fake.backward()
            opt_d.step()
            total += loss_real.item() + loss_fake.item()
            if number % getattr(config, "num_d_steps", 1):
                continue
            opt_g.zero_grad()
            if conditional:
                fake = g(torch.rand(n, config.latent_dim, device=device) * 2 - 1, *extra)
            loss_g = bce(d(fake, *extra), ones)
            loss_g.backward()
            opt_g.step()
            total += loss_g.item()
        return total

    return epoch


def resized_dcgan(config, *rest):
    """The textbook's loop with images resized to 32x32, where every layer doubles or halves."""
    c, up, down = 64, partial(nn.ConvTranspose2d, bias=False), partial(nn.Conv2d, bias=False)
    generator = nn.Sequential(
        nn.Unflatten(1, (config.latent_dim, 1, 1)),
        *(up(config.latent_dim, 4 * c, 4, 1, 0), nn.BatchNorm2d(4 * c), nn.ReLU()),  # -> 4x4
        *(up(4 * c, 2 * c, 4, 2, 1), nn.BatchNorm2d(2 * c), nn.ReLU()),  # 4x4 -> 8x8
        *(up(2 * c, c, 4, 2, 1), nn.BatchNorm2d(c), nn.ReLU()),  # 8x8 -> 16x16
        *(up(c, 1, 4, 2, 1), nn.Tanh()),  # 16x16 -> 32x32
    )
    discriminator = nn.Sequential(
        *(down(1, c, 4, 2, 1), nn.LeakyReLU(0.2)),  # 32x32 -> 16x16
        *(down(c, 2 * c, 4, 2, 1), nn.BatchNorm2d(2 * c), nn.LeakyReLU(0.2)),  # 16x16 -> 8x8
        *(down(2 * c, 4 * c, 4, 2, 1), nn.BatchNorm2d(4 * c), nn.LeakyReLU(0.2)),  # 8x8 -> 4x4
        *(down(4 * c, 1, 4, 1, 0), nn.Flatten(0)),
    )
    return textbook_gan(config, *rest, (generator, discriminator), [transforms.Resize(32)])


def ours(config, images, labels, device):
    """The loop of this project; a function that runs one epoch."""
    if isinstance(config, VAEConfig):
        records = vae.train_vae(config, vae.build(config, device), images, images[:1])
    elif isinstance(config, GANConfig):
        records = gan.train_gan(config, gan.build(config, device), images)
    else:
        records = cgan.train_cgan(config, cgan.build(config, 10, device), images, labels)
    return lambda: next(records)


ENDLESS = {"epochs": 10**5}
BCE = VAEConfig(**ENDLESS, hidden_dim=400, latent_dim=20, batch_size=128)
ROWS = {  # name: (config, the other loop, threads; 0: all)
    "VAE": (VAEConfig(**ENDLESS), textbook_vae, 1),
    "cGAN": (CGANConfig(**ENDLESS), textbook_gan, 0),
    "DCGAN": (GANConfig(**ENDLESS), textbook_gan, 0),
    "VAE of PyTorch's examples": (BCE, partial(textbook_vae, loss_of=F.binary_cross_entropy), 1),
    "DCGAN, theirs at 32x32": (GANConfig(**ENDLESS), resized_dcgan, 0),
}


def timed(action, device):
    """Seconds that the action takes, the device's work included."""
    start = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def matrix_rate(device, size=2048):
    """Floating-point operations a second of a float32 matrix product, median of nine."""
    a, b = (torch.rand(size, size, device=device) for _ in range(2))
    timed(lambda: a @ b, device)
    return 2 * size**3 / statistics.median(timed(lambda: a @ b, device) for _ in range(9))


def arithmetic(loop, config, images, labels):
    """Operations for one image: an epoch of 2n batches less one of n, so that only steps count."""
    few = 2 * config.batch_size  # two batches: the cGAN's generator takes one step
    counts = []
    for n in (few, 2 * few):
        epoch = loop(config, images[:n], labels[:n], torch.device("cpu"))
        with FlopCounterMode(display=False) as counter:
            epoch()
        counts.append(counter.get_total_flops())
    return (counts[1] - counts[0]) / few


def compare(name, images, labels, device, seconds):
    """One row of the table."""
    config, other, threads = ROWS[name]
    training.set_up(device, threads)
    loops, batch = (other, ours), config.batch_size
    rate = matrix_rate(device)
    work = [arithmetic(loop, config, images, labels) for loop in loops]
    images, labels = images.to(device), labels.to(device)
    trial = ours(config, images[: 8 * batch], labels[: 8 * batch], device)
    trial()
    steps = int(seconds / TURNS / (timed(trial, device) / 8))
    n = max(4, min(len(images) // batch, steps)) * batch
    epochs = [loop(config, images[:n], labels[:n], device) for loop in loops]
    turns = [[timed(epoch, device) for epoch in epochs] for _ in range(1 + TURNS)][1:]  # warm
    theirs, mine = (n / statistics.median(times) for times in zip(*turns, strict=True))
    ratio = statistics.median(a / b for a, b in turns)
    return (
        f"| {name} | {torch.get_num_threads()} | {batch} | {theirs:,.0f} | {mine:,.0f} "
        f"| {ratio:.1f} | {work[0] / 1e6:.1f} : {work[1] / 1e6:.1f} | {1e3 * batch / mine:.2f} "
        f"| {1e3 * batch * work[1] / rate:.2f} | {100 * mine * work[1] / rate:.0f} % "
        f"of {rate / 1e9:,.0f} |"
    )


def main(words):
    parser = argparse.ArgumentParser(prog="python -m workflow.bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="per loop and model")
    options = parser.parse_args(words)
    device = training.pick_device("auto")
    training.set_up(device)
    found = data.load("MNIST")
    images, labels = torch.from_numpy(found.train.images), torch.from_numpy(found.train.labels)
    lines = [
        f"{data.describe(found)}; {training.describe_device(device)}; torch {torch.__version__}; "
        f"load {os.getloadavg()[0]:.1f} at the start (0 on an idle machine)",
        "",
        "| model | threads | batch | theirs, images/s | ours, images/s | ratio "
        "| MFLOP an image | ms a batch | arithmetic alone | GFLOP/s of a matrix product |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    print(*lines, sep="\n", flush=True)
    for name in ROWS:
        lines.append(compare(name, images, labels, device, options.seconds))
        print(lines[-1], flush=True)
    (ROOT / "build").mkdir(exist_ok=True)
    write_atomically(ROOT / "build" / "bench.md", ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    sys.exit(program(main, sys.argv[1:]))
