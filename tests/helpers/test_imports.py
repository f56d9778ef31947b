"""Imports go one way: notebooks -> helpers, workflow -> helpers; runs are on top of helpers."""

import ast
import re

import nbformat
import pytest

from helpers.paths import ROOT

LOWER = ("data", "scores", "models", "vae", "gan", "cgan", "training", "cuda_graph", "params")


def imported(source):
    """Every module or name that is imported anywhere in a source, such as "helpers.data.csv"."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(pattern):
    for path in sorted(ROOT.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            cells = nbformat.reads(text, as_version=4).cells
            text = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        yield path.relative_to(ROOT), text


NETWORK = r"(urllib\.request|http|requests|socket|ftplib|torchvision|aiohttp|httpx)\b"


@pytest.mark.parametrize(
    ("pattern", "never"),
    [
        ("helpers/**/*.py", r"(workflow|report|tests|notebooks)\b"),
        ("helpers/**/*.py", NETWORK),
        ("workflow/**/*.py", NETWORK),
        ("notebooks/0*.ipynb", r"(workflow|report|tests)\b"),
        ("workflow/**/*.py", r"(tests|notebooks)\b"),
        ("workflow/report/*.py", r"(torch|helpers\.(training|checkpoint|scores\.network))\b"),
        *((f"helpers/{name}*/**/*.py", r"helpers\.(runs|checkpoint)\b") for name in LOWER),
        *((f"helpers/{name}*.py", r"helpers\.(runs|checkpoint)\b") for name in LOWER),
    ],
)
def test_imports_go_one_way(pattern, never):
    for path, source in sources(pattern):
        back = [name for name in imported(source) if re.match(never, name)]
        if never is NETWORK and path.name == "download.py":
            back.remove("socket")  # sets its timeout; torchvision is imported late and by name
        assert not back, f"{path} imports {back}"
