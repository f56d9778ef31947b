"""Runs side by side: what is shown of them, what is called a difference, what is refused."""

import subprocess
import sys

import pytest
from scipy import stats

from helpers.files import write_json
from helpers.paths import ROOT
from helpers.scores import tables
from workflow import compare, settings
from workflow.program import program


def result(better="↓", **values):
    """What scores.json holds of a run with these scores: {key: value or (value, std)}."""
    scores = {}
    for key, value in values.items():
        draws = [value] if not isinstance(value, tuple) else [value[0] - value[1], sum(value)]
        scores[key] = tables.entry(key, draws, 0.5, 9.0, n=9)
        scores[key]["better"] = better
        scores[key]["std"] = value[1] if isinstance(value, tuple) else None
    network = {"sha256": "ab" * 32, "line": "a network", "pinned": True}
    data = {"name": "MNIST", "test-images": "cd" * 32}
    return {"format": tables.FORMAT, "scores": scores, "n": 300, "draws": 2} | {
        "network": network, "data": data,
    }  # fmt: skip


def folder(path, scores, **parameters):
    """A run's folder with scores.json and, if parameters are given, manifest.json."""
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "scores.json", scores)
    if parameters:
        write_json(path / "manifest.json", {"notebook": "02_gan", "parameters": parameters})
    return str(path)


def shown(capsys, *runs, status=0):
    assert program(compare.main, list(runs)) == status
    said = capsys.readouterr()
    return said.err if status else said.out


@pytest.mark.fault(91)
def test_runs_stand_side_by_side_and_the_best_is_starred(tmp_path, capsys):
    good, bad = result(fid=(1.0, 0.1)), result(fid=2.0)
    runs = folder(tmp_path / "a", good), folder(tmp_path / "b", bad) + "/scores.json"
    fid = next(line for line in shown(capsys, *runs).splitlines() if "FID" in line)
    assert fid.split()[-6:] == ["1.00", "±", "0.10", "*", "2.00", "↓"]
    bad["n"] = 999
    said = shown(capsys, runs[0], folder(tmp_path / "b", bad))
    assert "different numbers of images: 300, 999; do not compare" in said


def test_published_results_are_runs_too(capsys):
    said = shown(capsys, str(ROOT / "report" / "scores.json"))
    header = said.splitlines()[0]
    assert all(f"scores.json: {name}" in header for name in ("01_vae", "02_gan", "03_cgan"))


def test_runs_that_differ_in_the_seed_alone_are_one_setting(tmp_path, capsys):
    a, b = [10.0, 11.0, 12.5], [20.0, 21.0, 20.5]
    runs = [
        folder(tmp_path / f"{beta}-{seed}", result(fid=(value, 0.2)), beta=beta, seed=seed)
        for beta, values in ((1.0, a), (4.0, b))
        for seed, value in enumerate(values)
    ]
    said = shown(capsys, *runs, runs[0])  # the same seed twice counts once
    assert stats.ttest_ind(b, a, equal_var=False).pvalue < 0.05
    header, *rows, error = [" ".join(line.split()) for line in said.splitlines()[-4:]]
    assert header == "setting seeds Fréchet distance (FID) ↓"
    assert rows == ["beta = 1.0 3 11.17 ± 1.26", "beta = 4.0 3 20.50 ± 0.50 ≠"]
    assert error == "sampling error 0.200"


@pytest.mark.parametrize(
    ("one", "others", "unlike"),
    [
        ([1.0, 2.0, 3.0], [[1.5, 2.5, 3.5]], False),
        ([1.0], [[5.0, 5.1]], False),  # too few seeds
        ([1.0, 1.0], [[1.0, 1.0]], False),
        ([5.0, 5.1, 4.9], [[1.0, 1.1, 0.9]], True),
        ([1.0, 2.0, 3.0], [[3.3, 4.4, 5.5]], True),  # p = 0.0498
        # several comparisons are held to a stricter level
        ([1.0, 2.0, 3.0], [[3.3, 4.4, 5.5]] * 3, False),
    ],
)
def test_only_the_test_calls_it_a_difference(one, others, unlike):
    named = {"one": one} | {f"other {i}": other for i, other in enumerate(others)}
    runs = {name: [result(fid=x) for x in values] for name, values in named.items()}
    _, (first, *rest, _) = settings.table(settings.summary(runs))
    assert "≠" not in first[-1] and {row[-1].endswith(" ≠") for row in rest} == {unlike}
    _, rows = settings.table(settings.summary(runs), ["x; do not compare"])
    assert not any("≠" in row[-1] for row in rows)


def test_a_score_that_some_seeds_lack_says_how_many_have_it():
    runs = {"one": [result(fid=1.0, loss=1.0), result(fid=2.0)], "other": [result(loss=3.0)] * 2}
    columns, rows = settings.table(settings.summary(runs))
    assert columns[2:] == ("test error + KL ↓", "Fréchet distance (FID) ↓")
    assert rows[:2] == [
        ("one", "2", "1.00 (of 1)", "1.50 ± 0.71"), ("other", "2", "3.00", "–"),
    ]  # fmt: skip


def test_without_arguments_the_runs_are_listed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(compare, "ROOT", tmp_path)
    assert "no finished run" in shown(capsys)
    for seed, beta in ((0, 1.0), (1, 1.0), (0, 4.0)):
        run = result(fid=float(seed) + beta)
        folder(tmp_path / f"build/runs/vae/{seed}-{beta}", run, beta=beta, seed=seed, out_dir="x")
    header, *rows = shown(capsys).splitlines()
    assert header.split()[0] == "run" and len(rows) == 3
    assert rows[-1].split()[-4:] == ["1", "beta", "=", "1.0"] and "2.00" in rows[-1]
    assert "out_dir" not in "".join(rows)


@pytest.mark.fault(91)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("{", "not JSON"),
        ('{"scores": NaN}', "not JSON (NaN is no number)"),
        ('{"format": FORMAT, "scores": {"fid": 3}}', "not the scores of a run"),
        ('{"format": FORMAT, "scores": []}', "not the scores of a run"),
        ('{"scores": {}}', "format None"),
        ('{"a": 3}', "format None"),
        ("[]", "not the scores of a run"),
    ],
)
def test_a_bad_file_is_named(tmp_path, capsys, content, message):
    if content is not None:
        (tmp_path / "scores.json").write_text(content.replace("FORMAT", str(tables.FORMAT)))
    error = shown(capsys, str(tmp_path), status=2 if content else 1)
    assert error.startswith(str(tmp_path / "scores.json")) and message in error
    assert error.count("\n") == 1


def test_any_terminal_and_a_reader_who_stops_early(tmp_path):
    run = folder(tmp_path / "a", result(better="≈", fid=1.0))
    command = [sys.executable, "-m", "workflow.compare", *[run] * 600]  # more than a pipe holds
    options = {"cwd": ROOT, "env": {"PYTHONIOENCODING": "latin-1", "PATH": "/usr/bin:/bin"}}
    process = subprocess.Popen(command, stdout=-1, stderr=-1, **options)
    assert process.stdout.readline(100)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 141


def test_the_findings_in_words_are_those_of_the_table():
    runs = {
        "one": [result(fid=(x, 0.2), coverage=0.5) for x in (5.0, 5.1, 4.9)],
        "other": [result(fid=(x, 0.2), coverage=0.5) for x in (1.0, 1.1, 0.9)],
    }
    summed = settings.summary(runs)
    line = "Shown to differ from “one”: Fréchet distance (FID) of “other” (1.00)."
    assert settings.said(summed) == line
    assert settings.said(summed, ["x; do not compare"]) == "Shown to differ from “one”: nothing."
    alone = settings.said(settings.summary({"one": runs["one"]}))
    assert alone == "Fréchet distance (FID) 5.00 ± 0.10 (draws 0.200); coverage 0.500."
