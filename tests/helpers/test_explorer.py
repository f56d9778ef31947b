"""The script of the live figures computes what torch computes; the widget says and takes z.

V8 runs the script without a browser: gray levels alone would let a wrong network pass.
"""

import json
import os

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from py_mini_racer import MiniRacer

from helpers import cgan, explorer, gan, training, vae, weights
from helpers.params import CGANConfig, GANConfig, VAEConfig

CPU = torch.device("cpu")
NAMES = "01_vae", "02_gan", "03_cgan"
PUBLISHED = {name: explorer.last(explorer.PUBLISHED, name) for name in NAMES}


@pytest.fixture(scope="module")
def js():
    """js(function, *arguments): what a function of the script returns."""
    plain = explorer.SCRIPT.replace("\nexport default", "\nvoid").replace("\nexport ", "\n")
    engine = MiniRacer()
    engine.eval(plain)
    return lambda code, *given: json.loads(
        engine.eval(f"JSON.stringify(({code})({', '.join(map(json.dumps, given))}))")
    )


@pytest.fixture
def same(js):
    """Ask that the script draws what the network in a file draws, to 1e-5 and a gray level."""

    @torch.no_grad()
    def same(path, n):
        net, config, _, classes, _ = weights.load(path)
        z = training.uniform((n, config.latent_dim), training.rng(1, "z")) * 1.5
        y = torch.arange(n) % max(1, len(classes))
        if isinstance(net, vae.VAE):
            x = torch.rand((n, 784), generator=training.rng(1, "x"))
            mu, logvar = net.encode(x)
            expected = net.decode(z), mu, (logvar / 2).exp()
            network = (
                "({decode, encode}) => ([z, x]) => [decode(z), encode(x).mu, encode(x).sigma]"
            )
            inputs = [z.tolist(), x.tolist()]
        elif isinstance(net, cgan.Generator):
            expected = ((net(z, y) + 1) / 2,)
            network = "(draw) => ([z, y]) => [draw(z, y)]"
            inputs = [z.tolist(), cgan.one_hot(y, len(classes)).tolist()]
        else:
            expected = ((net(z).flatten(1) + 1) / 2,)
            network, inputs = "(draw) => ([z]) => [draw(z)]", [z.tolist()]
        run = f"""(bytes, inputs) => {{
            const {{ about, t }} = unpack(Uint8Array.from(bytes));
            const each = ({network})({{ vae, gan, cgan }}[about.model](t));
            return inputs.map((one) => each(one).map((values) => [...values]));
        }}"""
        drawn = js(run, list(path.read_bytes()), list(zip(*inputs, strict=True)))
        for got, wanted in zip(zip(*drawn, strict=True), expected, strict=True):
            got = torch.tensor(got, dtype=torch.float64)
            assert wanted.std() > 0.01
            assert (got - wanted).abs().max() < 1e-5 * wanted.abs().max().clamp(min=1)
        images = torch.tensor([one[0] for one in drawn])
        assert (
            training.from_unit(images).int() - training.from_unit(expected[0])
        ).abs().max() <= 1

    return same


def test_every_half_precision_number_is_read_as_numpy_reads_it(js):
    code = (
        "() => [...new Uint32Array(widen(Uint16Array.from({length: 65536}, (_, i) => i)).buffer)]"
    )
    read = np.array(js(code), np.uint32).view(np.float32)
    expected = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("path", PUBLISHED.values(), ids=PUBLISHED)
def test_the_published_networks_draw_in_the_page_what_they_draw_in_torch(same, path):
    same(path, 3)


def networks():
    """Networks of random shapes, with the config that describes each."""
    shapes = np.random.default_rng(0)
    for affine in (True, False, True, False):
        a, b, c, d = (int(n) for n in shapes.integers(3, 23, 4))
        yield vae.VAE(a, b), VAEConfig(hidden_dim=a, latent_dim=b)
        config = GANConfig(latent_dim=a, base_channels=b, batchnorm_affine=affine)
        yield gan.build(config, CPU).generator, config
        config = CGANConfig(latent_dim=a, hidden_dims=[b, c, d][: 1 + affine])
        yield cgan.build(config, 7, CPU).generator, config


def test_networks_of_any_shape_do_too(tmp_path, same):
    rng = training.rng(0, "shapes")
    for number, (net, config) in enumerate(networks()):
        for name, values in net.state_dict().items():
            if values.ndim:
                drawn = torch.randn(values.shape, generator=rng)
                drawn *= 2 / max(1, values[0].numel()) ** 0.5 if values.ndim > 1 else 1
                values.copy_(drawn.abs() + 0.5 if name.endswith("var") else drawn)
        weights.save(tmp_path, net, config, number, "abcdefg")
        same(tmp_path / f"weights_{number}.safetensors", 4)


def test_a_file_carries_the_noise_of_the_figures(tmp_path):
    for name in ("01_vae", "03_cgan"):
        net, config, epoch, classes, _ = weights.load(PUBLISHED[name])
        weights.save(tmp_path, net, config, epoch, classes)
        path = tmp_path / f"weights_{epoch}.safetensors"
        z = safetensors.torch.load(path.read_bytes())["noise"]
        assert explorer.Explorer(path).z == tuple(z[0].tolist())
        if name == "01_vae":
            shown = vae.sample(net, 5, training.rng(config.seed, "figure 1"))
            assert torch.equal(training.from_unit(net.decode(z)).view(-1, 28, 28), shown)
        else:
            grid = cgan.generate_grid(net, training.rng(config.seed, "fixed noise"))
            assert torch.equal(cgan.generate(net, z[:10], torch.full((10,), 3)), grid[3])


@pytest.mark.parametrize(
    ("mode", "width", "height", "is_a_film"),
    [
        ("L", 448, 56, 1),
        ("L", 448, 84, 0),
        ("L", 450, 56, 0),
        ("RGB", 448, 56, 0),
        (None, 0, 0, 0),
    ],
)
def test_a_film_is_taken_if_it_is_of_this_run(tmp_path, mode, width, height, is_a_film):
    config = GANConfig(latent_dim=3, base_channels=2)
    weights.save(tmp_path, gan.build(config, CPU).generator, config, 2)
    if mode:
        Image.new(mode, (width, height)).save(tmp_path / "film.png")
    text = explorer.page([tmp_path / "weights_2.safetensors"])
    assert text.count("octet-stream") == 1 + is_a_film
    assert (explorer.QUESTIONS["film"] in text) == is_a_film


def test_z_begins_with_the_code_of_image_a_and_takes_arrays():
    live = explorer.Explorer(PUBLISHED["01_vae"])
    net, _, _, _, images = weights.load(PUBLISHED["01_vae"])
    assert live.z == tuple(net.encode(training.to_unit(images[:1].flatten(1)))[0][0].tolist())
    live.z = torch.zeros(16)
    assert live.z == 16 * (0.0,)
    shown = json.dumps(live._repr_mimebundle_())
    assert "report/weights/01_vae_3.safetensors" in shown and len(shown) < 1000


@pytest.mark.parametrize("z", [[1.0] * 15, [1.0] * 17, [float("nan")] * 16, ["a"] * 16, 3, None])
def test_another_length_is_refused_in_one_line(z):
    live = explorer.Explorer(PUBLISHED["01_vae"])
    before = live.z
    with pytest.raises(ValueError, match="z must be 16 finite numbers, got ") as refused:
        live.z = z
    (line,) = refused.value._render_traceback_()
    assert "\n" not in line and live.z == before


def test_the_newest_run_comes_first_then_what_is_published(tmp_path, monkeypatch):
    monkeypatch.setattr(explorer, "ROOT", tmp_path)
    assert explorer.find("01_vae") == PUBLISHED["01_vae"]
    for age, (run, epoch) in enumerate([("b", 2), ("b", 10), ("a", 3)]):
        path = tmp_path / "build" / "runs" / "01_vae" / run / f"weights_{epoch}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (100 - age, 100 - age))
    assert explorer.find("01_vae").parts[-2:] == ("b", "weights_10.safetensors")
    assert explorer.find(path.parent) == explorer.find(path) == path


def test_what_draws_nothing_is_named(tmp_path):
    config = GANConfig(latent_dim=4, base_channels=2)
    weights.save(tmp_path, gan.build(config, CPU).discriminator, config, 1)
    for where, says in ((tmp_path, "discriminator"), (tmp_path / "gone", "no weights_")):
        with pytest.raises(ValueError, match=f"^{where}.*{says}"):
            explorer.Explorer(where)
    for said in ({"about": '{"model": "other"}'}, {"about": "[]"}, {"x": "y"}):
        content = safetensors.torch.save({"a": torch.zeros(1)}, said)
        with pytest.raises(ValueError, match="^here: no weights of this project"):
            explorer.about("here", content)
