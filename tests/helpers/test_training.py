"""Random streams, batches, device."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from helpers import gan, training


def test_streams_are_functions_of_seed_and_purpose():
    def first(*key):
        return torch.rand(4, generator=training.rng(*key)).tolist()

    keys = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 1), (0, "a", 11), (0, "a", 1, 1)]
    assert len({tuple(first(*key)) for key in keys}) == len(keys)
    assert first(0, "a", 1) == first(0, "a", 1)


def test_a_device_that_is_none_is_refused():
    with pytest.raises(ValueError, match="^device must be one of auto, cpu, cuda, mps, got 'tpu'"):
        training.pick_device("tpu")


def test_seeded_leaves_the_global_generator_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with training.seeded(0, "inside"):
        a = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with training.seeded(0, "inside"):
        assert torch.equal(torch.rand(3), a)


@pytest.mark.fault(30)
def test_batches_show_each_image_at_most_once_in_full_batches():
    order = training.batches(70, 32, training.rng(0, "order"))
    assert order.shape == (2, 32)
    assert order.flatten().unique().numel() == 64
    with pytest.raises(ValueError, match="batch_size must be at most the 20 .* got 32"):
        training.batches(20, 32, training.rng(0, "order"))


def test_a_step_of_adam_is_that_of_torch_bit_for_bit():
    nets = [torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)]
    nets[1].load_state_dict(nets[0].state_dict())
    config = SimpleNamespace(learning_rate=0.01, beta1=0.5, beta2=0.99, lr_half_life=2.0)
    optimizers = [training.adam(net.parameters(), config, torch.device("cpu")) for net in nets]
    for epoch in range(1, 6):
        gradients = [torch.randn_like(weight) for weight in nets[0].parameters()]
        for optimizer in optimizers:
            training.set_rate(optimizer, config, epoch)
        with torch.no_grad():
            training.adam_step(optimizers[0], gradients)
        for weight, gradient in zip(nets[1].parameters(), gradients, strict=True):
            weight.grad = gradient
        optimizers[1].step()
    for a, b in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(a, b)
    a, b = (optimizer.state_dict()["state"] for optimizer in optimizers)
    assert all(torch.equal(a[n][key], b[n][key]) for n in a for key in a[n])


@pytest.mark.parametrize("low", [-1, 0])
def test_gray_levels_survive_both_ranges(low):
    levels = torch.arange(256, dtype=torch.uint8)
    there, back = {
        -1: (training.to_signed, training.from_signed),
        0: (training.to_unit, training.from_unit),
    }[low]
    x = there(levels)
    assert x.dtype == torch.float32 and x.min() == low and x.max() == 1
    assert torch.equal(back(x), levels)
    with pytest.raises(ValueError, match="uint8"):
        there(levels / 2)


def test_importing_the_package_pulls_in_no_torch():
    code = "import sys, helpers, helpers.params, helpers.paths; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_only_code_counts_in_the_digest_of_a_run():
    text = '"""Doc."""\n\nx = 1  # one\n\n\ndef f():\n    """Doc."""\n    return f"{x} # {x}"\n'
    alone = training.code_alone(text)
    assert alone == 'x = 1\ndef f():\n    return f"{x} # {x}"'
    assert training.code_alone(text.replace("Doc", "Other").replace("# one", "# two")) == alone
    assert training.code_alone(text.replace("x = 1", "x = 2")) != alone
    assert training.code_alone("x = 1\ny = (\n    'text'\n)\n") == "x = 1\ny = (\n    'text'\n)"


def test_the_digest_covers_all_that_computes(monkeypatch):
    seen = []
    monkeypatch.setattr(training, "code_alone", lambda text: seen.append(text) or text)
    training.code_digest(gan)
    for part in ("def to_signed", "def train_step", "def recorded"):
        assert any(part in text for text in seen), part
