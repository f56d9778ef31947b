"""Deterministic torch for the tests of whatever computes with it."""

import sys

import pytest


@pytest.fixture(autouse=True)
def repeatable():
    """One thread and deterministic algorithms, in tests that have imported torch."""
    if "torch" in sys.modules:
        import torch

        from helpers import training

        training.set_up(torch.device("cpu"), threads=1)
