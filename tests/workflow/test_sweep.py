"""Sweep files, the names of runs, their table; no engine: that is tests/cluster/check_sweep.py."""

import json
import re
import subprocess
import sys

import pytest
import torch
from test_compare import result

from helpers import params, vae, weights
from helpers.files import write_json
from helpers.paths import ROOT
from workflow import sweep, swept
from workflow.program import program

VAE = "notebook: notebooks/01_vae.ipynb\n"
SMALL = "parameters: {source: sample, epochs: 2}\n"
MANY = list(range(100))
TWO = "variants: {a: {}, b: {beta: 0.5}}\n"


def read(tmp_path, text, **options):
    path = tmp_path / "some.yaml"
    path.write_text(text)
    return sweep.read(path, **options)


def test_every_combination_is_a_run(tmp_path):
    plan = read(
        tmp_path,
        VAE + SMALL + TWO + "grid: {seed: [0, 1], hidden_dim: [8, 16]}",
        out=str(tmp_path),
    )
    assert len(plan.runs) == 8 and plan.out == tmp_path / "some"
    settings = {run.setting for run in plan.runs.values()}
    assert settings == {f"{v}, hidden_dim = {h}" for v in "ab" for h in (8, 16)}
    name, run = list(plan.runs.items())[-1]
    words = plan.words(name)
    pairs = dict(zip(words[1::3], words[2::3], strict=True))
    assert pairs == {"source": "sample", "epochs": "2", "beta": "0.5", "seed": "1"} | {
        "hidden_dim": "16", "out_dir": str(tmp_path / "some" / name),
    }  # fmt: skip
    for name, run in plan.runs.items():
        assert re.fullmatch(r"[a-z0-9._-]+", run.result) and run.result.startswith(f"{name}.")


def test_every_file_of_the_project_is_a_sweep():
    for path in sorted((ROOT / "sweeps").glob("*.yaml")):
        assert 0 < len(sweep.read(path).runs) < 30


def test_files_come_first_and_parameters_override_them(tmp_path):
    text = VAE + "files: [profiles/draft/01_vae.yaml]\nparameters: {epochs: 7}"
    (run,) = read(tmp_path, text, data_dir="there").runs.values()
    assert run.given["epochs"] == 7 and run.given["score_samples"] == 2000
    assert run.given["data_dir"] == "there"


def test_a_folder_stays_when_only_epochs_grow_or_code_changes_and_the_result_does_not(
    tmp_path, monkeypatch
):
    def one(parameters):
        ((name, run),) = read(tmp_path, VAE + f"parameters: {parameters}").runs.items()
        return name, run.result

    short, long = one("{epochs: 2}"), one("{epochs: 3}")
    assert short[0] == long[0] and short[1] != long[1]
    assert one("{epochs: 2, device: cpu}")[0] == short[0]
    assert one("{epochs: 2, beta: 1}") [0] == short[0]  # the default, said  # fmt: skip
    for other in ("beta: 2", "seed: 1", "source: sample", "learning_rate: 1e-4"):
        assert one(f"{{epochs: 2, {other}}}")[0] != short[0]
    monkeypatch.setattr(sweep, "_code", lambda notebook: ["changed"])
    other = one("{epochs: 2}")
    assert other[0] == short[0] and other[1] != short[1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("grid: {seed: [0]}", "notebook: Field required"),
        ("notebook: /tmp/evil.ipynb", "notebook: Input should be 'notebooks/01_vae.ipynb'"),
        (VAE + "colour: 1", "colour: Extra inputs are not permitted"),
        (VAE + "grid: {sed: [0]}", "sed: no parameter of"),
        (VAE + "parameters: {seed: '1'}", "seed must be int in"),
        (VAE + "parameters: [1]", "parameters: Input should be a valid dictionary"),
        (VAE + "parameters: {seed: 1}\ngrid: {seed: [0]}", "seed is given twice, in parameters"),
        (VAE + "grid: {seed: [0, 0]}", "run seed = 0: the same run as 01_vae"),
        (VAE + "variants: {a: {}, b: {beta: 1}}", "b : the same run as a"),
        (VAE + "grid: {seed: []}", "grid: seed: List should have at least 1 item"),
        (VAE + "parameters: {seed: 1, seed: 2}", "seed is there twice"),
        (VAE + "parameters: {out_dir: /etc}", "out_dir: a sweep file may not set it"),
        (VAE + "files: [profiles/smoke/01_vae.yaml]", "resume: a sweep file may not set it"),
        (VAE + "files: [../../etc/passwd]", "is not in the project's folder"),
        (VAE + f"grid: {{seed: {MANY}, hidden_dim: {MANY}, epochs: {MANY}}}", "1,000,000 runs, "),
    ],
)
def test_a_faulty_file_is_one_line(tmp_path, text, says, capsys):
    path = tmp_path / "some.yaml"
    path.write_text(text)
    assert program(sweep.main, ["list", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{path}:") and says in error and error.count("\n") == 1


def test_a_name_that_leaves_the_folder_is_refused(tmp_path):
    for name in ("..yaml", "a b.yaml", "seeds.yml", "$(ls).yaml"):
        with pytest.raises(ValueError, match="must be named like"):
            sweep.read(tmp_path / name)


@pytest.fixture
def done(tmp_path):
    """A sweep of two settings and two seeds, its runs made up."""
    plan = read(
        tmp_path, VAE + SMALL + TWO + "grid: {seed: [0, 1]}",
        out=str(tmp_path),
    )  # fmt: skip
    for name, run in plan.runs.items():
        folder = plan.out / name
        folder.mkdir(parents=True)
        value = 10.0 + run.given["seed"] + 5 * (run.setting == "b")
        write_json(folder / "scores.json", result(loss=(value, 0.1), fid=value))
        write_json(folder / "manifest.json", manifest(run.given, name))
    return plan


def test_the_first_run_of_each_setting_draws_its_pictures(done):
    made = swept.table(done)
    for seed, (name, run) in enumerate(done.runs.items()):
        torch.manual_seed(seed)
        config = params.VAEConfig(epochs=2, hidden_dim=8, seed=run.given["seed"])
        weights.save(done.out / name, vae.VAE(8), config, 2)
    names, images = swept.pictures(made, done.out)
    assert names == ["test image", "a", "b"]
    assert images.shape == (3, 10, 28, 28)
    nets = [weights.load(done.out / name / "weights_2.safetensors").net for name in done.runs]
    for row, net in ((1, nets[0]), (2, nets[2])):
        assert (vae.reconstruct(net, torch.from_numpy(images[0])).numpy() == images[row]).all()


def manifest(given, name):
    return {
        "parameters": params.defaults("01_vae") | given, "device": f"cpu of {name}",
        "trained": [{"seconds": 1.5}, {"seconds": 2.0}], "git": None, "versions": {}, "data": {},
    }  # fmt: skip


def test_the_table_tells_luck_from_settings(done, capsys):
    path = done.out.parent / "some.yaml"
    assert program(sweep.main, ["--out", str(done.out.parent), "table", str(path)]) == 0
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert said[2][:5] == ["b", "2", "15.50", "±", "0.71"]
    assert said[3][:3] == ["sampling", "error", "0.100"]
    table = json.loads((done.out / "table.json").read_text())
    loss = table["settings"]["a"]["loss"]
    assert (loss["mean"], loss["n"], loss["error"]) == (10.5, 2, pytest.approx(0.1))
    assert loss["std"] == pytest.approx(0.5**0.5)
    assert [run["seconds"] for run in table["made"]] == [3.5] * 4
    assert table["given"] == {"epochs": 2, "source": "sample"}
    header, *rows = (done.out / "table.csv").read_text().splitlines()
    assert header == "run,setting,seed,fid,loss" and len(rows) == 4
    assert (done.out / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_scores_of_other_parameters_are_not_taken(done):
    name, run = next(iter(done.runs.items()))
    write_json(done.out / name / "manifest.json", manifest(run.given | {"epochs": 9}, name))
    with pytest.raises(ValueError, match=f"{name}: made with epochs = 9, not 2"):
        swept.table(done)


def test_what_the_runs_say_is_said_while_the_engine_works(done, capfd):
    name = next(iter(done.runs))
    log = done.out / name / "run.log"
    log.write_text("[01_vae] of an earlier time\n")
    lines = "[01_vae] epoch  1/2  loss 3   about 5 s left\\nhalf a"
    engine = f"printf '{lines}' >> '{log}'; sleep 1; echo ' line' >> '{log}'; exit 3"
    assert sweep.follow(done, ["bash", "-c", engine]) == 3
    assert capfd.readouterr().out.splitlines() == [
        f"[0/4 ready] {name}: epoch  1/2  loss 3   about 5 s left",
        f"[0/4 ready] {name}: half a line",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="flock is Linux's")
def test_each_run_has_a_gpu_of_its_own(tmp_path):
    tell = 'echo "$CUDA_VISIBLE_DEVICES $(date +%s%N)"; sleep 0.4; date +%s%N'
    command = ["bash", ROOT / "workflow" / "gpu.sh", "4,7", "bash", "-c", tell]
    env = {"XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    jobs = [subprocess.Popen(command, env=env, stdout=-1, text=True) for _ in range(4)]
    spans = [job.communicate(timeout=30)[0].split() for job in jobs]
    assert {span[0] for span in spans} == {"4", "7"}
    for gpu in ("4", "7"):
        times = sorted((int(start), int(end)) for on, start, end in spans if on == gpu)
        assert all(one[1] <= other[0] for one, other in zip(times, times[1:], strict=False))
