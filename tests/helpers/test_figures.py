"""The pictures, by what is drawn rather than by pixels."""

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from torch import nn

from helpers import figures


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
    width, height = figure.canvas.get_width_height()
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def test_curves_draw_every_point_and_name_every_line():
    series = {"one": [3.0, 2.0, 1.0], "two": [1.0, 1.01, 1.02]}
    axes = figures.curves([1, 2, 3], series, "nats", [(1.0, "floor")]).axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert [line.get_ydata().tolist() for line in lines] == list(series.values())
    assert {text.get_text() for text in axes.texts} == {"one", "two", "floor"}
    heights = sorted(text.xy[1] for text in axes.texts)
    assert min(np.diff(heights)) > 0.1  # moved apart, so that all can be read


def test_one_epoch_can_be_drawn():
    figures.curves([1], {"a": [1.0]}, "x").draw_without_rendering()
    figures.curves([], {"a": []}, "x").draw_without_rendering()


def test_bars_and_matrix_show_their_values():
    axes = figures.bars([0.1, 0.3], ["0", "1"], "share", marks=([0.2, 0.25], "real")).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [0.1, 0.3]
    assert [line[0, 1] for line in axes.collections[0].get_segments()] == [0.2, 0.25]
    axes = figures.matrix([[0.991, 0.009], [0.004, 0.996]], ["0", "1"], "drawn", "asked").axes[0]
    assert [text.get_text() for text in axes.texts] == ["99", "1", "100"]


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
    assert rows == [
        ("Linear", "", "3", "15"),
        ("BatchNorm1d", "", "3", "6"),
        ("ReLU", "", "3", ""),
    ]
    _, ((_, settings, *_),) = figures.layers(nn.Conv2d(1, 2, 4, 2, 1), torch.rand(5, 1, 8, 8))
    assert settings == "4, 2, 1"
    assert net.training and not net[0]._forward_hooks
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
