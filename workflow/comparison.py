"""Three models of the same images: the tables and sentences of notebooks/comparison.ipynb."""

import copy
import math

import torch
import torch.nn.functional as F

from helpers import gan
from helpers.scores import tables, verdict
from helpers.training import count_parameters, to_signed

FACTS = ("trained parameters", "epochs", "training images", "training time", "trained on")
SCORES = ("fid", "kid", "precision", "recall", "density", "coverage", "unseen")
WAYS = (
    "DCGAN: batches of one kind, as in training",
    "DCGAN: mixed batches",
    "DCGAN: statistics kept from training",
    "cGAN",
)


def trained(run):
    """(networks, epochs, images, seconds, device) of the training of a Finished GAN."""
    known = run.manifest
    device = (known["trained"] or [known])[-1]["device"]  # who trained, not who drew
    epochs, seconds = known["parameters"]["epochs"], known["seconds"]["train"]
    return run.parts[:2], epochs, known["data"]["train"], seconds, device


def table(models, results):
    """(columns, rows): how each model was trained, as `trained` says, then {name: scores}."""
    texts = [
        (f"{sum(map(count_parameters, nets)):,}", str(epochs), f"{n:,}", duration(time), device)
        for nets, epochs, n, time, device in models
    ]
    rows = [(*row, "", "") for row in zip(FACTS, *texts, strict=True)]
    first = next(iter(results.values()))["scores"]
    for key in SCORES:
        cells = (tables.cell(result["scores"][key]) for result in results.values())
        floor = tables.number(first[key]["floor"], first[key]["digits"])
        rows.append((tables.label(first[key]), *cells, floor, first[key]["better"]))
    return ("", *results, tables.GROUPS["samples"][0], "better"), rows


def duration(seconds):
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def compared(results):
    """Which model is best in what, and who copies. results: {name: result}, one protocol."""
    best, ties = {}, {}
    for key in ("fid", "kid", "precision", "recall", "density", "coverage"):
        way = 1 if tables.SPECS[key].better == "↓" else -1
        scores = {name: result["scores"][key] for name, result in results.items()}
        first, second, *_ = sorted(scores, key=lambda name: way * scores[name]["value"])
        gap = abs(scores[first]["value"] - scores[second]["value"])
        spread = math.hypot(*(scores[name]["std"] or 0.0 for name in (first, second)))
        led, leader = (best, first) if gap > 2 * spread else (ties, f"{first} and the {second}")
        led.setdefault(leader, []).append({"fid": "FID", "kid": "KID"}.get(key, key))
    told = [f"the {name} is best in {_and(labels)}" for name, labels in best.items()]
    told += [f"no difference between the {n} is shown in {_and(of)}" for n, of in ties.items()]
    text = f"{'; '.join(told)}."
    unseen = {name: result["scores"]["unseen"] for name, result in results.items()}
    near = [n for n, s in unseen.items() if s["value"] - s["floor"] > verdict.BEYOND * s["std"]]
    text += f" The images of {_and(near) or 'no model'} lie nearer to the training images than "
    text += "new ones would" + (", a sign of copies or of images all alike." if near else ".")
    return text[0].upper() + text[1:]


def abstract(results):
    """The main result in one sentence."""
    scores = [(name, result["scores"]["fid"]) for name, result in results.items()]
    fids = [f"{tables.number(fid['value'], fid['digits'])} ({name})" for name, fid in scores]
    return f"Taught the same images, the three models have an FID of {_and(fids)}."


@torch.no_grad()
def asked(convolutional, conditional, real, labels, forged):
    """The logits of two discriminators, asked about real and generated images: a pair (N,) a way.

    convolutional, conditional: Finished.  real: (N, 28, 28) uint8 with labels (N,) int64.
    forged: images of the two generators, the conditional one's of all labels in turn. The
    convolutional one is asked in three ways: real and generated images in batches of their own,
    as in training; mixed in batches; and with the statistics kept from training. Returns these
    three pairs and the conditional one's, which `answers` and `puzzle` take.
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
    return (
        (ask(real[:whole]), ask(forged[0][:whole])),
        (mixed[::2], mixed[1::2]),
        (gan.logits(own, real), gan.logits(own, forged[0])),
        (ask_other(real, labels), ask_other(forged[1], wanted)),
    )


def answers(asked):
    """(columns, rows): what each discriminator says on average, and what that costs it."""
    columns = "discriminator", "D of real images", "D of generated images", "loss", "AUC"
    means = [[logits.sigmoid().mean().item() for logits in pair] for pair in asked]
    return columns, [
        (way, *(f"{value:.2f}" for value in (*mean, cost(*pair), auc(*pair))))
        for way, mean, pair in zip(WAYS, means, asked, strict=True)
    ]


def puzzle(asked):
    """Why one discriminator wins and another guesses. asked: what `asked` returns."""
    apart, mixed, kept, conditional = (cost(*pair) for pair in asked)
    guess = 2 * math.log(2)
    text = (
        "On new images the DCGAN's discriminator, asked as in training, in batches that are all "
        f"real or all generated, has a loss of {apart:.2f}. It is {mixed:.2f} "
        f"when the two are mixed in a batch, and {kept:.2f} with the statistics that "
        f"training left. The cGAN's is {conditional:.2f}; guessing costs {guess:.2f}. "
    )
    if mixed - apart > (guess - apart) / 2:
        text += (
            "So most of the DCGAN's low loss depends on batches of one kind. Batch normalization "
            "lets it see a batch at once, and many generated images together are easier to tell "
            "than one. "
        )
    own, other = auc(*asked[2]), auc(*asked[3])
    return text + (
        "The area under the ROC curve (AUC) is the chance that a real image gets the higher "
        f"logit of a pair: {own:.2f} for the DCGAN's, with the statistics kept, and {other:.2f} "
        "for the cGAN's; a coin has 0.50."
        + " A loss above that of guessing beside an AUC above a coin's means answers in the right "
        "order at the wrong level." * (kept > guess and own > 0.5)
    )


def cost(on_real, on_fake):
    """The discriminator's loss at these logits, (N,) each."""
    return (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()).item()


def auc(on_real, on_fake):
    """How often a real image has the larger logit of a pair: 0.5 is chance, 1 is every time."""
    return (on_real[:, None] > on_fake).double().mean().item()


def _and(words):
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
