"""Is the run well, and what do its numbers say? Sentences in Markdown, and no number typed.

The limits below are far from what good runs show. They were set by looking at good runs and at
runs spoiled on purpose; a verdict names the numbers it rests on, so that a reader can disagree.
Every function of a sentence returns "" when it has nothing to say. Longer than other modules: all
that is said is here, so that no notebook types a number.
"""

import json
import math
import statistics
from typing import NamedTuple

from helpers.markdown import literal
from helpers.paths import ROOT
from helpers.scores.tables import SPECS, number

IMAGES = 10_000  # shown in training, below which no verdict is given
ONE_CLASS = 0.5  # one class has more than this share of all samples
LOST = 0.2  # a class with less than this part of its real share counts as lost
NARROW = 0.1  # recall below this part of that of real images
ALIKE, MALFORMED = 0.3, 1.5  # samples of a class vary less or more than so many times real ones
FAR, NOISE = 0.25, 0.5  # FID above this part of that of shuffled pixels: little or no likeness
FROZEN = 0.5  # gray levels that fixed images change from one epoch to the next
SURE = 0.98, 0.02  # mean D(x) and D(G(z)) of a discriminator that is never in doubt
STEEP = 100.0  # norm of a gradient; ganhacks, number 11 (github.com/soumith/ganhacks)
OBEYED = 70.0  # percent of labels that a conditional generator obeys
LACKING = -0.1  # recall or density less those of real images
MOVED = 0.05  # of fixed images with another class than before: more have not come to rest
BEYOND = 4  # standard errors: what is further off is no chance


class Verdict(NamedTuple):
    """state: "healthy", or one or two words for what is wrong; text: for the reader, Markdown."""

    state: str
    text: str


def vae(history, result):
    """Verdict on a VAE from its records and the result of `scores.vae`."""
    value, linear, alone = (_all(result, what) for what in ("value", "floor", "ceiling"))
    latents, last = len(result["scores"]["kl"]["per_latent"]), history[-1]
    unused = value["active"] == 0 or value["recon"] > 0.9 * alone["recon"]
    worse = value["loss"] > linear["loss"]
    losses = [record.test_recon + record.test_kl for record in history]
    if len(history) * result["data"]["train"] < IMAGES:
        state, why = "too short", "Train longer."
    elif unused or (worse and value["active"] < latents / 2):
        state, why = "collapsed", "Try a learning rate ten times smaller or a smaller beta."
    elif losses[-1] > 1.1 * min(losses):
        state, why = "getting worse", f"The test loss rose from {min(losses):.1f}."
    elif worse:
        state, why = "undertrained", "Try more epochs or more training images."
    elif last.test_recon > 1.15 * last.recon:
        state, why = "overfitting", "Try more training images or fewer hidden units."
    elif lost := _lost(result):
        state, why = "classes lost", f"{lost} Try a smaller beta."
    elif value["recall"] < NARROW * linear["recall"]:
        state, why = "little variety", f"Few real images are met: {_beside(result, 'recall')}."
    else:
        state, why = "healthy", "All classes appear."
    facts = (
        f"{value['active']:.0f} of {latents} latents are active. Error + KL is "
        f"{_of(result, 'loss')}, of a linear VAE {_of(result, 'loss', 'floor')}. The error is "
        f"{last.recon:.1f} in training and {last.test_recon:.1f} on test images."
    )
    return Verdict(state, f"**{state.capitalize()}:** {why} {facts}")


def gan(history, result, changes=()):
    """Verdict on a GAN, conditional or not, from its records and the result of `scores`.

    changes: mean absolute change of fixed images per epoch in gray levels (`gan.changes`).
    """
    value, last = _all(result), history[-1]
    diversity = math.nan if value["diversity"] is None else value["diversity"]
    distance = value["fid"] / result["scores"]["fid"]["ceiling"]
    share, real, name = max(_shares(result))
    # Noise is seen as one class, too: that is a sign only if the samples resemble the data
    one_class = share > max(ONE_CLASS, 3 * real) and distance < NOISE
    noise = distance > NOISE and _sure(last)
    if len(history) * result["data"]["train"] < IMAGES:
        state, why = "too short", "Train longer."
    elif one_class or diversity < ALIKE or noise:
        state, why = "collapsed", f"{100 * share:.0f}% of the samples look like {_named(name)}."
        why += " Try a learning rate ten times smaller, the same for both networks."
    elif distance > FAR and len(changes) and changes[-1] < FROZEN:
        state, why = "undertrained", "The samples hardly change. Try a larger learning rate."
    elif distance > FAR:
        state, why = "undertrained", "The samples are far from real images. Try more epochs."
    elif lost := _lost(result):
        state, why = "classes lost", f"{lost} Try more epochs."
    elif value.get("agreement", 100) < OBEYED:
        state, why = "labels ignored", "The classes are learned late. Try more epochs."
    elif diversity > MALFORMED:
        state = "some images malformed"
        why = "All classes appear, and images within a class differ more than real ones."
    elif _lacking(result)["recall"] < LACKING:
        state, why = (
            "little variety",
            "All classes appear, but the images vary less than real ones.",
        )
    else:
        state, why = "healthy", "All classes appear."
        why += " D is hardly ever in doubt, and G learns slowly." if _sure(last) else ""
    keys = [key for key in ("agreement", "fid", "diversity") if key in value]
    facts = (
        f"Samples: {_beside(result, *keys)}; shuffled pixels have an FID of "
        f"{_of(result, 'fid', 'ceiling')}. At the end D(x) is {last.d_real:.2f} and D(G(z)) "
        f"{last.d_fake:.2f} on average."
    )
    return Verdict(state, f"**{state.capitalize()}:** {why} {facts}")


def warning(history):
    """What the last record says while training goes on: a short line, or "" if nothing is odd."""
    last = history[-1]
    if hasattr(last, "test_kl"):
        losses = [record.test_recon + record.test_kl for record in history]
        if last.test_kl < 0.1:
            return f"KL {last.test_kl:.3f}: the latents are switched off"
        astray = f"test loss {losses[-1]:.1f}, it was {min(losses):.1f}: training goes astray"
        return astray if losses[-1] > 1.1 * min(losses) else ""
    if max(last.grad_d, last.grad_g) > STEEP:
        norms = f"{last.grad_d:.0f} (D), {last.grad_g:.0f} (G)"
        return f"gradient norms {norms}: steps may be too large"
    beliefs = f"D(x) {last.d_real:.2f}, D(G(z)) {last.d_fake:.2f}"
    if _sure(last):
        return f"{beliefs}: G gets hardly any signal"
    return f"{beliefs}: D sees no difference" if last.d_real - last.d_fake < 0.01 else ""


def recipe(config):
    """The parameters of a training step that prose leaves open."""
    text = f"Here a batch has {config.batch_size} images, and the learning rate of Adam is "
    text += f"{config.learning_rate:g}"
    if hasattr(config, "beta1"):
        text += f", with $\\beta_1 = {config.beta1:g}$; $z$ holds {config.latent_dim} numbers, "
        text += "uniform on $(-1, 1)$"
    return f"{text}."


# --- A VAE -----------------------------------------------------------------------------------


def vae_likelihood(result):
    """What a test image costs the VAE and the best linear model, and which of them wins."""
    value, linear, wins = _all(result), _all(result, "floor"), {}
    for key in ("loss", "recon_mean", "neg_elbo_best"):
        if None not in (value[key], linear[key]):  # a linear model of few images has no density
            winner = "the VAE" if value[key] < linear[key] else "the linear model"
            by = f"“{SPECS[key].label}” by {abs(value[key] - linear[key]):.2f}"
            wins.setdefault(winner, []).append(by)
    won = "; ".join(f"{winner} is better in {', '.join(of)}" for winner, of in wins.items())
    text = (
        f"A test image costs {_of(result, 'loss')} nats: a squared error of "
        f"{_of(result, 'recon')} and a KL of {_of(result, 'kl')}. The importance-weighted bound "
        f"is {value['neg_elbo'] - value['neg_iwae']:.2f} nats tighter than the ELBO: the Gaussian "
        f"of the encoder loses at least as much. {won[:1].upper()}{won[1:]}."
    )
    if "−ELBO" in "".join(wins.get("the linear model", ())):
        text += " The linear model was fitted for its best variance; a VAE is for the variance ½, "
        text += "unless `learn_variance` is set."
    return text


def vae_draws(result):
    """What it changes to draw codes from the mixture, and what no draw can change."""
    mixed = result["mixture"]["scores"]["recall"]
    nearer = result["scores"]["loss"]["value"] - result["scores"]["loss_mixture"]["value"]
    pairs = zip(_shares(result), result["mixture"]["class_shares"], strict=True)
    (prior, real, name), mixture = min(pairs, key=lambda pair: pair[0][0] - pair[0][1])
    decoded = result["reconstructed_shares"][result["classes"].index(name)]
    text = (
        f"Of the {_of(result, 'kl')} nats of KL at least {nearer:.2f} say nothing about the "
        "image: they are the distance of all codes together from the prior. With codes from the "
        f"mixture the FID of samples is {_of(result, 'fid_mixture')} in place of "
        f"{_of(result, 'fid')}; reconstructions, which decode the mean of each code and so vary "
        f"less, have {_of(result, 'fid_recon')}. Recall is {number(mixed['value'], 3)} in place "
        f"of {_of(result, 'recall')}. {_named(name)} is what the prior misses most: "
        f"{100 * prior:.1f}% of its images, {100 * mixture:.1f}% of those from the mixture, "
        f"{100 * decoded:.1f}% of the reconstructions and {100 * real:.1f}% of the real images."
    )
    if max(prior, mixture, decoded) < real / 2:
        text += " So it is the decoder that lacks it, however the codes are drawn."
    return text


def vae_likeness(result):
    """How far the samples are from real images, and where that comes from."""
    text = (
        f"Samples: {_beside(result, 'fid', 'coverage', 'recall')}. Reconstructions, in which the "
        f"prior plays no part: {_beside(result, 'fid_recon')}. {_skew(result)}"
    )
    if result["scores"]["precision"]["ceiling"] > 0.5:
        shuffled = _of(result, "precision", "ceiling")
        text += f" Precision means little here: shuffled pixels reach {shuffled}."
    return text.replace("  ", " ").strip()


def vae_abstract(history, result):
    """The main result in two sentences."""
    return (
        f"The VAE, after {_epochs(history)}, has a test loss of {_of(result, 'loss')} nats per "
        f"image: a squared error of {_of(result, 'recon')} and a KL of {_of(result, 'kl')}. Its "
        f"samples: {_beside(result, 'fid')}."
    )


# --- A GAN -----------------------------------------------------------------------------------


def gan_losses(history):
    """Where the game stands at the end, and how it came there."""
    last, guess = history[-1], 2 * math.log(2)
    text = (
        f"In epoch {last.epoch} the discriminator gives a real image {last.d_real:.2f} on average "
        f"and a generated one {last.d_fake:.2f}. Its loss is {last.loss_d:.2f}; pure guessing "
        f"costs ln 4 = {guess:.2f}."
    )
    text += " The discriminator wins." if last.loss_d < guess / 2 else ""
    if len(history) > 2:  # the first epoch is unlike all others
        first, peak = history[1], max(history, key=lambda record: record.loss_d)
        text += (
            f" From epoch {first.epoch} on the generator's loss went from {first.loss_g:.2f} to "
            f"{last.loss_g:.2f}; the discriminator's was highest, {peak.loss_d:.2f}, in epoch "
            f"{peak.epoch}."
        )
    return text


def collapse(result):
    """Does the generator draw a few kinds of image only? The plain answer, and its numbers."""
    share, real, name = max(_shares(result), key=lambda of: abs(of[0] - of[1]))
    diversity = result["scores"]["diversity"]["value"] or 0.0
    if _lost(result):
        answer = "Yes, whole classes are missing"
    elif _lacking(result)["recall"] < LACKING or diversity < 1 + LACKING:
        answer = "No class is missing, but the images vary less than real ones"
    else:
        answer = "No"
    return (
        f"Mode collapse? {answer}. The class furthest from its real share is {_named(name)} "
        f"({100 * share:.1f}%, real {100 * real:.1f}%); {_beside(result, 'recall', 'diversity')}."
    )


def gan_likeness(result):
    """How far the images are from real ones, and which class is drawn too often or too rarely."""
    return f"{_beside(result, 'fid', 'precision', 'coverage')}. {_skew(result)}".strip()


def copies(near, result):
    """Are the images new? near: of `memorization`."""
    score, count = result["scores"]["unseen"], near["distance"].count(0)
    excess = (score["value"] - score["floor"]) / max(score["std"], 1e-9)
    side = "nearer to" if excess > 0 else "farther from"
    verdict = f"As a whole the images lie {side} the training images than new ones would."
    if abs(excess) < BEYOND:
        verdict = "The difference is no more than chance."
    return (
        f"{count or 'None'} of the {len(near['distance'])} images are the same, pixel by pixel, "
        "as a training image. "
        f"{statistics.median(near['percentile']):.0f}% of the real test images lie nearer to a "
        "training image than the middle one of them does. "
        "The nearest real image is a training image for "
        f"{score['value']:.1f}% (± {score['std']:.1f}) of the generated ones, and for "
        f"{score['floor']:.1f}% of new real ones. {verdict}"
    )


def judged(logits):
    """Has the discriminator learned its training images by heart?

    logits: {"training": ..., "test": ..., "generated": ...}, (N,) each, from `gan.logits`.
    """
    train, test = logits["training"], logits["test"]
    error = (train.var() / len(train) + test.var() / len(test)).sqrt()
    means = ", ".join(f"{values.mean():.2f} for {name}" for name, values in logits.items())
    memory = "makes no difference between training images and new ones"
    if train.mean() - test.mean() > BEYOND * error:
        memory = (
            "trusts its training images more than test images: it remembers some of them, or the "
            "test images differ a little in kind"
        )
    return f"The mean logit is {means} images. The discriminator {memory}.".replace(" -", " −")


def gan_abstract(history, result):
    """The main result in one or two sentences."""
    scores = _beside(result, "fid", "coverage")
    return f"The DCGAN, after {_epochs(history)}: {scores}. {_skew(result)}".strip()


def rest(kept):
    """Did the images come to rest? kept: of `scores.by_epoch`."""
    rows = [row for row in kept if row["epoch"] >= 16]
    rows = rows if len(rows) > 1 else kept[-3:]
    if len(rows) < 2:
        return ""
    known = [row["std"] ** 2 for row in rows if row["std"] is not None]
    spread = math.sqrt(statistics.fmean(known)) if known else math.nan
    steps = [(a, b, b["fid"] - a["fid"]) for a, b in zip(rows, rows[1:], strict=False)]
    large = [f"{a['epoch']} to {b['epoch']}" for a, b, by in steps if not abs(by) <= 2 * spread]
    every = len(large) == len(steps)
    *first, final = (f"{row['fid']:.2f} after {row['epoch']}" for row in rows)
    text = f"The FID is {', '.join(first)} and {final} epochs; "
    text += f"other noise moves it by {spread:.2f}. "
    if every:
        text += "Every change is more than twice that. "
    elif large:
        text += f"More than twice that is the change from epoch {', from '.join(large)}. "
    rested = abs(steps[-1][2]) <= 2 * spread
    way = "fell" if steps[-1][2] < 0 else "rose"
    text += "As a whole the images "
    text += "came to rest." if rested else f"did not come to rest: the FID still {way} at the end."
    (*_, earlier, latest), moved = rows, rows[-1]["moved"]
    if moved is not None:
        text += f" Of the {latest['fixed']} images of the fixed noise {moved} show another class "
        text += f"after {latest['epoch']} epochs than after {earlier['epoch']}"
        text += ": single images did not rest." if moved > MOVED * latest["fixed"] else "."
    return text


# --- A conditional GAN -----------------------------------------------------------------------


def labels(result):
    """Which label is obeyed best and which worst."""
    obeyed, floor = result["per_class"], result["scores"]["agreement"]["floor"]
    worst, best = min(obeyed, key=obeyed.get), max(obeyed, key=obeyed.get)
    text = (
        f"{_named(best)} is obeyed best, in {obeyed[best]:.1f}% of its images, {_named(worst)} "
        f"worst, in {obeyed[worst]:.1f}%."
    )
    if obeyed[worst] == obeyed[best]:
        text = f"Every label is obeyed in {obeyed[best]:.1f}% of its images."
    return f"{text} The network that judges errs on {100 - floor:.1f}% of real images."


def variety(result):
    """Typical images that leave out what is rare: high density, low recall."""
    by = _lacking(result)
    if by["density"] <= LACKING or by["recall"] >= LACKING:
        return ""
    return (
        f"The images vary less than real ones: {_beside(result, 'recall', 'diversity')}. One by "
        f"one they are not far from real ones: {_beside(result, 'density')}."
    )


def cgan_abstract(history, result):
    """The main result in two sentences."""
    return (
        f"The fully connected conditional GAN, after {_epochs(history)}, draws the class it is "
        f"asked for in {_of(result, 'agreement')} of the images; {_beside(result, 'fid')}. A "
        f"nearest-neighbor reader that knows only its images reads {_of(result, 'gan_train_nn')} "
        f"of the real ones; one that knows as many real images reads "
        f"{_of(result, 'gan_train_nn', 'floor')}."
    )


# --- Exercises -------------------------------------------------------------------------------


def expected(sweep, folder=ROOT / "report" / "sweeps"):
    """What exercises give: the means of a published sweep, setting by setting, as a list."""
    path = folder / sweep / "table.json"
    if not path.exists():
        return f"What the published sweep `{sweep}` found is not here: report/sweeps lacks it."
    table = json.loads(path.read_text(encoding="utf-8"))
    seeds = len({run["seed"] for run in table["runs"]})
    given = "".join(f", `{name} = {value}`" for name, value in table["given"].items())
    lines = [
        f"The published sweep `{sweep}` ran {seeds} seed{'s' * (seeds > 1)} of each setting on "
        f"{table['made'][0]['data']['title']}{given}. Its means:\n"
    ]
    for name in dict.fromkeys(run["setting"] for run in table["runs"]):
        found = table["settings"][name]
        means = [_mean(SPECS[key], found[key]) for key in SPECS if key in found]
        lines.append(f"- {name}: {'; '.join(means)}")
    return "\n".join(lines)


def published(notebook, folder=ROOT / "report"):
    """The main scores of the published run of a notebook, and how long it was."""
    try:
        result = json.loads((folder / "scores.json").read_text("utf-8"))[notebook]
        known = json.loads((folder / "manifest.json").read_text("utf-8"))[notebook]
    except (OSError, KeyError):
        return ""
    scores = _beside(result, "fid", "recall", "coverage")
    return f"The published run, {known['parameters']['epochs']} epochs: {scores}."


def _mean(spec, found):
    spread = "" if found["std"] is None else f" ± {number(found['std'], spec.digits)}"
    unit = "%" if spec.unit == "%" else ""
    label = spec.label.replace("Fréchet distance (FID)", "FID")
    return f"{label} {number(found['mean'], spec.digits)}{unit}{spread}"


# --- Parts of sentences ----------------------------------------------------------------------


def _lost(result):
    """The classes that the feature network hardly ever sees in the samples, or ""."""
    lost = [_named(name) for share, real, name in _shares(result) if share < LOST * real]
    return f"Hardly ever drawn: {', '.join(lost)}." if lost else ""


def _named(name):
    """The name of a class in a sentence; it may hold anything."""
    return f"“{literal(name)}”"


def _sure(record):
    return record.d_real > SURE[0] and record.d_fake < SURE[1]


def _shares(result):
    """[(share among the samples, real share, name), ...] of the classes."""
    return list(zip(result["class_shares"], result["real_shares"], result["classes"], strict=True))


def _lacking(result):
    value, floor = _all(result), _all(result, "floor")
    return {key: value[key] - floor[key] for key in ("density", "recall")}


def _skew(result):
    """The classes drawn too often or too rarely beyond chance, the farthest first, or ""."""
    count, found = result["n"] * result["draws"], []
    for share, real, name in _shares(result):
        error = math.sqrt(max(real * (1 - real), 1 / count) / count)
        found.append(((share - real) / error, share, real, name))
    text = []
    for how, sign in ("often", 1), ("rarely", -1):
        odd = sorted((f for f in found if sign * f[0] > BEYOND), key=lambda f: -abs(f[0]))
        listed = (f"{_named(n)} ({100 * a:.1f}%, real {100 * b:.1f}%)" for _, a, b, n in odd[:3])
        text += [f"Drawn too {how}: {', '.join(listed)}."] if odd else []
    return " ".join(text)


def _beside(result, *keys):
    """Scores beside those of real images."""
    names = {"fid": "FID", "fid_recon": "FID"}
    return ", ".join(
        f"{names.get(key, key)} {_of(result, key)} (real images {_of(result, key, 'floor')})"
        for key in keys
    )


def _of(result, key, what="value"):
    """A score as the tables show it, a share in percent with its sign."""
    score = result["scores"][key]
    return number(score[what], score["digits"]) + SPECS[key].unit.replace("nats", "")


def _all(result, what="value"):
    return {key: score[what] for key, score in result["scores"].items()}


def _epochs(history):
    return f"{len(history)} epoch" + "s" * (len(history) > 1)
