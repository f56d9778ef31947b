"""The published results: what is kept of a finished paper run, by `make publish` only.

    python -m workflow.publish build/paper    -> report/, figures/, docs/digits.gif
    python -m workflow.publish numbers        the table of the README, from report/scores.json

Copies the report, the executed notebooks, the six figures, scores and manifests, and adds the
weights with their SHA-256 and a card for each model. Refuses whatever is less than the whole paper
run on the real data, from one commit.
"""

import hashlib
import io
import json
import os
import sys
from pathlib import Path

import nbformat
import yaml
from PIL import Image

from helpers import figures, gan, weights
from helpers.checkpoint import read
from helpers.files import write_atomically, write_json
from helpers.paths import ROOT
from helpers.scores import tables

REPORT, FIGURES, PAPER = ROOT / "report", ROOT / "figures", ROOT / "profiles" / "paper"
SHOWN = {"01_vae": (1, 2), "02_gan": (3, 4, 5), "03_cgan": (6,)}  # a notebook's numbered figures
ANIMATION = ROOT / "docs" / "digits.gif"


def collect(out):
    """Copy what is published of a finished run in `out`, with the weights and their cards.

    All of it is read and checked before the first file is written: a run that lacks something
    changes nothing. Returns a line for each file.
    """
    scores, manifests, files, nets = {}, {}, {}, {}
    for name in SHOWN:
        notebook = f"{name}.ipynb"
        files[REPORT / "notebooks" / notebook] = (out / notebook).read_bytes()
        manifest = manifests[name] = recorded(out / notebook)
        check(name, manifest)
        run = ROOT / manifest["folder"]
        if json.loads((run / "manifest.json").read_text("utf-8")) != manifest:
            raise ValueError(f"{notebook}: {manifest['folder']} is of another run by now")
        scores[name] = json.loads((run / "scores.json").read_text("utf-8"))
        for number in SHOWN[name]:
            figure = f"figure_{number}.png"
            files[FIGURES / figure] = (run / figure).read_bytes()
            digest = hashlib.sha256(files[FIGURES / figure]).hexdigest()
            if digest != manifest["figures"].get(f"figure-{number}"):
                raise ValueError(f"{run / figure}: not the picture of its manifest")
        epochs = _published_epochs(manifest["parameters"])
        for epoch in epochs:
            weights.load(run / f"weights_{epoch}.safetensors")
            nets[f"{name}_{epoch}.safetensors"] = (
                run / f"weights_{epoch}.safetensors"
            ).read_bytes()
        files[REPORT / "weights" / f"{name}.md"] = _card(name, scores[name], manifest, epochs)
    if len({manifest["git"]["revision"] for manifest in manifests.values()}) > 1:
        raise ValueError("the three runs are of different revisions")
    newest = max((out / f"{name}.ipynb").stat().st_mtime_ns for name in SHOWN)
    for report in ("report.html", "report.pdf"):
        if (out / report).stat().st_mtime_ns < newest:
            raise ValueError(f"{report}: older than its notebooks; make report builds it")
        files[REPORT / report] = (out / report).read_bytes()
    files |= {REPORT / "weights" / name: content for name, content in nets.items()}
    files[REPORT / "weights" / "SHA256SUMS"] = weights.sums(nets).encode()
    files[ANIMATION] = animation(ROOT / manifests["02_gan"]["folder"] / "state.pt")
    for path, content in files.items():
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, content)
    write_json(REPORT / "scores.json", scores)
    write_json(REPORT / "manifest.json", manifests)
    for old in set((REPORT / "weights").iterdir()) - files.keys():
        old.unlink()  # of a run with other epochs
    return [f"{os.path.relpath(path, ROOT)}  {len(files[path]) / 1e3:,.0f} kB" for path in files]


def check(name, manifest):
    """Raise ValueError unless a manifest is of the whole paper run, on the real set, unchanged."""
    values, where = manifest["parameters"], f"{name}.ipynb"
    if not (manifest["data"]["real"] and manifest["data"]["verified"]):
        raise ValueError(f"{where}: on {manifest['data']['where']}, not on the published images")
    paper = {"train_limit": 0} | yaml.safe_load((PAPER / f"{name}.yaml").read_text("utf-8"))
    for key, least in paper.items():
        if values[key] != least and not (key != "train_limit" and values[key] > least):
            raise ValueError(f"{where}: {key} = {values[key]}, published is {least} or more")
    sessions = manifest.get("trained", [])
    if sum(last - first + 1 for first, last in (s["epochs"] for s in sessions)) < values["epochs"]:
        raise ValueError(f"{where}: not all of the {values['epochs']} epochs are on record")
    for git in [manifest["git"], *[session["git"] for session in sessions]]:
        if not (git and git["clean"]):
            raise ValueError(f"{where}: from files that are no commit of this project ({git})")


def recorded(path):
    """The manifest that an executed notebook shows."""
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            report = output.get("metadata", {}).get("report", {})
            if report.get("kind") == "provenance":
                return report["manifest"]
    raise ValueError(f"{path.name}: shows no record of its run")


def _published_epochs(p):
    """The last epoch of a run, and for the DCGAN those of Figures 3 to 5."""
    young = gan.snapshots(p["snapshot_epochs"], p["epochs"]) if "snapshot_epochs" in p else ()
    return sorted({p["epochs"], *young})


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


# A model's title, its name in the README, words of its command, its main scores
MODELS = {
    "01_vae": ("VAE 784-64-16 for garments", "VAE, 3 epochs", "", ("loss", "recon_mean", "fid")),
    "02_gan": (
        "DCGAN generator for digits", "DCGAN, 50 epochs", " -p epochs 50",
        ("fid", "coverage", "rarest"),
    ),
    "03_cgan": (
        "Conditional generator for digits", "cGAN, 50 epochs", " -p epochs 50",
        ("agreement", "gan_train_nn", "fid"),
    ),
}  # fmt: skip
CARD = """\
# {title}

Weights after {after} epochs, trained by `notebooks/{name}.ipynb` with the profile `paper` at \
revision {revision}, on {device}, with torch {torch}; matrices are rounded to half precision.

Scores after {last} epochs: {scores} (how they are computed: the report says it beside them).

    import torch
    from helpers import {module}, training, weights
    net = weights.load("report/weights/{name}_{last}.safetensors").net
    images = {module}.sample(net, {inputs}, training.rng(0, "try"))  # uint8, (N, 28, 28)

For teaching: it knows nothing but the ten classes of its training set, whose license is named in \
the report. MIT License, as the rest of this project.
"""


def _card(name, result, manifest, epochs):
    """The text of a page on one model: how good, how to use it, what not to expect."""
    module, session = name.split("_")[1], manifest["trained"][-1]
    chosen = [result["scores"][key] for key in MODELS[name][-1]]
    return CARD.format(
        title=MODELS[name][0],
        after=", ".join(map(str, epochs)),
        name=name,
        revision=session["git"]["revision"],
        device=session["device"],
        torch=session["torch"],
        last=epochs[-1],
        scores="; ".join(f"{tables.label(score)} {tables.cell(score)}" for score in chosen),
        module=module,
        inputs="torch.arange(10)" if module == "cgan" else "16",
    ).encode()


def numbers(scores):
    """The table of main numbers in Markdown, from the contents of report/scores.json."""
    lines = ["| model | score | value | yardstick | command |", "|---" * 5 + "|"]
    for name, (_, title, words, keys) in MODELS.items():
        for score in (scores[name]["scores"][key] for key in keys):
            value, floor = (tables.number(score[k], score["digits"]) for k in ("value", "floor"))
            lines.append(
                f"| {title} | {tables.label(score)} {score['better']} | {value} | {floor} "
                f"({tables.GROUPS[score['group']][0]}) "
                f"| `papermill notebooks/{name}.ipynb out.ipynb{words}` |"
            )
    return lines


def main(words):
    try:
        if words == ["numbers"]:
            lines = numbers(json.loads((REPORT / "scores.json").read_text("utf-8")))
        else:
            lines = collect(Path(*words))
        print("\n".join(lines), flush=True)
    except BrokenPipeError:  # whoever read this has seen enough
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyError as error:
        sys.exit(f"{words[0]}: {error} is missing; not a whole run of this project")
    except ValueError as error:
        sys.exit(f"{words[0]}: {str(error).splitlines()[0]}")


if __name__ == "__main__":
    main(sys.argv[1:])
