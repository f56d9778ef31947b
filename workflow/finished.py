"""Finished runs, opened again and put side by side, for notebooks/comparison.ipynb."""

import copy
import json
import math
import platform
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F

from helpers import cgan, checkpoint, data, gan, params, paths, runs
from helpers.display import prose, show
from helpers.files import write_json
from helpers.scores import tables, verdict
from helpers.training import count_parameters, describe_device, to_signed
from workflow.publish import recorded

WAYS = {
    "apart": "DCGAN: batches of one kind, as in training",
    "mixed": "DCGAN: mixed batches",
    "kept": "DCGAN: statistics kept from training",
    "conditional": "cGAN",
}
SCORES = ("fid", "kid", "precision", "recall", "density", "coverage", "unseen")


class Finished(NamedTuple):
    """A finished run: its networks on a device, what it was made with, and its images."""

    config: object
    parts: NamedTuple
    manifest: dict
    data: data.Dataset


def opened(notebook, where, device, like=None):
    """The Finished of a run of a notebook ("02_gan").

    where: its folder, its executed notebook, or "": the newest in build/runs. like: another
    Finished, whose images it must share. Raises ValueError or OSError in one line.
    """
    same = _images(like.manifest) if like else None
    folder = _folder(notebook, where, same)
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    except FileNotFoundError:
        what = f"no finished run{' on the same images' if same else ''}"
        line = f"{paths.from_root(folder)}: {what}; run notebooks/{notebook}.ipynb first"
        raise FileNotFoundError(line) from None
    values = manifest["parameters"]
    words = [values.get(name) for name in ("dataset", "source", "data_dir", "train_limit")]
    read = like.data if like else data.load(*words)
    wanted = same or (read.name, read.real, *(read.sha256.get(part) for part in PARTS))
    if manifest["notebook"] != notebook or _images(manifest) != wanted:
        made = f"a run of {manifest['notebook']} on {manifest['data']['title']}"
        raise ValueError(f"{paths.from_root(folder)}: {made}, not of {notebook} on these images")
    state, module = checkpoint.read(folder / "state.pt"), runs.MODELS[notebook]
    known = vars(params.CONFIGS[notebook]())  # a parameter that is gone by now said nothing
    config = {name: value for name, value in state["config"].items() if name in known}
    config = params.CONFIGS[notebook](**config)
    classes = [len(read.classes)] if module is cgan else []
    parts = module.build(config, *classes, device)
    for name in ("generator", "discriminator", "artist"):
        getattr(parts, name).load_state_dict(state["parts"][name])
    return Finished(config, parts, manifest, read)


def _folder(notebook, where, same):
    if where.endswith(".ipynb"):
        where = recorded(paths.run_dir(where, ""))["folder"]
    if where:
        return paths.run_dir(where, notebook)
    found = {path.parent: path.stat().st_mtime for path in _manifests(notebook, same)}
    return max(found, key=found.get, default=paths.run_dir("", notebook))


def _manifests(notebook, same):
    for path in paths.run_dir("", notebook).rglob("manifest.json"):
        if same in (None, _images(json.loads(path.read_text("utf-8")))):
            yield path


PARTS = ("train-images", "test-images")


def _images(manifest):
    """What tells the images of two runs apart, however many of them were for training."""
    known = manifest["data"]
    return known["name"], known["real"], *(known["sha256"].get(part) for part in PARTS)


@torch.no_grad()
def asked(convolutional, conditional, real, labels, forged):
    """The logits of two discriminators, asked about real and generated images: {way: pair (N,)}.

    convolutional, conditional: Finished.  real: (N, 28, 28) uint8 with labels (N,) int64.
    forged: images of the two generators, the conditional one's of all labels in turn. The
    convolutional one is asked in three ways: real and generated images in batches of their own,
    as in training; mixed in batches; and with the statistics kept from training.
    """
    own, other = convolutional.parts.discriminator, conditional.parts.discriminator.eval()
    size, device = convolutional.config.batch_size, next(other.parameters()).device
    judge = copy.deepcopy(own).train()  # whose statistics may change

    def ask(images):
        scaled = to_signed(images.to(device)).unsqueeze(1)
        return torch.cat([judge(part) for part in scaled.split(size)]).cpu()

    def ask_other(images, y):
        return other(to_signed(images.to(device)).flatten(1), y.to(device)).cpu()

    whole = len(real) // size * size  # full batches
    mixed = ask(torch.stack([real[:whole], forged[0][:whole]], 1).flatten(0, 1))
    wanted = torch.arange(len(real)) % conditional.parts.generator.num_classes
    return {
        "apart": (ask(real[:whole]), ask(forged[0][:whole])),
        "mixed": (mixed[::2], mixed[1::2]),
        "kept": (gan.logits(own, real), gan.logits(own, forged[0])),
        "conditional": (ask_other(real, labels), ask_other(forged[1], wanted)),
    }


def answers(asked):
    """(columns, rows): what each discriminator says on average, and what that costs it."""
    columns = "discriminator", "D of real images", "D of generated images", "loss"
    means = {way: [x.sigmoid().mean().item() for x in pair] for way, pair in asked.items()}
    return columns, [
        (WAYS[way], *(f"{value:.2f}" for value in (*means[way], cost(*pair))))
        for way, pair in asked.items()
    ]


def table(facts, results):
    """(columns, rows): facts {what: a text for each model}, then the scores {name: result}."""
    blank, first = ("", ""), next(iter(results.values()))["scores"]
    rows = [(what, *texts, *blank) for what, texts in facts.items()]
    for key in SCORES:
        cells = (tables.cell(result["scores"][key]) for result in results.values())
        floor = tables.number(first[key]["floor"], first[key]["digits"])
        rows.append((tables.label(first[key]), *cells, floor, first[key]["better"]))
    return ("", *results, tables.GROUPS["samples"][0], "better"), rows


def facts(nets, epochs, counts, seconds):
    """What `table` shows above the scores; nets: for each model, those that are trained."""
    sizes = [sum(map(count_parameters, group)) for group in nets]
    return {
        "trained parameters": [f"{size:,}" for size in sizes],
        "epochs": [str(count) for count in epochs],
        "training images": [f"{count:,}" for count in counts],
        "training time": [f"{time:.0f} s" for time in seconds],
    }


def compared(results):
    """Which model is best in what, and who copies. results: {name: result}, one protocol."""
    best, ties = {}, {}
    for key in ("fid", "precision", "recall", "density", "coverage"):
        way = 1 if tables.SPECS[key].better == "↓" else -1
        scores = {name: result["scores"][key] for name, result in results.items()}
        first, second, *_ = sorted(scores, key=lambda name: way * scores[name]["value"])
        gap = abs(scores[first]["value"] - scores[second]["value"])
        spread = math.hypot(*(scores[name]["std"] or 0.0 for name in (first, second)))
        led, leader = (best, first) if gap > 2 * spread else (ties, f"{first} and the {second}")
        led.setdefault(leader, []).append({"fid": "FID"}.get(key, key))
    told = [f"the {name} is best in {_and(labels)}" for name, labels in best.items()]
    told += [f"no difference between the {n} is shown in {_and(of)}" for n, of in ties.items()]
    text = f"{'; '.join(told)}."
    unseen = {name: result["scores"]["unseen"] for name, result in results.items()}
    near = [n for n, s in unseen.items() if s["value"] - s["floor"] > verdict.BEYOND * s["std"]]
    text += f" The images of {_and(near) or 'no model'} lie nearer to the training images than "
    text += "new ones would" + (", a sign of copies or of images all alike." if near else ".")
    return text[0].upper() + text[1:]


def puzzle(asked):
    """Why one discriminator wins and another guesses. asked: what `asked` returns."""
    costs = {way: cost(*logits) for way, logits in asked.items()}
    guess, alone = 2 * math.log(2), costs["mixed"] - costs["apart"]
    text = (
        "On new images the DCGAN's discriminator, asked as in training, in batches that are all "
        f"real or all generated, has a loss of {costs['apart']:.2f}. It is {costs['mixed']:.2f} "
        f"when the two are mixed in a batch, and {costs['kept']:.2f} with the statistics that "
        f"training left. The cGAN's is {costs['conditional']:.2f}; guessing costs {guess:.2f}. "
    )
    if alone > (guess - costs["apart"]) / 2:
        return text + (
            "So most of its lead is not in any single image. Batch normalization lets it see a "
            "batch at once, and many generated images together are easier to tell than one."
        )
    return text + "So it tells single images, and not only batches of them."


def cost(on_real, on_fake):
    """The discriminator's loss at these logits, (N,) each."""
    return (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()).item()


def _and(words):
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def finish(page, values, run, seconds, device):
    """Write and display where a comparison came from; seconds: of training in this process."""
    versions = {"python": platform.python_version()} | {p: version(p) for p in runs.PACKAGES}
    manifest = {"notebook": "comparison", "parameters": values, "versions": versions}
    manifest |= {"data": run.manifest["data"], "git": runs.revision(), "trained": []}
    manifest |= {"device": describe_device(device), "figures": page.figures}
    manifest |= {"seconds": {"train": round(seconds, 1)}}
    write_json(Path(page.folder) / "manifest.json", manifest)
    line = f"Compared on {manifest['device']}; each run's own record is in its section."
    show(prose(line), {"kind": "provenance", "manifest": manifest})
