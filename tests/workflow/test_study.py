"""Weights, and what is published of them."""

import nbformat
import numpy as np
import pytest
import torch

from helpers import cgan, gan, training, vae, weights
from helpers.params import CGANConfig, GANConfig, VAEConfig
from workflow import publish as published


def networks():
    with training.seeded(0, "weights"):
        yield vae.VAE(8, 4), VAEConfig(hidden_dim=8, latent_dim=4)
        yield (
            gan.Generator(6, 4, affine=False),
            GANConfig(latent_dim=6, base_channels=4, batchnorm_affine=False),
        )
        yield cgan.Generator(6, (16, 8), 10), CGANConfig(latent_dim=6, hidden_dims=[16, 8])


def test_weights_come_back_in_half_precision_with_their_config(tmp_path):
    real = torch.arange(2 * 784).remainder(256).to(torch.uint8).view(2, 28, 28)
    for net, config in networks():
        for buffer in net.buffers():
            buffer.copy_(torch.arange(buffer.numel()) + 1.0 if buffer.ndim else torch.tensor(3))
        weights.save(tmp_path, net, config, 7, tuple("0123456789"), real)
        found = weights.load(tmp_path / "weights_7.safetensors")
        assert (found.config, found.epoch) == (config, 7)
        assert torch.equal(found.images, real) and not found.net.training
        for name, value in net.state_dict().items():
            expected = value.half().float() if value.ndim > 1 else value
            assert torch.equal(found.net.state_dict()[name], expected)


@pytest.mark.parametrize(
    "content, says",
    [(b"", "damaged"), (b"\x00" * 64, "damaged"), (None, "not there")],
)
def test_damaged_weights_are_named(tmp_path, content, says):
    path = tmp_path / "weights_1.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=f"{path.name}: {says}"):
        weights.load(path)


def test_weights_cut_anywhere_are_damaged(tmp_path):
    net, config = next(networks())
    weights.save(tmp_path, net, config, 1)
    path = tmp_path / "weights_1.safetensors"
    whole = path.read_bytes()
    for length in range(0, len(whole), 997):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="damaged"):
            weights.load(path)


PUBLISHED = published.REPORT / "weights"
there = pytest.mark.skipif(not PUBLISHED.exists(), reason="nothing is published yet")


@there
def test_published_figures_can_be_drawn_again():
    """Within the tolerance that workflow/publish.py states; another seed would be far off."""
    drawn = published.draw(PUBLISHED)
    assert sorted(drawn) == [1, 2, 3, 4, 5, 6]
    for number, png in drawn.items():
        mean, share = published.difference(
            png, (published.FIGURES / f"figure_{number}.png").read_bytes()
        )
        assert mean <= published.MEAN and share <= published.SHARE, number
    mean, share = published.difference(drawn[3], drawn[5])
    assert mean > 10 * published.MEAN and share > 10 * published.SHARE


@there
def test_the_readme_shows_the_published_numbers():
    scores = published.json.loads((published.REPORT / "scores.json").read_text("utf-8"))
    readme = (published.ROOT / "README.md").read_text("utf-8")
    for line in published.numbers(scores).splitlines():
        assert line in readme


@there
def test_what_is_published_keeps_its_size_and_comes_from_one_clean_revision():
    limits = {"report/report.html": 8, "report/report.pdf": 5, "report/weights": 15}
    limits |= {f"report/notebooks/{name}.ipynb": 2 for name in published.NAMES}
    for name, megabytes in limits.items():
        path = published.ROOT / name
        files = path.iterdir() if path.is_dir() else [path]
        assert sum(file.stat().st_size for file in files) < megabytes * 1e6, name
    manifests = published.json.loads((published.REPORT / "manifest.json").read_text("utf-8"))
    assert len({m["git"]["revision"] for m in manifests.values()}) == 1
    assert all(m["git"]["clean"] and m["data"]["verified"] for m in manifests.values())


def test_a_run_that_lacks_something_changes_nothing_published(tmp_path, monkeypatch, capsys):
    good = tmp_path / "report" / "weights" / "01_vae_3.safetensors"
    good.parent.mkdir(parents=True)
    good.write_bytes(b"good")
    monkeypatch.setattr(published, "REPORT", tmp_path / "report")
    monkeypatch.setattr(published, "FIGURES", tmp_path / "figures")
    assert published.main(["collect", str(tmp_path / "run")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("scores.json: No such file or directory")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [good]
    assert good.read_bytes() == b"good"


def test_redrawn_figures_take_the_place_of_the_old_ones():
    report = {"kind": "figure", "number": 1, "sha256": "0" * 64}
    manifest = {"figures": {"1": "0" * 64, "7": "7" * 64}}
    outputs = [
        nbformat.v4.new_output(
            "display_data",
            {"image/png": "old", "text/plain": f"Figure 1 [sha256 {'0' * 12}]"},
            metadata={"report": report},
        ),
        nbformat.v4.new_output(
            "display_data",
            {"text/plain": ""},
            metadata={"report": {"kind": "provenance", "manifest": manifest}},
        ),
    ]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=outputs)])
    published.replace_figures(nb, {1: b"png", 2: b"elsewhere"})
    figure, provenance = nb.cells[0].outputs
    digest = published.hashlib.sha256(b"png").hexdigest()
    assert figure.metadata.report.sha256 == digest
    assert digest[:12] in figure.data["text/plain"]
    assert provenance.metadata.report.manifest.figures == {"1": digest, "7": "7" * 64}


def test_difference_sees_one_pixel():
    image = np.zeros((20, 30), np.uint8)
    changed = image.copy()
    changed[3, 4] = 60
    one, other = (png_of(array) for array in (image, changed))
    mean, share = published.difference(one, other)
    assert mean == pytest.approx(60 / 600) and share == pytest.approx(1 / 600)


def png_of(array):
    buffer = published.io.BytesIO()
    published.Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()
