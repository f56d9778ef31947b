"""The published results: what is kept of a finished paper run, by `make publish` only.

    python -m workflow.publish build/paper              -> report/, figures/, docs/digits.gif
    python -m workflow.publish numbers                  the table of the README

Copies the report, the executed notebooks, the six figures, scores, manifests and the tables of
sweeps, and adds weights, histories and a card for each model. Refuses whatever is less than the
whole paper run on the real data from clean commits.
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

from helpers import figures, gan, history, params, paths, weights
from helpers.files import write_atomically, write_json
from helpers.paths import ROOT
from helpers.scores import tables
from workflow.program import program

REPORT, FIGURES, PAPER = ROOT / "report", ROOT / "figures", ROOT / "profiles" / "paper"
PROFILE, SWEEPS = ROOT / "profiles" / "published", ROOT / "build" / "sweeps"
SHOWN = {"01_vae": (1, 2), "02_gan": (3, 4, 5), "03_cgan": (6,)}  # a notebook's numbered figures
ANIMATION = ROOT / "docs" / "digits.gif"


def collect(out):
    """Copy what is published of a finished run in `out`, with the weights and their cards.

    All of it is read and checked before the first file is written: a run that lacks something
    changes nothing. Returns a line for each file.
    """
    scores, manifests, files, kept = {}, {}, {}, {}
    for name in SHOWN:
        notebook = f"{name}.ipynb"
        manifest = manifests[name] = recorded(out / notebook)
        check(name, manifest)
        run = ROOT / manifest["folder"]
        if json.loads((run / "manifest.json").read_text("utf-8")) != manifest:
            raise ValueError(f"{notebook}: {manifest['folder']} is of another run by now")
        scores[name] = json.loads((run / "scores.json").read_text("utf-8"))
        files[REPORT / "notebooks" / notebook] = (out / notebook).read_bytes()
        for number in SHOWN[name]:
            figure = f"figure_{number}.png"
            files[FIGURES / figure] = (run / figure).read_bytes()
            digest = hashlib.sha256(files[FIGURES / figure]).hexdigest()
            if digest != manifest["figures"].get(f"figure-{number}"):
                raise ValueError(f"{run / figure}: not the picture of its manifest")
        for public, own in kept_files(name, manifest["parameters"]).items():
            if own.endswith(".safetensors"):
                weights.load(run / own)
            kept[public] = (run / own).read_bytes()
        kept[f"{name}.md"] = _card(name, scores[name], manifest)
        files[PROFILE / f"{name}.yaml"] = _profile(name, manifest["parameters"])
    rendered = [manifest["git"] for manifest in manifests.values()]
    for page in (out / "comparison.ipynb", out / "sweep.ipynb"):  # published if they are there
        if page.exists():
            files[REPORT / "notebooks" / page.name] = page.read_bytes()
            rendered += [recorded(page)["git"]] if page.stem == "comparison" else []
    if any(git != rendered[0] for git in rendered):
        raise ValueError(f"notebooks of several revisions: {rendered}; make report runs them anew")
    newest = max((out / path.name).stat().st_mtime_ns for path in files if path.suffix == ".ipynb")
    for report in ("report.html", "report.pdf"):
        if (out / report).stat().st_mtime_ns < newest:
            raise ValueError(f"{report}: older than its notebooks; make report builds it")
        files[REPORT / report] = (out / report).read_bytes()
    files |= _sweeps()
    kept["SHA256SUMS"] = weights.sums(kept).encode()
    files |= {REPORT / "weights" / name: content for name, content in kept.items()}
    files[ANIMATION] = animation(history.read(ROOT / manifests["02_gan"]["folder"], gan.Record))
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    write_json(REPORT / "scores.json", scores)
    write_json(REPORT / "manifest.json", manifests)
    for old in {path for path in REPORT.glob("*/**/*") if path.is_file()} - files.keys():
        old.unlink()  # of a run with other epochs
    said = [f"{name}: {_trained(manifest)}" for name, manifest in manifests.items()]
    sizes = {os.path.relpath(path, ROOT): len(content) for path, content in files.items()}
    return [*(f"{path}  {size / 1e3:,.0f} kB" for path, size in sizes.items()), *said]


def kept_files(name, p):
    """{name in report/weights: name in the run's folder} of a run with these parameters.

    Weights are those of the last epoch and, for the DCGAN, of Figures 3 to 5.
    """
    last, pair = p["epochs"], {}
    young = gan.snapshots(p["snapshot_epochs"], last) if "snapshot_epochs" in p else ()
    if "beta1" in p:  # two networks
        pair[f"discriminator_{name}_{last}.safetensors"] = f"discriminator_{last}.safetensors"
        pair[f"{name}_film.png"], pair[f"{name}_epochs.json"] = "film.png", "epochs.json"
    drawn = {f"{name}_{e}.safetensors": f"weights_{e}.safetensors" for e in sorted({*young, last})}
    return drawn | pair | {f"{name}_history.csv": "history.csv"}


def _sweeps():
    """{path: bytes} of the tables of sweeps whose runs are all real and of clean commits."""
    found = {}
    for path in sorted(SWEEPS.glob("*/table.json")):
        made = json.loads(path.read_text("utf-8"))["made"]
        if all(run["data"]["verified"] and run["git"] and run["git"]["clean"] for run in made):
            for table in (path, path.with_suffix(".csv")):
                content = table.read_bytes().replace(
                    f"{paths.data_dir()}/".encode(), b"$DATA_DIR/"
                )
                found[REPORT / "sweeps" / path.parent.name / table.name] = content
        else:
            print(f"{path}: left out, not all of it is of real data and clean commits")
    return found


def check(name, manifest):
    """Raise ValueError unless a manifest is of the whole paper run, on the real set, unchanged."""
    values, where = manifest["parameters"], f"{name}.ipynb"
    if not (manifest["data"]["real"] and manifest["data"]["verified"]):
        raise ValueError(f"{where}: on {manifest['data']['where']}, not on the published images")
    paper = (PAPER / f"{name}.yaml").read_text("utf-8")
    for key, least in ({"train_limit": 0} | yaml.safe_load(paper)).items():
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


def animation(history, scale=3):
    """The bytes of a GIF of the sixteen fixed vectors, a frame for each epoch of a DCGAN."""
    frames = []
    for record in history:
        grid = figures.tile(record.images.numpy().reshape(2, 8, 28, 28))
        frames.append(Image.fromarray(grid).resize([scale * n for n in grid.shape[::-1]], 0))
    times = [600] + [120] * (len(frames) - 2) + [2500]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)
    return buffer.getvalue()


def _profile(name, parameters):
    """A file of all parameters of a run, which `make report PROFILE=published` gives it again."""
    own = {k: v for k, v in parameters.items() if k not in params.SURROUNDINGS}
    own["out_dir"] = f"build/published/runs/{name}"
    lines = [f"{key}: {json.dumps(value)}" for key, value in own.items()]
    return "\n".join(["# The published run; written by make publish.", *lines, ""]).encode()


# A model's title, its name in the README, its main scores
MODELS = {
    "01_vae": ("VAE 784-64-16 for garments", "VAE", ("loss", "recon_mean", "fid")),
    "02_gan": ("DCGAN generator for digits", "DCGAN", ("fid", "coverage", "rarest")),
    "03_cgan": ("Conditional generator for digits", "cGAN", ("agreement", "gan_train_nn", "fid")),
}
CARD = """\
# {title}

Trained by `notebooks/{name}.ipynb` with the profile `paper`: {trained}. Weights after \
{after} epochs; matrices are rounded to half precision. `{name}_history.csv` holds every epoch.

Scores after {last} epochs: {scores} (how they are computed: the report says it beside them).

    import torch
    from helpers import {module}, training, weights
    net = weights.load("report/weights/{name}_{last}.safetensors").net
    images = {module}.sample(net, {inputs}, training.rng(0, "try"))  # uint8, (N, 28, 28)

For teaching: it knows nothing but the ten classes of its training set, whose license is named in \
the report. MIT License, as the rest of this project.
"""


def _card(name, result, manifest):
    """The text of a page on one model: how good, how to use it, what not to expect."""
    p, module = manifest["parameters"], name.split("_")[1]
    own = [Path(file).stem.split("_") for file in kept_files(name, p).values()]
    chosen = [result["scores"][key] for key in MODELS[name][-1]]
    return CARD.format(
        title=MODELS[name][0],
        after=", ".join(words[1] for words in own if words[0] == "weights"),
        name=name,
        trained=_trained(manifest),
        last=p["epochs"],
        scores="; ".join(f"{tables.label(score)} {tables.cell(score)}" for score in chosen),
        module=module,
        inputs="torch.arange(10)" if module == "cgan" else "16",
    ).encode()


def _trained(manifest):
    """Who trained which epochs, and at which revision it was rendered, in words."""
    sessions = [
        f"epochs {one['epochs'][0]} to {one['epochs'][1]} at revision {one['git']['revision']} "
        f"on {one['device']} with torch {one['torch']}"
        for one in manifest["trained"]
    ]
    return f"{'; '.join(sessions)}; rendered at revision {manifest['git']['revision']}"


def numbers(scores, manifests):
    """The table of main numbers in Markdown, from report/scores.json and report/manifest.json."""
    lines = ["| model | score | value | yardstick | command |", "|---" * 5 + "|"]
    for name in SHOWN:
        (_, title, keys), epochs = MODELS[name], manifests[name]["parameters"]["epochs"]
        words = f" -p epochs {epochs}" if epochs != params.defaults(name)["epochs"] else ""
        for score in (scores[name]["scores"][key] for key in keys):
            value, floor = (tables.number(score[k], score["digits"]) for k in ("value", "floor"))
            lines.append(
                f"| {title}, {epochs} epochs | {tables.label(score)} {score['better']} | {value} "
                f"| {floor} ({tables.GROUPS[score['group']][0]}) "
                f"| `papermill notebooks/{name}.ipynb out.ipynb{words}` |"
            )
    return lines


def main(words):
    if words == ["numbers"]:
        files = REPORT / "scores.json", REPORT / "manifest.json"
        lines = numbers(*(json.loads(path.read_text("utf-8")) for path in files))
    else:
        lines = collect(Path(*words))
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(program(main, sys.argv[1:]))
