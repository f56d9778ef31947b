"""environment.yml is the one list of what is needed, and constraints.txt the rest."""

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, version

import pytest
import yaml

from helpers.paths import ROOT
from workflow import inputs, setup_env
from workflow.setup_env import plain

# used as programs, as plug-ins, or in files that are no Python
TOOLS = {
    "ipykernel": "the kernel",
    "jinja2": "workflow/report/templates",
    "jupyterlab": "make lab",
    "nbval": "make test",
    "ruff": "make test",
    "setuptools": "pip install -e .",
}


def environment():
    return (ROOT / "environment.yml").read_text(encoding="utf-8")


def constraints():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def sources():
    return [
        path for folder in ("helpers", "report", "tests") for path in ROOT.glob(f"{folder}/*.py")
    ]


def imported():
    """Top-level names that any file of the project imports, the notebooks included."""
    import nbformat

    texts = [path.read_text(encoding="utf-8") for path in sources()]
    for path in ROOT.glob("notebooks/*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        texts += [cell.source for cell in cells if cell.cell_type == "code"]
    names = set()
    for node in (node for text in texts for node in ast.walk(ast.parse(text))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            names |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
    own = {"helpers", "report", "tests", *(path.stem for path in ROOT.glob("tests/*.py"))}
    return names - set(sys.stdlib_module_names) - own


def test_environment_and_constraints_agree():
    listed = yaml.safe_load(environment())["dependencies"]
    (pip,) = [item["pip"] for item in listed if isinstance(item, dict)]
    assert [*setup_env.requirements(), "-e ."] == pip
    direct = {plain(name) for name in setup_env.pins(environment())}
    names = [plain(line.split("==")[0]) for line in constraints()]
    assert len(set(names)) == len(names) and not direct & set(names)
    for line in constraints():
        assert re.fullmatch(r"[\w.-]+==[\w.]+( ; python_version == \"3\.1[1-3]\")?", line), line
        assert not re.match(r"(nvidia|cuda|triton)", line)


def test_every_pin_says_why_it_is_there():
    for line in environment().split("- pip:")[1].splitlines():
        if "==" in line:
            assert re.search(r"  # \S", line), line


def test_every_import_is_pinned_and_every_pin_is_used():
    owners = packages_distributions()
    used = {plain(owner) for name in imported() for owner in owners.get(name, [name])}
    pinned = {plain(name) for name in setup_env.pins(environment())}
    assert used - pinned == set(), "imported, but not in environment.yml"
    assert pinned - used - set(TOOLS) == set(), "in environment.yml, but not imported"


def test_this_environment_is_the_pinned_one():
    pytest.importorskip("torch")
    allowed = ("2.11.", "2.12.", "2.13.")
    assert version("torch").startswith(allowed)


def test_helpers_can_be_imported_without_torch():
    code = (
        "import sys, helpers, workflow.parameters, helpers.params, helpers.paths, report; "
        "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("- torch>=2", "must read '- name==version', got '- torch>=2'"),
        ("- torch==2 --index-url x", "must read"),
        ("- numpy==1\n- NumPy==2", "NumPy is there twice"),
    ],
)
def test_pins_must_be_exact(line, message):
    with pytest.raises(ValueError, match="^environment.yml: " + re.escape(message)):
        setup_env.pins("dependencies:\n- pip:\n" + line)


def test_constraints_are_what_came_along():
    listed = "pip==24\ntorch==2.13.0+cpu\nnvidia-cublas==13\ntriton==3\nnumpy==2\nsix==1.17+x\n"
    before = 'aiohttp==3 ; python_version == "3.12"\nsix==1 ; python_version == "3.12"\nold==1\n'
    text = setup_env.constraints(listed, ["torch==2.13.0", "numpy==2"], before)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == ['aiohttp==3 ; python_version == "3.12"', "six==1.17"]


def test_an_unsuitable_python_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(setup_env, "PROBE", "raise SystemExit(1)")
    said = setup_env.main([])
    assert said.startswith(f"setup: {sys.executable} is Python 3.") and "\n" not in said


def test_news_in_the_data_folder_is_noticed(tmp_path, monkeypatch):
    data, stamp = tmp_path / "data", tmp_path / "build" / ".data"
    (data / "MNIST" / "raw").mkdir(parents=True)
    (data / "MNIST" / "raw" / "train").write_text("1")
    monkeypatch.setenv("DATA_DIR", str(data))

    def written(*words):
        """Whether this call wrote the file, and whether its time is new."""
        text = stamp.read_text() if stamp.exists() else ""
        if stamp.exists():
            os.utime(stamp, (1, 1))
        inputs.main([str(stamp), *words])
        return stamp.read_text() != text, stamp.stat().st_mtime != 1

    assert written() == (True, True)
    assert written() == (False, False)
    (data / "MNIST" / "raw" / "train").write_text("22")
    assert written() == (True, True)
    (data / "MNIST" / "raw" / "test").write_text("3")
    assert written("--settle") == (True, False)
    assert written() == (False, False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "elsewhere"))
    assert written() == (True, True)
