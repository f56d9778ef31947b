"""Trained networks as safetensors: numbers only, never code, readable by any framework.

Matrices and filters are rounded to half precision, which changes an image by a gray level here
and there; biases and what BatchNorm counted stay as they are. The file's metadata holds the config
and the classes, so that a file alone is enough to draw. Where a SHA256SUMS lies beside it, as in
report/weights/, a file must be the one that is listed there (`sha256sum -c SHA256SUMS` asks too).
"""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes

from helpers import cgan, gan, params, training, vae
from helpers.files import safetensors_metadata, write_atomically


class Weights(NamedTuple):
    """What a file holds, ready to draw on the CPU."""

    net: torch.nn.Module
    config: object
    epoch: int
    classes: tuple[str, ...]
    images: torch.Tensor | None  # (N, 28, 28) uint8: the real images that a figure starts from


def save(folder, net, config, epoch, classes=(), images=None, kl=None, name="weights"):
    """Write folder/<name>_<epoch>.safetensors: a network and what it is.

    net: a VAE, a generator or a discriminator, which `config` describes.
    images: (N, 28, 28) uint8, real images to start from.  kl: (latent_dim,), what a VAE's latents
    cost on average. Both are for figures.
    """
    tensors = {f"net.{key}": _narrow(value) for key, value in net.state_dict().items()}
    tensors |= {k: value for k, value in (("images", images), ("kl", kl)) if value is not None}
    about = {"model": MODELS[type(config)], "config": dict(vars(config)), "epoch": epoch}
    about["classes"] = list(classes)
    if isinstance(net, (gan.Discriminator, cgan.Discriminator)):
        about["network"] = "discriminator"
    else:
        tensors["noise"] = noise(config)
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    metadata = {"about": json.dumps(about, sort_keys=True)}  # several entries have no fixed order
    write_atomically(Path(folder) / f"{name}_{epoch}.safetensors", to_bytes(plain, metadata))


def load(path):
    """The Weights in a file; ValueError naming it if it is damaged, replaced or none of ours."""
    path = Path(path)
    try:
        content = path.read_bytes()
        _as_listed(path, content)
        tensors = from_bytes(content)
        about = json.loads(safetensors_metadata(content)["about"])
        kind = CONFIGS[about["model"]]
        known = vars(kind())  # a parameter that is gone by now said nothing of the network
        config = kind(**{key: value for key, value in about["config"].items() if key in known})
        classes = tuple(about["classes"])
        net = _network(config, classes, about.get("network"))
        images, *_ = (tensors.pop(key, None) for key in ("images", "kl", "noise"))
        net.load_state_dict({k.removeprefix("net."): v for k, v in tensors.items()})  # widens them
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: not there") from None
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: damaged, or no weights of this project ({line})") from None
    return Weights(net.eval(), config, about["epoch"], classes, images)


def noise(config):
    """The noise vectors of Figure 1, or of Figures 3 to 5: (n, latent_dim); Figure 6 takes ten."""
    if isinstance(config, params.VAEConfig):
        return torch.randn((5, config.latent_dim), generator=training.rng(config.seed, "figure 1"))
    return gan.fixed_noise(config)


def sums(files):
    """The text of a SHA256SUMS for {name: bytes}."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))


def _as_listed(path, content):
    """Raise ValueError unless the SHA256SUMS beside a file, if there is one, lists these bytes."""
    listed = path.with_name("SHA256SUMS")
    if listed.exists() and sums({path.name: content}) not in listed.read_text("utf-8"):
        raise ValueError("not the bytes that SHA256SUMS lists")


def _narrow(value):
    return value.half() if value.ndim > 1 else value


def _network(config, classes, which):
    if isinstance(config, params.VAEConfig):
        return vae.VAE(config.hidden_dim, config.latent_dim)
    if isinstance(config, params.GANConfig):
        parts = gan.build(config, torch.device("cpu"))
    else:
        parts = cgan.build(config, len(classes), torch.device("cpu"))
    return parts.discriminator if which == "discriminator" else parts.generator


CONFIGS = {"vae": params.VAEConfig, "gan": params.GANConfig, "cgan": params.CGANConfig}
MODELS = {config: name for name, config in CONFIGS.items()}
