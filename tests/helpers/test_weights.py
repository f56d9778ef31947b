"""Weights come back as they were saved, or are refused by name."""

import pytest
import torch

from helpers import cgan, gan, training, vae, weights
from helpers.params import CGANConfig, GANConfig, VAEConfig

CPU = torch.device("cpu")
DIGITS = tuple("0123456789")
GAN = GANConfig(latent_dim=6, base_channels=4, batchnorm_affine=False)
CGAN = CGANConfig(latent_dim=6, hidden_dims=[16, 8])


def networks():
    with training.seeded(0, "weights"):
        yield vae.VAE(8, 4), VAEConfig(hidden_dim=8, latent_dim=4)
    for parts, config in ((gan.build(GAN, CPU), GAN), (cgan.build(CGAN, 10, CPU), CGAN)):
        yield parts.generator, config
        yield parts.discriminator, config


def test_weights_come_back_in_half_precision_with_their_config(tmp_path):
    real = torch.arange(2 * 784).remainder(256).to(torch.uint8).view(2, 28, 28)
    for net, config in networks():
        for buffer in net.buffers():
            buffer.copy_(torch.arange(buffer.numel()) + 1.0 if buffer.ndim else torch.tensor(3))
        weights.save(tmp_path, net, config, 7, DIGITS, real, name="net")
        found = weights.load(tmp_path / "net_7.safetensors")
        assert (type(found.net), found.config, found.epoch) == (type(net), config, 7)
        assert torch.equal(found.images, real) and not found.net.training
        for name, value in net.state_dict().items():
            expected = value.half().float() if value.ndim > 1 else value
            assert torch.equal(found.net.state_dict()[name], expected)


def test_missing_cut_or_other_files_are_named(tmp_path):
    path = tmp_path / "weights_1.safetensors"
    with pytest.raises(FileNotFoundError, match=f"{path.name}: not there"):
        weights.load(path)
    weights.save(tmp_path, *next(networks()), 1)
    whole = path.read_bytes()
    for content in [bytes(64), *(whole[:length] for length in range(0, len(whole), 997))]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{path.name}: damaged"):
            weights.load(path)
