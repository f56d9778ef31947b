"""A GAN over its epochs: how good the generators were that its run kept."""

import statistics

import torch

from helpers import cgan, gan, params, vae, weights
from helpers.scores import network
from helpers.scores.fid import frechet
from helpers.scores.setting import prepare
from helpers.training import rng


def by_epoch(run, history, result, draws=2):
    """A list of dicts, epochs ascending; the last is of the epoch that `result` scores.

    "epoch", "fid" with its "std" over draws, "d_real", "d_fake", and "moved": the share of the
    fixed images that show another class than in the entry before. Number of images, noise and
    network are those of `result`.
    """
    setting = prepare(run.data, result["n"], draws, result["seed"], run.device)
    last, before, rows = result["scores"]["fid"], None, []
    for epoch, net in [*sorted(_kept(run, len(history)).items()), (len(history), None)]:
        record, fids = history[epoch - 1], []
        for draw in range(draws if net else 0):
            images = sampler(net)(result["n"], rng(setting.seed, "scores", draw))
            seen = network.look(setting.network.net, images).features
            fids.append(frechet(seen, setting.real.features))
        shown = network.look(setting.network.net, record.images.view(-1, 28, 28)).labels
        moved = None if before is None else (shown != before).double().mean().item()
        row = {"epoch": epoch, "d_real": record.d_real, "d_fake": record.d_fake, "moved": moved}
        row["fid"] = statistics.fmean(fids) if net else last["value"]
        row["std"] = statistics.stdev(fids) if net else last["std"]
        rows, before = [*rows, row], shown
    return rows


def _kept(run, epochs):
    """{epoch: generator} of the weights of this run, not of another, before its last epoch."""
    nets, wanted = {}, params.fixed(vars(run.config))
    for path in run.folder.glob("weights_*.safetensors"):
        net, config, epoch, *_ = weights.load(path)
        if epoch < epochs and params.fixed(vars(config)) == wanted:
            nets[epoch] = net.to(run.device)
    return nets


def sampler(net):
    """sample(n, rng) -> (n, 28, 28) uint8; a conditional generator draws its labels in turn."""
    if isinstance(net, cgan.Generator):
        return lambda n, rng: cgan.sample(net, torch.arange(n) % net.num_classes, rng)
    return lambda n, rng: (vae if isinstance(net, vae.VAE) else gan).sample(net, n, rng)
