"""A sweep that is done: its table, its figure, and the rest of notebooks/sweep.ipynb.

"content" is what table.json holds.
"""

import json
import os
import textwrap

import pandas as pd
import torch

from helpers import data, figures, params, runs, vae, weights
from helpers.files import write_atomically, write_json
from helpers.scores import epochs, tables
from helpers.training import rng
from workflow import compare, settings


def table(sweep):
    """The content of a sweep; OSError or ValueError naming the run that lacks or disagrees.

    "made" is what may differ between two places that ran the sweep: times and devices.
    """
    told, made, alike = [], [], {}
    for name, run in sweep.runs.items():
        result = compare.load(sweep.out / name)
        manifest = _manifest(sweep.out / name)
        for key, value in run.given.items():
            if (was := manifest["parameters"].get(key)) != value:
                raise ValueError(f"{sweep.out / name}: made with {key} = {was!r}, not {value!r}")
        scores = {key: entry["value"] for key, entry in result["scores"].items()}
        told.append({"run": name, "setting": run.setting, **run.point, "scores": scores})
        seconds = [session["seconds"] for session in manifest["trained"]]
        kept = {key: manifest[key] for key in ("device", "git", "versions", "data")}
        made.append({"run": name, "seconds": sum(seconds), "sessions": len(seconds)} | kept)
        alike.setdefault(run.setting, []).append(result)
    return {
        "notebook": sweep.notebook,
        "given": sweep.given(),
        "runs": told,
        "settings": settings.summary(alike),
        "made": made,
        "differences": compare.differences(sum(alike.values(), [])),
    }


def described(name, content):
    """What a sweep is, and at which revision it was made, for a caption."""
    count, notebook = len(content["runs"]), content["notebook"]
    facts = [f"{count} run{'s' * (count > 1)} of {notebook}"]
    facts += [f"{key} = {params.shown(value)}" for key, value in content["given"].items()]
    revisions = {run["git"]["revision"] for run in content["made"] if run["git"]}
    facts += [f"revision {' and '.join(sorted(revisions))}"] if revisions else []
    return f"Sweep “{name}”: {', '.join(facts)}."


def _manifest(folder):
    return json.loads((folder / "manifest.json").read_text("utf-8"))


def write(content, out):
    """table.json, table.csv (runs and scores alone) and figure.png, in the folder."""
    out.mkdir(parents=True, exist_ok=True)
    rows = [{k: v for k, v in r.items() if k != "scores"} | r["scores"] for r in content["runs"]]
    write_atomically(out / "table.csv", pd.DataFrame(rows).to_csv(index=False).encode())
    draw(content).savefig(out / "figure.png", metadata={"Software": None})
    write_json(out / "table.json", content)


def ordered(content):
    """The summary of a sweep in the order of its file, which JSON does not keep."""
    names = dict.fromkeys(run["setting"] for run in content["runs"])
    return {name: content["settings"][name] for name in names}


def draw(content):
    """Each run as a dot, each setting's mean as a dash, a panel for each main score."""
    rows = ordered(content)
    keys = [key for key in settings.MAIN if all(key in found for found in rows.values())]
    size = (figures.WIDTH, 0.8 + 0.26 * len(rows))
    figure = figures.Figure(size, dpi=200, layout="constrained")
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    for axes, key in zip(panels, keys, strict=True):
        for row, found in enumerate(rows.values()):
            values = found[key]["values"]
            axes.plot(values, [row] * len(values), "o", color=figures.BLUE, ms=4, alpha=0.6)
            axes.plot([found[key]["mean"]], [row], "|", color=figures.ORANGE, ms=13, mew=2)
        means = [found[key]["mean"] for found in rows.values()]
        if key.startswith("fid") and max(means) > 5 * min(means):
            figures.logarithmic(axes.xaxis)
        label = f"{tables.SPECS[key].label} {tables.SPECS[key].better}"
        figures.finish(axes, textwrap.fill(label, 18), "")
    panels[0].set_yticks(range(len(rows)), list(rows), parse_math=False)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


def pictures(content, folder, count=10):
    """Images of the first run of each setting: (names of rows, (R, count, 28, 28) uint8).

    folder: of the sweep, with its runs. A VAE's are reconstructions of test images, which stand
    in the first row; a GAN's are drawn from the same noise, with the labels in turn if it has any.
    """
    rows = {}
    for name, at in _first(content, folder).items():
        given = _manifest(at)["parameters"]
        net = weights.load(at / f"weights_{given['epochs']}.safetensors").net
        if isinstance(net, vae.VAE):
            if not rows:
                where = (given[name] for name in ("dataset", "source", "data_dir"))
                found = data.load(*where, need_test_labels=False)
                chosen = figures.one_of_each_class(found.test, len(found.classes), 0)
                rows["test image"] = torch.from_numpy(found.test.images[chosen])
            rows[name] = vae.reconstruct(net, rows["test image"])
        else:
            rows[name] = epochs.sampler(net)(count, rng(0, "setting"))
    return list(rows), torch.stack(list(rows.values())).numpy()


def _first(content, folder):
    """{setting: the folder of its first run}."""
    runs = reversed(content["runs"])
    found = {run["setting"]: folder / run["run"] for run in runs}
    return {name: found[name] for name in ordered(content)}


def likelihoods(content, folder):
    """(columns, rows): what a test image costs the first VAE of each setting, and PCA."""
    keys, rows = ("recon", "kl", "recon_mean", "neg_elbo_best"), []
    first = {name: compare.load(at)["scores"] for name, at in _first(content, folder).items()}
    for name, scores in first.items():
        rows.append((name, *(tables.number(scores[key]["value"], 2) for key in keys)))
    linear = next(iter(first.values()))
    rows.append(("linear (PCA)", *(tables.number(linear[key]["floor"], 2) for key in keys)))
    return ("setting", *(tables.label(linear[key]) for key in keys)), rows


def record(page, contents):
    """Write and display where the sweeps {name: content} of a notebook's page came from."""
    made = [run for content in contents.values() for run in content["made"]]
    seconds = round(sum(run["seconds"] for run in made), 1)
    manifest = {key: made[0][key] for key in ("data", "versions", "device")}
    manifest["git"] = runs.revision()
    if own := os.environ.get("DATA_DIR"):  # make hands it on to every run; nobody else has it
        where = manifest["data"]["where"].replace(own, "$DATA_DIR")
        manifest["data"] = manifest["data"] | {"where": where}
    manifest |= {"notebook": "sweep", "parameters": {"sweeps": list(contents)}}
    manifest |= {"seconds": {"train": seconds}, "trained": []}
    line = f"{len(made)} runs, {seconds / 60:.0f} minutes of training in all."
    runs.record(page, line, manifest)
