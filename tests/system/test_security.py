"""What a stranger's file, name or value cannot do; what no code of the project may do at all."""

import ast
import json
import os
import re
import subprocess
import sys

import nbformat
import pytest

from helpers import data, paths
from helpers.data import download as vision
from helpers.paths import ROOT

CODE = [p for folder in ("helpers", "workflow") for p in sorted(ROOT.glob(f"{folder}/**/*.py"))]


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


# --- No code in data, no network ------------------------------------------------------------


@pytest.mark.fault(83, 91)
def test_nothing_unpickles_or_runs_text():
    assert len(CODE) > 30 and list(calls("torch.load")) and list(calls("np.load", "np.save"))
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
        loader = ast.unparse(call.args[1])  # a class of ours, made of the safe loader
        assert re.fullmatch(r"(yaml\.)?C?SafeLoader|_?[A-Z]\w+", loader), where
    assert not list(calls("yaml.unsafe_load", "yaml.full_load", "yaml.load_all"))


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
    vision.import_torchvision()
    import torchvision.datasets.utils as utils

    def answer(url, filename, *more, **options):
        with open(filename, "wb") as file:
            file.write(b"<html>no such page</html>")

    monkeypatch.setattr(utils, "_urlretrieve", answer)
    with pytest.raises(OSError, match="MNIST"):
        data.load("MNIST", "download", str(tmp_path))
    assert not list(tmp_path.rglob("*ubyte*"))


def test_only_one_module_uses_the_network():
    """helpers/data/download.py calls torchvision; a set-up may call pip; nothing else goes out."""
    network = {"urllib", "http", "requests", "socket", "ftplib", "torchvision", "aiohttp", "httpx"}
    users = set()
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            names = [alias.name for alias in node.names]
            names += [getattr(node, "module", None) or ""]
            used = {name.split(".")[0] for name in names} & network
            used -= {"urllib"} if "unquote" in names else set()  # only takes names apart
            users |= {path.name} if used else set()
    assert users == {"download.py"}


# --- Names -----------------------------------------------------------------------------------

STRANGE = ["../x", "/etc/passwd", "a/b", "a\\b", "..", "", "\0", "MNIST/", "x" * 65, "a b", "é"]


@pytest.mark.fault(86, 87)
@pytest.mark.parametrize("name", STRANGE)
def test_names_come_from_lists_so_none_leaves_its_folder(tmp_path, name):
    with pytest.raises(ValueError, match="^dataset must be one of .*MNIST, "):
        data.load(name, data_dir=str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.fault(86)
def test_a_folder_given_by_the_user_is_taken_as_given(tmp_path):
    """out_dir and data_dir are the user's own words: anywhere, but never built from a name."""
    assert paths.run_dir(str(tmp_path), "01_vae") == tmp_path
    assert paths.run_dir("a/../b", "01_vae") == ROOT / "b"


@pytest.mark.fault(87)
def test_names_of_the_project_are_short_and_plain():
    for path in tracked_files():
        for part in path.relative_to(ROOT).parts:
            assert re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", part), path
    for path in CODE + list(ROOT.glob("notebooks/*.ipynb")):
        assert re.fullmatch(r"[a-z0-9_]{1,64}\.(py|ipynb)", path.name), path


@pytest.mark.fault(89)
def test_scores_of_a_stranger_are_shown_plainly(tmp_path):
    """The published scores, with terminal escapes in whatever has a name."""
    evil = "\x1b[2J\x1b]0;title\x07\x00\n"

    def spoil(value, name=""):
        if isinstance(value, dict):
            return {key: spoil(inner, key) for key, inner in value.items()}
        return evil + value if name in ("label", "unit", "name", "line", "protocol") else value

    published = json.loads((ROOT / "report" / "scores.json").read_text(encoding="utf-8"))
    folders = [tmp_path / "a", tmp_path / "b\x1b[31m"]
    for folder, result in zip(folders, (published["02_gan"], published["03_cgan"]), strict=True):
        folder.mkdir()
        (folder / "scores.json").write_text(json.dumps(spoil(result)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "workflow.compare", *folders],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 5
    assert all(line.isprintable() for line in done.stdout.split("\n"))


def test_the_report_is_built_without_torch():
    code = "import sys, workflow.report.build; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


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
