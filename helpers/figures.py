"""The pictures: each function takes data and returns a matplotlib Figure; nothing is saved here.

No pyplot, so no backend is needed and no figure stays open. Sizes are in inches; images are drawn
with nearest-neighbor pixels on a fixed gray scale, 0 black and 255 white. Longer than other
modules, because every figure of the notebooks is here and shares the parts at the end.
"""

import logging
import os
from pathlib import Path

import numpy as np
import torch

# its notes on a folder that it cannot write would land in the report
logging.getLogger("matplotlib").setLevel(logging.ERROR)
if not os.environ.get("MPLBACKEND", "").startswith("module://"):  # as in a notebook
    os.environ.pop("MPLBACKEND", None)  # the name of no backend would stop the next import
import matplotlib  # noqa: E402
from matplotlib import font_manager  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator  # noqa: E402

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"  # Okabe & Ito 2008
GRAY = "#666666"  # can be read on white, on light gray and on nearly black
WIDTH = 6.2  # of the report's text: a chart is printed in its own size
TALLEST = 8.0  # rows of images that leave room for a caption
GAP = 2  # pixels between images
SMALL = 8.5  # points
LETTER = 0.072  # inches, of that size

# The typeface of the PDF, drawn as outlines, so that a chart looks the same wherever it is shown;
# a name in letters that it lacks is set in the other one.
font_manager.fontManager.addfont(Path(__file__).with_name("LibertinusSerif.otf"))
matplotlib.rcdefaults()  # a reader's own matplotlibrc would turn images upside down, say
matplotlib.rcParams |= {
    "font.family": ["Libertinus Serif", "DejaVu Sans"],
    "font.size": SMALL,
    "axes.titlesize": SMALL,
    "legend.frameon": False,
    "svg.hashsalt": "report",  # equal charts are equal bytes
}


def image_grid(images, row_labels=None, column_labels=None, cell=0.56):
    """Gray images in rows and columns.

    images: (rows, columns, 28, 28) uint8.  row_labels, column_labels: texts, or None.
    cell: width of one image in inches, less where the rows would not fit on a page.
    """
    rows, columns = images.shape[:2]
    cell = min(cell, TALLEST / rows * 28 / (28 + GAP))
    row_labels = [cut(text, 36) for text in row_labels or ()]
    mosaic = tile(images)
    scale = cell / 28  # inches per pixel
    longest = max(map(len, row_labels)) if row_labels else 0
    left = 0.1 + LETTER * longest if row_labels else 0.02
    top = 0.24 if column_labels else 0.02
    width, height = mosaic.shape[1] * scale, mosaic.shape[0] * scale
    # nothing behind the images and their labels, so that they stand on dark paper too
    figure = Figure((left + width + 0.02, top + height + 0.02), dpi=200, facecolor="none")
    axes = figure.add_axes(
        [
            left / figure.get_figwidth(),
            0.02 / figure.get_figheight(),
            width / figure.get_figwidth(),
            height / figure.get_figheight(),
        ]
    )
    shown = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "nearest", "aspect": "auto"}
    axes.imshow(mosaic, alpha=tile(np.ones_like(images), gap=0).astype(float), **shown)
    axes.set_axis_off()
    centers = np.arange(max(rows, columns)) * (28 + GAP) + 13.5
    gray = {"color": GRAY, "parse_math": False}
    for y, text in zip(centers, row_labels, strict=False):
        axes.text(-4, y, text, ha="right", va="center", **gray)
    for x, text in zip(centers, column_labels or (), strict=False):
        axes.text(x, -4, text, ha="center", va="bottom", **gray)
    return figure


def cut(text, most=16):
    """The beginning of a name that is too long for a picture."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def tile(images, gap=255):
    """(rows, columns, 28, 28) uint8 -> one image, GAP white pixels between its parts."""
    rows, columns, height, width = images.shape
    canvas = np.full(
        (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP), gap, dtype=np.uint8
    )
    for row in range(rows):
        for column in range(columns):
            y, x = row * (height + GAP), column * (width + GAP)
            canvas[y : y + height, x : x + width] = images[row, column]
    return canvas


def curves(epochs, series, ylabel, references=(), height=2.2):
    """Lines over epochs, each labeled at its right end.

    series: {label: values}, up to three.  references: (value, text) pairs drawn as dotted levels.
    """
    figure = Figure((WIDTH, height), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    ends = []
    for (label, values), color in zip(series.items(), (BLUE, ORANGE, GREEN), strict=False):
        marker = "o" if len(epochs) < 20 else None
        axes.plot(epochs, values, color=color, lw=1.6, marker=marker, ms=3.5)
        ends += [(value, label, color) for value in values[-1:]]
    for value, text in references:
        axes.axhline(value, color=GRAY, lw=0.9, ls=(0, (1, 2)))
        ends.append((value, text, GRAY))
    finish(axes, "epoch", ylabel)
    axes.margins(x=0.02)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0) if low < 0.35 * high else low, high)
    label_ends(axes, ends, height)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(epochs) == 1:
        axes.set_xticks(epochs)
    return figure


def label_ends(axes, ends, height):
    """Write each line's name beside its end, moved apart where two would touch."""
    low, high = axes.get_ylim()
    step = 0.17 / (height - 0.5) * (high - low)  # one line of text, in data units
    last = -np.inf
    for y, text, color in sorted(ends):
        last = max(y, last + step)
        axes.annotate(
            text,
            (1.0, last),
            xytext=(6, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            color=color,
            va="center",
            annotation_clip=False,
            parse_math=False,
        )


def vae_losses(history):
    """Both terms of the test loss over the epochs, and the error in training."""
    series = {
        "test error": [record.test_recon for record in history],
        "test KL": [record.test_kl for record in history],
        "training error": [record.recon for record in history],
    }
    return curves([record.epoch for record in history], series, "nats per image")


def gan_losses(history):
    """Both losses over the epochs, and where they are when the discriminator only guesses."""
    series = {
        "discriminator": [record.loss_d for record in history],
        "generator": [record.loss_g for record in history],
    }
    guessing = [(np.log(4), "ln 4"), (np.log(2), "ln 2")]
    return curves([record.epoch for record in history], series, "mean loss", guessing)


def generator_losses():
    """The saturating and the non-saturating loss of a generator, and their slopes."""
    a = np.linspace(-6, 6, 200)  # the logit; D = 1 / (1 + exp(-a))
    d = 1 / (1 + np.exp(-a))
    figure = Figure((WIDTH, 2.3), dpi=200, layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, curves, ylabel in (
        (left, (np.log(1 - d), -np.log(d)), "loss"),
        (right, (-d, d - 1), "slope"),
    ):
        for values, name, color in zip(
            curves, ("ln(1 − D)", "−ln D"), (ORANGE, BLUE), strict=True
        ):
            axes.plot(a, values, color=color, lw=1.6, label=name)
        finish(axes, "logit of a generated image", ylabel)
    left.legend()
    return figure


def histograms(groups, xlabel, bins=60):
    """Outlines of several distributions over the same bins, each named at its peak.

    groups: {name: values (N,)}, up to three; each has area 1.
    """
    everything = np.concatenate([np.asarray(values) for values in groups.values()])
    edges = np.linspace(*np.percentile(everything, [0.2, 99.8]), bins + 1)
    figure = Figure((WIDTH, 2.5), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    styles = zip(groups.items(), (BLUE, GREEN, ORANGE), ("-", (0, (3, 1)), "-"), strict=False)
    for (name, values), color, dashes in styles:
        density, _ = np.histogram(values, edges, density=True)
        axes.stairs(density, edges, color=color, ls=dashes, lw=1.6, label=name)
    finish(axes, xlabel, "density")
    axes.legend()
    return figure


def codes(mu, labels, classes, i, j, shown=2000):
    """One panel per class: its images' codes in latents i and j, over those of all images.

    mu: (N, latents).  labels: (N,), or None: then one panel for all. The circles hold half and
    95% of the prior.
    """
    mu, columns = np.asarray(mu)[:shown], 5
    panels = range(len(classes)) if labels is not None else [None]
    rows = -(-len(panels) // columns)
    figure = Figure((WIDTH, 1.42 * rows + 0.2), dpi=90, layout="constrained")
    for panel, own in enumerate(panels):
        axes = figure.add_subplot(rows, columns, panel + 1)
        axes.scatter(mu[:, j], mu[:, i], s=1.5, color="#c8c8c8", lw=0, rasterized=True)
        if own is not None:
            inside = np.asarray(labels)[:shown] == own
            axes.scatter(mu[inside, j], mu[inside, i], s=2.5, color=BLUE, lw=0, rasterized=True)
            axes.set_title(cut(classes[own]), parse_math=False, pad=2)
        turn = np.linspace(0, 2 * np.pi, 200)
        for radius in (1.177, 2.448):  # of a Gaussian in two dimensions
            axes.plot(radius * np.cos(turn), radius * np.sin(turn), color=GRAY, lw=0.7)
        axes.set(xlim=(-3.6, 3.6), ylim=(-3.6, 3.6), aspect="equal", xticks=(), yticks=())
    return figure


def network(stages):
    """A drawing of a chain of layers: boxes as high as the image, as deep as the channels.

    stages: [(name, (channels, height, width) or (units,)), ...], in the order of computing.
    """
    figure = Figure((WIDTH, 1.9), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    x, names = 0.0, []
    for name, shape in stages:
        vector = len(shape) == 1
        high = 0.25 + 0.32 * np.log2(shape[0] if vector else shape[1] + 1)
        wide = 0.18 if vector else 0.12 + 0.11 * np.log2(shape[0] + 1)
        axes.add_patch(
            matplotlib.patches.Rectangle((x, -high / 2), wide, high, color=BLUE, alpha=0.8)
        )
        names.append((x + wide / 2, high / 2, f"{name}\n" + "×".join(map(str, shape))))
        x += wide + 0.9
        if len(names) < len(stages):
            axes.annotate(
                "", (x - 0.15, 0), (x - 0.75, 0), arrowprops={"arrowstyle": "->", "color": GRAY}
            )
    top = max(high for _, high, _ in names) + 0.15
    for middle, _, text in names:
        axes.text(middle, top, text, ha="center", va="bottom", parse_math=False)
    axes.set(xlim=(-0.5, x - 0.4), ylim=(-top, top + 0.9))
    axes.set_axis_off()
    return figure


def bars(values, labels, ylabel, xlabel="", marks=None, height=1.9):
    """One bar per label; marks: (values, text), one for each bar, drawn as dashes across it."""
    figure = Figure((WIDTH, height), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    axes.bar(range(len(values)), values, color=BLUE, width=0.7)
    _name_columns(axes, labels, (WIDTH - 1) / len(labels))
    finish(axes, xlabel, ylabel)
    axes.tick_params(axis="x", length=0)
    if marks:
        x = np.arange(len(values))
        axes.hlines(marks[0], x - 0.42, x + 0.42, color=ORANGE, lw=1.8)
        label_ends(axes, [(marks[0][-1], marks[1], ORANGE)], height)
    return figure


def matrix(values, labels, xlabel, ylabel):
    """A square table of fractions, each value above 0.5% written in its cell, in percent."""
    values = np.asarray(values)
    names = [cut(label) for label in labels]
    size = min(WIDTH, 0.8 + 0.31 * len(names) + LETTER * (max(map(len, names)) - 1))
    figure = Figure((size, size * 0.94), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    axes.pcolormesh(range(len(names)), range(len(names)), values, cmap="Blues", vmin=0, vmax=1)
    axes.set(aspect="equal", ylim=axes.get_ylim()[::-1])
    _name_columns(axes, names, 0.31)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    for (row, column), value in np.ndenumerate(values):
        if value > 0.005:
            color = "white" if value > 0.5 else "black"
            axes.text(
                column,
                row,
                f"{100 * value:.1f}",
                ha="center",
                va="center",
                color=color,
            )
    finish(axes, xlabel, ylabel)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    return figure


def _name_columns(axes, labels, width):
    """Write names below columns of a width in inches, slanted where one would touch the next."""
    names = [cut(str(label)) for label in labels]
    slanted = max(map(len, names)) * LETTER > width
    turn = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks(range(len(names)), names, parse_math=False, **turn)


def finish(axes, xlabel, ylabel):
    """The common look: two spines, small text."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(xlabel, parse_math=False)
    axes.set_ylabel(ylabel, parse_math=False)


def examples_by_class(images, num_classes, columns=10):
    """The first images of each class: (num_classes, columns, 28, 28) uint8, padded white."""
    grid = np.full((num_classes, columns, 28, 28), 255, np.uint8)
    for label in range(num_classes):
        found = images.images[images.labels == label][:columns]
        grid[label, : len(found)] = found
    return grid


def one_of_each_class(images, num_classes, seed):
    """Indices of one image per class, (num_classes,); of any images where labels are unknown.

    Two of the only class, so that there is a way from one image to another.
    """
    rng = np.random.default_rng(seed)
    if images.labels is None:
        return rng.permutation(len(images.images))[: max(num_classes, 2)]
    order = rng.permutation(len(images.labels))
    shuffled = images.labels[order]
    if (shuffled == shuffled[0]).all():
        return order[:2]
    return np.array(
        [order[np.argmax(shuffled == c)] for c in range(num_classes) if (shuffled == c).any()]
    )


def layers(call, *inputs, module=None):
    """(columns, rows) for a table: each layer that call(*inputs) passes, with its output's shape.

    What follows a matrix or kernels, such as BatchNorm and ReLU, is in its row.
    module: the network whose layers are watched, if it is not `call` itself.
    """
    module, rows = module or call, []

    def note(layer, _, output):
        size = sum(p.numel() for p in layer.parameters())
        shape = " × ".join(map(str, output.shape[1:])) or "1"
        weight = getattr(layer, "weight", None)
        row = [type(layer).__name__, _settings(layer), shape, size]
        if rows and (weight is None or weight.dim() < 2):
            name, settings, _, before = rows.pop()
            row = [f"{name}, {row[0]}", settings, shape, before + size]
        rows.append(row)

    leaves = [layer for layer in module.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(note) for layer in leaves]
    was_training = module.training
    module.eval()  # so that BatchNorm does not learn from a made-up input
    with torch.no_grad():
        call(*inputs)
    module.train(was_training)
    for hook in hooks:
        hook.remove()
    columns = ["layer", "kernel, stride, padding", "output", "parameters"]
    rows = [(*row, f"{size:,}" if size else "") for *row, size in rows]
    if not any(row[1] for row in rows):  # no layer has a kernel
        columns, *rows = [(row[0], *row[2:]) for row in [columns, *rows]]
    return columns, rows


def _settings(layer):
    if not hasattr(layer, "kernel_size"):
        return ""
    return ", ".join(str(value[0]) for value in (layer.kernel_size, layer.stride, layer.padding))


def snapshot(images):
    """The images (16, 28, 28) of a DCGAN's fixed noise vectors after an epoch, in two rows."""
    return image_grid(images.numpy().reshape(2, -1, 28, 28), cell=0.46)


def film(history, epochs, rows=6):
    """The first fixed noise vectors, a row each, after those of the epochs that there are."""
    epochs = sorted(epoch for epoch in epochs if epoch <= len(history))
    strip = np.stack([history[epoch - 1].images[:rows].numpy() for epoch in epochs], axis=1)
    cell = min(0.5, WIDTH / len(epochs) * 28 / (28 + GAP))
    return image_grid(strip, column_labels=[str(epoch) for epoch in epochs], cell=cell)


def logarithmic(axis):
    """Make an axis of a chart logarithmic, with ticks at 1, 2, 5, 10, 20 and so on."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def dynamics(history, kept, result, marks=()):
    """D(x) and D(G(z)) over the epochs and, below, the FID of the generators that were kept.

    kept: of `scores.by_epoch`.  result: of the scores.  marks: epochs to be marked.
    """
    floor = result["scores"]["fid"]["floor"]
    figure = Figure((WIDTH, 3.3), dpi=200, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    epochs, ends = [record.epoch for record in history], [(0.5, "guessing", GRAY)]
    above.axhline(0.5, color=GRAY, lw=0.9, ls=(0, (1, 2)))
    for name, field, color in ("D(x)", "d_real", BLUE), ("D(G(z))", "d_fake", ORANGE):
        values = [getattr(record, field) for record in history]
        above.plot(epochs, values, color=color, lw=1.6, marker="o", ms=2.5)
        ends.append((values[-1], name, color))
    points = {name: [row[name] for row in kept] for name in ("epoch", "fid", "std")}
    bars = [std or 0.0 for std in points["std"]]
    below.errorbar(points["epoch"], points["fid"], bars, color=GREEN, lw=1.2, marker="o", ms=3.5,
        capsize=3)  # fmt: skip
    below.axhline(floor, color=GRAY, lw=0.9, ls=(0, (1, 2)))
    logarithmic(below.yaxis)
    marks = [epoch for epoch in marks if epoch <= epochs[-1]]
    for axes in (above, below):
        for epoch in marks:
            axes.axvline(epoch, color=GRAY, lw=0.6, alpha=0.5, zorder=0)
    finish(above, "", "mean probability")
    finish(below, "epoch", "FID")
    above.set_ylim(0, 1)
    label_ends(above, ends, 1.9)
    label_ends(below, [(floor, "real images", GRAY)], 1.9)
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    if marks or len(epochs) < 8:
        below.set_xticks(sorted({epochs[0], *marks, epochs[-1]}) if marks else epochs)
    return figure
