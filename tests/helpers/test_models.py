"""The three models: their losses against closed forms and plain implementations, their repeats."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers import cgan, checkpoint, cuda_graph, gan, training, vae
from helpers.params import CGANConfig, GANConfig, VAEConfig

CPU = torch.device("cpu")
DATA = {"train-images": "ab" * 32}


def run_vae(images, labels, folder, epochs, device=CPU, **changed):
    config = VAEConfig(epochs=epochs, hidden_dim=8, latent_dim=4, batch_size=32, **changed)
    nets = vae.build(config, device)
    parts = nets._asdict()
    history = checkpoint.resume(folder, config, DATA, vae.Record, parts)
    return config, parts, history, vae.train_vae(
        config, nets, images, images[:50], start=len(history)
    )  # fmt: skip


def run_gan(images, labels, folder, epochs, device=CPU, **changed):
    config = GANConfig(epochs=epochs, latent_dim=6, base_channels=4, batch_size=32, **changed)
    nets = gan.build(config, device)
    parts = nets._asdict()
    history = checkpoint.resume(folder, config, DATA, gan.Record, parts)
    return config, parts, history, gan.train_gan(config, nets, images, start=len(history))


def run_cgan(images, labels, folder, epochs, device=CPU, **changed):
    config = CGANConfig(
        epochs=epochs, latent_dim=6, hidden_dims=[16, 24], num_d_steps=2, batch_size=32, **changed
    )
    nets = cgan.build(config, 10, device)
    parts = nets._asdict()
    history = checkpoint.resume(folder, config, DATA, cgan.Record, parts)
    return config, parts, history, cgan.train_cgan(
        config, nets, images, labels, start=len(history)
    )  # fmt: skip


def run_gan_variant(*arguments, **changed):
    return run_gan(*arguments, **VARIANT, label_smoothing=0.1, batchnorm_affine=False, **changed)


def run_cgan_variant(*arguments, **changed):
    return run_cgan(*arguments, **VARIANT, **changed)


VARIANT = {"ema_decay": 0.9, "lr_half_life": 1.5}


def go(run, images, labels, folder, epochs, look=None, **changed):
    """Train, saving after every epoch; returns the bytes of the checkpoint."""
    folder.mkdir(exist_ok=True)
    config, parts, history, records = run(images, labels, folder, epochs, **changed)
    for record in records:
        history.append(record)
        checkpoint.save(folder, config, DATA, history, parts)
        if look:
            look(parts)
    assert [record.epoch for record in history] == list(range(1, epochs + 1))
    return (folder / "state.pt").read_bytes()


ALL = pytest.mark.parametrize(
    "run", [run_vae, run_gan, run_cgan, run_gan_variant, run_cgan_variant]
)


@ALL
def test_straight_equals_resumed_bit_for_bit(run, images, labels, tmp_path):
    straight = go(run, images, labels, tmp_path / "a", 3)
    for epochs in (1, 3):
        resumed = go(run, images, labels, tmp_path / "b", epochs)
    assert straight == resumed


@ALL
def test_another_seed_gives_another_run(run, images, labels, tmp_path):
    a = go(run, images, labels, tmp_path / "a", 1)
    assert a != go(run, images, labels, tmp_path / "b", 1, seed=1)


@ALL
def test_looking_never_changes_training(run, images, labels, tmp_path):
    def look(parts):
        """Draw pictures and numbers, use the global generators too."""
        torch.rand(100), np.random.rand(3)
        if "model" in parts:
            vae.sample(parts["model"], 5, training.rng(0, "look"))
            vae.kl_per_latent(parts["model"], images[:9].flatten(1))
        elif run in (run_gan, run_gan_variant):
            gan.sample(parts["artist"], 5, training.rng(0, "look"))
        else:
            cgan.sample(parts["artist"], torch.arange(10), training.rng(0, "look"))

    seen = go(run, images, labels, tmp_path / "a", 2, look)
    assert seen == go(run, images, labels, tmp_path / "b", 2)


@ALL
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(
    run, images, labels, tmp_path
):
    before = go(run, images, labels, tmp_path, 1)
    config, parts, history, records = run(images, labels, tmp_path, 2)
    network = parts.get("model", parts.get("discriminator"))
    next(network.parameters()).data.fill_(float("nan"))
    with pytest.raises(ValueError, match="epoch 2: a loss is not finite"):
        next(records)
    assert (tmp_path / "state.pt").read_bytes() == before


def test_vae_terms_equal_the_closed_form(images):
    model = vae.VAE(hidden_dim=8, latent_dim=4)
    x = images[:7].flatten(1) / 255
    noise = torch.randn(7, 4, generator=training.rng(0, "noise"))
    recon, kl = vae.elbo_terms(model, x, noise)

    mu, logvar = model.encode(x)
    q = torch.distributions.Normal(mu, (logvar / 2).exp())
    p = torch.distributions.Normal(torch.zeros(4), torch.ones(4))
    torch.testing.assert_close(kl, torch.distributions.kl_divergence(q, p).sum(1))
    assert (kl >= 0).all()

    x_hat = model.decode(mu + q.scale * noise)
    gaussian = torch.distributions.Normal(x_hat, 0.5**0.5)  # sigma^2 = 1/2, as the text says
    constant = 784 / 2 * np.log(np.pi)
    torch.testing.assert_close(
        recon, -gaussian.log_prob(x).sum(1) - constant, rtol=1e-4, atol=1e-3
    )


def test_vae_switched_off_latents_cost_nothing():
    model = vae.VAE(hidden_dim=8, latent_dim=4)
    for head in (model.mu, model.logvar):
        nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    _, kl = vae.elbo_terms(model, torch.rand(5, 784), torch.randn(5, 4))
    assert kl.abs().max() < 1e-6


@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0])
def test_the_gradients_by_hand_are_those_of_autograd(beta):
    model = vae.VAE(hidden_dim=24, latent_dim=6)
    x, noise = torch.rand(40, 784), torch.randn(40, 6)
    with torch.no_grad():
        means, found = vae.backpropagate(model.parameters(), x, noise, beta)
    recon, kl = (term.mean() for term in vae.elbo_terms(model, x, noise))
    torch.testing.assert_close(means, torch.stack([recon, kl]).detach())
    wanted = torch.autograd.grad(recon + beta * kl, list(model.parameters()))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * b.abs().max().item())


def test_vae_interpolation_ends_at_the_two_images():
    model, (a, b) = vae.VAE(8, 4), torch.rand(2, 784)
    path = vae.interpolate(model, a, b, 5)
    ends = model.decode(model.encode(torch.stack([a, b]))[0]).detach().view(2, 28, 28)
    assert torch.equal(path[[0, -1]], training.from_unit(ends))


def test_first_gan_step_equals_a_plain_implementation(images):
    config = GANConfig(base_channels=4, latent_dim=6, batch_size=32)
    real = images[:32].unsqueeze(1) / 127.5 - 1
    z = training.uniform((32, 6), training.rng(0, "z"))
    ours = gan.build(config, CPU)
    means = gan.train_step(*ours[:4], real, z)

    g, d, *_ = gan.build(config, CPU)
    g, d = (net.to(memory_format=torch.contiguous_format) for net in (g, d))
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (g, d))
    bce, ones, zeros = nn.BCELoss(), torch.ones(32), torch.zeros(32)
    fake = g(z)
    loss_d = bce(d(real).sigmoid(), ones) + bce(d(fake.detach()).sigmoid(), zeros)
    opt_d.zero_grad()
    loss_d.backward()
    opt_d.step()
    loss_g = bce(d(fake).sigmoid(), ones)
    opt_g.zero_grad()
    loss_g.backward()
    opt_g.step()

    torch.testing.assert_close(means[:2], torch.stack([loss_d, loss_g]).detach())
    for mine, plain in zip(ours[:2], (g, d), strict=True):
        for a, b in zip(mine.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_first_cgan_steps_equal_a_plain_implementation(images, labels):
    config = CGANConfig(hidden_dims=[16, 24], latent_dim=6, batch_size=32)
    real, y = images[:32].flatten(1) / 127.5 - 1, labels[:32]
    z, fake_y = training.uniform((32, 6), training.rng(0, "z")), labels[3:35]

    g, d, opt_g, opt_d, _ = cgan.build(config, 10, CPU)
    on_d = cgan.train_d_step(g, d, opt_d, real, y, z, fake_y)
    on_g = cgan.train_g_step(g, d, opt_g, z, fake_y)

    plain_g, plain_d, *_ = cgan.build(config, 10, CPU)
    optimizers = [torch.optim.Adam(n.parameters(), 5e-4, (0.5, 0.999)) for n in (plain_g, plain_d)]
    bce, ones, zeros = nn.BCEWithLogitsLoss(), torch.ones(32), torch.zeros(32)
    fake = plain_g(z, fake_y).detach()
    loss_d = bce(plain_d(real, y), ones) + bce(plain_d(fake, fake_y), zeros)
    optimizers[1].zero_grad()
    loss_d.backward()
    optimizers[1].step()
    loss_g = bce(plain_d(plain_g(z, fake_y), fake_y), ones)
    optimizers[0].zero_grad()
    loss_g.backward()
    optimizers[0].step()

    torch.testing.assert_close(on_d[0], loss_d.detach())
    torch.testing.assert_close(on_g[0], loss_g.detach())
    for mine, plain in ((g, plain_g), (d, plain_d)):
        for a, b in zip(mine.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_label_smoothing_is_cross_entropy_with_a_softer_target(images):
    config = GANConfig(base_channels=4, latent_dim=6, batch_size=32)
    real = images[:32].unsqueeze(1) / 127.5 - 1
    z = training.uniform((32, 6), training.rng(0, "z"))
    ours, plain = gan.build(config, CPU), gan.build(config, CPU)
    loss_d = gan.train_step(*ours[:4], real, z, smoothing=0.1)[0]
    bce = nn.BCEWithLogitsLoss()
    on_real, on_fake = plain.discriminator(real), plain.discriminator(plain.generator(z))
    expected = bce(on_real, torch.full((32,), 0.9)) + bce(on_fake, torch.zeros(32))
    torch.testing.assert_close(loss_d, expected.detach())


def test_the_artist_is_the_average_of_the_generators_steps(images):
    config = GANConfig(base_channels=4, latent_dim=6, batch_size=64, epochs=2, ema_decay=0.8)
    parts = gan.build(config, CPU)
    expected = [value.clone() for value in parts.artist.state_dict().values()]
    real = images[:64].unsqueeze(1) / 127.5 - 1
    for number in range(3):
        z = training.uniform((64, 6), training.rng(0, "z", number))
        gan.train_step(*parts[:4], real, z)
        training.follow(parts.artist, parts.generator, 0.8)
        steps = parts.generator.state_dict().values()
        expected = [0.8 * old + 0.2 * new for old, new in zip(expected, steps, strict=True)]
    for found, wanted in zip(parts.artist.state_dict().values(), expected, strict=True):
        if found.is_floating_point():
            torch.testing.assert_close(found, wanted)
    plain = gan.build(GANConfig(base_channels=4), CPU)
    assert plain.artist is plain.generator


def test_the_learning_rate_halves(images, labels, tmp_path):
    config, parts, _, records = run_gan(images, labels, tmp_path, 5, lr_half_life=2.0)
    rates = [parts["opt_g"].param_groups[0]["lr"] for _ in records]
    assert rates == pytest.approx([2e-4 * 0.5 ** (epoch / 2) for epoch in range(5)])
    assert parts["opt_d"].param_groups[0]["lr"] == rates[-1]


@pytest.mark.fault(42)
@ALL
def test_a_checkpoint_of_a_gpu_goes_on_here(run, images, labels, tmp_path):
    """Adam's settings there: counts and rates on the GPU, where it has one; else as if."""
    there = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config, parts, history, records = run(
        images.to(there), labels.to(there), tmp_path, 1, device=there
    )
    history += list(records)
    for part in parts.values():
        for group in getattr(part, "param_groups", ()):
            group["capturable"], group["lr"] = True, torch.tensor(float(group["lr"]))
    checkpoint.save(tmp_path, config, DATA, history, parts)
    *_, records = run(images, labels, tmp_path, 2)
    assert [record.epoch for record in records] == [2]


@pytest.mark.parametrize("base", [1, 4, 7])
def test_dcgan_shapes_without_resizing(base):
    generator, discriminator = gan.Generator(5, base), gan.Discriminator(base)
    x = generator(torch.rand(3, 5))
    assert x.shape == (3, 1, 28, 28) and x.abs().max() <= 1
    assert discriminator(x).shape == (3,)


def test_dcgan_initialization_and_where_batchnorm_is():
    g, d, *_ = gan.build(GANConfig(), CPU)
    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    stds = [m.weight.std().item() for net in (g, d) for m in net if isinstance(m, convolutions)]
    assert np.allclose(stds, 0.02, rtol=0.1)
    norms = [sum(isinstance(m, nn.BatchNorm2d) for m in net) for net in (g, d)]
    assert norms == [3, 2]
    assert isinstance(d[1], nn.LeakyReLU) and isinstance(g[-1], nn.Tanh)


def test_an_image_does_not_depend_on_its_batch_mates():
    g, *_ = gan.build(GANConfig(base_channels=4, latent_dim=6), CPU)
    z = training.uniform((20, 6), training.rng(0, "z"))
    together, alone = gan.generate(g, z), gan.generate(g, z[3:4])
    assert (together[3].int() - alone[0].int()).abs().max() <= 1
    assert g.training  # as it was


def test_cgan_grid_has_a_row_per_label_and_the_same_noise_down_a_column():
    g, *_ = cgan.build(CGANConfig(hidden_dims=[16], latent_dim=6), 10, CPU)
    grid = cgan.generate_grid(g, training.rng(0, "fixed"), columns=4)
    z = training.uniform((4, 6), training.rng(0, "fixed"))
    for label in (0, 9):
        row = cgan.generate(g, z, torch.full((4,), label))
        assert (grid[label].int() - row.int()).abs().max() <= 1


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_generator_takes_a_step_after_every_num_d_steps(n, images, labels):
    config = CGANConfig(epochs=1, hidden_dims=[8], latent_dim=3, batch_size=32, num_d_steps=n)
    parts = cgan.build(config, 10, CPU)
    next(cgan.train_cgan(config, parts, images, labels))
    steps = [opt.state_dict()["state"][0]["step"].item() for opt in (parts.opt_g, parts.opt_d)]
    assert steps == [8 // n, 8]


def test_images_of_the_same_seed_are_of_uniform_noise():
    noise = training.uniform((1000, 200), training.rng(0, "noise"))
    assert -1 <= noise.min() < -0.999 and 0.999 < noise.max() <= 1
    assert abs(noise.std().item() - 3**-0.5) < 1e-2


def test_changes_are_gray_levels_between_neighbors():
    frames = [torch.full((16, 28, 28), level, dtype=torch.uint8) for level in (0, 10, 4)]
    records = [gan.Record(k, 0, 0, 0, 0, 0, 0, frame) for k, frame in enumerate(frames, 1)]
    assert gan.changes(records) == [10.0, 6.0]


def test_on_the_cpu_a_step_is_not_recorded():
    def step(x):
        return x

    assert cuda_graph.recorded(step, (), torch.zeros(1)) is step


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@ALL
def test_a_recorded_step_equals_a_plain_one(run, images, labels, tmp_path, monkeypatch):
    def weights(folder):
        records = run(images.cuda(), labels.cuda(), folder, 2, device=torch.device("cuda"))
        for _ in records[3]:
            pass
        networks = [part for part in records[1].values() if isinstance(part, nn.Module)]
        return [weight for network in networks for weight in network.state_dict().values()]

    replayed = weights(tmp_path)
    for model in (vae, gan, cgan):
        monkeypatch.setattr(model, "recorded", lambda step, *rest: step)
    for a, b in zip(replayed, weights(tmp_path), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
