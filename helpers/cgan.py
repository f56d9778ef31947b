"""Conditional GAN of linear layers (Mirza & Osindero 2014, arXiv:1411.1784)."""

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import get_total_norm

from helpers.cuda_graph import recorded
from helpers.training import (
    adam,
    adam_step,
    averaged,
    batches,
    finite_means,
    follow,
    from_signed,
    in_blocks,
    rng,
    seeded,
    set_rate,
    to_signed,
    uniform,
)


class Generator(nn.Module):
    """z (N, latent_dim), labels (N,) int64 -> images (N, 784) in (-1, 1)."""

    def __init__(self, latent_dim, hidden_dims, num_classes):
        super().__init__()
        self.latent_dim, self.num_classes = latent_dim, num_classes
        layers, width = [], latent_dim + num_classes
        for hidden in hidden_dims:
            layers += [nn.Linear(width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, 784), nn.Tanh())

    def forward(self, z, labels):
        return self.layers(torch.cat([z, one_hot(labels, self.num_classes)], 1))


class Discriminator(nn.Module):
    """images (N, 784), labels (N,) int64 -> logits (N,): log-odds that the pair is real."""

    def __init__(self, hidden_dims, num_classes):
        super().__init__()
        self.num_classes = num_classes
        widths = [784, *hidden_dims]
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Linear(a + num_classes, b), nn.LeakyReLU(0.2))
            for a, b in zip(widths, widths[1:], strict=False)
        )
        self.last = nn.Linear(widths[-1] + num_classes, 1)

    def forward(self, images, labels):
        y, h = one_hot(labels, self.num_classes), images
        for layer in self.hidden:
            h = layer(torch.cat([h, y], 1))  # the label again at every layer
        return self.last(torch.cat([h, y], 1)).squeeze(1)


def one_hot(labels, num_classes):
    """(N, num_classes): 3 at the label, 0 elsewhere.

    Ten entries of size 1 beside 784 pixels are easily overlooked; larger ones are learned sooner.
    """
    return 3.0 * (labels[:, None] == torch.arange(num_classes, device=labels.device))


class Parts(NamedTuple):
    """All that training changes, and a checkpoint keeps."""

    generator: nn.Module
    discriminator: nn.Module
    opt_g: torch.optim.Optimizer
    opt_d: torch.optim.Optimizer
    artist: nn.Module  # draws the images: the generator, or its average over the steps


class Record(NamedTuple):
    """One epoch: means over its steps, and the sampled grid at its end."""

    epoch: int
    loss_d: float
    loss_g: float
    d_real: float  # mean D(x|y) on real images, a probability
    d_fake: float  # mean D(G(z|y)|y)
    grad_d: float  # Euclidean norm of the gradient
    grad_g: float
    images: torch.Tensor  # (num_classes, 10, 28, 28) uint8: row = label, column = noise vector

    def __str__(self):
        return f"loss_d {self.loss_d:.4f}  loss_g {self.loss_g:.4f}"


def build(config, num_classes, device):
    """Fresh networks and their optimizers: a Parts."""
    with seeded(config.seed, "cgan"):
        generator = Generator(config.latent_dim, config.hidden_dims, num_classes)
        discriminator = Discriminator(config.hidden_dims[::-1], num_classes)
    nets = [net.to(device) for net in (generator, discriminator)]
    optimizers = [adam(net.parameters(), config, device) for net in nets]
    return Parts(*nets, *optimizers, averaged(nets[0], config.ema_decay))


def train_d_step(generator, discriminator, opt_d, real, labels, z, fake_labels):
    """One discriminator step on real (N, 784), their labels, and generated pairs; returns (4,).

    Mirza & Osindero 2014, eq. 2. Real and generated pairs go through D as one batch of 2N: it has
    no BatchNorm, so the result is the same as in two, and one large product is faster.
    """
    with torch.no_grad():
        fake = generator(z, fake_labels)
    logits = discriminator(torch.cat([real, fake]), torch.cat([labels, fake_labels]))
    on_real, on_fake = logits.chunk(2)
    loss_d = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
    gradients = torch.autograd.grad(loss_d, list(discriminator.parameters()))
    adam_step(opt_d, gradients)
    d_real, d_fake = on_real.sigmoid().mean(), on_fake.sigmoid().mean()
    return torch.stack([loss_d, d_real, d_fake, get_total_norm(gradients)]).detach()


def train_g_step(generator, discriminator, opt_g, z, fake_labels):
    """One non-saturating generator step: maximize ln D(G(z|y)|y); returns (2,)."""
    loss_g = F.softplus(-discriminator(generator(z, fake_labels), fake_labels)).mean()
    gradients = torch.autograd.grad(loss_g, list(generator.parameters()))
    adam_step(opt_g, gradients)
    return torch.stack([loss_g, get_total_norm(gradients)]).detach()


def train_cgan(config, parts, images, labels, start=0):
    """Train from epoch `start` + 1 to config.epochs; yields a Record after each.

    parts: from `build`.  images: (N, 28, 28) uint8, labels: (N,) int64, both on the device of the
    networks. An epoch shows the discriminator every image once and takes a generator step after
    every config.num_d_steps of its batches.
    """
    generator, discriminator, opt_g, opt_d, artist = parts
    flat, size = images.flatten(1), config.batch_size
    real, y = to_signed(flat[:size]), labels[:size]
    z = uniform((size, config.latent_dim), rng(config.seed, "example")).to(images.device)

    def on_g(z, y):
        values = train_g_step(generator, discriminator, opt_g, z, y)
        follow(artist, generator, config.ema_decay)
        return values

    set_rate(opt_g, config, start + 1), set_rate(opt_d, config, start + 1)
    on_d = partial(train_d_step, generator, discriminator, opt_d)
    d_step = recorded(on_d, parts, real, y, z, y)
    g_step = recorded(on_g, parts, z, y)
    for epoch in range(start + 1, config.epochs + 1):
        set_rate(opt_g, config, epoch), set_rate(opt_d, config, epoch)
        generator.train(), discriminator.train()
        of_d, of_g = train_epoch(
            config, d_step, g_step, flat, labels, generator.num_classes, epoch
        )
        grid = generate_grid(artist, rng(config.seed, "fixed noise"))
        loss_d, d_real, d_fake, grad_d = of_d
        loss_g, grad_g = of_g
        yield Record(epoch, loss_d, loss_g, d_real, d_fake, grad_d, grad_g, grid)


def train_epoch(config, d_step, g_step, flat, labels, num_classes, epoch):
    """One pass over the images (N, 784) uint8: d_step(real, y, z, fake_y), g_step(z, fake_y).

    Returns the means of what the two steps return.
    """
    device = flat.device
    order_rng, noise_rng = (rng(config.seed, what, epoch) for what in ("order", "noise"))
    order = batches(len(flat), config.batch_size, order_rng).to(device)
    g_steps = len(order) // config.num_d_steps
    if not g_steps:
        raise ValueError(
            f"num_d_steps must be at most the {len(order)} batches of an epoch, "
            f"got {config.num_d_steps}"
        )

    def draw(n):
        """Noise (n, batch_size, latent_dim) and uniform labels (n, batch_size) for n steps."""
        y = torch.randint(num_classes, (n, config.batch_size), generator=noise_rng)
        return uniform((n, config.batch_size, config.latent_dim), noise_rng), y

    made_up = in_blocks(draw, len(order) + g_steps, device)
    totals_d, totals_g = torch.zeros(4, device=device), torch.zeros(2, device=device)
    for number, index in enumerate(order, start=1):
        totals_d += d_step(to_signed(flat[index]), labels[index], *next(made_up))
        if number % config.num_d_steps == 0:
            totals_g += g_step(*next(made_up))
    return finite_means(totals_d, len(order), epoch), finite_means(totals_g, g_steps, epoch)


@torch.no_grad()
def sample(generator, labels, rng, chunk=10_000):
    """One fresh image for each label (N,) int64: (N, 28, 28) uint8."""
    return generate(generator, uniform((len(labels), generator.latent_dim), rng), labels, chunk)


@torch.no_grad()
def generate(generator, z, labels, chunk=10_000):
    """The images of z (N, latent_dim) and labels (N,), BatchNorm with its running statistics."""
    was_training, device = generator.training, next(generator.parameters()).device
    generator.eval()
    parts = zip(z.split(chunk), labels.split(chunk), strict=True)
    images = [from_signed(generator(a.to(device), b.to(device))).cpu() for a, b in parts]
    generator.train(was_training)
    return torch.cat(images).view(-1, 28, 28)


def generate_grid(generator, rng, columns=10):
    """A row per label, the same noise down each column: (num_classes, columns, 28, 28) uint8."""
    classes = generator.num_classes
    z = uniform((columns, generator.latent_dim), rng).repeat(classes, 1)
    labels = torch.arange(classes).repeat_interleave(columns)
    return generate(generator, z, labels).view(classes, columns, 28, 28)


def mix_labels(generator, rng, start, end, steps):
    """One noise vector under labels that slide from start (C,) to end (C,), both int64.

    Such mixtures were never trained. Returns (C, steps, 28, 28) uint8.
    """
    ends = [one_hot(labels, generator.num_classes)[:, None] for labels in (start, end)]
    y = torch.lerp(*ends, torch.linspace(0, 1, steps)[:, None]).flatten(0, 1)
    z = uniform((1, generator.latent_dim), rng).expand(len(y), -1)
    return _draw(generator, z, y).view(len(start), steps, 28, 28)


def walk_noise(generator, rng, labels, steps):
    """Each label (C,) with noise on the line between two vectors: (C, steps, 28, 28) uint8."""
    start, end = uniform((2, 1, generator.latent_dim), rng)
    z = torch.lerp(start, end, torch.linspace(0, 1, steps)[:, None]).repeat(len(labels), 1)
    y = one_hot(labels.repeat_interleave(steps), generator.num_classes)
    return _draw(generator, z, y).view(len(labels), steps, 28, 28)


@torch.no_grad()
def _draw(generator, z, y):
    """The images of z (N, latent_dim) and label vectors y (N, num_classes): (N, 784) uint8."""
    was_training, device = generator.training, next(generator.parameters()).device
    generator.eval()
    images = from_signed(generator.layers(torch.cat([z, y], 1).to(device))).cpu()
    generator.train(was_training)
    return images
