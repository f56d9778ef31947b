"""The same model trained several times, with other seeds and other settings, and scored.

`repeat` trains each variant in a folder of its own, saved after every epoch like any run, so that
a study that is interrupted goes on where it was. A finished variant's scores are kept.
"""

import dataclasses
import json
import re
import statistics
import time
from functools import partial

import torch

from helpers import cgan, checkpoint, gan, show, training, vae, weights
from helpers import scores as evaluate
from helpers.files import write_json
from helpers.scores import tables


def repeat(train, variants, config, data, run, device, resume=True):
    """{name: result of `evaluate`} for each variant {name: {parameter: value}}.

    train: train_vae, train_gan or train_cgan of this module.  config: what a variant changes.
    run: the folder in which each gets its own.
    """
    return {
        name: once(train, changed(config, changes), data, run / folder(name), device, resume, name)
        for name, changes in variants.items()
    }


def seeds(config, count=3):
    """The variants that differ from config in the seed alone: {"seed 1": {"seed": 1}, ...}."""
    others = [(config.seed + step) % 2**32 for step in range(1, count)]
    return {f"seed {seed}": {"seed": seed} for seed in others}


def changed(config, changes):
    """The config with other values, checked; a variant is not itself the object of a study."""
    extras = {name: False for name in ("study", "classroom") if hasattr(config, name)}
    return dataclasses.replace(config, **extras | changes)


def folder(name):
    """The name of a variant as the name of a folder: "num_d_steps = 3" -> "num-d-steps-3"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64]


def once(train, config, data, run, device, resume=True, name="run"):
    """Train and score one variant, unless its scores are kept already; the result."""
    run = checkpoint.open_run(run)
    module, parts, go, score = train(config, data, device)
    made_from = data.sha256 | {"code": training.code_digest(module)}
    wanted = {"config": _plain(config), "made_from": made_from, "scores": tables.FORMAT}
    kept = _kept(run / "study.json") if resume else None
    if kept and {key: kept.get(key) for key in wanted} == wanted:
        print(f"{name}: {kept['line']}", flush=True)
        return kept["result"]
    start = time.perf_counter()
    history = checkpoint.resume(run, config, made_from, module.Record, parts) if resume else []
    for record in go(len(history)):
        history.append(record)
        checkpoint.save(run, config, made_from, history, parts)
    result = score()
    line = f"{show.counted(config.epochs, 'epoch')}, FID {result['scores']['fid']['value']:.2f}"
    seconds = round(time.perf_counter() - start, 1)
    kept = wanted | {"line": line, "seconds": seconds, "result": result}
    write_json(run / "study.json", kept)
    print(f"{name}: {line}", flush=True)
    return result


def train_vae(config, data, device):
    """Of a VAE: its module, parts, go(start) -> records, score() -> result of `evaluate`."""
    images, test = (torch.from_numpy(part.images).to(device) for part in (data.train, data.test))
    model, optimizer = vae.build(config, device)

    def score():
        draw = partial(vae.sample, model)
        return evaluate.vae(data, draw, model.encode, model.decode, **_options(config, device))

    go = partial(vae.train_vae, config, model, optimizer, images, test)
    return vae, {"model": model, "optimizer": optimizer}, go, score


def train_gan(config, data, device):
    """The same of a DCGAN."""
    images = torch.from_numpy(data.train.images).to(device)
    parts = gan.build(config, device)

    def score():
        return evaluate.gan(data, partial(gan.sample, parts.artist), **_options(config, device))

    return gan, parts._asdict(), partial(gan.train_gan, config, parts, images), score


def train_cgan(config, data, device):
    """The same of a conditional GAN."""
    images = torch.from_numpy(data.train.images).to(device)
    labels = torch.from_numpy(data.train.labels).to(device)
    parts = cgan.build(config, len(data.classes), device)

    def score():
        return evaluate.cgan(data, partial(cgan.sample, parts.artist), **_options(config, device))

    return cgan, parts._asdict(), partial(cgan.train_cgan, config, parts, images, labels), score


# --- What is shown of a study ----------------------------------------------------------------


def snapshots(run, epochs, data, config):
    """{name: result} of the DCGAN as it was after these epochs, from the weights kept in run."""
    results = {}
    for epoch in epochs:
        path = run / f"weights_{epoch}.safetensors"
        if epoch < config.epochs and path.exists():  # other epochs may have been asked for then
            draw = partial(gan.sample, weights.load(path).net)
            name = f"seed {config.seed}, after {show.counted(epoch, 'epoch')}"
            results[name] = evaluate.gan(data, draw, n=config.score_samples, sampling_seeds=1)
    return results


def beyond(alike, others, key, factor=3):
    """A sentence or two: what luck is, from runs that differ in the seed alone, and what is more.

    Names the others whose score is more than `factor` standard deviations from the seeds' mean.
    """
    name, digits = tables.SPECS[key].label, tables.SPECS[key].digits
    found = [result["scores"][key]["value"] for result in alike.values()]
    mean, spread = statistics.fmean(found), statistics.stdev(found)
    far = {
        other: value
        for other, result in others.items()
        if abs((value := result["scores"][key]["value"]) - mean) > factor * spread
    }
    listed = ", ".join(f"“{other}” ({value:.{digits}f})" for other, value in far.items())
    verdict = (
        f"Further away than three times that are {listed}."
        if far
        else ("None of the other rows is further away than three times that.")
    )
    return (
        f"Over {len(found)} seeds, “{name}” is {mean:.{digits}f} ± {spread:.{digits}f}. {verdict}"
    )


def _options(config, device):
    return {"n": config.score_samples, "device": device}


def _plain(config):
    return json.loads(json.dumps(dataclasses.asdict(config)))


def _kept(path):
    """What is in study.json, or None where it is missing or damaged: it can be made again."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
