"""The rows of the tables: what each score is called, how it reads, what it is compared with.

Change a label, a number of digits or a protocol line in SPECS, the headings of floor and ceiling
in GROUPS. `entry` makes from a number what scores.json holds of it; the functions after it make
(columns, rows) of texts for a table. Nothing is computed here but means and their spread.
"""

import math
import statistics
from typing import NamedTuple

FORMAT = 2  # of scores.json; raise it when a protocol changes: no kept floor then serves another
ASKED = 10, 16, 22, 34, 50  # epochs whose results the assignment asks for


class Spec(NamedTuple):
    """What scores.json says of a score, whatever the run."""

    group: str
    label: str
    better: str  # "↓" lower, "↑" higher, "≈" near the floor
    digits: int
    unit: str
    protocol: str


SPECS = {
    "fid": Spec("samples", "Fréchet distance (FID)", "↓", 2, "",
        "fit a Gaussian to the 128 features of {n} generated and of {n} test images: ‖m − m′‖² + "
        "tr(C + C′ − 2 √(C C′)); biased upwards for few images, real ones too; KID is not"),
    "kid": Spec("samples", "kernel distance (KID) × 1,000", "↓", 2, "",
        "mean kernel value within generated + within test − 2 × across, kernel (x·y/128 + 1)³, "
        "over all pairs of {n} and {n} images; real images give 0 on average"),
    "precision": Spec("samples", "precision", "↑", 3, "",
        "share of generated images in the ball of some test image, which reaches its 5th nearest "
        "test image in feature space"),
    "recall": Spec("samples", "recall", "↑", 3, "",
        "share of test images in the ball of some generated image, as for precision"),
    "density": Spec("samples", "density", "↑", 3, "",
        "number of test images' balls around a generated image, on average, divided by 5"),
    "coverage": Spec("samples", "coverage", "↑", 3, "",
        "share of test images' balls that hold a generated image"),
    "fid_recon": Spec("samples", "FID of reconstructions", "↓", 2, "",
        "the FID of {n} training images that were encoded (mean) and decoded"),
    "unseen": Spec("samples", "nearest real image is a training image", "≈", 1, "%",
        "share of {looked} generated images whose nearest real image, in pixels, is one of the "
        "{train} training and not of the {test} test images; the training images' share of both "
        "is what new images reach"),
    "uneven": Spec("classes", "distance of class shares from real ones", "↓", 3, "",
        "½ Σ |share − real share| over the classes that the feature network sees in {n} images "
        "and in all training images"),
    "rarest": Spec("classes", "share of the most neglected class ÷ its real share", "↑", 2, "",
        "the smallest ratio of share and real share over the classes; 0 if a class is missing"),
    "diversity": Spec("classes", "diversity within classes", "≈", 3, "",
        "total variance of the features within a class, divided by that of the test images of the "
        "class; mean over classes"),
    "least_diverse": Spec("classes", "diversity of the least diverse class", "≈", 3, "",
        "the smallest of these ratios; a class seen fewer than 10 times counts as 0 in both"),
    "recon": Spec("likelihood", "test error", "↓", 2, "",
        "squared error summed over 784 pixels in [0, 1], z drawn from q(z|x), {n} test images"),
    "recon_mean": Spec("likelihood", "test error, decoding the mean", "↓", 2, "",
        "the same with z = μ(x); PCA with as many numbers is the best linear code"),
    "kl": Spec("likelihood", "KL", "", 2, "nats",
        "KL(q(z|x) || N(0, I)), summed over latents"),
    "loss": Spec("likelihood", "test error + KL", "↓", 2, "nats",
        "the negative evidence lower bound under p(x|z) of variance ½, without its constant "
        "392 ln π; weight 1 for the KL whatever beta was in training"),
    "neg_elbo": Spec("likelihood", "−ELBO, variance ½", "↓", 2, "nats",
        "the line above + 392 ln π = 448.7 nats: an upper bound on −ln p(x)"),
    "neg_iwae": Spec("likelihood", "importance-weighted bound, K = 100", "↓", 2, "nats",
        "−ln of the mean of 100 weights p(x, z)/q(z|x), variance ½: a tighter upper bound on "
        "−ln p(x); ± is the standard error over {n} test images"),
    "neg_elbo_best": Spec("likelihood", "−ELBO, best variance", "↓", 2, "nats",
        "as −ELBO, with the one pixel variance that suits the training images best ({variance}); "
        "a density of values in [0, 1], so it may be negative"),
    "active": Spec("likelihood", "active latents", "", 0, "",
        "latents whose KL, averaged over the test images, is above {carries} nats"),
    "loss_mixture": Spec("draws", "test error + KL to a mixture", "↓", 2, "nats",
        "test error + KL, less the mean of ln q(z) − ln p(z) over codes z of the test images: q a "
        "Gaussian mixture fitted to codes of training images, p = N(0, I)"),
    "fid_mixture": Spec("draws", "FID, codes from a mixture", "↓", 2, "",
        "the FID of {n} images whose codes are drawn from that mixture, once"),
    "agreement": Spec("labels", "label agreement", "↑", 1, "%",
        "share of {n} generated images, all labels equally often, in which the feature network "
        "sees the label that was asked for; of real test images: its accuracy"),
    "gan_train_nn": Spec("labels", "GAN-train, nearest neighbor", "↑", 1, "%",
        "accuracy on {n} real test images of the label of the nearest of {n} generated images, in "
        "pixels; of real images: the same with {n} training images"),
}  # fmt: skip

# The headings of floor and ceiling in each group's table
GROUPS = {
    "samples": ("real training images", "shuffled pixels"),
    "classes": ("real training images", "one image only"),
    "likelihood": ("linear VAE (PCA)", "mean image"),
    "labels": ("real images", "chance"),
}


def entry(key, values, floor, ceiling, **counts):
    """One score as scores.json holds it, from its value in each draw.

    counts: what stands in the braces of its protocol line; ints get commas.
    """
    spec = SPECS[key]
    values = [float(value) for value in values]
    shown = {name: f"{c:,}" if isinstance(c, int) else c for name, c in counts.items()}
    several, known = len(values) > 1, all(map(math.isfinite, values))
    return {
        **spec._asdict(),
        "protocol": spec.protocol.format(**shown),
        "value": finite(statistics.fmean(values)),
        "std": statistics.stdev(values) if several and known else None,  # of NaN it raises
        "spread": f"standard deviation over {len(values)} draws" if several else "",
        "floor": finite(floor),
        "ceiling": finite(ceiling),
    }


def finite(value):
    """JSON has no NaN: a score that cannot be computed is None."""
    return None if value is None or not math.isfinite(value) else float(value)


# --- Tables: (columns, rows) of texts --------------------------------------------------------


def rows(result, group):
    """The scores of one of GROUPS; no rows if the model has none."""
    table = []
    for score in _of_groups(result, group):
        floor, ceiling = (number(score[what], score["digits"]) for what in ("floor", "ceiling"))
        table.append((label(score), cell(score), floor, ceiling, score["better"]))
    return ("score", "this run", *GROUPS[group], "better"), table


def draws(result):
    """Samples of a VAE from its prior and from the mixture of its codes, side by side."""
    own, mixed, table = result["scores"], result["mixture"]["scores"], []
    for key in ("loss", "fid", "precision", "recall", "density", "coverage", "rarest"):
        one, two = own[key], own.get(f"{key}_mixture") or mixed[key]
        real = two if key == "loss" else one  # which real images have not
        table.append((label(one), cell(one), cell(two), number(real["floor"], one["digits"])))
    return ("score", "prior", "mixture", GROUPS["samples"][0]), table


def protocols(result, *groups):
    """How each score of the groups is computed, in one line."""
    lines = [(score["label"], score["protocol"]) for score in _of_groups(result, *groups)]
    table = [(name, line[:1].upper() + line[1:]) for name, line in lines]
    return ("score", "protocol"), table


def epochs(kept):
    """What is known after the epochs that were asked for; kept: of `scores.by_epoch`.

    After all that were kept, if the run is shorter.
    """
    columns = "epochs", SPECS["fid"].label, "D of real images", "D of generated images"
    shown = [row for row in kept if row["epoch"] in ASKED or row is kept[-1]]
    shown = shown if len(shown) > 1 else kept
    table = [
        (str(row["epoch"]), cell({"value": row["fid"], "std": row["std"], "digits": 2}))
        + tuple(number(row[name], 2) for name in ("d_real", "d_fake"))
        for row in shown
    ]
    return columns, table


def _of_groups(result, *groups):
    found = [result["scores"][key] for key in SPECS if key in result["scores"]]
    return [score for score in found if score["group"] in groups]


def protocol(result):
    """One sentence on what all scores of a result share, for a caption."""
    return (
        f"{result['n']:,} generated images, rounded to 8-bit gray levels, against {result['n']:,} "
        f"test images; mean ± standard deviation over {result['draws']} draws unless the protocol "
        f"says otherwise; features of {result['network']['line']}."
    )


# --- Cells -----------------------------------------------------------------------------------


def label(score):
    """The name of a score and its unit."""
    return f"{score['label']}, {score['unit']}" if score["unit"] else score["label"]


def cell(score):
    """The value of a score ± its spread, "–" if it could not be computed.

    With up to two digits more, where the spread would be rounded to 0.
    """
    std, digits, most = score["std"], score["digits"], score["digits"] + 2
    if not std:
        return number(score["value"], digits)
    while std < 10**-digits / 2 and digits < most:
        digits += 1
    least = 10**-digits / 2
    spread = f"{'< ' * (std < least)}{number(max(std, least * 1.01), digits)}"
    return f"{number(score['value'], digits)} ± {spread}"


def number(value, digits):
    return "–" if value is None else f"{value:,.{digits}f}"
