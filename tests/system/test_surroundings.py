"""Wherever the project is started and whatever surrounds it: the same bytes, or one clear line."""

import io
import json
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest
import report_fixture
import torch
from running import ENVIRONMENT, begin_run, copy_project, end, results, start

from helpers import data, figures, params, training, vae

# A process's network of its own has a loopback that is down; kernels are talked to through it.
LOOPBACK = """
import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh22x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.fixture(scope="module")
def begin():
    """The words that start python without a network, where it may be taken away."""
    words, ask = ["unshare", "-rn", sys.executable, "-c", LOOPBACK], "import socket as s; "
    ask += "s.create_connection(('192.0.2.1', 80))"
    try:
        said = subprocess.run([*words, "-c", ask], capture_output=True, text=True).stderr
    except OSError:
        said = ""
    return words if "Network is unreachable" in said else [sys.executable]


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory):
    """(root, environment) of a copy of the project where nothing is as usual.

    A folder with spaces, braces and letters outside ASCII in somebody else's repository, which
    GIT_DIR names too; no home; LANG=C and a decimal comma (where locales can be made); python -O,
    another hash seed and time zone; a matplotlib backend that does not exist, a matplotlibrc, a
    start-up file of IPython, an installed kernel that does nothing.
    """
    theirs = tmp_path_factory.mktemp("a b")
    root, own = theirs / "Prüfung é 項 {x} $y", theirs / "own"
    copy_project(root)
    (theirs / "README").write_text("theirs")
    name = ("-c", "user.name=x", "-c", "user.email=x@y")
    for words in (["init", "-q"], ["add", "README"], [*name, "commit", "-qm", "theirs"]):
        subprocess.run(["git", *words], cwd=theirs, check=True)
    spec = {"argv": ["false"], "display_name": "x", "language": "python"}
    for path, text in {
        "kernels/python3/kernel.json": json.dumps(spec),
        "profile_default/startup/00.py": "print('WELCOME'); import numpy; numpy.zeros = None",
        "matplotlibrc": "image.origin: lower\nfont.size: 30\nsavefig.dpi: 30\n",
    }.items():
        (own / path).parent.mkdir(parents=True, exist_ok=True)
        (own / path).write_text(text)
    notebook = root / "notebooks" / "01_vae.ipynb"
    notebook.write_text(notebook.read_text("utf-8").replace('"python3"', '"no-such"'), "utf-8")
    left_out = ("LC_", "XDG_", "JUPYTER", "IPYTHON", "DATA_DIR")
    environment = {k: v for k, v in ENVIRONMENT.items() if not k.startswith(left_out)} | {
        "HOME": "/dev/null",
        "MPLCONFIGDIR": "/dev/null/matplotlib",
        "MATPLOTLIBRC": str(own / "matplotlibrc"),
        "MPLBACKEND": "bogus",
        "IPYTHONDIR": str(own),
        "JUPYTER_PATH": str(own),
        "GIT_DIR": str(theirs / ".git"),
        "LANG": "C",
        "PYTHONOPTIMIZE": "1",
        "PYTHONHASHSEED": "7",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TZ": "Asia/Kathmandu",
    }
    if shutil.which("localedef"):  # it ends with 1 for a mere warning
        subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", own / "de_DE.UTF-8"])
    if (own / "de_DE.UTF-8" / "LC_NUMERIC").exists():
        environment |= {"LOCPATH": str(own), "LC_NUMERIC": "de_DE.UTF-8"}
    return root, environment


@pytest.fixture(scope="module")
def strange(surroundings, begin, words):
    """The folder of the usual run, made there, started from the root folder under umask 077."""
    root, environment = surroundings
    folder = root / "build" / "é run"
    options = {"root": root, "begin": begin, "env": environment, "cwd": "/", "umask": 0o077}
    end(begin_run("01_vae", folder, *words, **options))
    return folder


@pytest.mark.fault(60, 65, 66, 67, 68, 69, 70, 72, 129, 133)
def test_a_run_leaves_the_same_bytes_everywhere(usual, strange, surroundings):
    """The kernel is this interpreter, whatever kernels there are and the notebook asks for."""
    wanted = results(usual / "run")
    assert len(wanted) > 6 and sum(name.endswith(".png") for name in wanted) > 3
    assert results(strange / "run") == wanted
    text = (strange / "out.ipynb").read_text(encoding="utf-8")
    assert "WELCOME" not in text and '"stderr"' not in text  # no notice of a missing home either
    folders = {"helpers", "workflow", "notebooks", "build"}
    assert {path.name for path in surroundings[0].iterdir()} == folders
    other = results(usual / "other" / "run")
    assert other.keys() == wanted.keys() and other["state.pt"] != wanted["state.pt"]


@pytest.mark.fault(130, 131)
def test_no_other_repository_gives_the_revision_and_the_umask_gives_the_modes(usual, strange):
    assert json.loads((strange / "run" / "manifest.json").read_text("utf-8"))["git"] is None
    for folder, mode in ((usual, 0o644), (strange, 0o600)):
        paths = [folder / "out.ipynb", *(folder / "run").glob("[!.]*")]
        assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in paths} == {oct(mode)}


@pytest.mark.fault(69, 70, 72)
def test_a_refusal_is_one_line_there_too(surroundings, tmp_path):
    root, environment = surroundings
    more = ("-p", "source", "csv", "-p", "data_dir", root / "é data")
    said = end(begin_run("01_vae", tmp_path, *more, root=root, env=environment), 1)[1]
    assert f"{root}/é data" in said


@pytest.mark.fault(65, 68, 69, 70, 71, 72, 74, 80)
def test_the_report_is_the_same_bytes_everywhere(surroundings, begin, tmp_path):
    """And made without a warning: of a font that is not there, of a sign that no font has."""
    notebooks = report_fixture.three()
    for cell in notebooks["02_gan.ipynb"].cells:
        for output in cell.get("outputs", []):
            if manifest := output.get("metadata", {}).get("report", {}).get("manifest"):
                manifest["versions"]["torch"] = "2.99.0"
    root, environment = surroundings
    there = {"root": root, "begin": begin, "cwd": "/"}
    there["env"] = environment | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # LANG=C, meant
    made = []
    for folder, options in ((tmp_path, {}), (root / "build" / "é report", there)):
        paths = report_fixture.write(folder / "in", notebooks)
        end(start("workflow.report.build", *paths, "--out", folder, **options))
        made.append([(folder / f"report.{kind}").read_bytes() for kind in ("html", "pdf")])
    assert made[0] == made[1]
    assert b"2.99.0" in made[0][0]  # of one notebook only, side by side with the others'


@pytest.mark.fault(64)
def test_a_device_that_is_not_there_is_refused_and_auto_takes_another(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training.pick_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="^device 'cuda' is not available here; available: .*cpu"):
        training.pick_device("cuda")


@pytest.mark.fault(73)
def test_another_number_of_threads_changes_little(images):
    def losses(threads):
        training.set_up(torch.device("cpu"), threads=threads)
        config = params.VAEConfig(epochs=2, train_limit=256, hidden_dim=64)
        parts = vae.build(config, torch.device("cpu"))
        return [record[1:] for record in vae.train_vae(config, parts, images, images[:64])]

    torch.testing.assert_close(losses(1), losses(2), rtol=1e-3, atol=1e-3)


@pytest.mark.fault(74)
@pytest.mark.filterwarnings("error")
def test_every_label_has_its_glyphs():
    """A missing glyph is a warning, and a warning is a failure here."""
    for name, known in data.SETS.items():
        labels = [*known.classes]
        grid = np.zeros((len(labels), 1, 28, 28), np.uint8)
        for figure in (
            figures.image_grid(grid, labels, [name]),
            figures.bars([1.0] * len(labels), labels, "share – ± ≈ −"),
        ):
            figure.savefig(io.BytesIO(), format="png")  # a bare canvas draws nothing
