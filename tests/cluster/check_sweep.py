"""Sweeps on the engine: `make test-sweep` (this machine, a pretended Kubernetes) and
`make test-cluster` (a Slurm of one node). What was killed must equal what was not, byte for byte.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from helpers.paths import ROOT
from workflow import sweep

HERE = Path(__file__).parent
TOY = "sweeps/toy.yaml"
# What tells of times and places, and so may differ between two runs of the same thing
TIMES = "manifest.json sessions.json run.log run.ipynb .lock .pid .run.ipynb.lock".split()


def make(out, flags="", **variables):
    """Run `make sweep` of the toy sweep, its results under `out`; the Popen, with its output."""
    words = ["make", "sweep", f"SWEEP={TOY}", f"PY={sys.executable}"]
    words += [f"{name}={value}" for name, value in variables.items()]
    words += [f"SNAKEFLAGS={flags}", f"SWEEPS_OUT={out}"]
    own = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    own |= {k: v for k, v in os.environ.items() if k in ("KUBECONFIG", "TMPDIR", "LANG")}
    return subprocess.Popen(
        words, cwd=ROOT, env=own, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip


def finished(process):
    try:
        said, _ = process.communicate(timeout=1500)
    finally:
        if process.poll() is None:  # too late: nothing of it shall go on
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said
    return said


def kill_once(out, engine):
    """kill -9 of one run's processes once its second epoch is said; the run's folder."""
    plan = sweep.read(TOY, out)
    name = list(plan.runs)[-1]
    folder = plan.out / name
    log = ROOT / folder / "run.log"
    while not (log.exists() and "epoch  2/" in log.read_text()):
        assert engine.poll() is None, engine.communicate()[0]
        time.sleep(0.05)
    killed = [one for runner in runners(folder) for one in (*runner.children(), runner)]
    assert killed
    for process in killed:
        process.kill()
    return folder


def runners(folder):
    """The processes of workflow.run that write into the folder."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words[1:3] == ["-m", "workflow.run"] and f"{folder}/run.ipynb" in words:
            yield process


def contents(out):
    """{path: bytes} of what must be the same wherever the sweep ran."""
    found = {}
    for path in sorted((ROOT / out).rglob("*")):
        if path.is_file() and path.name not in TIMES and path.suffix != ".part":
            found[str(path.relative_to(ROOT / out))] = path.read_bytes()
    table = json.loads(found.pop("toy/table.json"))
    made = table.pop("made")
    assert len(made) == 4 and all(run["device"] for run in made)
    return found | {"toy/table.json": json.dumps(table, sort_keys=True).encode()}


def check_resumed(out, folder, reference):
    """The killed run continued where it was, and all equals the undisturbed sweep."""
    assert "continuing after epoch" in (ROOT / folder / "run.log").read_text()
    mine, wanted = contents(out), contents(reference)
    assert mine.keys() == wanted.keys() and len(mine) > 40
    assert [name for name in wanted if mine[name] != wanted[name]] == []


@pytest.fixture
def out(request):
    """A new folder for a sweep's results, in the project: a job's paths begin there."""
    folder = f"build/test-sweep/{request.node.name.removeprefix('test_')}"
    shutil.rmtree(ROOT / folder, ignore_errors=True)
    return folder


@pytest.fixture(scope="module")
def reference():
    """The same sweep undisturbed, on this machine."""
    out = "build/test-sweep/reference"
    shutil.rmtree(ROOT / out, ignore_errors=True)
    said = finished(make(out, "--cores 2"))
    assert "/4 ready]" in said and "epoch  4/4" in said and "5 of 5 steps (100%) done" in said
    return out


def test_local_run_killed_and_retried(out, reference):
    process = make(out, "--cores 2")
    folder = kill_once(out, process)
    said = finished(process)
    assert "Trying to restart job" in said
    check_resumed(out, folder, reference)


def test_a_sweep_that_is_ready_costs_little(reference):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = finished(make(reference))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "Nothing to be done" in said and "epoch" not in said
    assert sum(after[:2]) - sum(before[:2]) < 8, "seconds of CPU, whatever else goes on"


@pytest.fixture
def kubernetes(tmp_path, monkeypatch):
    """The pretended API; the folder of the Jobs that it was given."""
    image = {**os.environ, "PATH": f"{ROOT}/.venv-sweep/bin:{os.environ['PATH']}"}
    server = subprocess.Popen([sys.executable, HERE / "fake_kubernetes.py", tmp_path], env=image)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    while not (tmp_path / "kubeconfig").exists():
        time.sleep(0.1)
    yield tmp_path / "jobs"
    server.terminate()
    server.wait()


@pytest.mark.skipif(not shutil.which("rsync"), reason="needs rsync, with which Snakemake copies")
def test_kubernetes_run_killed_and_retried(out, reference, kubernetes):
    flags = f"--default-storage-prefix {ROOT} --directory {ROOT} --jobs 2"
    flags += f" --kubernetes-persistent-volumes sweeps:{ROOT} --seconds-between-status-checks 1"
    flags += " --set-resources run:gpu=1 run:gpu_manufacturer=nvidia run:scale=0"
    process = make(out, flags, EXECUTOR="kubernetes")
    folder = kill_once(out, process)
    finished(process)
    check_resumed(out, folder, reference)
    jobs = [json.loads(path.read_text()) for path in kubernetes.glob("*.json")]
    assert len(jobs) == 5  # a new one after the failure
    for job in jobs:
        pod = job["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"].startswith("registry.example.org/")
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        claims = [volume.get("persistentVolumeClaim", {}) for volume in pod["volumes"]]
        assert "sweeps" in [claim.get("claimName") for claim in claims]
        assert str(ROOT) in [mount["mountPath"] for mount in container["volumeMounts"]]


@pytest.fixture
def slurm(tmp_path):
    if os.geteuid() or not all(map(shutil.which, ("slurmctld", "slurmd", "munged"))):
        pytest.fail("needs root and: apt-get install -y --no-install-recommends slurm-wlm munge")
    subprocess.run(["bash", HERE / "slurm.sh", "start", tmp_path], check=True)
    yield
    subprocess.run(["bash", HERE / "slurm.sh", "stop", tmp_path], check=True)


def test_slurm_run_killed_and_retried(out, reference, slurm):
    # without accounting sacct knows nothing; with two CPUs two jobs go on at a time
    flags = "--slurm-status-command squeue --slurm-init-seconds-before-status-checks 3"
    flags += " --seconds-between-status-checks 2 --latency-wait 10"
    flags += " --default-resources slurm_partition=main"
    flags += " --set-resources run:runtime=10 run:mem_mb=1500"
    process = make(out, flags, EXECUTOR="slurm")
    folder = kill_once(out, process)
    finished(process)
    check_resumed(out, folder, reference)
