"""What is needed is listed once and pinned; make does what it is told, or says why not.

The Makefile runs in a small project of its own, whose programs only write down how they were
called.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from helpers import params
from helpers.paths import ROOT
from workflow import estimate, inputs, notebooks, setup_env
from workflow.setup_env import plain

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LISTED = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
NAMES = {plain(re.match(r"[\w.-]+", line)[0]) for line in LISTED}
# used as programs, as plug-ins, or in files that are no Python
TOOLS = {"ipykernel", "jupyterlab", "nbval", "ruff"}
STUB = """\
import os, sys
from pathlib import Path
with open("calls", "a") as file:
    print(Path(__file__).stem, *sys.argv[1:], *map(os.environ.get, SHOWN), sep="|", file=file)
for path in [Path(word) for word in sys.argv if word.startswith("build/")]:
    out = path if path.suffix or path.name[0] == "." else path / "report.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.touch() if out.suffix else out.exists() or out.touch()
    out.suffix == ".html" and out.with_suffix(".pdf").touch()
"""


def test_every_import_is_listed_and_pinned_and_every_entry_is_used():
    names = {"torchvision"}  # imported by name, and late
    for folder in ("helpers", "workflow", "tests"):
        for path in ROOT.glob(f"{folder}/**/*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names.add(node.module.split(".")[0])
    own = {"helpers", "workflow", "tests", *(path.stem for path in ROOT.glob("tests/**/*.py"))}
    owners = packages_distributions()
    names -= set(sys.stdlib_module_names) | own
    used = {plain(owner) for name in names for owner in owners.get(name, [name])}
    assert used - NAMES == set(), "imported, but not in pyproject.toml"
    assert NAMES - used - TOOLS == set(), "in pyproject.toml, but not imported"
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.-]+)==[\w.]+(?: ; python_version .*)?$", text, re.M)
    assert NAMES <= set(map(plain, pins))
    assert not [pin for pin in pins if re.match("nvidia|cuda|triton", pin)]


@pytest.mark.fault(71)
def test_other_versions_and_missing_packages_are_one_clear_line(monkeypatch, capsys):
    found = {name: "1.0+cpu" for name in NAMES}
    packages = [type("Found", (), {"name": n, "version": v}) for n, v in found.items()]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setup_env, "distributions", lambda: packages)
    setup_env.check()
    said = capsys.readouterr().out
    assert said.startswith("setup: note: other versions than the pinned ones: torch 1.0 (2.")
    assert said.count("\n") == 1
    packages[:] = [each for each in packages if each.name not in ("torch", "pytest")]
    with pytest.raises(SystemExit, match="^setup: .* lacks torch [(]see pyproject.toml[)]$"):
        setup_env.check()


def test_a_failed_installation_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".venv").mkdir()
    says = "import sys; print('Collecting x'); sys.exit('ERROR: No matching distribution for x')"
    monkeypatch.setattr(setup_env, "PIP", [sys.executable, "-c", says])
    monkeypatch.delenv("TORCH_INDEX", raising=False)
    with pytest.raises(SystemExit, match="^setup: pip: ERROR: No matching distribution for x; "):
        setup_env.install()
    assert not (tmp_path / ".venv" / ".ok").exists()


def test_the_time_of_a_report_is_told_from_a_few_steps(monkeypatch, capsys):
    step = 0.1  # seconds; 20 of them are timed, of 32 images each
    monkeypatch.setattr(estimate, "timed", lambda epoch, device: epoch() and 20 * step)
    values = {"epochs": 3, "train_limit": 3200, "device": "cpu"}
    assert estimate.seconds("01_vae", values) == pytest.approx(3 * 100 * step)
    monkeypatch.setattr(estimate, "seconds", lambda name, values: 60 * values["epochs"])
    estimate.main(ROOT / "profiles" / "draft", "-p", "epochs", "7")
    said = capsys.readouterr().out
    assert said.startswith("report: about 21 min of training") and "02_gan 7 min" in said


@pytest.mark.fault(21, 123)
def test_news_among_many_files_is_noticed(tmp_path, monkeypatch):
    data, stamp = tmp_path / "data", tmp_path / "build" / ".inputs"
    (data / "MNIST" / "raw").mkdir(parents=True)
    path = data / "MNIST" / "raw" / "train-images-idx3-ubyte"
    for number in range(3000):
        (data / f"a{number}.png").touch()
    monkeypatch.setenv("DATA_DIR", str(data))

    def written(*words):
        """Whether this call wrote the file, and whether its time is new."""
        text = stamp.read_text() if stamp.exists() else ""
        if stamp.exists():
            os.utime(stamp, (1, 1))
        inputs.main([str(stamp), *words])
        return stamp.read_text() != text, stamp.stat().st_mtime != 1

    assert written() == (True, True)
    path.write_text("1")
    assert written() == (True, True) and written() == (False, False)
    path.write_text("22")
    (path.parent / "gone-ubyte").symlink_to(tmp_path / "nowhere")
    assert written("--settle") == (True, False) and written() == (False, False)
    for word in ("DATA_DIR", "RUN_SETTINGS"):
        monkeypatch.setenv(word, str(tmp_path / "elsewhere"))
        assert written() == (True, True)


@pytest.fixture
def make(tmp_path):
    """make(*words, variables) in a project of stubs -> (exit status, lines, calls)."""
    for folder in ("notebooks", "workflow/report", "profiles/draft", "profiles/paper", "helpers"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for name in params.CONFIGS:
        (tmp_path / "notebooks" / f"{name}.ipynb").touch()
        for profile in ("draft", "paper"):
            (tmp_path / "profiles" / profile / f"{name}.yaml").touch()
    for name in ("notebooks/comparison.ipynb", "workflow/finished.py", "workflow/comparison.py"):
        (tmp_path / name).touch()
    shown = ("REPORT_AUTHOR", "PYTHONPATH", "GOMP_SPINCOUNT")
    # what decides which notebooks are run
    for name in ("workflow/inputs.py", "workflow/program.py", "helpers/paths.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("run", "estimate", "notebooks", "publish", "setup_env", "report/build"):
        text = STUB.replace("SHOWN", repr(shown if name == "report/build" else ()))
        (tmp_path / "workflow" / f"{name}.py").write_text(text)

    def call(*words, python=f"PY={sys.executable}", **variables):
        (tmp_path / "calls").write_text("")
        own = "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "DATA_DIR", "GOMP_SPINCOUNT", "PYTHONPATH"
        clean = {k: v for k, v in os.environ.items() if k not in own}
        done = subprocess.run(
            ["make", *words, *([python] if python else [])],
            cwd=tmp_path, env=clean | variables, capture_output=True, text=True,
        )  # fmt: skip
        calls = (tmp_path / "calls").read_text().splitlines()
        return done.returncode, (done.stdout + done.stderr).splitlines(), calls

    call.folder = tmp_path
    return call


def runs(calls):
    return [line for line in calls if line.startswith("run|")]


@pytest.mark.fault(117, 118, 120)
def test_make_runs_what_changed_and_publishes_nothing(make):
    (make.folder / "notebooks" / "01_vae-Copy1.ipynb").write_text("not even JSON")
    status, lines, calls = make("report", "PROFILE=paper")
    assert status == 0 and len(runs(calls)) == 4, lines
    assert "notebooks/comparison.ipynb" in runs(calls)[-1]  # it opens the others' runs
    assert calls.index("estimate|profiles/paper") < calls.index(runs(calls)[0])
    assert not [line for line in calls if line.startswith("publish")]
    assert [c for c in make("report", "PROFILE=paper")[2] if c[:3] in ("run", "est")] == []
    other = runs(make("report", "PROFILE=paper", "RUNFLAGS=-p seed 1")[2])
    assert len(other) == 4
    assert runs(make("report", "PROFILE=paper", "RUNFLAGS=-p seed 1")[2]) == []
    assert len(runs(make("report", "PROFILE=draft", "OUT=build/paper")[2])) == 4
    assert make("publish")[2][-1] == "publish|build/paper"


def test_words_reach_the_programs_as_typed(make):
    author = "Ke$ha $(shell touch bad) \"'"
    calls = make("report", f"AUTHOR={author}", PYTHONPATH="/of/others")[2]
    (call,) = [call for call in calls if call.startswith("build|")]
    assert call.endswith(f"|--author={author}|{author}|{make.folder}:/of/others|0"), call
    assert not (make.folder / "bad").exists()


@pytest.mark.fault(122)
def test_make_refuses_in_one_line(make):
    for word, says in {
        "OUT=a b": "OUT='a b': must be one name",
        "OUT=": "OUT='': must be one name",
        "PROFILE=a b": "PROFILE='a b': must be one name",
        "PROFILE=nosuch": "PROFILE=nosuch: no such folder in profiles/; there are draft paper",
        "reprot": "no target or file reprot; make help lists the targets",
    }.items():
        status, lines, calls = make(*(["report"] if "=" in word else []), word)
        assert status == 2 and says in lines[-2 if word == "reprot" else -1], lines
        assert runs(calls) == []
    status, lines, _ = make(".venv/.ok", "PYTHON=", python="")
    assert status == 2 and lines[0].startswith("setup: no Python 3.11, 3.12 or 3.13"), lines
    calls = make("report", OUT="/nowhere", PROFILE="nosuch")[2]
    assert "build/draft/01_vae.ipynb" in runs(calls)[0]


@pytest.mark.fault(119)
def test_a_copied_environment_is_made_anew(make):
    python, ok = make.folder / ".venv" / "bin" / "python", make.folder / ".venv" / ".ok"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@" >> calls\n')
    python.chmod(0o755)
    ok.write_text(f"{make.folder}\n")
    assert "up to date" in make(".venv/.ok", python="")[1][0]
    ok.write_text(f"{make.folder.parent}\n")
    called = make(".venv/.ok", f"PYTHON={python}", python="")[2]
    assert called[-2:] == ["-m venv --clear .venv", "workflow/setup_env.py"]


def test_clean_keeps_what_took_hours_and_distclean_says_what_it_takes(make):
    kept = ["draft/runs/01_vae/state.pt", "runs/x/a", "paper/report.pdf", "cache/x", "lab/x.ipynb"]
    gone = ["draft/report.pdf", "smoke-test/runs/state.pt", "figures/figure_1.png"]
    for name in kept + gone:
        path = make.folder / "build" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert make("clean")[0] == 0
    left = {str(p.relative_to(make.folder / "build")) for p in make.folder.glob("build/**/*.*")}
    assert {name for name in kept if "." in name} == left
    assert (make.folder / "build/cache/x").exists() and (make.folder / "build/runs/x/a").exists()
    lines = make("distclean")[1]
    assert "with the trained build/draft/runs/01_vae/state.pt" in lines
    assert not (make.folder / "build").exists()


def test_what_jupyterlab_does_to_notebooks_is_undone_or_said(tmp_path, capsys):
    committed, copied = ROOT / "notebooks" / "02_gan.ipynb", tmp_path / "lab" / "02_gan.ipynb"
    notebooks.copy(copied.parent)
    assert copied.read_bytes() == committed.read_bytes()
    usual, other = "latent_dim: int = 200", "latent_dim: int = 9"
    text = copied.read_text(encoding="utf-8").replace('"python3"', '"conda-env-x"')
    copied.write_text(text.replace(usual, other), encoding="utf-8")
    notebooks.copy(copied.parent)
    assert other in copied.read_text(encoding="utf-8")
    assert f"{copied}: kept as you saved it" in capsys.readouterr().out
    notebooks.changed(committed)
    assert capsys.readouterr().out == ""
    notebooks.changed(copied)
    assert capsys.readouterr().out.endswith("says latent_dim = 9, by default 200\n")
    copied.write_text(text, encoding="utf-8")
    notebooks.strip(copied)
    assert copied.read_bytes() == notebooks.stripped(committed)
