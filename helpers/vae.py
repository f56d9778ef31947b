"""Variational autoencoder of linear layers (Kingma & Welling 2014, arXiv:1312.6114)."""

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from helpers.cuda_graph import recorded
from helpers.training import (
    adam,
    adam_step,
    batches,
    finite_means,
    from_unit,
    rng,
    seeded,
    set_rate,
    to_unit,
)


class VAE(nn.Module):
    """x (N, 784) -> mu, logvar (N, latent_dim);  z (N, latent_dim) -> x_hat (N, 784) in (0, 1)."""

    def __init__(self, hidden_dim=64, latent_dim=16):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, hidden_dim), nn.ReLU())
        self.mu = nn.Linear(hidden_dim, latent_dim)
        self.logvar = nn.Linear(hidden_dim, latent_dim)
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, 784),
            nn.Sigmoid(),
        )

    def encode(self, x):
        h = self.encoder(x)
        return self.mu(h), self.logvar(h)

    def decode(self, z):
        return self.decoder(z)


class Parts(NamedTuple):
    """All that training changes, and a checkpoint keeps."""

    model: nn.Module
    optimizer: torch.optim.Optimizer


class Record(NamedTuple):
    """One epoch, in nats per image: means over its training steps and over the test set."""

    epoch: int
    recon: float
    kl: float
    test_recon: float
    test_kl: float

    def __str__(self):
        return (
            f"recon {self.recon:.3f}  kl {self.kl:.3f}  "
            f"test recon {self.test_recon:.3f}  kl {self.test_kl:.3f}"
        )


def build(config, device):
    """A fresh network and its optimizer: a Parts."""
    with seeded(config.seed, "vae"):
        model = VAE(config.hidden_dim, config.latent_dim).to(device)
    return Parts(model, adam(model.parameters(), config, device))


def elbo_terms(model, x, noise):
    """The two terms of the negative evidence lower bound, each (N,), in nats per image.

    x: (N, 784) in [0, 1].  noise: (N, latent_dim) ~ N(0, I).
    recon: squared error summed over pixels, which is -ln p(x|z) up to a constant for
    p(x|z) = N(x_hat, I/2).  kl: KL(q(z|x) || N(0, I)), summed over latents.
    Kingma & Welling 2014, eq. 10 and appendix B.
    """
    mu, logvar = model.encode(x)
    z = mu + (0.5 * logvar).exp() * noise
    x_hat = model.decode(z)
    recon = (x - x_hat).square().sum(1)
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
    return recon, kl


def train_step(model, optimizer, x, noise, beta):
    """One step of Adam on the loss of `backpropagate`; returns both means, (2,)."""
    with torch.no_grad():
        means, gradients = backpropagate(model.parameters(), x, noise, beta)
        adam_step(optimizer, gradients)
    return means


def backpropagate(weights, x, noise, beta):
    """The means of `elbo_terms` over the batch, (2,), and the gradients of recon + beta * kl.

    If beta is None, of 784/2 ln(recon) + kl: the variance of a pixel is the best for the batch.

    The chain rule by hand, from the last line back to the first: for products this small autograd
    takes longer to keep its books than the arithmetic takes. A test compares the two. d_v is the
    derivative of the loss by v, where h and k are the hidden layers before and after the code.
    """
    w_h, b_h, w_mu, b_mu, w_var, b_var, w_k, b_k, w_x, b_x = weights
    # Forward
    h = F.linear(x, w_h, b_h).relu_()
    mu, logvar = F.linear(h, w_mu, b_mu), F.linear(h, w_var, b_var)
    sigma = (0.5 * logvar).exp_()
    z = mu + sigma * noise
    k = F.linear(z, w_k, b_k).relu_()
    x_hat = F.linear(k, w_x, b_x).sigmoid_()
    error, n = x_hat - x, len(x)
    recon = error.square().sum() / n
    kl = 0.5 * (mu.square() + sigma.square() - 1 - logvar).sum() / n
    a, beta = (1, beta) if beta is not None else (784 / 2 / recon, 1)  # weights of both terms

    # Backward; the derivative of the sigmoid is x_hat (1 - x_hat), that of the ReLU 0 or 1
    d_x_hat = 2 * a / n * error * x_hat * (1 - x_hat)  # by the logits, before the sigmoid
    d_k = d_x_hat @ w_x * (k > 0)
    d_z = d_k @ w_k
    d_mu = d_z + beta / n * mu
    d_logvar = 0.5 * (d_z * sigma * noise + beta / n * (sigma.square() - 1))
    d_h = (d_mu @ w_mu + d_logvar @ w_var) * (h > 0)
    layers = (d_h, x), (d_mu, h), (d_logvar, h), (d_k, z), (d_x_hat, k)
    return torch.stack([recon, kl]), [g for d, v in layers for g in (d.t() @ v, d.sum(0))]


def train_vae(config, parts, images, test_images, start=0):
    """Train from epoch `start` + 1 to config.epochs; yields a Record after each.

    parts: from `build`.  images, test_images: (N, 28, 28) uint8 on the device of the model.
    """
    (model, optimizer), device = parts, images.device
    flat, test_flat = images.flatten(1), test_images.flatten(1)
    x, no_noise = to_unit(flat[: config.batch_size]), torch.zeros(config.latent_dim, device=device)
    set_rate(optimizer, config, start + 1)
    beta = None if config.learn_variance else config.beta
    step = partial(train_step, model, optimizer, beta=beta)
    step = recorded(step, parts, x, no_noise.expand(len(x), -1))
    for epoch in range(start + 1, config.epochs + 1):
        order_rng, noise_rng = (rng(config.seed, what, epoch) for what in ("order", "noise"))
        order = batches(len(flat), config.batch_size, order_rng).to(device)
        noise = torch.randn((*order.shape, config.latent_dim), generator=noise_rng).to(device)
        totals = torch.zeros(2, device=device)
        model.train()
        for index, step_noise in zip(order, noise, strict=True):
            totals += step(to_unit(flat.index_select(0, index)), step_noise)
        recon, kl = finite_means(totals, len(order), epoch)
        yield Record(epoch, recon, kl, *evaluate(model, test_flat, config.seed))


@torch.no_grad()
def evaluate(model, flat, seed, chunk=10_000):
    """Mean recon and kl over the images (N, 784) uint8, one z per image, in nats per image."""
    model.eval()
    noise_rng = rng(seed, "test noise")
    totals = torch.zeros(2, dtype=torch.float64)
    for part in flat.split(chunk):
        shape = (len(part), model.mu.out_features)
        noise = torch.randn(shape, generator=noise_rng).to(part.device)
        terms = elbo_terms(model, to_unit(part), noise)
        totals += torch.stack([term.sum(dtype=torch.float64) for term in terms]).cpu()
    return (totals / len(flat)).tolist()


@torch.no_grad()
def kl_per_latent(model, flat):
    """KL(q(z_j|x) || N(0, 1)) averaged over the images (N, 784) uint8: (latent_dim,), in nats."""
    mu, logvar = model.encode(to_unit(flat))
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).mean(0)


@torch.no_grad()
def sample(model, n, rng, mixture=None):
    """The means of p(x|z), z ~ N(0, I) or ~ a mixture: (n, 28, 28) uint8, on the CPU."""
    z = torch.randn((n, model.mu.out_features), generator=rng)
    if mixture:
        seed = torch.randint(2**31, (), generator=rng).item()
        z = torch.from_numpy(mixture.set_params(random_state=seed).sample(n)[0])
        z = z[torch.randperm(n, generator=rng)]  # they come sorted by component
    return from_unit(model.decode(z.to(model.mu.weight))).view(n, 28, 28).cpu()


def fit_codes(model, flat, seed, components=30, most=20_000):
    """A Gaussian mixture of codes z ~ q(z|x) of at most `most` of the images (N, 784) uint8."""
    from sklearn.mixture import GaussianMixture  # here: it takes a second
    from threadpoolctl import threadpool_limits

    chosen = torch.randperm(len(flat), generator=rng(seed, "codes"))[:most]
    with torch.no_grad():
        mu, logvar = model.encode(to_unit(flat[chosen.to(flat.device)]))
    z = mu + (0.5 * logvar).exp() * torch.randn(mu.shape, generator=rng(seed, "code noise")).to(mu)
    with threadpool_limits(1, "openmp"):  # sums of several threads come in any order
        return GaussianMixture(components, random_state=seed).fit(z.cpu().double().numpy())


@torch.no_grad()
def reconstruct(model, images):
    """Images (N, 28, 28) uint8, encoded (the mean) and decoded: the same, on the CPU."""
    mu, _ = model.encode(to_unit(images.flatten(1)))
    return from_unit(model.decode(mu)).view(-1, 28, 28).cpu()


@torch.no_grad()
def interpolate(model, x_a, x_b, steps):
    """Decoded points between the codes mu of two images (784,): (steps, 28, 28) uint8."""
    mu, _ = model.encode(torch.stack([x_a, x_b]))
    weight = torch.linspace(0, 1, steps, device=mu.device)[:, None]
    return from_unit(model.decode(torch.lerp(mu[0], mu[1], weight))).view(steps, 28, 28).cpu()


@torch.no_grad()
def traverse(model, values):
    """Each latent in turn set to each of the values, all others 0: (latent_dim, V, 28, 28) uint8.

    The rows are ordered as the latents are; values: (V,).
    """
    latents = model.mu.out_features
    values = values.to(model.mu.weight)
    z = torch.eye(latents).to(values)[:, None] * values[:, None]
    return from_unit(model.decode(z)).view(latents, len(values), 28, 28).cpu()


@torch.no_grad()
def plane(model, i, j, values):
    """Latents i (rows, falling) and j (columns, rising) over the values: (V, V, 28, 28) uint8."""
    count = len(values)
    z = torch.zeros(count, count, model.mu.out_features, device=model.mu.weight.device)
    z[..., i] = values.flip(0)[:, None].to(z)
    z[..., j] = values[None].to(z)
    return from_unit(model.decode(z)).view(count, count, 28, 28).cpu()
