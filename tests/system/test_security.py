"""What a stranger's file, name or value cannot do; what no code of the project may do at all."""

import ast
import os
import pickle
import re
import subprocess
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch

from helpers import checkpoint, data, files, paths, show
from helpers.data import cache
from helpers.data import download as vision
from helpers.paths import ROOT
from helpers.scores import network as features
from workflow import compare

CODE = [path for folder in ("helpers", "report") for path in sorted(ROOT.glob(f"{folder}/*.py"))]


def programs():
    """(name, syntax tree) of every module and of every code cell of the notebooks."""
    for path in CODE:
        yield path.name, ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(ROOT.glob("notebooks/*.ipynb")):
        for number, cell in enumerate(nbformat.read(path, as_version=4).cells, 1):
            if cell.cell_type == "code":
                yield f"{path.name} cell {number}", ast.parse(cell.source)


def calls(*names):
    """(where, call) of every call whose name ends in one of these, such as "torch.load"."""
    for where, tree in programs():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if any(called == name or called.endswith("." + name) for name in names):
                    yield f"{where}:{node.lineno}: {ast.unparse(node)}", node


def keywords(call):
    return {word.arg: ast.unparse(word.value) for word in call.keywords}


# --- No pickle -------------------------------------------------------------------------------


class Payload:
    """Unpickling it makes the file `path`."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


def bare(path, payload):
    path.write_bytes(pickle.dumps(payload))


def sealed(path, payload):
    """As a checkpoint of the project, its digest right."""
    torch.save({"format": checkpoint.FORMAT, "x": payload}, path)
    path.write_bytes(checkpoint._sealed(path.read_bytes()))


@pytest.mark.fault(83)
@pytest.mark.parametrize("write", [bare, sealed])
def test_code_in_a_checkpoint_leaves_no_trace(tmp_path, write):
    trace, path = tmp_path / "trace", tmp_path / "state.pt"
    write(path, Payload(trace))
    content = path.read_bytes()
    with pytest.raises(ValueError, match="^" + re.escape(f"{path}: ")) as error:
        checkpoint.read(path)
    assert "\n" not in str(error.value) and "weights_only" not in str(error.value)
    assert not trace.exists() and path.read_bytes() == content
    pickle.loads(content) if write is bare else torch.load(path, weights_only=False)
    assert trace.exists()  # so it would have


@pytest.mark.fault(83)
def test_code_in_a_cache_or_a_weights_file_leaves_no_trace(tmp_path, monkeypatch):
    trace = tmp_path / "trace"
    entry = tmp_path / "entry.npys"
    np.save(tmp_path / "x.npy", np.array([Payload(trace)], dtype=object), allow_pickle=True)
    cache.write(entry, (tmp_path / "x.npy").read_bytes())
    monkeypatch.setattr(cache, "folders", lambda: [tmp_path])
    with pytest.raises(ValueError, match="allow_pickle=False"):
        cache.arrays("entry", lambda: [])
    weights = tmp_path / "MNIST.safetensors"
    for content in (pickle.dumps(Payload(trace)), b"\x80\0\0\0\0\0\0\0" + b"{" * 200):
        weights.write_bytes(content)
        with pytest.raises(ValueError, match="MNIST.safetensors: SHA-256 .*; restore the file$"):
            features.load_pinned("MNIST", path=weights)
    assert not trace.exists()


@pytest.mark.fault(83)
def test_nothing_unpickles_or_runs_text():
    assert not list(
        calls("pickle.load", "pickle.loads", "read_pickle", "Unpickler", "joblib.load")
    )
    assert not [
        w for w, call in calls("eval", "exec", "compile") if isinstance(call.func, ast.Name)
    ]
    assert not list(calls("os.system", "os.popen"))
    for where, call in calls("torch.load"):
        assert keywords(call).get("weights_only") == "True", where
    for where, call in calls("np.load", "np.save"):
        assert keywords(call).get("allow_pickle") == "False", where
    for where, call in calls("run", "Popen", "check_call", "check_output", "call"):
        assert "shell" not in keywords(call), where
    for where, call in calls("yaml.load"):
        assert ast.unparse(call.args[1]) == "_StrictLoader", where  # made of the safe loader
    assert not list(calls("yaml.unsafe_load", "yaml.full_load", "yaml.load_all"))


# --- Downloads -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", data.SETS)
def test_every_download_has_a_checksum(name):
    """torchvision checks each archive against the MD5 that it was published with."""
    made = getattr(vision.import_torchvision().datasets, name.partition("-")[0])
    if "EMNIST" in name:
        digests = [made.md5]
    else:
        listed = made.resources
        lists = listed.values() if isinstance(listed, dict) else [listed]
        digests = [digest for entries in lists for _, digest in entries]
    assert digests and all(re.fullmatch("[0-9a-f]{32}", digest) for digest in digests)


def test_a_download_with_another_checksum_is_not_kept(tmp_path, monkeypatch):
    """A mirror that answers with something else: nothing of it stays."""
    import torchvision.datasets.utils as utils

    def answer(url, filename, *more, **options):
        with open(filename, "wb") as file:
            file.write(b"<html>no such page</html>")

    monkeypatch.setattr(utils, "_urlretrieve", answer)
    with pytest.raises(OSError, match="."):
        vision.download("MNIST", "", tmp_path, ["train-images-idx3-ubyte"])
    assert not list(tmp_path.rglob("*ubyte*"))


def test_only_one_module_uses_the_network():
    """setup_env.py calls pip, vision.py torchvision's downloads; nothing else goes out."""
    network = {"urllib", "http", "requests", "socket", "ftplib", "torchvision", "aiohttp", "httpx"}
    users = set()
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", ())]
            names += [getattr(node, "module", None) or ""]
            used = {name.split(".")[0] for name in names} & network
            used -= {"urllib"} if "unquote" in names else set()  # only takes names apart
            users |= {path.name} if used else set()
    assert users == {"vision.py"}


# --- Names -----------------------------------------------------------------------------------

STRANGE = ["../x", "/etc/passwd", "a/b", "a\\b", "..", "", "\0", "MNIST/", "x" * 65, "a b", "é"]


@pytest.mark.fault(86, 87)
@pytest.mark.parametrize("name", STRANGE)
def test_names_come_from_lists_so_none_leaves_its_folder(tmp_path, name):
    with pytest.raises(ValueError, match="^dataset must be one of MNIST, "):
        data.load(name, data_dir=str(tmp_path))
    figure = SimpleNamespace(savefig=lambda *a, **k: None, get_figwidth=lambda: 1)
    for number in (name, f"1/../{name}", True, 0, -1, 1.0):
        with pytest.raises(ValueError, match="^figure number must be an int of 1 or more, got"):
            show.show_figure(figure, number, "C.", "A.", tmp_path, SimpleNamespace(real=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.fault(86)
def test_a_folder_given_by_the_user_is_taken_as_given(tmp_path):
    """out_dir and data_dir are the user's own words: anywhere, but never built from a name."""
    assert paths.run_dir(str(tmp_path), "01_vae") == tmp_path
    assert paths.run_dir("", "01_vae") == ROOT / "build" / "runs" / "01_vae"
    assert paths.run_dir("a/../b", "01_vae") == ROOT / "b"


@pytest.mark.fault(87)
def test_names_of_the_project_are_short_and_plain():
    tracked = tracked_files()
    for path in tracked:
        for part in path.relative_to(ROOT).parts:
            assert re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", part), path
    for path in CODE + list(ROOT.glob("notebooks/*")):
        assert re.fullmatch(r"[a-z0-9_]{1,64}\.(py|ipynb)", path.name), path


# --- Logs ------------------------------------------------------------------------------------


@pytest.mark.fault(89)
def test_scores_of_a_stranger_are_shown_plainly(tmp_path, capsys):
    evil = "\x1b[2J\x1b]0;title\x07FID\x00\n"
    score = {"label": evil, "unit": evil, "value": 1.0, "std": None, "digits": 1, "better": "↓"}
    score |= {"group": "samples", "floor": 0.5, "ceiling": 2.0, "protocol": evil, "spread": ""}
    for name in ("a", "b\x1b[31m"):
        folder = tmp_path / name
        folder.mkdir()
        result = {"format": compare.tables.FORMAT, "scores": {"fid": score}, "n": 5, "draws": 1}
        result |= {"data": {"name": evil + name, "test-images": evil}}
        result |= {"network": {"sha256": evil + name, "line": evil, "pinned": True}}
        files.write_json(folder / "scores.json", result)
    assert compare.main([str(folder) for folder in sorted(tmp_path.iterdir())]) == 0
    shown = capsys.readouterr().out
    assert "FID" in shown and "different data" in shown
    assert all(line.isprintable() for line in shown.splitlines())


# --- What is committed -----------------------------------------------------------------------


def tracked_files():
    """Every file of the repository that git has or would take; without git all but build/."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
    )
    if done.returncode:
        pytest.skip("no git here, so nothing says what is committed")
    found = [ROOT / os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
    return [path for path in found if path.is_file() and path.suffix != ".pyc"]


SECRETS = {
    "private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "AWS key": rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "token of a code host": rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22,}|glpat-[\w-]{20})",
    "token of a service": rb"\b(?:xox[baprs]-[\w-]{10,}|hf_[A-Za-z]{30,}|sk-[A-Za-z0-9-]{32,}"
    rb"|pypi-AgEI[\w-]{20,})",
    "password in an address": rb"\bhttps?://[^\s/:@\"'<>]+:[^\s/@\"'<>]+@",
    "assigned secret": rb"(?i)\b(?:password|passwd|secret|api_?key|token)[\"']?\s*[:=]\s*"
    rb"[\"'][^\"'\s]{12,}[\"']",
}
PUBLISHED = ROOT / "report" / "notebooks"  # executed notebooks, the one place for outputs


def faults_of(path, content):
    """What must not be committed in this file, by name."""
    found = [what for what, pattern in SECRETS.items() if re.search(pattern, content)]
    if path.suffix == ".ipynb":
        notebook = nbformat.reads(content.decode(), as_version=4)
        if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
            found.append("another kernel than python3")
        done = [
            cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")
        ]
        if done and not path.is_relative_to(PUBLISHED):
            found.append("outputs")
    if path.suffix in {".pt", ".pth", ".pkl", ".pickle", ".joblib", ".npz"}:
        found.append("a format that can hold a pickle")
    return found


@pytest.mark.fault(92)
def test_nothing_is_committed_that_must_not_be():
    tracked = tracked_files()
    assert len(tracked) > 50
    found = {str(path): faults_of(path, path.read_bytes()) for path in tracked}
    assert {path: faults for path, faults in found.items() if faults} == {}


def notebook(output=False, kernel="python3"):
    cell = nbformat.v4.new_code_cell("1")
    if output:
        cell.outputs = [nbformat.v4.new_output("stream", text="1")]
    metadata = {"kernelspec": {"name": kernel, "display_name": "x"}}
    return nbformat.writes(nbformat.v4.new_notebook(cells=[cell], metadata=metadata)).encode()


@pytest.mark.fault(92)
@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("notebooks/a.ipynb", notebook(), []),
        ("notebooks/a.ipynb", notebook(output=True), ["outputs"]),
        ("report/notebooks/a.ipynb", notebook(output=True), []),
        ("report/notebooks_2/a.ipynb", notebook(output=True), ["outputs"]),
        ("notebooks/a.ipynb", notebook(kernel="ada"), ["another kernel than python3"]),
        ("a.py", b"-----BEGIN RSA PRIVATE " + b"KEY-----", ["private key"]),
        ("a.py", b"k = 'AKIA" + b"ABCDEFGHIJKLMNOP'", ["AWS key"]),
        ("a.py", b"t = ghp_" + b"a1" * 18, ["token of a code host"]),
        ("a.py", b"t = hf_" + b"ab" * 18, ["token of a service"]),
        ("a.py", b"pass" + b"word = 'correct-horse-battery'", ["assigned secret"]),
        ("a.yml", b"url: https://me:hunter2" + b"@example.org/x", ["password in an address"]),
        ("a.py", b"token = tokens[0]  # see https://example.org/a:b", []),
        ("report/weights/vae.pt", b"PK", ["a format that can hold a pickle"]),
        ("report/weights/vae.safetensors", b"\0\0", []),
    ],
)
def test_what_must_not_be_committed_is_seen(name, content, found):
    assert faults_of(ROOT / name, content) == found
