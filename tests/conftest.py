"""Shared by the tests: one thread, tiny data; a test of text alone needs no torch."""

import os
import random
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).parent / "workflow"))  # report_fixture, whoever needs it


def pytest_collection_modifyitems(items):
    """In a random order, modules and the tests of each, where $TEST_ORDER is its seed."""
    if not (seed := os.environ.get("TEST_ORDER")):
        return
    modules, order = {}, random.Random(seed)
    for item in items:
        modules.setdefault(item.path, []).append(item)
    groups = order.sample(list(modules.values()), len(modules))
    items[:] = [item for group in groups for item in order.sample(group, len(group))]


@pytest.fixture
def images():
    """256 random images, (256, 28, 28) uint8."""
    import numpy as np
    import torch

    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (256, 28, 28), np.uint8))


@pytest.fixture
def labels():
    """256 labels from 0 to 9."""
    import torch

    return torch.arange(256) % 10
