"""Is the run well, and what do its numbers say? Sentences in Markdown, and no number typed.

The limits below are far from what good runs show. They were set by looking at good runs and at
runs spoiled on purpose; a verdict names the numbers it rests on, so that a reader can disagree.
Every function of a sentence returns "" when it has nothing to say.
"""

import math
import statistics
from typing import NamedTuple

from helpers.scores.tables import number

STEPS, IMAGES = 200, 10_000  # training steps, or images shown, below which no verdict is given
ONE_CLASS = 0.5  # one class has more than this share of all samples
LOST = 0.2  # a class with less than this part of its real share counts as lost
ALIKE = 0.3  # samples of a class vary less than this part of what real ones do
MALFORMED = 1.5  # they vary more than this many times what real ones do
FAR, NOISE = 0.25, 0.5  # FID above this part of that of shuffled pixels: little or no likeness
FROZEN = 0.5  # gray levels that fixed images change from one epoch to the next
SURE = 0.98, 0.02  # mean D(x) and D(G(z)) of a discriminator that is never in doubt
STEEP = 100.0  # norm of a gradient; ganhacks, number 11 (github.com/soumith/ganhacks)
OBEYED = 70.0  # percent of labels that a conditional generator obeys
BEYOND = 4  # standard errors: what is further off is no chance
TWO_KINDS = ("training", "test")  # of real images


class Verdict(NamedTuple):
    """state: "healthy", or one or two words for what is wrong; text: for the reader, Markdown."""

    state: str
    text: str

    @property
    def healthy(self):
        return self.state == "healthy"


def vae(history, result, steps=None):
    """Verdict on a VAE from its records and the result of `scores.vae`; steps: of training."""
    if short := _too_short(history, result, steps):
        return short
    scores, last = result["scores"], history[-1]
    error, alone = scores["recon"]["value"], scores["recon"]["ceiling"]
    loss, linear = scores["loss"]["value"], scores["loss"]["floor"]
    active, latents = int(scores["active"]["value"]), len(scores["kl"]["per_latent"])
    losses = [record.test_recon + record.test_kl for record in history]
    facts = (
        f"{active} of {latents} latents are active and the code carries {_of(result, 'kl')} nats. "
        f"Error + KL is {loss:.1f}; a linear VAE has {linear:.1f}."
    )
    if active == 0 or error > 0.9 * alone or (loss > linear and active < latents / 2):
        return _verdict(
            "collapsed",
            f"The decoder makes little use of its code. {facts} The test error is {error:.1f}; "
            f"the mean image alone has {alone:.1f}. Try a learning rate ten times smaller or a "
            "smaller beta, and check that the loss sums over the pixels.",
        )
    if losses[-1] > 1.1 * min(losses):
        best = history[losses.index(min(losses))].epoch
        return _verdict(
            "getting worse",
            f"The test loss rose from {min(losses):.1f} after epoch {best} to {losses[-1]:.1f}. "
            f"{facts} Try fewer epochs or a smaller learning rate.",
        )
    if loss > linear:
        return _verdict("undertrained", f"{facts} Try more epochs or more training images.")
    facts += (
        f" The error is {last.recon:.1f} in training and {last.test_recon:.1f} on test images."
    )
    if last.test_recon - last.recon > 0.15 * last.recon:
        return _verdict("overfitting", f"{facts} Try more training images or fewer hidden units.")
    if lost := _lost(result):
        return _verdict("classes lost", f"{lost} {facts} Try more epochs or more hidden units.")
    return _verdict("healthy", facts)


def gan(history, result, changes=(), steps=None):
    """Verdict on a GAN, conditional or not, from its records and the result of `scores`.

    changes: mean absolute change of fixed images per epoch in gray levels (`gan.changes`).
    """
    if short := _too_short(history, result, steps):
        return short
    value = {key: score["value"] for key, score in result["scores"].items()}
    classes, shares, last = result["classes"], result["class_shares"], history[-1]
    top = max(range(len(shares)), key=shares.__getitem__)
    diversity, fid, noise = value["diversity"], value["fid"], result["scores"]["fid"]["ceiling"]
    spread = "The samples are too few to judge their variety."
    if diversity is not None:
        spread = f"Samples of a class vary {diversity:.2f} times as much as real ones."
    facts = (
        f"{_likeness(result)} At the end D(x) is {last.d_real:.2f} and D(G(z)) {last.d_fake:.2f} "
        "on average."
    )
    alike = diversity is not None and diversity < ALIKE
    # Noise is seen as one class, too: alone, that is a sign only if the samples resemble the data
    likely = alike or fid < NOISE * noise
    one_class = likely and shares[top] > max(ONE_CLASS, 3 * result["real_shares"][top])
    if one_class or alike or (fid > NOISE * noise and _sure(last)):
        signs = f"{100 * shares[top]:.0f}% of the samples look like “{classes[top]}”. "
        return _verdict(
            "collapsed",
            f"{signs if one_class else ''}{spread} {facts} Try a learning rate ten times smaller, "
            "the same for both networks, and look at the records of the first epochs.",
        )
    if fid > FAR * noise:
        advice = "Try more epochs."
        if len(changes) and changes[-1] < FROZEN:
            moved = f"{changes[-1]:.2f} gray levels"
            advice = f"Fixed images changed by only {moved} at last. Try a larger learning rate."
        return _verdict("undertrained", f"The samples are far from real images. {facts} {advice}")
    if lost := _lost(result):
        advice = "Try another seed, more epochs, or a smaller learning rate."
        return _verdict("classes lost", f"{lost} {facts} {advice}")
    obeyed = value.get("agreement")
    if obeyed is not None and obeyed < OBEYED:
        worst = min(result["per_class"], key=result["per_class"].get)
        return _verdict(
            "labels ignored",
            f"Only {obeyed:.0f}% of the samples show the class that was asked for, and “{worst}” "
            f"is obeyed in {result['per_class'][worst]:.0f}%. {facts} Try more epochs first: the "
            "classes are learned after the strokes.",
        )
    text = f"All {len(classes)} classes appear. {spread} {facts}"
    if obeyed is not None:
        text = f"{obeyed:.1f}% of the samples show the class that was asked for. {text}"
    if diversity is not None and diversity > MALFORMED:
        text += " So much variety means that many samples are malformed."
    if _sure(last):
        text += " D is hardly ever in doubt, and G learns slowly now."
    return _verdict("healthy", text)


def warning(history):
    """What the last record says while training goes on: a short line, or "" if nothing is odd."""
    last = history[-1]
    if hasattr(last, "test_kl"):
        losses = [record.test_recon + record.test_kl for record in history]
        if last.test_kl < 0.1:
            return f"KL {last.test_kl:.3f}: the latents are switched off"
        if losses[-1] > 1.1 * min(losses):
            return f"test loss {losses[-1]:.1f}, it was {min(losses):.1f}: training goes astray"
        return ""
    if max(last.grad_d, last.grad_g) > STEEP:
        return (
            f"gradient norms {last.grad_d:.0f} (D), {last.grad_g:.0f} (G): steps may be too large"
        )
    if _sure(last):
        return f"D(x) {last.d_real:.2f}, D(G(z)) {last.d_fake:.2f}: G gets hardly any signal"
    if last.d_real - last.d_fake < 0.01:
        return f"D(x) {last.d_real:.2f}, D(G(z)) {last.d_fake:.2f}: D sees no difference"
    return ""


# --- A VAE -----------------------------------------------------------------------------------


def vae_likelihood(result):
    """What a test image costs the VAE and the best linear model, and which of them wins."""
    gap = result["scores"]["neg_elbo"]["value"] - result["scores"]["neg_iwae"]["value"]
    return " ".join(
        [
            f"A test image costs {_of(result, 'loss')} nats: a squared error of "
            f"{_of(result, 'recon')} and a KL of {_of(result, 'kl')}.",
            _winner(result, "loss", "the loss", "nats"),
            f"The importance-weighted bound is {gap:.2f} nats tighter than the ELBO: the Gaussian "
            "of the encoder loses at least as much.",
            _winner(result, "recon_mean", "the squared error of the decoded mean", ""),
            _winner(result, "neg_elbo_best", "−ELBO with its best variance", "nats"),
        ]
    ).strip()


def vae_likeness(result):
    """How far the samples are from real images, and where that comes from."""
    score = result["scores"]
    parts = [
        _likeness(result),
        f"{100 * score['coverage']['value']:.0f}% of the test images have a sample near them.",
        _beside(result, "recall"),
        f"Reconstructions, in which the prior plays no part, have an FID of "
        f"{_of(result, 'fid_recon')}.",
        _skew(result),
    ]
    if score["precision"]["ceiling"] > 0.5:
        shuffled = _of(result, "precision", "ceiling")
        parts.append(f"Precision means little here: shuffled pixels reach {shuffled}.")
    return " ".join(part for part in parts if part)


def vae_abstract(history, result):
    """The main result in two sentences."""
    return (
        f"The VAE, after {_epochs(history)}, has a test loss of {_of(result, 'loss')} nats per "
        f"image: a squared error of {_of(result, 'recon')} and a KL of {_of(result, 'kl')}. Its "
        f"samples have an FID of {_of(result, 'fid')}, real images {_of(result, 'fid', 'floor')}."
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
    if last.loss_d < guess / 2:
        text += " The discriminator wins: it tells most images apart."
    elif last.loss_d > 0.8 * guess:
        text += " The discriminator is close to guessing."
    if len(history) < 3:
        return text
    first, peak = history[1], max(history, key=lambda record: record.loss_d)
    text += (
        f" From epoch {first.epoch} to {last.epoch} the generator's loss went from "
        f"{first.loss_g:.2f} to {last.loss_g:.2f} and the discriminator's from "
        f"{first.loss_d:.2f} to {last.loss_d:.2f}."
    )
    if peak not in (first, last):
        text += f" The latter was highest, {peak.loss_d:.2f}, in epoch {peak.epoch}."
    return text


def gan_likeness(result):
    """How far the images are from real ones, and which class is drawn too often or too rarely."""
    score = result["scores"]
    text = (
        f"{100 * score['precision']['value']:.0f}% of the generated images lie among the real "
        f"ones, and {100 * score['coverage']['value']:.0f}% of the real ones have a generated one "
        f"near them. {_likeness(result)} {_skew(result)}"
    )
    return text.strip()


def copies(near, result):
    """Are the images new? near: of `memorization`."""
    score, count = result["scores"]["unseen"], near["distance"].count(0)
    text = (
        f"{count} of the {len(near['distance'])} images are copies of training images."
        if count
        else f"None of the {len(near['distance'])} images is a copy of a training image."
    )
    excess = score["value"] - score["floor"]
    verdict = "The difference is no more than chance."
    if abs(excess) > BEYOND * score["std"]:
        side = "nearer to" if excess > 0 else "farther from"
        verdict = f"As a whole the images lie {side} the training images than new ones would."
    return (
        f"{text} {statistics.median(near['percentile']):.0f}% of the real test images lie nearer "
        "to the training set than the middle one of them. The nearest real image is a training "
        f"image for {score['value']:.1f}% (± {score['std']:.1f}) of the generated ones, and for "
        f"{score['floor']:.1f}% of new real ones. {verdict}"
    )


def judged(logits):
    """Has the discriminator learned its training images by heart?

    logits: {"training": ..., "test": ..., "generated": ...}, (N,) each, from `gan.logits`.
    """
    mean = {name: values.mean().item() for name, values in logits.items()}
    gap = mean["training"] - mean["test"]
    error = math.sqrt(sum(logits[name].var().item() / len(logits[name]) for name in TWO_KINDS))
    memory = (
        "It trusts the images it was trained on more than new ones: it remembers some of them."
        if gap > BEYOND * error
        else "It makes no difference between images it was trained on and new ones."
    )
    return (
        f"The mean logit is {mean['training']:.2f} for training images, {mean['test']:.2f} for "
        f"test images and {mean['generated']:.2f} for generated ones. {memory}"
    ).replace(" -", " −")


def gan_abstract(history, result):
    """The main result in one or two sentences."""
    return (
        f"The DCGAN, after {_epochs(history)}, has an FID of {_of(result, 'fid')} (real images "
        f"{_of(result, 'fid', 'floor')}) and a coverage of {_of(result, 'coverage')}. "
        f"{_skew(result)}"
    ).strip()


# --- A conditional GAN -----------------------------------------------------------------------


def labels(result):
    """Which label is obeyed best and which worst."""
    obeyed, floor = result["per_class"], result["scores"]["agreement"]["floor"]
    worst, best = min(obeyed, key=obeyed.get), max(obeyed, key=obeyed.get)
    return (
        f"“{best}” is obeyed best, in {obeyed[best]:.1f}% of its images, and “{worst}” worst, in "
        f"{obeyed[worst]:.1f}%. The network that judges errs on {100 - floor:.1f}% of the real "
        "test images."
    )


def variety(result):
    """Typical images that leave out what is rare: high density, low recall."""
    density, recall = (result["scores"][key] for key in ("density", "recall"))
    if density["value"] <= 0.9 * density["floor"] or recall["value"] >= 0.9 * recall["floor"]:
        return ""
    text = " ".join(_beside(result, key) for key in ("density", "recall", "diversity"))
    return (
        f"The images lack variety. {text} The network draws the common kinds of each class and "
        "leaves out the rare ones."
    )


def classroom(lessons):
    """What generated images change for a classifier, from `scores.classroom`."""
    gains = [statistics.fmean(row["mixed"]) - statistics.fmean(row["real"]) for row in lessons]
    parts = [
        f"{_signed(gain)} with {100 * row['share']:.0f}%"
        for gain, row in zip(gains, lessons, strict=True)
    ]
    return (
        "Generated images beside the real ones change the accuracy by these percentage points, by "
        f"share of the training images: {', '.join(parts)}. At a fixed number of steps each takes "
        "the place of a real one. The generator has seen the labels of all training images, which "
        "a real shortage does not allow."
    )


def cgan_abstract(history, result):
    """The main result in two sentences."""
    return (
        f"The fully connected conditional GAN, after {_epochs(history)}, draws the class it is "
        f"asked for in {_of(result, 'agreement')}% of the images (FID {_of(result, 'fid')}, real "
        f"images {_of(result, 'fid', 'floor')}). A nearest-neighbor reader that knows only its "
        f"images reads {_of(result, 'gan_train_nn')}% of the real ones; one that knows as many "
        f"real images reads {_of(result, 'gan_train_nn', 'floor')}%."
    )


# --- Parts of sentences ----------------------------------------------------------------------


def _verdict(state, text):
    return Verdict(state, f"**{state.capitalize()}:** {text}")


def _too_short(history, result, steps):
    """The verdict that there is none, or None."""
    if steps is None:
        count, needed, what = len(history) * result["data"]["train"], IMAGES, "images shown"
    else:
        count, needed, what = steps, STEPS, "steps of training"
    if count >= needed:
        return None
    text = f"The run has {count:,} {what}, and a verdict needs {needed:,}. Train longer."
    return Verdict("too short", f"**Too short to judge:** {text}")


def _sure(record):
    return record.d_real > SURE[0] and record.d_fake < SURE[1]


def _lost(result):
    """The classes that the feature network hardly ever sees in the samples, or ""."""
    triples = zip(result["classes"], result["class_shares"], result["real_shares"], strict=True)
    names = [f"“{name}”" for name, share, real in triples if share < LOST * real]
    if not names:
        return ""
    listing = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    return f"Hardly ever drawn, with less than {100 * LOST:.0f}% of the real share: {listing}."


def _skew(result):
    """The classes drawn too often and too rarely beyond chance, or ""."""
    count, parts = result["n"] * result["draws"], []
    pairs = list(zip(result["class_shares"], result["real_shares"], strict=True))
    excess = [
        (share - real) / math.sqrt(max(real * (1 - real), 1 / count) / count)
        for share, real in pairs
    ]
    for pick, sign, word in ((max, 1, "often"), (min, -1, "rarely")):
        at = pick(range(len(excess)), key=excess.__getitem__)
        if sign * excess[at] > BEYOND:
            share, real = pairs[at]
            parts.append(
                f"“{result['classes'][at]}” is drawn too {word}: {100 * share:.1f}% of the images "
                f"and {100 * real:.1f}% of the real ones."
            )
    return " ".join(parts)


def _likeness(result):
    return f"{_beside(result, 'fid', 'FID')} Shuffled pixels have {_of(result, 'fid', 'ceiling')}."


def _beside(result, key, name=""):
    """A score beside that of real images."""
    return (
        f"The {name or key} is {_of(result, key)}; real images have {_of(result, key, 'floor')}."
    )


def _winner(result, key, what, unit):
    """VAE or linear model: who has the smaller score; "" if one of them has none."""
    ours, linear = (result["scores"][key][side] for side in ("value", "floor"))
    if None in (ours, linear):
        return ""
    name = "The VAE" if ours < linear else "The linear model (PCA)"
    gap = f"{abs(ours - linear):.2f} {unit}".strip()
    return f"{name} wins in {what}, by {gap}."


def _of(result, key, what="value"):
    """A score as the tables show it."""
    score = result["scores"][key]
    return number(score[what], score["digits"])


def _epochs(history):
    return f"{len(history)} epoch" + "s" * (len(history) > 1)


def _signed(value):
    return f"{value:+.2f}".replace("-", "−")
