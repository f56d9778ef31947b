"""Is the run well? Verdicts in words, from the records of training and from the scores.

The limits below are far from what good runs show. They were set by looking at good runs and at
runs spoiled on purpose; a verdict names the numbers it rests on, so that a reader can disagree.
"""

from typing import NamedTuple

ONE_CLASS = 0.5  # one class has more than this share of all samples
LOST = 0.2  # a class with less than this part of its even share counts as lost
ALIKE = 0.3  # samples of a class vary less than this part of what real ones do
MALFORMED = 1.5  # they vary more than this many times what real ones do
FAR, NOISE = 0.25, 0.5  # FID above this part of that of shuffled pixels: little or no likeness
FROZEN = 0.5  # gray levels that fixed images change from one epoch to the next
SURE = 0.98, 0.02  # mean D(x) and D(G(z)) of a discriminator that is never in doubt
STEEP = 100.0  # norm of a gradient; ganhacks, number 11 (github.com/soumith/ganhacks)
OBEYED = 70.0  # percent of labels that a conditional generator obeys


class Verdict(NamedTuple):
    """state: "healthy", or one or two words for what is wrong; text: for the reader, Markdown."""

    state: str
    text: str

    @property
    def healthy(self):
        return self.state == "healthy"


def vae(history, result):
    """Verdict on a VAE from its records and the result of `evaluate.vae`."""
    scores, last = result["scores"], history[-1]
    error, alone = scores["recon"]["value"], scores["recon"]["ceiling"]
    loss, linear = scores["loss"]["value"], scores["loss"]["floor"]
    latents = len(scores["kl"]["per_latent"])
    active = int(scores["active"]["value"])
    kl = scores["kl"]["value"]
    test_loss = [record.test_recon + record.test_kl for record in history]
    facts = (
        f"{active} of {latents} latents carry information, {kl:.1f} nats in all, and error + KL "
        f"is {loss:.1f} where a linear VAE has {linear:.1f}"
    )
    if active == 0 or error > 0.9 * alone or (loss > linear and active < latents / 2):
        return Verdict(
            "collapsed",
            f"**Collapsed:** the decoder makes little use of its code. {facts}; the test error is "
            f"{error:.1f}, and the mean image alone has {alone:.1f}. Try a learning rate ten "
            "times smaller or a smaller beta, and check that the loss sums over the pixels.",
        )
    if test_loss[-1] > 1.1 * min(test_loss):
        best = 1 + test_loss.index(min(test_loss))
        return Verdict(
            "getting worse",
            f"**Getting worse:** the test loss rose from {min(test_loss):.1f} after epoch {best} "
            f"to {test_loss[-1]:.1f}; {facts}. Try fewer epochs or a smaller learning rate.",
        )
    if loss > linear:
        return Verdict(
            "undertrained",
            f"**Undertrained:** {facts}. Try more epochs or more training images.",
        )
    gap = last.test_recon - last.recon
    rest = f"the error is {last.recon:.1f} in training and {last.test_recon:.1f} on test images"
    if gap > 0.15 * last.recon:
        return Verdict(
            "overfitting",
            f"**Overfitting:** {rest}; {facts}. Try more training images or fewer hidden units.",
        )
    lost = _lost(result)
    absent = f" Hardly ever seen among the samples: {_listing(lost)}." if lost else ""
    return Verdict("healthy", f"**Healthy:** {facts}; {rest}.{absent}")


def gan(history, result, changes=()):
    """Verdict on a GAN, conditional or not, from its records and the result of `evaluate`.

    changes: mean absolute change of fixed images per epoch in gray levels (`gan.changes`).
    """
    scores, classes = result["scores"], result["classes"]
    value = {key: entry["value"] for key, entry in scores.items()}
    shares, last = result["class_shares"], history[-1]
    even = 1 / len(classes)
    top = max(range(len(shares)), key=shares.__getitem__)
    lost = _lost(result)
    balance = f"at the end D(x) is {last.d_real:.2f} and D(G(z)) {last.d_fake:.2f} on average"
    diversity = value["diversity"]
    spread = "" if diversity is None else f"samples of a class vary {diversity:.2f} times as much"
    spread = f"{spread} as real ones" if spread else "too few samples to judge their variety"
    fid, real, noise = (scores["fid"][key] for key in ("value", "floor", "ceiling"))
    distance = f"FID {fid:.1f} (real images {real:.2f}, shuffled pixels {noise:.0f})"

    signs = []
    alike = diversity is not None and diversity < ALIKE
    # Noise is seen as one class, too: alone, that is a sign only if the samples resemble the data
    if shares[top] > max(ONE_CLASS, 3 * even) and (alike or fid < NOISE * noise):
        signs.append(f"{100 * shares[top]:.0f}% of the samples look like “{classes[top]}”")
    if alike:
        signs.append(spread)
    if signs or (fid > NOISE * noise and _sure(last)):
        signs += [distance, balance]
        return Verdict(
            "collapsed",
            f"**Collapsed:** {'; '.join(signs)}. Try a learning rate ten times smaller, the same "
            "for both networks, and look at the records of the first epochs.",
        )
    if fid > FAR * noise:
        advice = "Try more epochs."
        if len(changes) and changes[-1] < FROZEN:
            moved = f"{changes[-1]:.2f} gray levels"
            advice = f"Fixed images changed by only {moved} at last: try a larger learning rate."
        return Verdict(
            "undertrained",
            "**Undertrained:** the samples are still far from real images: "
            f"{distance}; {balance}. {advice}",
        )
    if lost:
        return Verdict(
            "classes lost",
            f"**Classes lost:** hardly ever seen (in under {100 * LOST * even:.1f}% of the "
            f"samples) are {_listing(lost)}; {distance}; {balance}. Try another seed, more "
            "epochs, or a smaller learning rate.",
        )
    obeyed = value.get("agreement")
    if obeyed is not None and obeyed < OBEYED:
        worst = min(result["per_class"], key=result["per_class"].get)
        return Verdict(
            "labels ignored",
            f"**Labels ignored:** only {obeyed:.0f}% of the samples show what was asked for, "
            f"“{worst}” in {result['per_class'][worst]:.0f}%; {distance}; {balance}. Try more "
            "epochs first: the classes are learned after the strokes.",
        )
    agreement = "" if obeyed is None else f"{obeyed:.1f}% show what was asked for, "
    seen = (
        f"all {len(classes)} classes appear (the rarest in {value['rarest']:.2f}% of the samples)"
    )
    doubt = "; D is hardly ever in doubt, so G learns slowly now" if _sure(last) else ""
    many = diversity is not None and diversity > MALFORMED
    excess = ", a sign that many are malformed" if many else ""
    head = "No collapse" if many else "Healthy"
    text = f"**{head}:** {seen}, {agreement}{spread}{excess}, {distance}; {balance}{doubt}."
    return Verdict("healthy", text)


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


def _sure(record):
    return record.d_real > SURE[0] and record.d_fake < SURE[1]


def _lost(result):
    """Classes that the feature network hardly ever sees in the samples."""
    pairs = zip(result["classes"], result["class_shares"], strict=True)
    return [name for name, share in pairs if share < LOST / len(result["classes"])]


def _listing(names):
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
