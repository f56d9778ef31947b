"""No number in a notebook's prose that a run could contradict: such sentences are computed."""

import re

import nbformat
import pytest

from helpers.paths import ROOT

# of mathematics, of the assignment, of other people's papers
CONSTANTS = {"1.386", "1.44", "0.71", "0.9", "0.5", "0.05", "0.999"}
APART = r"`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\]\([^)]*\)"  # code, mathematics, addresses


@pytest.mark.parametrize(
    "path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem
)
def test_prose_types_no_decimals_and_no_percentages(path):
    cells = nbformat.read(path, as_version=4).cells
    prose = [
        re.sub(APART, "", c.source, flags=re.DOTALL) for c in cells if c.cell_type == "markdown"
    ]
    typed = [number for text in prose for number in re.findall(r"\d+\.\d+|\d+ ?%", text)]
    assert set(typed) <= CONSTANTS
