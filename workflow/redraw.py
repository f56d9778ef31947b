"""Figures 1 to 6 drawn anew from the published weights, and compared: `make figures`.

    python -m workflow.redraw build/figures

Needs no data and no training. The weights must be the ones that report/weights/SHA256SUMS lists;
the figures may differ from the published ones as far as rounding makes them. Exit status 1: one
is not the same.
"""

import io
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from helpers import cgan, figures, gan, training, vae, weights
from helpers.files import write_atomically
from helpers.paths import ROOT
from workflow.program import program

WEIGHTS, FIGURES = ROOT / "report" / "weights", ROOT / "figures"
# Half-precision weights and another processor move a gray level here and there
MEAN, FAR, SHARE = 0.1, 8, 0.001  # mean change; share of pixels that change by more than FAR


def draw(folder):
    """{number: PNG bytes} of Figures 1 to 6, from the weights in a folder of report/weights/."""
    listed = sorted((Path(folder) / "SHA256SUMS").read_text("utf-8").split()[1::2])
    nets = [name for name in listed if name[0] == "0" and name.endswith(".safetensors")]
    found = {Path(name).stem: weights.load(Path(folder, name)) for name in nets}
    garments, digits = _one(found, "01_vae"), _one(found, "03_cgan")
    first = vae.sample(garments.net, 5, training.rng(garments.config.seed, "figure 1"))
    a, b = ends = garments.images[[0, -1]]
    path = vae.interpolate(garments.net, *training.to_unit(ends.flatten(1)), steps=8)
    steps = torch.cat([a[None], path, b[None]])
    labels = ["image A", *[f"{step / 7:.2f}" for step in range(8)], "image B"]
    drawn = {
        1: figures.image_grid(first.numpy()[None], cell=0.9),
        2: figures.image_grid(steps.numpy()[None], column_labels=labels),
    }
    grown = {w.epoch: w for name, w in found.items() if name.startswith("02_gan")}
    last = grown[max(grown)]
    shown = gan.snapshots(last.config.snapshot_epochs, last.epoch)
    for number, epoch in zip((3, 4, 5), shown, strict=True):
        if epoch not in grown:
            raise ValueError(f"{folder}: no weights of the DCGAN after {epoch} epochs")
        sixteen = gan.generate(grown[epoch].net, gan.fixed_noise(last.config))
        drawn[number] = figures.snapshot(sixteen)
    grid = cgan.generate_grid(digits.net, training.rng(digits.config.seed, "fixed noise"))
    drawn[6] = figures.image_grid(grid.numpy(), row_labels=digits.classes, cell=0.42)
    return {number: _png(figure) for number, figure in drawn.items()}


def _one(found, name):
    chosen = [w for stem, w in found.items() if stem.startswith(name)]
    if len(chosen) != 1:
        raise ValueError(f"{name}: {len(chosen)} files of weights, expected 1")
    return chosen[0]


def _png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def difference(one, other):
    """(mean change in gray levels, share of pixels that change by more than FAR) of two PNGs.

    Of other sizes, all of it has changed.
    """
    a, b = (np.asarray(Image.open(io.BytesIO(png)).convert("L"), np.int16) for png in (one, other))
    if a.shape != b.shape:
        return 255.0, 1.0
    change = np.abs(a - b)
    return float(change.mean()), float((change > FAR).mean())


def main(words):
    """Draw the figures into a folder, say how far each is from the published one."""
    out, faults = Path(*words), 0
    out.mkdir(parents=True, exist_ok=True)
    for number, png in sorted(draw(WEIGHTS).items()):
        write_atomically(out / f"figure_{number}.png", png)
        mean, share = difference(png, (FIGURES / f"figure_{number}.png").read_bytes())
        same = mean <= MEAN and share <= SHARE
        faults += not same
        print(
            f"Figure {number}: {'as published' if same else 'NOT AS PUBLISHED'}, mean change "
            f"{mean:.3f} gray levels, {100 * share:.3f}% of the pixels by more than {FAR}"
        )
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(program(main, sys.argv[1:]))
