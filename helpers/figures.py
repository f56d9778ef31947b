"""The pictures: each function takes data and returns a matplotlib Figure; nothing is saved here.

No pyplot, so no backend is needed and no figure stays open. Sizes are in inches; images are drawn
with nearest-neighbor pixels on a fixed gray scale, 0 black and 255 white.
"""

import os

import numpy as np

if not os.environ.get("MPLBACKEND", "").startswith("module://"):  # as in a notebook
    os.environ.pop("MPLBACKEND", None)  # the name of no backend would stop the next import
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402

BLUE, ORANGE, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#767676"  # Okabe & Ito 2008
WIDTH = 6.4  # of the report's text
GAP = 2  # pixels between images
SMALL = 8.5  # points


def image_grid(images, row_labels=None, column_labels=None, cell=0.56):
    """Gray images in rows and columns.

    images: (rows, columns, 28, 28) uint8.  row_labels, column_labels: texts, or None.
    cell: width of one image in inches.
    """
    rows, columns = images.shape[:2]
    mosaic = tile(images)
    scale = cell / 28  # inches per pixel
    longest = max(map(len, row_labels)) if row_labels else 0
    left = 0.1 + 0.072 * longest if row_labels else 0.02
    top = 0.24 if column_labels else 0.02
    width, height = mosaic.shape[1] * scale, mosaic.shape[0] * scale
    figure = Figure((left + width + 0.02, top + height + 0.02), dpi=200)
    axes = figure.add_axes(
        [
            left / figure.get_figwidth(),
            0.02 / figure.get_figheight(),
            width / figure.get_figwidth(),
            height / figure.get_figheight(),
        ]
    )
    axes.imshow(mosaic, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    centers = np.arange(max(rows, columns)) * (28 + GAP) + 13.5
    for y, text in zip(centers, row_labels or (), strict=False):
        axes.text(-4, y, text, ha="right", va="center", fontsize=SMALL, parse_math=False)
    for x, text in zip(centers, column_labels or (), strict=False):
        axes.text(x, -4, text, ha="center", va="bottom", fontsize=SMALL, parse_math=False)
    return figure


def tile(images):
    """(rows, columns, 28, 28) uint8 -> one image, GAP white pixels between its parts."""
    rows, columns, height, width = images.shape
    canvas = np.full(
        (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP), 255, dtype=np.uint8
    )
    for row in range(rows):
        for column in range(columns):
            y, x = row * (height + GAP), column * (width + GAP)
            canvas[y : y + height, x : x + width] = images[row, column]
    return canvas


def curves(epochs, series, ylabel, references=(), height=2.5):
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
            fontsize=SMALL,
            annotation_clip=False,
            parse_math=False,
        )


def bars(values, labels, ylabel, xlabel="", marks=None, height=2.2):
    """One bar per label; marks: (values, text), one for each bar, drawn as dashes across it."""
    figure = Figure((WIDTH, height), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    axes.bar(range(len(values)), values, color=BLUE, width=0.7)
    axes.set_xticks(range(len(values)), labels, parse_math=False)
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
    size = min(WIDTH, 0.8 + 0.34 * len(labels))
    figure = Figure((size, size * 0.94), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, parse_math=False)
    axes.set_yticks(range(len(labels)), labels, parse_math=False)
    for (row, column), value in np.ndenumerate(values):
        if value > 0.005:
            color = "white" if value > 0.5 else "black"
            axes.text(
                column,
                row,
                f"{100 * value:.0f}",
                ha="center",
                va="center",
                color=color,
                fontsize=8,
            )
    finish(axes, xlabel, ylabel)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    return figure


def finish(axes, xlabel, ylabel):
    """The common look: two spines, small text."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(xlabel, fontsize=SMALL, parse_math=False)
    axes.set_ylabel(ylabel, fontsize=SMALL, parse_math=False)
    axes.tick_params(labelsize=SMALL)


def examples_by_class(images, num_classes, columns=10):
    """The first images of each class: (num_classes, columns, 28, 28) uint8, padded white."""
    grid = np.full((num_classes, columns, 28, 28), 255, np.uint8)
    for label in range(num_classes):
        found = images.images[images.labels == label][:columns]
        grid[label, : len(found)] = found
    return grid


def one_of_each_class(images, num_classes, seed):
    """Indices of one image per class, (num_classes,); of any images where labels are unknown."""
    rng = np.random.default_rng(seed)
    if images.labels is None:
        return rng.permutation(len(images.images))[:num_classes]
    order = rng.permutation(len(images.labels))
    shuffled = images.labels[order]
    return np.array(
        [order[np.argmax(shuffled == c)] for c in range(num_classes) if (shuffled == c).any()]
    )
