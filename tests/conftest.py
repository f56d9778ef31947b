"""Shared by the tests: one thread, deterministic torch, tiny data."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch

from helpers import training


@pytest.fixture(autouse=True)
def repeatable():
    training.set_up(torch.device("cpu"), threads=1)


@pytest.fixture
def images():
    """256 random images, (256, 28, 28) uint8."""
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (256, 28, 28), np.uint8))


@pytest.fixture
def labels():
    """256 labels from 0 to 9."""
    return torch.arange(256) % 10
