"""The three models: their losses against closed forms and plain implementations, their repeats."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from helpers import cgan, checkpoint, gan, training, vae
from helpers.params import CGANConfig, GANConfig, VAEConfig

CPU = torch.device("cpu")
DATA = {"train-images": "ab" * 32}
VARIANT = {"ema_decay": 0.9, "lr_half_life": 1.5}
SMALL = {
    vae: VAEConfig(hidden_dim=8, latent_dim=4, batch_size=32),
    gan: GANConfig(latent_dim=6, base_channels=4, batch_size=32),
    cgan: CGANConfig(latent_dim=6, hidden_dims=[16, 24], num_d_steps=2, batch_size=32),
}
ALL = pytest.mark.parametrize(
    "run",
    [
        (vae, {}),
        (vae, {"learn_variance": True}),
        (gan, {}),
        (cgan, {}),
        (gan, VARIANT | {"label_smoothing": 0.1, "batchnorm_affine": False}),
        (cgan, VARIANT),
    ],
    ids=["vae", "vae_variant", "gan", "cgan", "gan_variant", "cgan_variant"],
)


def begin(run, images, labels, folder, epochs, device=CPU, **changed):
    """A run, new or resumed; (config, parts, history, the records to come)."""
    model, variant = run
    config = replace(SMALL[model], epochs=epochs, **variant, **changed)
    nets = model.build(config, *([10] if model is cgan else []), device)
    train = {vae: vae.train_vae, gan: gan.train_gan, cgan: cgan.train_cgan}[model]
    more = {vae: [images[:50]], gan: [], cgan: [labels]}[model]
    parts = nets._asdict()
    history = checkpoint.resume(folder, config, DATA, model.Record, parts)
    return config, parts, history, train(config, nets, images, *more, start=len(history))


def go(run, images, labels, folder, epochs, look=None, **changed):
    """Train, saving after every epoch; returns the bytes of the checkpoint."""
    folder.mkdir(exist_ok=True)
    config, parts, history, records = begin(run, images, labels, folder, epochs, **changed)
    for record in records:
        history.append(record)
        checkpoint.save(folder, config, DATA, history, parts)
        if look:
            look(parts)
    assert [record.epoch for record in history] == list(range(1, epochs + 1))
    return (folder / "state.pt").read_bytes()


@ALL
def test_looked_at_equals_resumed_bit_for_bit_and_the_seed_matters(run, images, labels, tmp_path):
    def look(parts):
        """Draw pictures and numbers, use the global generators too."""
        torch.rand(100), np.random.rand(3)
        if run[0] is vae:
            vae.sample(parts["model"], 5, training.rng(0, "look"))
            vae.kl_per_latent(parts["model"], images[:9].flatten(1))
        else:
            what = 5 if run[0] is gan else torch.arange(10)
            run[0].sample(parts["artist"], what, training.rng(0, "look"))

    straight = go(run, images, labels, tmp_path / "a", 3, look)
    for epochs in (1, 3):
        resumed = go(run, images, labels, tmp_path / "b", epochs)
    assert straight == resumed != go(run, images, labels, tmp_path / "c", 3, seed=1)


@ALL
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(
    run, images, labels, tmp_path
):
    before = go(run, images, labels, tmp_path, 1)
    config, parts, history, records = begin(run, images, labels, tmp_path, 2)
    network = parts.get("model", parts.get("discriminator"))
    next(network.parameters()).data.fill_(float("nan"))
    with pytest.raises(ValueError, match="epoch 2: a loss is not finite"):
        next(records)
    assert (tmp_path / "state.pt").read_bytes() == before


def test_more_steps_of_d_than_batches_are_refused(images, labels, tmp_path):
    few = len(images) // 32
    message = f"^num_d_steps must be at most the {few} .* got {few + 1}"
    with pytest.raises(ValueError, match=message):
        go((cgan, {}), images, labels, tmp_path, 1, num_d_steps=few + 1)


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


@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0, None])  # None: the best variance of the batch
def test_the_gradients_by_hand_are_those_of_autograd(beta):
    model = vae.VAE(hidden_dim=24, latent_dim=6)
    x, noise = torch.rand(40, 784), torch.randn(40, 6)
    with torch.no_grad():
        means, found = vae.backpropagate(model.parameters(), x, noise, beta)
    recon, kl = (term.mean() for term in vae.elbo_terms(model, x, noise))
    torch.testing.assert_close(means, torch.stack([recon, kl]).detach())
    loss = 784 / 2 * recon.log() + kl if beta is None else recon + beta * kl
    wanted = torch.autograd.grad(loss, list(model.parameters()))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * b.abs().max().item())


def test_vae_interpolation_ends_at_the_two_images():
    model, (a, b) = vae.VAE(8, 4), torch.rand(2, 784)
    path = vae.interpolate(model, a, b, 5)
    ends = model.decode(model.encode(torch.stack([a, b]))[0]).detach().view(2, 28, 28)
    assert torch.equal(path[[0, -1]], training.from_unit(ends))


@torch.no_grad()
def test_codes_are_drawn_from_the_mixture_that_was_fitted_to_them(images):
    model = vae.VAE(hidden_dim=8, latent_dim=2)
    for layer, bias in (model.mu, (0.6, 0.2)), (model.logvar, (-6.0, -6.0)):
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor(bias))  # every code ~ N((0.6, 0.2), e^-6 I)
    mixture = vae.fit_codes(model, images.flatten(1), 0, components=1)
    np.testing.assert_allclose(mixture.means_[0], (0.6, 0.2), atol=0.02)
    np.testing.assert_allclose(mixture.covariances_[0], np.exp(-6) * np.eye(2), atol=1e-3)

    model.decoder = nn.Linear(2, 784, bias=False)  # the gray of an image is the first latent
    model.decoder.weight.copy_(torch.tensor([1.0, 0.0]).expand(784, 2))
    drawn = vae.sample(model, 200, training.rng(0, "look"), mixture)
    assert torch.equal(drawn, vae.sample(model, 200, training.rng(0, "look"), mixture))
    assert drawn[:, 0, 0].float().mean() == pytest.approx(0.6 * 255, abs=3)
    assert not torch.equal(drawn, vae.sample(model, 200, training.rng(1, "look"), mixture))

    mixture = vae.fit_codes(model, images.flatten(1), 0, components=2)
    mixture.means_ = np.array([[0.2, 0], [0.8, 0]])
    bright = vae.sample(model, 200, training.rng(0, "look"), mixture)[:, 0, 0] > 127
    assert 20 < bright[:100].sum() < 80  # not one component after the other


def step(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def assert_same_weights(ours, plain):
    for mine, other in zip(ours, plain, strict=True):
        for a, b in zip(mine.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_first_gan_step_equals_a_plain_implementation(images, smoothing):
    config = GANConfig(base_channels=4, latent_dim=6, batch_size=32)
    real = images[:32].unsqueeze(1) / 127.5 - 1
    z = training.uniform((32, 6), training.rng(0, "z"))
    ours = gan.build(config, CPU)
    means = gan.train_step(*ours[:4], real, z, smoothing=smoothing)

    g, d, *_ = gan.build(config, CPU)
    g, d = (net.to(memory_format=torch.contiguous_format) for net in (g, d))
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (g, d))
    bce, ones, zeros = nn.BCELoss(), torch.ones(32), torch.zeros(32)
    fake = g(z)
    on_real, on_fake = d(real).sigmoid(), d(fake.detach()).sigmoid()
    loss_d = bce(on_real, ones - smoothing) + bce(on_fake, zeros)
    step(opt_d, loss_d)
    loss_g = bce(d(fake).sigmoid(), ones)
    step(opt_g, loss_g)

    torch.testing.assert_close(means[:2], torch.stack([loss_d, loss_g]).detach())
    assert_same_weights(ours[:2], (g, d))


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
    step(optimizers[1], loss_d)
    loss_g = bce(plain_d(plain_g(z, fake_y), fake_y), ones)
    step(optimizers[0], loss_g)

    torch.testing.assert_close(on_d[0], loss_d.detach())
    torch.testing.assert_close(on_g[0], loss_g.detach())
    assert_same_weights((g, d), (plain_g, plain_d))


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
    config, parts, _, records = begin((gan, {}), images, labels, tmp_path, 5, lr_half_life=2.0)
    rates = [parts["opt_g"].param_groups[0]["lr"] for _ in records]
    assert rates == pytest.approx([2e-4 * 0.5 ** (epoch / 2) for epoch in range(5)])
    assert parts["opt_d"].param_groups[0]["lr"] == rates[-1]


def test_dcgan_initialization():
    g, d, *_ = gan.build(GANConfig(), CPU)
    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    stds = [m.weight.std().item() for net in (g, d) for m in net if isinstance(m, convolutions)]
    assert np.allclose(stds, 0.02, rtol=0.1)


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


def test_changes_are_gray_levels_between_neighbors():
    frames = [torch.full((16, 28, 28), level, dtype=torch.uint8) for level in (0, 10, 4)]
    records = [gan.Record(k, 0, 0, 0, 0, 0, 0, frame) for k, frame in enumerate(frames, 1)]
    assert gan.changes(records) == [10.0, 6.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@ALL
def test_a_recorded_step_equals_a_plain_one(run, images, labels, tmp_path, monkeypatch):
    def weights(folder):
        records = begin(run, images.cuda(), labels.cuda(), folder, 2, torch.device("cuda"))
        for _ in records[3]:
            pass
        networks = [part for part in records[1].values() if isinstance(part, nn.Module)]
        return [weight for network in networks for weight in network.state_dict().values()]

    replayed = weights(tmp_path)
    for model in (vae, gan, cgan):
        monkeypatch.setattr(model, "recorded", lambda step, *rest: step)
    for a, b in zip(replayed, weights(tmp_path), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
