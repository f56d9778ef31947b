"""How fast the training loops are: `python -m workflow.bench [--seconds 4]`, or `make bench`.

Each loop is measured beside the textbook one in the same process, the two taking turns, and
the median of several turns counts. The arithmetic is counted by torch and set against a product of
two 2048 x 2048 matrices on the same machine. Needs no notebook package. Writes build/bench.md.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from helpers import cgan, data, gan, training, vae
from helpers.data.download import import_torchvision
from helpers.files import write_atomically
from helpers.params import CGANConfig, GANConfig, VAEConfig
from helpers.paths import ROOT
from workflow.progress import duration

TURNS = 5


class TextbookImages(Dataset):
    """What torchvision.datasets.MNIST does for each image: PIL, ToTensor, Normalize."""

    def __init__(self, images, labels, mean, std):
        transforms = import_torchvision().transforms
        steps = [transforms.ToTensor()]
        steps += [transforms.Normalize((mean,), (std,))] if std != 1 else []
        self.images, self.labels = images, labels
        self.transform = transforms.Compose(steps)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        from PIL import Image

        image = Image.fromarray(self.images[index].numpy())
        return self.transform(image), int(self.labels[index])


def textbook_vae(config, images, labels, device):
    """The loop of countless tutorials; a function that runs one epoch."""
    model, _ = vae.build(config, device)
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate)
    loader = DataLoader(
        TextbookImages(images, labels, 0.0, 1.0), config.batch_size, shuffle=True, drop_last=True
    )

    def epoch():
        total = 0.0
        for x, _ in loader:
            x = x.to(device).view(len(x), -1)
            mu, logvar = model.encode(x)
            z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
            recon = F.mse_loss(model.decode(z), x, reduction="sum") / len(x)
            kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / len(x)
            loss = recon + config.beta * kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total

    return epoch


def textbook_gan(config, images, labels, device, conditional=False):
    """The loop of the DCGAN tutorial, for either GAN; a function that runs one epoch."""
    built = cgan.build(config, 10, device) if conditional else gan.build(config, device)
    g, d = (net.to(memory_format=torch.contiguous_format) for net in built[:2])
    betas = (config.beta1, config.beta2)
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), config.learning_rate, betas) for n in (g, d))
    bce = nn.BCEWithLogitsLoss()
    loader = DataLoader(
        TextbookImages(images, labels, 0.5, 0.5), config.batch_size, shuffle=True, drop_last=True
    )

    def epoch():
        total = 0.0
        for number, (x, y) in enumerate(loader, start=1):
            n = len(x)
            x, y = x.to(device), y.to(device)
            z = torch.rand(n, config.latent_dim, device=device) * 2 - 1
            ones, zeros = torch.ones(n, device=device), torch.zeros(n, device=device)
            if conditional:
                x = x.view(n, -1)
            extra = (y,) if conditional else ()
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


def ours(model, config, images, labels, device):
    """Of this project: a function that runs one epoch, one that runs a step, batches in a step."""
    n = config.batch_size
    if model == "vae":
        net, optimizer = vae.build(config, device)
        x, noise = (
            training.to_unit(images[:n].flatten(1)),
            torch.randn(n, config.latent_dim).to(device),
        )
        records = vae.train_vae(config, net, optimizer, images, images[:1])
        return lambda: next(records), lambda: vae.train_step(net, optimizer, x, noise, 1), 1
    z = training.uniform((n, config.latent_dim), training.rng(0, "bench")).to(device)
    if model == "gan":
        nets = gan.build(config, device)
        real = training.to_signed(images[:n]).unsqueeze(1)
        records = gan.train_gan(config, nets, images)
        return lambda: next(records), lambda: gan.train_step(*nets[:4], real, z), 1
    nets = cgan.build(config, 10, device)
    g, d, opt_g, opt_d, _ = nets
    real, y = training.to_signed(images[:n].flatten(1)), labels[:n]
    records = cgan.train_cgan(config, nets, images, labels)

    def step():
        for _ in range(config.num_d_steps):
            cgan.train_d_step(g, d, opt_d, real, y, z, y)
        cgan.train_g_step(g, d, opt_g, z, y)

    return lambda: next(records), step, config.num_d_steps


MODELS = {
    "vae": (VAEConfig(epochs=10**5), textbook_vae, 1),
    "cgan": (CGANConfig(epochs=10**5), lambda *a: textbook_gan(*a, conditional=True), 0),
    "gan": (GANConfig(epochs=10**5), textbook_gan, 0),
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


def compare(model, images, labels, device, seconds):
    """One row: images a second of both loops, their ratio, and the arithmetic rate of ours."""
    config, textbook, threads = MODELS[model]
    training.set_up(device, threads)
    limit = matrix_rate(device)
    few = images[:1000].to(device), labels[:1000].to(device)
    _, step, batches = ours(model, config, *few, device)
    with FlopCounterMode(display=False) as counter:
        step()
    operations = counter.get_total_flops() / batches
    step()
    per_step = timed(step, device) / batches
    steps = max(4, min(len(images) // config.batch_size, int(seconds / TURNS / per_step)))
    part = slice(0, steps * config.batch_size)
    mine, *_ = ours(model, config, images[part].to(device), labels[part].to(device), device)
    theirs = textbook(config, images[part], labels[part], device)
    mine(), theirs()  # warm up
    turns = [(timed(theirs, device), timed(mine, device)) for _ in range(TURNS)]
    old, new = (statistics.median(times) for times in zip(*turns, strict=True))
    rate = operations * steps / new
    return {
        "model": model,
        "threads": torch.get_num_threads(),
        "batch": config.batch_size,
        "steps": steps,
        "textbook": steps * config.batch_size / old,
        "ours": steps * config.batch_size / new,
        "ratio": statistics.median(a / b for a, b in turns),
        "floor": 1e3 * operations / limit,
        "step": 1e3 * new / steps,
        "gflops": rate / 1e9,
        "limit": limit / 1e9,
    }


def growth(images, labels, device):
    """Rows (what, seconds) of the VAE: epochs, copies of the set, batch sizes."""
    training.set_up(device, 1)
    config, rows = VAEConfig(epochs=4), []

    def train(images, **changed):
        changed = VAEConfig(**{**config.__dict__, **changed})
        net, optimizer = vae.build(changed, device)
        return timed(
            lambda: list(vae.train_vae(changed, net, optimizer, images, images[:1])), device
        )

    small = images[:12_000].to(device)
    rows += [(f"{n} epochs of {len(small):,}", train(small, epochs=n)) for n in (1, 2, 4)]
    for copies in (1, 2, 5, 10):
        many = images.repeat(copies, 1, 1).to(device)
        seconds = train(many, epochs=1, batch_size=512)
        rows.append((f"1 epoch of {len(many):,}, batch 512", seconds))
    rows += [
        (f"1 epoch of {len(small):,}, batch {n}", train(small, epochs=1, batch_size=n))
        for n in (32, 128, 512)
    ]
    return rows


FIRST_STEP = """
import time, resource
from helpers import data, params, training, vae
import torch
device = training.pick_device({device!r})
training.set_up(device, 1)
images = torch.from_numpy(data.load({dataset!r}).train.images).to(device)
config = params.VAEConfig(train_limit=0, epochs=1)
model, optimizer = vae.build(config, device)
x = training.to_unit(images[:32].flatten(1))
vae.train_step(model, optimizer, x, torch.randn(32, 16, device=device), 1.0)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak * (1 if __import__("sys").platform == "darwin" else 1024))
"""


def first_step(dataset, device):
    """(seconds from the start of a process to its first step, its peak memory in bytes)."""
    code = FIRST_STEP.format(dataset=dataset, device=device.type)
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return time.perf_counter() - start, int(done.stdout.split()[-1])


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m workflow.bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="per loop and model")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    device = training.pick_device(options.device)
    training.set_up(device)
    found = data.load("MNIST")
    images, labels = torch.from_numpy(found.train.images), torch.from_numpy(found.train.labels)
    seconds, memory = first_step("MNIST", device)
    lines = [
        f"{data.describe(found)}; {training.describe_device(device)}; torch {torch.__version__}",
        "",
        "| model | threads | batch | textbook, images/s | ours, images/s | ratio "
        "| ms a batch | arithmetic alone | GFLOP/s | of a matrix product |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    print(*lines, sep="\n", flush=True)
    for model in MODELS:
        row = compare(model, images, labels, device, options.seconds)
        share = 100 * row["gflops"] / row["limit"]
        lines.append(
            f"| {model} | {row['threads']} | {row['batch']} | {row['textbook']:,.0f} | "
            f"{row['ours']:,.0f} | {row['ratio']:.1f} | {row['step']:.2f} | {row['floor']:.2f} | "
            f"{row['gflops']:.0f} | "
            f"{share:.0f} % of {row['limit']:.0f} |"
        )
        print(lines[-1], flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    more = [
        "",
        f"first step {seconds:.1f} s after the start of the process; peak memory of that process "
        f"{memory / 2**20:,.0f} MiB, of this one {peak / 1024:,.0f} MiB",
        "",
        "| VAE, one thread | seconds |",
        "|---|---|",
        *(f"| {what} | {value:.2f} |" for what, value in growth(images, labels, device)),
    ]
    print(*more, sep="\n")
    write_atomically(ROOT / "build" / "bench.md", ("\n".join(lines + more) + "\n").encode())
    print(f"\nbuild/bench.md, after {duration(time.process_time())} of computing")


if __name__ == "__main__":
    main()
