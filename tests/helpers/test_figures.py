"""The pictures, by what is drawn rather than by pixels."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from torch import nn

from helpers import figures
from helpers.data import Images


def test_a_grid_holds_each_image_in_its_place():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 28, 28), np.uint8)
    figure = figures.image_grid(images, row_labels=["a", "$b"], column_labels=["1", "2", "3"])
    (drawn,) = figure.axes[0].images
    assert drawn.get_clim() == (0, 255)
    step = 28 + figures.GAP
    for (row, column), _ in np.ndenumerate(images[:, :, 0, 0]):
        y, x = row * step, column * step
        part = drawn.get_array()[y : y + 28, x : x + 28]
        assert np.array_equal(part, images[row, column])
    assert [text.get_text() for text in figure.axes[0].texts] == ["a", "$b", "1", "2", "3"]
    assert not any(text.get_parse_math() for text in figure.axes[0].texts)


@pytest.mark.parametrize("rows", [["Ankle boot", "T-shirt/top"], None])
def test_no_text_leaves_the_figure(rows):
    images = np.zeros((2, 10, 28, 28), np.uint8)
    figure = figures.image_grid(images, rows, [f"{k}.00" for k in range(10)])
    figure.draw_without_rendering()
    for text in figure.axes[0].texts:
        inside(figure, text)


def inside(figure, text):
    """A text's box in pixels, which must lie in the figure."""
    box, (width, height) = text.get_window_extent(), figure.canvas.get_width_height()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text
    return box


LONG = "A very long name of a class that is nearly sixty letters long"


@pytest.mark.parametrize("names", [["disc", "square", "triangle"], [LONG + c for c in "abcde"]])
def test_names_of_classes_do_not_touch_and_stay_in_the_figure(names):
    values = np.full(len(names), 0.2)
    for figure in (
        figures.matrix(np.eye(len(names)), names, "seen", "asked"),
        figures.bars(values, names, "share", "class", (values, "real")),
    ):
        figure.draw_without_rendering()
        ticks = figure.axes[0].get_xticklabels()
        boxes = [inside(figure, text) for text in ticks]
        level = zip(boxes, boxes[1:], strict=False)
        assert ticks[0].get_rotation() or all(a.x1 < b.x0 for a, b in level)
        assert figure.axes[0].get_window_extent().width > 100
    for panel in figures.codes(np.zeros((5, 2)), np.arange(5) % len(names), names, 0, 1).axes:
        assert len(panel.get_title()) <= 16


def test_a_grid_of_many_rows_fits_on_a_page():
    images = np.zeros((26, 10, 28, 28), np.uint8)
    assert figures.image_grid(images, [LONG] * 26).get_figheight() < 8.5


def test_curves_draw_every_point_and_name_every_line():
    series = {"one": [3.0, 2.0, 1.0], "two": [1.0, 1.01, 1.02]}
    axes = figures.curves([1, 2, 3], series, "nats", [(1.0, "floor")]).axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert [line.get_ydata().tolist() for line in lines] == list(series.values())
    assert {text.get_text() for text in axes.texts} == {"one", "two", "floor"}
    heights = sorted(text.xy[1] for text in axes.texts)
    assert min(np.diff(heights)) > 0.1  # moved apart, so that all can be read
    for few in ([1], []):  # a run may have one epoch
        figures.curves(few, {"a": few}, "x").draw_without_rendering()


def test_bars_and_matrix_show_their_values():
    axes = figures.bars([0.1, 0.3], ["0", "1"], "share", marks=([0.2, 0.25], "real")).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [0.1, 0.3]
    assert [line[0, 1] for line in axes.collections[0].get_segments()] == [0.2, 0.25]
    axes = figures.matrix([[0.991, 0.009], [0.004, 0.996]], ["0", "1"], "drawn", "asked").axes[0]
    assert [text.get_text() for text in axes.texts] == ["99.1", "0.9", "99.6"]


HOSTILE = ["$x", "\\frac{", "%", "_a^b", "$\\alpha$", "<script>", "{}", "\\"]


@pytest.mark.fault(85)
def test_hostile_labels_are_drawn_as_they_are():
    """What mathtext or TeX would read stays text, and can be drawn."""
    texts, drawn = len(HOSTILE), []
    for label in HOSTILE:
        series = {label: [1.0, 2.0], "b" + label: [2.0, 1.0]}
        drawn.append(figures.curves([1, 2], series, label, [(1.5, label)]))
        drawn.append(figures.bars([1.0], [label], label, label, ([0.5], label)))
    drawn.append(figures.matrix(np.eye(texts), HOSTILE, HOSTILE[0], HOSTILE[1]))
    images = np.zeros((texts, texts, 28, 28), np.uint8)
    drawn.append(figures.image_grid(images, HOSTILE, HOSTILE))
    for figure in drawn:
        figure.draw_without_rendering()
        shown = {text.get_text(): text for text in figure.findobj(Text) if text.get_text()}
        named = [text for text in shown if text in HOSTILE]
        assert named and not any(shown[text].get_parse_math() for text in named)


def test_layer_rows_name_shapes_and_leave_the_network_alone():
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    _, rows = figures.layers(net, torch.rand(5, 4))
    assert rows == [("Linear, BatchNorm1d, ReLU", "3", "21")]
    _, ((_, settings, *_),) = figures.layers(nn.Conv2d(1, 2, 4, 2, 1), torch.rand(5, 1, 8, 8))
    assert settings == "4, 2, 1"
    assert net.training and not net[0]._forward_hooks
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_one_of_each_class_and_examples_by_class():
    labels = np.repeat(np.arange(3), 20)
    images = np.broadcast_to(labels[:, None, None], (60, 28, 28)).astype(np.uint8)
    found = Images(images, labels)
    assert labels[figures.one_of_each_class(found, 3, 0)].tolist() == [0, 1, 2]
    for alone in (np.zeros(60, int), None):  # one class: two images of it, not one twice
        first, second = figures.one_of_each_class(found._replace(labels=alone), 1, 0)
        assert first != second
    grid = figures.examples_by_class(found, 4, columns=25)
    assert grid.shape == (4, 25, 28, 28)
    assert (grid[1, :20] == 1).all() and (grid[1, 20:] == 255).all() and (grid[3] == 255).all()


def test_codes_have_a_panel_for_each_class_and_histograms_an_area_of_one():
    mu, labels = np.random.default_rng(0).normal(size=(300, 4)), np.arange(300) % 3
    figure = figures.codes(mu, labels, ["a", "$b", "c"], 1, 3)
    assert [axes.get_title() for axes in figure.axes] == ["a", "$b", "c"]
    own = figure.axes[1].collections[1].get_offsets()
    assert np.array_equal(own, mu[labels == 1][:, [3, 1]])
    assert len(figures.codes(mu, None, ["a", "b"], 0, 1).axes) == 1
    axes = figures.histograms({"a": mu[:, 0], "b": mu[:, 1] + 2}, "logit").axes[0]
    for stairs in axes.patches:
        values, edges, _ = stairs.get_data()
        assert np.sum(values * np.diff(edges)) == pytest.approx(1)


def test_dynamics_share_the_epochs_and_mark_those_that_were_reached():
    history = [SimpleNamespace(epoch=e, d_real=0.8, d_fake=0.1 * (e % 3)) for e in range(1, 21)]
    kept = [{"epoch": e, "fid": 30 / e, "std": s} for e, s in ((2, 0.5), (10, None), (20, 0.1))]
    result = {"scores": {"fid": {"floor": 0.6}}}
    above, below = figures.dynamics(history, kept, result, (10, 16, 22)).axes
    assert above.get_shared_x_axes().joined(above, below)
    assert below.get_xticks().tolist() == [1, 10, 16, 20]
    drawn = {tuple(line.get_ydata()) for line in above.lines}
    assert tuple(record.d_fake for record in history) in drawn
    assert {tuple(line.get_xdata()) for line in below.lines} >= {(10, 10), (16, 16)}
    (bars,) = below.containers
    assert bars[0].get_ydata().tolist() == [15.0, 3.0, 1.5]
    short = figures.dynamics(history[:1], kept[:1], result, (10, 16))
    short.draw_without_rendering()
    assert short.axes[1].get_xticks().tolist() == [1]


def test_a_film_has_a_column_for_each_epoch_that_there_is():
    history = [
        SimpleNamespace(images=torch.full((16, 28, 28), e, dtype=torch.uint8)) for e in range(4)
    ]
    figure = figures.film(history, {1, 4, 3, 10})
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "3", "4"]
    assert figure.axes[0].images[0].get_array()[5, 2 * (28 + figures.GAP)] == 3
    assert figures.snapshot(history[2].images).axes[0].images[0].get_array()[0, 0] == 2
