"""The committed notebooks: clean, parametrized as helpers.params says, prose and calls only."""

import ast
import re

import nbformat
import pytest

from helpers import params
from helpers.paths import ROOT
from workflow import arguments

NOTEBOOKS = sorted(ROOT.glob("notebooks/0*.ipynb"))
PROFILES = sorted(ROOT.glob("profiles/*/*.yaml"))

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind="code"):
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == kind]


def test_there_are_three_with_a_config_and_profiles_each():
    assert [path.stem for path in NOTEBOOKS] == list(params.CONFIGS)
    for profile in ("smoke", "draft", "paper"):
        assert [p.stem for p in PROFILES if p.parent.name == profile] == list(params.CONFIGS)


@pytest.mark.fault(81)
@each_notebook
def test_sentences_with_numbers_are_computed_elsewhere(path):
    """What is said and depends on the run comes from helpers.scores.verdict, which has tests."""
    for call in (node for cell in cells(path) for node in ast.walk(ast.parse(cell.source))):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("run.say", "run.abstract"):
            texts = [n for n in ast.walk(call) if isinstance(n, (ast.Constant, ast.JoinedStr))]
            assert not [text for text in texts if " " in ast.unparse(text)]


@each_notebook
def test_jupyterlab_folds_what_the_report_folds(path):
    for cell in cells(path):
        hidden = {"hide-input", "remove-input"} & set(cell.metadata.get("tags", []))
        assert bool(hidden) == cell.metadata.get("jupyter", {}).get("source_hidden", False)


@each_notebook
def test_its_parameters_are_those_of_its_config(path):
    declared = arguments.declared(path)
    assert {name: item.default for name, item in declared.items()} == params.defaults(path.stem)
    kinds = {name: type(item.default).__name__ for name, item in declared.items()}
    assert {name: item.kind.split("[")[0] for name, item in declared.items()} == kinds
    (source,) = [
        c.source for c in cells(path) if "parameters" in c.metadata.get("tags", [])
    ]  # fmt: skip
    for line in source.splitlines():
        assert re.fullmatch(r"\w+: [\w\[\]]+ = .+  # \S.*", line), f"no comment: {line}"


@each_notebook
def test_it_only_calls_what_helpers_define(path):
    for cell in cells(path):
        assert not re.search(r"^\s*[!%]", cell.source, re.MULTILINE), cell.source
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, (ast.FunctionDef, ast.ClassDef)), cell.source
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("filterwarnings", "simplefilter"), cell.source
        tags = set(cell.metadata.get("tags", []))
        assert not tags & {"raises-exception", "skip-execution", "nbval-skip"}


@each_notebook
def test_it_speaks_of_any_data(path):
    """The images may be a reader's own: only exercises and the list of choices name a set."""
    for cell in nbformat.read(path, as_version=4).cells:
        text = cell.source.partition("### Exercises")[0]
        if "parameters" not in cell.metadata.get("tags", []):
            assert not re.search(r"digit|garment|MNIST|stroke|[a-z] \d[, ]as a|data\.title", text)


@each_notebook
def test_it_names_no_place_on_somebodys_machine(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    assert not re.search(
        r"""(?:^|[\s"'(=])(?:/[A-Za-z][\w.-]*/|~/|[A-Z]:\\)""", text, re.MULTILINE
    )


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_profile_is_accepted(path):
    assert arguments.given(ROOT / "notebooks" / f"{path.stem}.ipynb", [path])
