"""What is published: whole runs only, and figures that can be drawn again."""

import copy
import json

import nbformat
import pytest

from workflow import publish, redraw

PARAMETERS = {"train_limit": 0, "epochs": 3, "score_samples": 10000}
CLEAN = {"revision": "0123456789", "clean": True}
WHOLE = {
    "parameters": PARAMETERS,
    "data": {"real": True, "verified": True, "where": "data/MNIST/raw"},
    "git": CLEAN,
    "trained": [{"epochs": [1, 2], "git": CLEAN}, {"epochs": [3, 3], "git": CLEAN}],
}


@pytest.fixture(autouse=True)
def paper(tmp_path, monkeypatch):
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "01_vae.yaml").write_text("epochs: 3\nscore_samples: 10000\n")
    monkeypatch.setattr(publish, "PAPER", tmp_path / "paper")


@pytest.mark.fault(118)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": {"real": False, "verified": False}}, "not on the published images"),
        ({"data": {"verified": False}}, "not on the published images"),
        ({"parameters": {"train_limit": 2000}}, "train_limit = 2000, published is 0"),
        ({"parameters": {"epochs": 1}}, "epochs = 1, published is 3 or more"),
        ({"parameters": {"score_samples": 200}}, "score_samples = 200, published is 10000"),
        ({"trained": WHOLE["trained"][:1]}, "not all of the 3 epochs are on record"),
        ({"git": None}, "no commit of this project"),
        ({"trained": [{"epochs": [1, 3], "git": CLEAN | {"clean": False}}]}, "no commit of this"),
    ],
)
def test_less_than_the_whole_paper_run_is_not_published(change, says):
    publish.check("01_vae", WHOLE)
    manifest = copy.deepcopy(WHOLE)
    for key, value in change.items():
        manifest[key] = manifest[key] | value if isinstance(value, dict) else value
    with pytest.raises(ValueError, match=f"^01_vae.ipynb: .*{says}"):
        publish.check("01_vae", manifest)


def test_a_run_that_lacks_something_changes_nothing_published(tmp_path, monkeypatch):
    good = tmp_path / "report" / "weights" / "01_vae_3.safetensors"
    good.parent.mkdir(parents=True)
    good.write_bytes(b"good")
    monkeypatch.setattr(publish, "REPORT", tmp_path / "report")
    monkeypatch.setattr(publish, "FIGURES", tmp_path / "figures")
    before = sorted(tmp_path.rglob("*"))
    manifest = WHOLE | {"figures": {}, "folder": str(tmp_path / "run")}
    shown = {"output_type": "display_data", "data": {}, "metadata": {}}
    for metadata, says in [
        (None, "01_vae.ipynb: No such file or directory$"),
        ({}, "01_vae.ipynb: shows no record of its run"),
        ({"kind": "provenance", "manifest": {}}, "'parameters' is missing"),
        ({"kind": "provenance", "manifest": manifest}, "is of another run by now"),
    ]:
        if metadata is not None:
            (tmp_path / "run").mkdir(exist_ok=True)
            (tmp_path / "run" / "manifest.json").write_text("{}")
            output = nbformat.from_dict(shown | {"metadata": {"report": metadata}})
            cell = nbformat.v4.new_code_cell(outputs=[output])
            notebook = nbformat.v4.new_notebook(cells=[cell])
            nbformat.write(notebook, tmp_path / "run" / "01_vae.ipynb")
        with pytest.raises(SystemExit, match=says):
            publish.main([str(tmp_path / "run")])
    assert [p for p in sorted(tmp_path.rglob("*")) if "run" not in p.parts] == before
    assert good.read_bytes() == b"good"


def test_published_figures_can_be_drawn_again(tmp_path, capsys):
    """Within the tolerance that workflow/redraw.py states; another seed would be far off."""
    assert redraw.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("as published, ") == 6
    three, five = ((tmp_path / f"figure_{n}.png").read_bytes() for n in (3, 5))
    mean, share = redraw.difference(three, five)
    assert mean > 10 * redraw.MEAN and share > 10 * redraw.SHARE


@pytest.mark.fault(121)
def test_replaced_weights_or_figures_are_named(tmp_path, monkeypatch, capsys):
    for name in ("WEIGHTS", "FIGURES"):
        for path in getattr(redraw, name).iterdir():
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
        monkeypatch.setattr(redraw, name, tmp_path / name)
    (tmp_path / "FIGURES" / "figure_4.png").write_bytes(
        (tmp_path / "FIGURES" / "figure_3.png").read_bytes()
    )
    assert redraw.main([str(tmp_path / "out")]) == 1
    assert "Figure 4: NOT AS PUBLISHED" in capsys.readouterr().out
    path = tmp_path / "WEIGHTS" / "02_gan_22.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
    with pytest.raises(SystemExit, match=f"^{path}: .*SHA256SUMS"):
        redraw.main([str(tmp_path / "out")])
    path.unlink()  # an epoch is missing
    with pytest.raises(SystemExit, match=f"^{path}: not there"):
        redraw.main([str(tmp_path / "out")])


def test_numbers_in_the_readme_are_the_published_ones():
    numbers = publish.numbers(json.loads((publish.REPORT / "scores.json").read_text("utf-8")))
    assert len(numbers) == 11 and all(line.count("|") == 6 for line in numbers)
    readme = (publish.ROOT / "README.md").read_text("utf-8").splitlines()
    shown = {line for line in readme if line.startswith("|") and "out.ipynb" in line}
    assert shown <= set(numbers)


def test_what_is_published_keeps_its_size_and_comes_from_one_clean_revision():
    limits = {"report/report.html": 8, "report/report.pdf": 5, "report/weights": 15}
    limits |= {f"report/notebooks/{name}.ipynb": 2 for name in publish.SHOWN}
    for name, megabytes in limits.items():
        path = publish.ROOT / name
        files = path.iterdir() if path.is_dir() else [path]
        assert sum(file.stat().st_size for file in files) < megabytes * 1e6, name
    manifests = json.loads((publish.REPORT / "manifest.json").read_text("utf-8"))
    assert len({m["git"]["revision"] for m in manifests.values()}) == 1
    assert all(m["git"]["clean"] and m["data"]["verified"] for m in manifests.values())
