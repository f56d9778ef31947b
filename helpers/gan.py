"""DCGAN for 28x28 images, without resizing (Radford et al. 2016, arXiv:1511.06434)."""

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
    memory_format,
    rng,
    seeded,
    set_rate,
    to_signed,
    uniform,
)


class Generator(nn.Sequential):
    """z (N, latent_dim) -> images (N, 1, 28, 28) in (-1, 1)."""

    def __init__(self, latent_dim=200, base_channels=64, affine=True):
        c, norm = base_channels, partial(nn.BatchNorm2d, affine=affine)
        super().__init__(
            nn.Unflatten(1, (latent_dim, 1, 1)),
            nn.ConvTranspose2d(latent_dim, 4 * c, 4, 1, 0, bias=False),  # 1x1 -> 4x4
            norm(4 * c),
            nn.ReLU(),
            nn.ConvTranspose2d(4 * c, 2 * c, 3, 2, 1, bias=False),  # 4x4 -> 7x7
            norm(2 * c),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * c, c, 4, 2, 1, bias=False),  # 7x7 -> 14x14
            norm(c),
            nn.ReLU(),
            nn.ConvTranspose2d(c, 1, 4, 2, 1),  # 14x14 -> 28x28
            nn.Tanh(),
        )


class Discriminator(nn.Sequential):
    """images (N, 1, 28, 28) -> logits (N,): log-odds that an image is real."""

    def __init__(self, base_channels=64, affine=True):
        c, norm = base_channels, partial(nn.BatchNorm2d, affine=affine)
        super().__init__(
            nn.Conv2d(1, c, 4, 2, 1),  # 28x28 -> 14x14; no BatchNorm on the input, as in the paper
            nn.LeakyReLU(0.2),
            nn.Conv2d(c, 2 * c, 4, 2, 1, bias=False),  # 14x14 -> 7x7
            norm(2 * c),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * c, 4 * c, 3, 2, 1, bias=False),  # 7x7 -> 4x4
            norm(4 * c),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * c, 1, 4, 1, 0),  # 4x4 -> 1x1
            nn.Flatten(0),
        )


class Parts(NamedTuple):
    """All that training changes, and a checkpoint keeps."""

    generator: nn.Module
    discriminator: nn.Module
    opt_g: torch.optim.Optimizer
    opt_d: torch.optim.Optimizer
    artist: nn.Module  # draws the images: the generator, or its average over the steps


class Record(NamedTuple):
    """One epoch: means over its steps, and the fixed noise vectors' images at its end."""

    epoch: int
    loss_d: float
    loss_g: float
    d_real: float  # mean D(x) on real images, a probability
    d_fake: float  # mean D(G(z))
    grad_d: float  # Euclidean norm of the gradient
    grad_g: float
    images: torch.Tensor  # (16, 28, 28) uint8

    def __str__(self):
        return f"loss_d {self.loss_d:.4f}  loss_g {self.loss_g:.4f}"


def build(config, device):
    """Fresh networks and their optimizers: a Parts."""
    width, affine = config.base_channels, config.batchnorm_affine
    with seeded(config.seed, "gan"):
        generator = Generator(config.latent_dim, width, affine).apply(initialize)
        discriminator = Discriminator(width, affine).apply(initialize)
    nets = [
        net.to(device, memory_format=memory_format(device)) for net in (generator, discriminator)
    ]
    optimizers = [adam(net.parameters(), config, device) for net in nets]
    return Parts(*nets, *optimizers, averaged(nets[0], config.ema_decay))


def initialize(layer):
    """Weights ~ N(0, 0.02); BatchNorm scales ~ N(1, 0.02); biases 0. Radford et al., section 4."""
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d) and layer.affine:
        nn.init.normal_(layer.weight, 1.0, 0.02)
    if getattr(layer, "bias", None) is not None:
        nn.init.zeros_(layer.bias)


def train_step(generator, discriminator, opt_g, opt_d, real, z, smoothing=0.0):
    """One step of both networks on real (N, 1, 28, 28) and z (N, latent_dim); returns (6,):
    both losses, mean D(x) and D(G(z)), and the norms of both gradients.

    Goodfellow et al. 2014 (arXiv:1406.2661), algorithm 1 with one discriminator step and the
    non-saturating generator loss; softplus(-a) = -ln sigmoid(a). smoothing: D is asked to call
    real images real with probability 1 - smoothing (Salimans et al. 2016, arXiv:1606.03498, 3.4).
    """
    # (1) D: maximize ln D(x) + ln(1 - D(G(z)))
    fake = generator(z)
    on_real, on_fake = discriminator(real), discriminator(fake.detach())
    loss_d = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
    if smoothing:
        loss_d = loss_d + smoothing * on_real.mean()
    grad_d = torch.autograd.grad(loss_d, list(discriminator.parameters()))
    adam_step(opt_d, grad_d)

    # (2) G: maximize ln D(G(z))
    loss_g = F.softplus(-discriminator(fake)).mean()
    grad_g = torch.autograd.grad(loss_g, list(generator.parameters()))  # D's are not wanted here
    adam_step(opt_g, grad_g)

    d_real, d_fake = on_real.sigmoid().mean(), on_fake.sigmoid().mean()
    norms = get_total_norm(grad_d), get_total_norm(grad_g)
    return torch.stack([loss_d, loss_g, d_real, d_fake, *norms]).detach()


def train_gan(config, parts, images, start=0):
    """Train from epoch `start` + 1 to config.epochs; yields a Record after each.

    parts: from `build`.  images: (N, 28, 28) uint8 on the device of the networks.
    """
    generator, discriminator, opt_g, opt_d, artist = parts
    fixed = fixed_noise(config)
    real = to_signed(images[: config.batch_size]).unsqueeze(1)
    z = fixed.to(images.device)[:1].repeat(len(real), 1)

    def both(real, z):
        values = train_step(*parts[:4], real, z, config.label_smoothing)
        follow(artist, generator, config.ema_decay)
        return values

    set_rate(opt_g, config, start + 1), set_rate(opt_d, config, start + 1)
    step = recorded(both, parts, real, z)
    for epoch in range(start + 1, config.epochs + 1):
        set_rate(opt_g, config, epoch), set_rate(opt_d, config, epoch)
        generator.train(), discriminator.train()
        means = train_epoch(config, step, images, epoch)
        yield Record(epoch, *means, generate(artist, fixed))


def train_epoch(config, step, images, epoch):
    """One pass over the images; step(real, z). Returns the means of its six values."""
    order_rng, noise_rng = (rng(config.seed, what, epoch) for what in ("order", "noise"))
    order = batches(len(images), config.batch_size, order_rng).to(images.device)
    shape = config.batch_size, config.latent_dim
    noise = in_blocks(lambda n: uniform((n, *shape), noise_rng), len(order), images.device)
    totals = torch.zeros(6, device=images.device)
    for index, z in zip(order, noise, strict=True):
        totals += step(to_signed(images[index]).unsqueeze(1), z)
    return finite_means(totals, len(order), epoch)


def fixed_noise(config, n=16):
    """The noise vectors whose images are kept after every epoch: (n, latent_dim) ~ U(-1, 1)."""
    return uniform((n, config.latent_dim), rng(config.seed, "fixed noise"))


@torch.no_grad()
def generate(generator, z, chunk=1000):
    """The images of z (N, latent_dim), BatchNorm with its running statistics: (N, 28, 28) uint8.

    With batch statistics instead, an image would depend on which others it is drawn beside.
    """
    was_training = generator.training
    generator.eval()
    device = next(generator.parameters()).device
    images = [from_signed(generator(part.to(device))).cpu() for part in z.split(chunk)]
    generator.train(was_training)
    return torch.cat(images).squeeze(1)


def sample(generator, n, rng):
    """n fresh images: (n, 28, 28) uint8."""
    latent_dim = generator[0].unflattened_size[0]
    return generate(generator, uniform((n, latent_dim), rng))


@torch.no_grad()
def logits(discriminator, images, chunk=1000):
    """What D says of images (N, 28, 28) uint8, by running statistics: log-odds (N,), on CPU."""
    was_training, device = discriminator.training, next(discriminator.parameters()).device
    discriminator.eval()
    parts = torch.as_tensor(images).split(chunk)
    seen = [discriminator(to_signed(part.to(device)).unsqueeze(1)).cpu() for part in parts]
    discriminator.train(was_training)
    return torch.cat(seen)


def changes(history):
    """Mean absolute change of the fixed vectors' images from each epoch to the next.

    In gray levels (0 to 255); one number less than there are records.
    """
    frames = [record.images.float() for record in history]
    return [(b - a).abs().mean().item() for a, b in zip(frames, frames[1:], strict=False)]


def snapshots(wanted, epochs):
    """The epochs to show for the wanted ones: the same, or as far along a shorter run.

    Three wanted of which the last is beyond `epochs` are scaled down together, so that the first
    is still the youngest: (16, 22, 34) of 10 epochs gives (5, 6, 10).
    """
    if epochs >= wanted[-1]:
        return tuple(wanted)
    return tuple(max(1, round(epoch * epochs / wanted[-1])) for epoch in wanted)


def spread(epochs, count):
    """At most `count` epochs from the first to the last, denser at the start."""
    chosen = []
    for step in range(min(count, epochs)):
        even = round(epochs ** (step / max(1, min(count, epochs) - 1)))
        chosen.append(max(even, chosen[-1] + 1) if chosen else 1)
    return chosen
