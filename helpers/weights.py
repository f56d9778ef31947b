"""Trained networks as safetensors: numbers only, never code, readable by any framework.

Matrices and filters are rounded to half precision, which changes an image by a gray level here
and there; biases and what BatchNorm counted stay as they are. The file's metadata holds the config
and the classes, so that a file alone is enough to draw.
"""

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from helpers import cgan, gan, params, vae
from helpers.files import write_atomically


class Weights(NamedTuple):
    """What a file holds, ready to draw on the CPU."""

    net: torch.nn.Module
    config: object
    epoch: int
    classes: tuple[str, ...]
    images: torch.Tensor | None  # (N, 28, 28) uint8: the real images that a figure starts from


def save(run, net, config, epoch, classes=(), images=None):
    """Write run/weights_<epoch>.safetensors: a network (VAE or generator) and what it is."""
    tensors = {
        f"net.{name}": value.half() if value.ndim > 1 else value
        for name, value in net.state_dict().items()
    }
    if images is not None:
        tensors["images"] = images
    about = {
        "model": MODELS[type(config)],
        "config": dataclasses.asdict(config),
        "epoch": epoch,
        "classes": list(classes),
    }
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {"about": json.dumps(about, sort_keys=True)}  # several entries have no fixed order
    write_atomically(Path(run) / f"weights_{epoch}.safetensors", to_bytes(plain, metadata))


def load(path):
    """The Weights in a file; ValueError naming the path if it is damaged or of something else."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config = CONFIGS[about["model"]](**about["config"])
        classes = tuple(about["classes"])
        net = _network(config, classes)
        state = {k.removeprefix("net."): v for k, v in tensors.items() if k.startswith("net.")}
        wide = {k: v.float() if v.dtype == torch.float16 else v for k, v in state.items()}
        net.load_state_dict(wide)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: not there") from None
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        line = str(error).splitlines()[0]
        raise ValueError(f"{path}: damaged, or no weights of this project ({line})") from None
    return Weights(net.eval(), config, about["epoch"], classes, tensors.get("images"))


def _network(config, classes):
    if isinstance(config, params.VAEConfig):
        return vae.VAE(config.hidden_dim, config.latent_dim)
    if isinstance(config, params.GANConfig):
        return gan.Generator(config.latent_dim, config.base_channels, config.batchnorm_affine)
    return cgan.Generator(config.latent_dim, config.hidden_dims, len(classes))


CONFIGS = {"vae": params.VAEConfig, "gan": params.GANConfig, "cgan": params.CGANConfig}
MODELS = {config: name for name, config in CONFIGS.items()}
