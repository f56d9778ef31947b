"""What somebody sees who trains in a browser, and that nobody else gets any of it."""

from types import SimpleNamespace

import pytest
import torch

from helpers import gan, training, watch
from helpers.params import GANConfig

CPU = torch.device("cpu")


@pytest.fixture
def front_end(monkeypatch):
    """A front end: what its displays hold now, and a function that ends the cell."""
    shown, ends = [], []
    events = SimpleNamespace(
        register=lambda name, call: ends.append(call), unregister=lambda name, call: None
    )
    parent = {"metadata": {"cellId": "a"}}
    shell = SimpleNamespace(events=events, get_parent=lambda: parent)

    def display(content, display_id):
        shown.append(content.data)
        place = len(shown) - 1
        return SimpleNamespace(update=lambda new: shown.__setitem__(place, new.data))

    monkeypatch.setattr(watch, "get_ipython", lambda: shell)
    monkeypatch.setattr(watch, "display", display)
    yield SimpleNamespace(shown=shown, parent=parent, end=lambda: ends.pop()(None))
    for call in ends:
        call(None)


def test_only_a_front_end_says_which_cell_it_sends(front_end, monkeypatch):
    assert watch.watched()
    front_end.parent["metadata"] = {}  # papermill and nbval
    assert not watch.watched()
    monkeypatch.setattr(watch, "get_ipython", lambda: None)
    assert not watch.watched()


def test_the_bar_counts_steps_and_the_pictures_are_replaced(front_end, images):
    config = GANConfig(latent_dim=3, base_channels=2, batch_size=64, epochs=2)
    parts, history = gan.build(config, CPU), []
    seen = watch.Watch(0, 2, 4, parts.opt_d)
    seen._tell()
    assert front_end.shown[0] == '<progress value="0.000"></progress> epoch 1 of 2'
    z = gan.fixed_noise(config)[:8]
    gan.train_step(*parts[:4], training.to_signed(images[:8]).unsqueeze(1), z)
    seen._tell()
    assert 'value="0.250"' in front_end.shown[0] and "s left in it, " in front_end.shown[0]
    front_end.end()
    seen = watch.Watch(0, 2, 4, parts.opt_d)
    for record in gan.train_gan(config, parts, images):
        history.append(record)
        seen.epoch(history)
    pictures = front_end.shown[-1]
    assert pictures.count("<img ") == 2 and pictures.count("data:image/png") == 2
    front_end.end()
    assert front_end.shown[-2].startswith("2 of 2 epochs in ") and seen.over.is_set()
