"""A GAN over its epochs: how good the generators were that its run kept."""

import json
import statistics

import torch

from helpers import cgan, gan, params, vae, weights
from helpers.data import cache
from helpers.files import write_json
from helpers.scores import network, tables
from helpers.scores.fid import frechet
from helpers.scores.setting import prepare
from helpers.training import rng


def by_epoch(run, history, result, draws=2):
    """A list of dicts, epochs ascending; the last is of the epoch that `result` scores.

    "epoch", "fid" with its "std" over draws, "d_real", "d_fake", "fixed", the number of images of
    the fixed noise, and "moved", how many of them show another class than in the entry before:
    None in the first, and where the class was ordered. Number of images, noise and network are
    those of `result`. What was measured stays in the run's epochs.json, for when the
    weights of an epoch are gone, as those of most epochs of a published run are.
    """
    setting = prepare(run.data, result["n"], draws, result["seed"], run.device)
    protocol = tables.FORMAT, setting.network.sha256, result["n"], draws, setting.seed
    path, nets = run.folder / "epochs.json", _kept(run, len(history))
    try:
        known = dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):  # none, or damaged: measured again
        known = {}
    ordered = isinstance(run.config, params.CGANConfig)
    before, measured, rows = None, {}, []
    for epoch, record in enumerate(history, 1):
        if epoch < len(history):
            key = cache.key(*protocol, record.images.numpy().tobytes())
            fids = known.get(key)
            if fids is None and epoch in nets:
                fids = [_fid(setting, nets[epoch], draw) for draw in range(draws)]
            if fids is None:
                continue
            measured[key] = fids
            fid, std = statistics.fmean(fids), statistics.stdev(fids)
        else:
            fid, std = (result["scores"]["fid"][name] for name in ("value", "std"))
        shown = network.look(setting.network.net, record.images.view(-1, 28, 28)).labels
        moved = None if before is None or ordered else (shown != before).sum().item()
        row = {"epoch": epoch, "d_real": record.d_real, "d_fake": record.d_fake, "fid": fid}
        rows.append(row | {"std": std, "fixed": len(shown), "moved": moved})
        before = shown
    write_json(path, measured)
    return rows


def _fid(setting, net, draw):
    images = sampler(net)(len(setting.test), rng(setting.seed, "scores", draw))
    return frechet(network.look(setting.network.net, images).features, setting.real.features)


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
