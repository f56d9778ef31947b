"""The published results: what is kept of a paper run, and pictures drawn anew from its weights.

    python -m workflow.publish collect build/paper     a finished paper run -> report/, figures/
    python -m workflow.publish redraw build/published  Figures 1 to 6 from report/weights/
    python -m workflow.publish numbers                 the table of the README

`collect` copies the report, the executed notebooks, the six figures, scores and manifests, and
adds the weights with a card for each model. `redraw` needs no data and no training: it draws
the six figures from the weights, says how far each is from the published one, and puts them
into copies of the executed notebooks, from which the report can be built again.
"""

import argparse
import base64
import hashlib
import io
import json
import statistics
import sys
from pathlib import Path

import nbformat
import numpy as np
import torch
from PIL import Image

from helpers import cgan, figures, gan, training, vae, weights
from helpers.checkpoint import read
from helpers.files import write_atomically, write_json
from helpers.paths import ROOT
from helpers.scores import tables

REPORT, FIGURES = ROOT / "report", ROOT / "figures"
NAMES = ("01_vae", "02_gan", "03_cgan")
ANIMATION = ROOT / "docs" / "digits.gif"
# Half-precision weights and another processor move a gray level here and there
MEAN, FAR, SHARE = 0.1, 8, 0.001  # mean change; share of pixels that change by more than FAR


# --- Figures from weights --------------------------------------------------------------------


def draw(folder):
    """{number: PNG bytes} of Figures 1 to 6, from the weights in a folder of report/weights/."""
    found = {path.stem: weights.load(path) for path in sorted(Path(folder).glob("*.safetensors"))}
    garments, digits = _one(found, "01_vae"), _one(found, "03_cgan")
    first = vae.sample(garments.net, 5, training.rng(garments.config.seed, "figure 1"))
    a, b = garments.images
    path = vae.interpolate(garments.net, *training.to_unit(garments.images.flatten(1)), steps=8)
    steps = torch.cat([a[None], path, b[None]])
    ends = ["image A", *[f"{step / 7:.2f}" for step in range(8)], "image B"]
    drawn = {
        1: figures.image_grid(first.numpy()[None], cell=0.9),
        2: figures.image_grid(steps.numpy()[None], column_labels=ends),
    }
    grown = sorted((w for name, w in found.items() if name.startswith("02_gan")), key=_epoch)
    shown = gan.snapshots(grown[-1].config.snapshot_epochs, grown[-1].epoch)
    for number, epoch in zip((3, 4, 5), shown, strict=True):
        young = next(w for w in grown if w.epoch == epoch)
        sixteen = gan.generate(young.net, gan.fixed_noise(young.config))
        drawn[number] = figures.image_grid(sixteen.numpy().reshape(2, 8, 28, 28))
    grid = cgan.generate_grid(digits.net, training.rng(digits.config.seed, "fixed noise"))
    drawn[6] = figures.image_grid(grid.numpy(), row_labels=digits.classes, cell=0.5)
    return {number: _png(figure) for number, figure in drawn.items()}


def _one(found, name):
    chosen = [w for stem, w in found.items() if stem.startswith(name)]
    if len(chosen) != 1:
        raise ValueError(f"{name}: {len(chosen)} files of weights, expected 1")
    return chosen[0]


def _epoch(loaded):
    return loaded.epoch


def _png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def difference(one, other):
    """(mean change in gray levels, share of pixels that change by more than FAR) of two PNGs."""
    a, b = (np.asarray(Image.open(io.BytesIO(png)).convert("L"), np.int16) for png in (one, other))
    if a.shape != b.shape:
        raise ValueError(f"pictures of {a.shape} and {b.shape} pixels")
    change = np.abs(a - b)
    return float(change.mean()), float((change > FAR).mean())


def redraw(out):
    """Draw the figures, compare, and write the notebooks with them; 1 if one is not the same."""
    out, faults = Path(out), 0
    out.mkdir(parents=True, exist_ok=True)
    drawn = draw(REPORT / "weights")
    for number, png in drawn.items():
        mean, share = difference(png, (FIGURES / f"figure_{number}.png").read_bytes())
        same = mean <= MEAN and share <= SHARE
        faults += not same
        print(
            f"Figure {number}: {'as published' if same else 'NOT AS PUBLISHED'}, mean change "
            f"{mean:.3f} gray levels, {100 * share:.3f}% of the pixels by more than {FAR}"
        )
        write_atomically(out / f"figure_{number}.png", png)
    for name in NAMES:
        nb = nbformat.read(REPORT / "notebooks" / f"{name}.ipynb", as_version=4)
        replace_figures(nb, drawn)
        write_atomically(out / f"{name}.ipynb", (nbformat.writes(nb) + "\n").encode())
    return 1 if faults else 0


def replace_figures(nb, drawn):
    """Put {number: PNG bytes} in place of a notebook's pictures of these numbers."""
    reports = [
        (output, output.metadata.report)
        for cell in nb.cells
        for output in cell.get("outputs", [])
        if "report" in output.get("metadata", {})
    ]
    for output, report in reports:
        if report.kind == "figure" and report.number in drawn:
            png = drawn[report.number]
            digest = hashlib.sha256(png).hexdigest()
            old, report.sha256 = report.sha256, digest
            output.data["image/png"] = base64.b64encode(png).decode() + "\n"
            output.data["text/plain"] = output.data["text/plain"].replace(old[:12], digest[:12])
        if report.kind == "provenance":
            shown = report.manifest.figures
            own = {int(number) for number in shown} & drawn.keys()
            shown.update({str(n): hashlib.sha256(drawn[n]).hexdigest() for n in own})


# --- From a paper run ------------------------------------------------------------------------


def collect(out):
    """Copy what is published of a finished run in `out`, with the weights and their cards.

    All of it is read before the first file is written: a run that lacks something changes nothing.
    """
    out = Path(out)
    scores, manifests, files = {}, {}, {}
    for name in NAMES:
        run = out / "runs" / name
        scores[name] = json.loads((run / "scores.json").read_text(encoding="utf-8"))
        manifests[name] = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
        files[REPORT / "notebooks" / f"{name}.ipynb"] = (out / f"{name}.ipynb").read_bytes()
        chosen = _published_weights(run, manifests[name])
        epochs = [path.stem.removeprefix("weights_") for path in chosen]
        for path, epoch in zip(chosen, epochs, strict=True):
            files[REPORT / "weights" / f"{name}_{epoch}.safetensors"] = path.read_bytes()
        card = _card(name, scores[name], manifests[name], epochs)
        files[REPORT / "weights" / f"{name}.md"] = card.encode()
        for path in run.glob("figure_[1-6].png"):
            files[FIGURES / path.name] = path.read_bytes()
    files[ANIMATION] = animation(out / "runs" / "02_gan" / "state.pt")
    for kind in ("html", "pdf"):
        files[REPORT / f"report.{kind}"] = (out / f"report.{kind}").read_bytes()
    for path, content in files.items():
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, content)
        print(f"{path.relative_to(ROOT)}  {len(content) / 1e3:,.0f} kB")
    write_json(REPORT / "scores.json", scores)
    write_json(REPORT / "manifest.json", manifests)
    for old in set((REPORT / "weights").iterdir()) - files.keys():
        old.unlink()  # of a run with other epochs
    return 0


def _published_weights(run, manifest):
    """The last epoch's weights of a run, and for the DCGAN those of Figures 3 to 5."""
    p = manifest["parameters"]
    epochs = {p["epochs"]}
    if "snapshot_epochs" in p:
        epochs |= set(gan.snapshots(p["snapshot_epochs"], p["epochs"]))
    return [run / f"weights_{epoch}.safetensors" for epoch in sorted(epochs)]


def animation(state, scale=3):
    """The bytes of a GIF of the sixteen fixed vectors, a frame for each epoch in state.pt."""
    history = read(state)["history"]
    frames = []
    for record in history:
        grid = figures.tile(record["images"].numpy().reshape(2, 8, 28, 28))
        frames.append(Image.fromarray(grid).resize([scale * n for n in grid.shape[::-1]], 0))
    times = [600] + [120] * (len(frames) - 2) + [2500]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)
    return buffer.getvalue()


CARDS = {
    "01_vae": (
        "VAE 784-64-16 for Fashion-MNIST",
        "decodes 16 numbers from N(0, 1) into a picture of a garment, and encodes such pictures",
        "vae.sample(net, 16, training.rng(0, 'try'))",
        ("loss", "recon_mean", "fid"),
    ),
    "02_gan": (
        "DCGAN generator for MNIST",
        "draws digits from 200 numbers from U(-1, 1)",
        "gan.sample(net, 16, training.rng(0, 'try'))",
        ("fid", "coverage", "rarest"),
    ),
    "03_cgan": (
        "Conditional generator of linear layers for MNIST",
        "draws the digit it is asked for, from a label and 100 numbers from U(-1, 1)",
        "cgan.sample(net, torch.arange(10), training.rng(0, 'try'))",
        ("agreement", "gan_train_nn", "fid"),
    ),
}


def _card(name, result, manifest, epochs):
    """A few lines on one model: what it is, how good, how to use it, what not to expect."""
    title, does, call, keys = CARDS[name]
    module = name.split("_")[1]
    training = (manifest.get("trained") or [manifest | {"torch": manifest["versions"]["torch"]}])[
        -1
    ]
    revision = (training["git"] or {}).get("revision", "unknown")
    after = ", ".join(epochs[:-1]) + " and " * (len(epochs) > 1) + epochs[-1]
    lines = [
        f"{tables.label(score)} {tables.cell(score)}" for score in _scores(result, keys).values()
    ]
    files = " ".join(f"`{name}_{epoch}.safetensors`" for epoch in epochs)
    return "\n".join(
        [
            f"# {title}",
            "",
            f"It {does}. Weights after {after} epochs: {files}.",
            f"Trained by `notebooks/{name}.ipynb` with the profile `paper` at revision "
            f"{revision}, on {training['device']}, with torch {training['torch']}; "
            "matrices are rounded to half precision.",
            "",
            f"Scores after {epochs[-1]} epochs: {'; '.join(lines)} "
            "(how they are computed: Section "
            f"{int(name[:2])} of the report).",
            "",
            "    import torch",
            f"    from helpers import engine, {module}, weights",
            f'    net = weights.load("report/weights/{name}_{epochs[-1]}.safetensors").net',
            f"    images = {call}  # uint8, (N, 28, 28)",
            "",
            "For teaching: it knows nothing but the ten classes of its training set, whose "
            "license is named in the report. MIT License, as the rest of this project.",
            "",
        ]
    )


# --- Numbers ---------------------------------------------------------------------------------

MAIN = (
    ("01_vae", "VAE, 3 epochs", "", ("loss", "recon_mean", "fid")),
    ("02_gan", "DCGAN, 50 epochs", " -p epochs 50", ("fid", "coverage", "rarest")),
    ("03_cgan", "cGAN, 50 epochs", " -p epochs 50", ("agreement", "gan_train_nn", "fid")),
)


def numbers(scores):
    """The table of main numbers in Markdown, from the contents of report/scores.json."""
    lines = ["| model | score | value | three seeds | yardstick | command |", "|---" * 6 + "|"]
    for name, title, words, keys in MAIN:
        for key, score in _scores(scores[name], keys).items():
            floor = tables.number(score["floor"], score["digits"])
            seeds = [run[key] for label, run in scores[name]["study"].items() if "seed" in label]
            mean, spread = statistics.fmean(seeds), statistics.stdev(seeds)
            cells = (
                title,
                f"{tables.label(score)} {score['better']}",
                tables.number(score["value"], score["digits"]),
                f"{tables.number(mean, score['digits'])} ± {spread:.{score['digits']}f}",
                f"{floor} ({tables.GROUPS[score['group']][0]})",
                f"`papermill notebooks/{name}.ipynb out.ipynb{words}`",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _scores(result, keys):
    return {key: result["scores"][key] for key in keys}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m workflow.publish",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("collect", "redraw", "numbers"))
    parser.add_argument("out", nargs="?", type=Path, help="the folder of a run, or for the result")
    options = parser.parse_args(arguments)
    if options.what != "numbers" and options.out is None:
        parser.error(f"{options.what} needs a folder")
    try:
        if options.what == "numbers":
            print(numbers(json.loads((REPORT / "scores.json").read_text(encoding="utf-8"))))
            return 0
        return {"collect": collect, "redraw": redraw}[options.what](options.out)
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(where, file=sys.stderr)
        return 1
    except (KeyError, ValueError) as error:
        print(f"{options.out or REPORT}: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
