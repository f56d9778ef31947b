"""What is published: whole runs only, and figures that can be drawn again."""

import copy
import hashlib
import json
import os

import nbformat
import numpy as np
import pytest
import torch

from helpers import data, figures, params, paths, runs
from workflow import arguments, publish, redraw, restore
from workflow.program import program

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


def test_a_run_that_lacks_something_changes_nothing_published(tmp_path, monkeypatch, capsys):
    good = tmp_path / "report" / "weights" / "01_vae_3.safetensors"
    good.parent.mkdir(parents=True)
    good.write_bytes(b"good")
    monkeypatch.setattr(publish, "REPORT", tmp_path / "report")
    monkeypatch.setattr(publish, "FIGURES", tmp_path / "figures")
    before = sorted(tmp_path.rglob("*"))
    manifest = WHOLE | {"figures": {}, "folder": str(tmp_path / "run")}
    shown = {"output_type": "display_data", "data": {}, "metadata": {}}
    for metadata, says in [
        (None, "01_vae.ipynb: No such file or directory\n"),
        ({}, "01_vae.ipynb: shows no record of its run"),
        ({"kind": "provenance", "manifest": manifest}, "is of another run by now"),
    ]:
        if metadata is not None:
            (tmp_path / "run").mkdir(exist_ok=True)
            (tmp_path / "run" / "manifest.json").write_text("{}")
            output = nbformat.from_dict(shown | {"metadata": {"report": metadata}})
            cell = nbformat.v4.new_code_cell(outputs=[output])
            notebook = nbformat.v4.new_notebook(cells=[cell])
            nbformat.write(notebook, tmp_path / "run" / "01_vae.ipynb")
        assert program(publish.main, [str(tmp_path / "run")]) and says in capsys.readouterr().err
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
    with pytest.raises(ValueError, match=f"^{path}: .*SHA256SUMS"):
        redraw.main([str(tmp_path / "out")])
    path.unlink()  # an epoch is missing
    with pytest.raises(FileNotFoundError, match=f"^{path}: not there"):
        redraw.main([str(tmp_path / "out")])
    listed = path.with_name("SHA256SUMS")
    lines = listed.read_text().splitlines(keepends=True)
    for lost, says in ((path.name, "after 22 epochs"), ("01_vae_3.safe", "01_vae: 0 files")):
        lines = [line for line in lines if lost not in line]
        listed.write_text("".join(lines))
        with pytest.raises(ValueError, match=says):
            redraw.main([str(tmp_path / "out")])
    pngs = [redraw._png(figures.image_grid(np.zeros((1, n, 28, 28), np.uint8))) for n in (1, 2)]
    assert redraw.difference(*pngs) == (255.0, 1.0)


SMALL = {
    "01_vae": {"epochs": 2, "hidden_dim": 4, "latent_dim": 2},
    "02_gan": {"epochs": 7, "snapshot_epochs": [2, 4, 7], "latent_dim": 6, "base_channels": 2},
    "03_cgan": {"epochs": 2, "latent_dim": 6, "hidden_dims": [8]},
}
SMALL = {name: {"train_limit": 64, "batch_size": 16} | own for name, own in SMALL.items()}


def built(run):
    labeled = [10] if run.notebook == "03_cgan" else []
    return run.module.build(run.config, *labeled, run.device)


def trained(name, folder):
    """A run of small networks with the figures that are published: the Run, its history, parts."""
    run = runs.start(name, params.defaults(name) | SMALL[name] | {"out_dir": str(folder)})
    parts, images = built(run), torch.from_numpy(run.data.train.images)
    history = run.resume(parts)
    train = getattr(run.module, f"train_{name.split('_')[1]}")
    more = {"01_vae": [images], "03_cgan": [torch.from_numpy(run.data.train.labels)]}
    for record in train(run.config, parts, images, *more.get(name, [])):
        history.append(record)
        run.save(history, parts)
    for number in publish.SHOWN[name]:
        shown = images[:16] if name == "01_vae" else history[-1].images.flatten(0, -3)[:16]
        if name == "02_gan":
            shown = history[run.config.snapshot_epochs[number - 3] - 1].images
        grid = figures.snapshot(shown)
        run.figure(f"figure-{number}", grid, "", "")
    scores = json.loads((runs.paths.ROOT / "report" / "scores.json").read_text("utf-8"))
    (run.folder / "scores.json").write_text(json.dumps(scores[name]))
    (run.folder / "epochs.json").write_text("{}")  # as scores.by_epoch would
    run.finish(history, parts, *([images[:2]] if name == "01_vae" else []))
    return history, parts


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """What a whole report leaves, of small networks: (its folder, {name: (history, parts)})."""
    rng = np.random.default_rng(0)
    part = data.Images(rng.integers(0, 256, (64, 28, 28), np.uint8), np.arange(64) % 10)
    known = data.Dataset(
        "MNIST", part, part, tuple("0123456789"), "idx", "here", True, True, {"x": "ab"}
    )
    monkeypatch.setattr(runs.data, "load", lambda *words, **options: known)
    monkeypatch.setattr("helpers.display.display", lambda *bundle, **options: None)
    monkeypatch.setattr(runs, "revision", lambda: CLEAN)
    for name in ("report", "figures", "profile", "sweeps"):
        monkeypatch.setattr(publish, name.upper(), tmp_path / name)
    monkeypatch.setattr(publish, "ANIMATION", tmp_path / "docs" / "digits.gif")
    out, made = tmp_path / "out", {}
    for name, values in SMALL.items():
        (tmp_path / "paper" / f"{name}.yaml").write_text(json.dumps(values))
        made[name] = trained(name, out / "runs" / name)
        record = {"kind": "provenance"}
        record["manifest"] = json.loads((out / "runs" / name / "manifest.json").read_text())
        shown = {"output_type": "display_data", "data": {}, "metadata": {"report": record}}
        cell = nbformat.v4.new_code_cell(outputs=[nbformat.from_dict(shown)])
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), out / f"{name}.ipynb")
    for report in ("report.html", "report.pdf"):
        (out / report).write_bytes(b"report")
    return out, made


@pytest.mark.fault(136)
def test_a_whole_run_is_published_and_restored_without_training(finished, tmp_path, monkeypatch):
    (out, made), folder = finished, tmp_path / "report" / "weights"
    publish.main([str(out)])
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "SHA256SUMS", "01_vae.md", "02_gan.md", "03_cgan.md", "01_vae_2.safetensors",
        "01_vae_history.csv", "02_gan_history.csv", "03_cgan_history.csv", "03_cgan_2.safetensors",
        "02_gan_film.png", "03_cgan_film.png", "02_gan_epochs.json", "03_cgan_epochs.json",
        "discriminator_02_gan_7.safetensors",
        "discriminator_03_cgan_2.safetensors", *(f"02_gan_{n}.safetensors" for n in (2, 4, 7)),
    }  # fmt: skip
    listed = dict(line.split()[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    digests = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names}
    assert digests == listed | {"SHA256SUMS": digests["SHA256SUMS"]}
    for number, png in redraw.draw(folder).items():
        if number in (3, 4, 5):  # by the epochs of the config, not by the number of files
            drawn = (tmp_path / "figures" / f"figure_{number}.png").read_bytes()
            assert redraw.difference(png, drawn)[0] < redraw.MEAN

    monkeypatch.setattr(paths, "ROOT", tmp_path)  # for build/published
    path = folder / "01_vae_2.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    with pytest.raises(ValueError, match=f"^{path}: not the bytes that SHA256SUMS lists"):
        restore.main(["01_vae"])
    path.write_bytes(whole)
    with monkeypatch.context() as patch:
        other = runs.data.load()._replace(verified=False)
        patch.setattr(runs.data, "load", lambda *words, **options: other)
        with pytest.raises(ValueError, match="^here: not the real MNIST"):
            restore.main(["01_vae"])
    for name, (history, parts) in made.items():
        restore.main([name])
        own = params.defaults(name) | SMALL[name]
        own["out_dir"] = str(tmp_path / "build" / "published" / "runs" / name)
        run = runs.start(name, own)
        again = built(run)
        found = run.resume(again)
        assert repr(found) == repr(history)
        for kept, net in zip(again, parts, strict=True):
            if isinstance(net, torch.nn.Module):
                expected = [
                    v.half().float() if v.ndim > 1 else v for v in net.state_dict().values()
                ]
                assert all(map(torch.equal, kept.state_dict().values(), expected))
        run.finish(found, again)
        manifest = json.loads((run.folder / "manifest.json").read_text())
        before = json.loads((tmp_path / "report" / "manifest.json").read_text())[name]
        assert manifest["trained"] == [s | {"restored": True} for s in before["trained"]]
        more = runs.start(name, own | {"epochs": own["epochs"] + 1})
        with pytest.raises(ValueError, match="restored from published weights.* set another out_"):
            more.resume(built(more))


def test_a_report_that_does_not_fit_its_runs_is_not_published(finished, tmp_path, capsys):
    out, _ = finished

    def refused(says):
        assert program(publish.main, [str(out)]) and says in capsys.readouterr().err
        assert not (tmp_path / "report").exists()

    os.utime(out / "report.pdf", (1, 1))
    refused("report.pdf: older than its notebooks")
    record = nbformat.read(out / "03_cgan.ipynb", as_version=4)
    manifest = record.cells[0].outputs[0].metadata.report.manifest
    manifest.git.revision = "fffffff"
    nbformat.write(record, out / "comparison.ipynb")
    refused("notebooks of several revisions")
    (out / "runs" / "03_cgan" / "figure_6.png").write_bytes(b"another")
    refused("figure_6.png: not the picture of its manifest")


def test_numbers_in_the_readme_are_the_published_ones():
    files = publish.REPORT / "scores.json", publish.REPORT / "manifest.json"
    numbers = publish.numbers(*(json.loads(path.read_text("utf-8")) for path in files))
    assert len(numbers) == 11 and all(line.count("|") == 6 for line in numbers)
    readme = (publish.ROOT / "README.md").read_text("utf-8").splitlines()
    shown = {line for line in readme if line.startswith("|") and "out.ipynb" in line}
    assert shown == set(numbers[2:])


def test_what_is_published_keeps_its_size_and_comes_from_one_clean_revision():
    most = {"report.html": 8, "report.pdf": 5, "notebooks": 8, "weights": 16, "sweeps": 1}  # MB
    for name, size in most.items():
        files = [publish.REPORT / name, *(publish.REPORT / name).glob("**/*")]
        assert sum(path.stat().st_size for path in files if path.is_file()) < size * 1e6, name
    manifests = json.loads((publish.REPORT / "manifest.json").read_text("utf-8"))
    assert len({m["git"]["revision"] for m in manifests.values()}) == 1
    assert all(m["git"]["clean"] and m["data"]["verified"] for m in manifests.values())
    for name, manifest in manifests.items():
        said = arguments.read_yaml(publish.PROFILE / f"{name}.yaml")
        assert said.pop("out_dir") == f"build/published/runs/{name}"
        assert said == {key: manifest["parameters"][key] for key in said}
