"""Runs side by side: the best is starred, and a damaged file is named in one line."""

import json

import pytest

from helpers import scores
from helpers.scores import tables
from workflow import compare


def scored(fid):
    """The smallest scores.json that is compared."""
    return {
        "format": tables.FORMAT,
        "model": "gan",
        "data": {
            "name": "MNIST",
            "real": True,
            "verified": True,
            "train": 60_000,
            "test-images": "0",
        },
        "network": {"line": "", "sha256": "0", "test_accuracy": None, "pinned": True},
        "n": 300,
        "draws": 1,
        "seed": 0,
        "scores": {"fid": tables.entry("fid", [fid], 0.6, 171.0, n=300)},
    }


@pytest.mark.fault(91)
def test_compare_prints_runs_side_by_side(tmp_path, capsys):
    for name, level in (("good", 0), ("bad", 60)):
        (tmp_path / name).mkdir()
        scores.save(tmp_path / name, scored(fid=2.0 + level))
    runs = [str(tmp_path / "good"), str(tmp_path / "bad" / "scores.json")]
    assert compare.main(runs) == 0
    lines = capsys.readouterr().out.splitlines()
    fid = next(line for line in lines if "FID" in line).split()
    assert fid[-2] != "*" and "*" in fid and fid[-1] == "↓"
    assert not any("do not compare" in line for line in lines)

    changed = json.loads((tmp_path / "bad" / "scores.json").read_text())
    changed["n"] = 999
    (tmp_path / "bad" / "scores.json").write_text(json.dumps(changed))
    assert compare.main(runs) == 0
    assert "different numbers of images: 300, 999; do not compare" in capsys.readouterr().out

    path = tmp_path / "bad" / "scores.json"
    for left_out in ("network", "data", "n"):
        kept = {key: value for key, value in changed.items() if key != left_out}
        path.write_text(json.dumps(kept))
        assert compare.main(runs) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"{path}: not the scores of a run") and left_out in error
    text = json.dumps(changed)
    for place in range(0, len(text), 97):  # damaged anywhere: a table of it, or one line
        for damaged in (text[:place], text[:place] + "\x7f" + text[place + 1 :],
                        text[:place] + "0" + text[place + 1 :]):  # fmt: skip
            path.write_text(damaged)
            if compare.main(runs) != 0:
                error = capsys.readouterr().err
                assert error.startswith(f"{path}: ") and error.count("\n") == 1
    for number in ("NaN", "Infinity", "-Infinity"):
        path.write_text(text.replace('"n": 999', f'"n": {number}'))
        assert compare.main(runs) == 2
        assert capsys.readouterr().err == f"{path}: not JSON ({number} is no number)\n"


@pytest.mark.fault(91)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("{", "not JSON"),
        ("[" * 5000, "not JSON"),
        ('{"scores": NaN}', "not JSON (NaN is no number)"),
        ('{"format": FORMAT, "scores": {"fid": 3}}', "not the scores of a run"),
        ('{"format": FORMAT, "scores": []}', "not the scores of a run"),
        ("[]", "not the scores"),
        ('{"scores": {}}', "format None"),
    ],
)
def test_compare_names_a_bad_file(tmp_path, capsys, content, message):
    if content is not None:
        content = content.replace("FORMAT", str(tables.FORMAT))
        (tmp_path / "scores.json").write_text(content)
    assert compare.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(str(tmp_path / "scores.json")) and message in error
    assert error.count("\n") == 1
