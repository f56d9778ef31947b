"""What a stranger's file, name or value cannot do; what no code of the project may do at all."""

import json
import os
import re
import subprocess
import sys

import nbformat
import pytest
from running import start

from helpers.paths import ROOT

# text without its encoding, assert, exec, unpickling, marshal, eval, a shell, another YAML loader
RULES = "PLW1514,S101,S102,S301,S302,S307,S602,S604,S605,S506"


@pytest.mark.fault(70, 72, 83, 91)
def test_nothing_unpickles_runs_text_guesses_an_encoding_or_relies_on_assert(tmp_path):
    words = "check --isolated --preview --no-cache --ignore-noqa --output-format concise".split()
    (tmp_path / "bad.py").write_text("assert open('a')")
    words += ["--select", RULES, "helpers", "workflow", "notebooks", tmp_path / "bad.py"]
    command = [sys.executable, "-m", "ruff", *words]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    found = [line for line in said.splitlines() if re.match(r"\S+\.(py|ipynb):", line)]
    assert len([line for line in found if "bad.py" in line]) == 2  # of what is there it tells
    others = [line for line in found if "bad.py" not in line]
    assert [line for line in others if "`_StrictLoader`" not in line] == []  # a safe one of ours


@pytest.mark.fault(83)
def test_torch_and_numpy_are_told_not_to_unpickle():
    texts = [path.read_text("utf-8") for path in ROOT.glob("[hw]*/**/*.py")]
    calls = re.findall(r"\b(torch\.load|np\.load)\((.*)", "\n".join(texts))
    assert {name for name, _ in calls} == {"torch.load", "np.load"}
    safe = {"torch.load": "weights_only=True)", "np.load": "allow_pickle=False)"}
    assert [words for name, words in calls if safe[name] not in words] == []


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
    process = start("workflow.compare", *folders)
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    assert said.count("\n") > 5 and all(line.isprintable() for line in said.split("\n"))


WORD = r"password|passwd|secret|api_?key|token"
SECRETS = {
    "private key": "-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "token of a code host": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22,}|glpat-[\w-]{20})",
    "token of a service": r"\b(?:xox[baprs]-[\w-]{10,}|hf_[A-Za-z]{30,}|sk-[A-Za-z0-9-]{32,}|pypi-"
    r"AgEI[\w-]{20,})",
    "password in an address": r"\bhttps?://[^\s/:@\"'<>]+:[^\s/@\"'<>]+@",
    "assigned secret": rf"(?i)\b(?:{WORD})[\"']?\s*[:=]\s*[\"'][^\"'\s]{{12,}}[\"']",
}


def faults_of(name, content):
    """What must not be committed in this file."""
    found = [what for what, pattern in SECRETS.items() if re.search(pattern.encode(), content)]
    if not all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", part) for part in name.split("/")):
        found.append("a strange name")
    if name.endswith((".pt", ".pth", ".pkl", ".pickle", ".joblib", ".npz")):
        found.append("a format that can hold a pickle")
    if name.endswith(".ipynb"):
        notebook = nbformat.reads(content.decode(), as_version=4)
        if notebook.metadata.kernelspec.name != "python3":
            found.append("another kernel than python3")
        done = any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
        if done and not name.startswith("report/notebooks/"):  # the one place for outputs
            found.append("outputs")
    return found


@pytest.mark.fault(87, 92)
def test_nothing_is_committed_that_must_not_be():
    """In every file that git has or would take."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip("no git here, so nothing says what is committed")
    names = [
        os.fsdecode(name)
        for name in done.stdout.split(b"\0")
        if (ROOT / os.fsdecode(name)).is_file()
    ]
    assert len(names) > 50
    found = {name: faults_of(name, (ROOT / name).read_bytes()) for name in names}
    assert {name: faults for name, faults in found.items() if faults} == {}


@pytest.mark.fault(87, 92)
@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.py", b"-----BEGIN RSA PRIVATE " + b"KEY-----", "private key"),
        ("a.py", b"k = 'AKIA" + b"ABCDEFGHIJKLMNOP'", "AWS key"),
        ("a.py", b"t = ghp_" + b"a1" * 18, "token of a code host"),
        ("a.py", b"t = hf_" + b"ab" * 18, "token of a service"),
        ("a.py", b"pass" + b"word = 'correct-horse-battery'", "assigned secret"),
        ("a.yml", b"url: https://me:hunter2" + b"@example.org/x", "password in an address"),
        ("a.py", b"token = tokens[0]  # see https://example.org/a:b", None),
        ("report/weights/vae.pt", b"PK", "a format that can hold a pickle"),
        ("docs/a b.md", b"", "a strange name"),
    ],
)
def test_what_must_not_be_committed_is_seen(name, content, found):
    assert faults_of(name, content) == ([found] if found else [])


@pytest.mark.fault(92)
def test_outputs_and_other_kernels_are_seen():
    executed = next((ROOT / "report" / "notebooks").glob("0*.ipynb")).read_bytes()
    assert faults_of("report/notebooks/a.ipynb", executed) == []
    other = executed.replace(b'"name": "python3"', b'"name": "ada"')
    assert faults_of("report/a.ipynb", other) == ["another kernel than python3", "outputs"]
