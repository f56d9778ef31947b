"""The strict runner, on notebooks of a few lines."""

import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest

from workflow import arguments, run
from workflow.program import plain, program
from workflow.progress import Progress, duration

PARAMETERS = """\
epochs: int = 3  # passes over the data
learning_rate: float = 1e-3  # of Adam
name: str = "toy"  # any text
resume: bool = True  # go on where the last run stopped
steps: list[int] = [1, 2]  # epochs to draw
"""


@pytest.fixture
def toy(tmp_path):
    """A function that writes a notebook of the given code cells and returns its path."""

    def write(*cells, parameters=PARAMETERS, tag="parameters"):
        code, text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell("# A toy")
        notebook = nbformat.v4.new_notebook()
        notebook.cells = [text, code(parameters, metadata={"tags": [tag]}), *map(code, cells)]
        nbformat.write(notebook, tmp_path / "toy.ipynb")
        return tmp_path / "toy.ipynb"

    write()
    return write


def command(*words):
    return [sys.executable, "-m", "workflow.run", *map(str, words)]


def call(*words, **options):
    return subprocess.run(command(*words), capture_output=True, text=True, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def stream(path):
    cells = nbformat.read(path, as_version=4).cells
    return "".join(
        o.text for c in cells for o in c.get("outputs", []) if o.get("name") == "stdout"
    )


@pytest.mark.fault(33)
def test_a_run_gets_its_parameters_and_shows_its_epochs(toy, tmp_path):
    text, file = "q\"uote's {brace}\n\\n $x$ é", tmp_path / "p.yaml"
    folder = tmp_path / "a {folder} é"
    notebook = toy(
        "for k in range(epochs):\n    print(f'epoch {k + 1:2d}/{epochs}  loss {1.5:.1f}')",
        "import json; print(json.dumps([epochs, learning_rate, name, resume, steps]))",
        "import warnings; warnings.warn('\\x1b[31mtake care')",
    )
    file.write_text("epochs: 5\nlearning_rate: 1e-4\nsteps: [7]\n")
    words = ("-f", file, "-p", "epochs", "2", "-p", "name", text, "-p", "resume", "FALSE")
    done = call(notebook, folder / "out.ipynb", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert names(folder) == ["out.ipynb"]
    assert json.loads(stream(folder / "out.ipynb").splitlines()[-1]) == [2, 1e-4, text, False, [7]]
    *shown, last = done.stdout.splitlines()
    epochs = ["[toy] epoch  1/2  loss 1.5", "[toy] epoch  2/2  loss 1.5"]  # no second is left
    assert shown == [*epochs, "[toy] UserWarning: take care"]
    assert last.startswith("[toy] done in ") and last.endswith("out.ipynb")


@pytest.mark.fault(56)
@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1", "raise ValueError('latent_dim is \\x1b[31m0\\nand more')"],
         "cell 3: ValueError: latent_dim is 0;"),
        (["import sys; sys.exit(0)", "1"], "cell 2: SystemExit 0, and the cells after it"),
        # deaf to the interrupt as well
        (["import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"],
         "cell 2: still running after 1 s;"),
    ],
)  # fmt: skip
def test_a_failure_is_one_line_and_leaves_the_old_result(toy, tmp_path, cells, message):
    notebook, output = toy(*cells), tmp_path / "build" / "out.ipynb"
    output.parent.mkdir()
    output.write_text("the good one")
    limit = ["--timeout", 1] if "still running" in message else []
    done = call(notebook, output, *limit)
    assert done.returncode == 1
    line, empty = done.stderr.split("\n")
    assert line.startswith(f"{notebook}, {message}") and empty == ""
    assert line.endswith(f"; see {output.with_name('out.failed.ipynb')}")
    assert output.read_text() == "the good one"
    assert names(output.parent) == ["out.failed.ipynb", "out.ipynb"]


@pytest.mark.fault(24, 26, 32, 34)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-p epoch 3", "epoch: no parameter of NB; did you mean epochs?"),
        ("-p zzz 3", "zzz: no parameter of NB; known: epochs, learning_rate, name, resume, steps"),
        ("-p x=__import__('os').system('touch${IFS}TRACE')\ny 3", "x=__import__('os').system("),
        ("-p epochs 1.5", "epochs must be int, such as 3, got '1.5'"),
        ("-p steps 16,22", "steps must be list[int], such as [16, 22, 34], got '16,22'"),
        ("-p epochs 3 -p epochs 4", "epochs: given twice"),
    ],
)
def test_wrong_words_are_refused(toy, capsys, words, message):
    notebook = toy("raise SystemError")
    output, trace = notebook.with_name("out.ipynb"), notebook.with_name("TRACE")
    output.write_text("the good one")
    words = words.replace("TRACE", str(trace)).split(" ")
    assert program(run.main, [str(notebook), str(output), *words]) == 2
    line = capsys.readouterr().err
    assert line.startswith(message.replace("NB", str(notebook))) and line.count("\n") == 1
    assert names(notebook.parent) == ["out.ipynb", "toy.ipynb"]  # no kernel ran, no code either
    assert output.read_text() == "the good one"


@pytest.mark.fault(25, 32)
@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"parameters": "epochs = 3"}, "must read 'name: type = value', got 'epochs = 3'"),
        ({"parameters": "epochs: int = 3\nepochs: int = 4"}, "epochs is there twice"),
        ({"parameters": "epochs: dict = {}"}, "epochs must be one of int, float, str, bool, list"),
        ({"parameters": "epochs: int = open('x')"}, "parameters cell: "),
        ({"parameters": "epochs: int = {[]: 1}"}, "parameters cell: "),
        ({"parameters": "epochs: int = " + "(" * 300}, "parameters cell"),
        ({"parameters": "rate: float = 1" + "0" * 400}, "rate must be float, finite"),
        ({"tag": "injected-parameters"}, "an executed copy"),
        ({"tag": "x"}, "0 cells are tagged 'parameters', must be one"),
        (None, "not a readable notebook"),
    ],
)
def test_a_notebook_needs_one_cell_with_a_plain_list(toy, cell, message):
    notebook = toy(**cell or {})
    if cell is None:
        notebook.write_text('{"cells": [')
    with pytest.raises(ValueError) as error:
        arguments.declared(notebook)
    assert str(error.value).startswith(f"{notebook}: ") and message in str(error.value)


@pytest.mark.fault(50, 51, 59, 106)
@pytest.mark.parametrize(
    ("number", "resume", "status", "how"),
    [
        (signal.SIGINT, "true", 130, "run the same command again"),
        (signal.SIGTERM, "false", 143, "again, but with resume True"),
    ],
)
def test_a_signal_ends_run_and_kernel_and_says_how_to_go_on(
    toy, tmp_path, number, resume, status, how
):
    show = "import os; print('epoch  1/2  pid', os.getpid(), flush=True)"
    words = command(toy(show, "while True: pass"), tmp_path / "out.ipynb", "-p", "resume", resume)
    with subprocess.Popen(words, stdout=-1, stderr=-1, text=True) as process:
        kernel = int(process.stdout.readline().split("pid")[1].split()[0])
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert errors.count("\n") == 1 and errors.endswith(f"{how}\n")
    assert names(tmp_path) == ["toy.ipynb"] and gone(kernel)


def gone(process):
    """Whether it ends within ten seconds."""
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_cell_that_was_left_out_is_named():
    done = nbformat.v4.new_code_cell("a = 1", execution_count=1)
    cells = [done, nbformat.v4.new_code_cell(" "), nbformat.v4.new_code_cell("b = 2\nc = 3")]
    with pytest.raises(ValueError, match="^not run: 'b = 2'$"):
        run.check_whole(nbformat.v4.new_notebook(cells=cells))


@pytest.mark.fault(52)
def test_a_full_disk_costs_nothing(toy, tmp_path):
    output = tmp_path / "out.ipynb"
    output.write_text("the good one")

    def small():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = call(toy("print('x' * 100_000)"), output, preexec_fn=small)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "File too large" in done.stderr
    assert output.read_text() == "the good one"
    assert names(tmp_path) == ["out.ipynb", "toy.ipynb"]


@pytest.mark.fault(53, 110)
def test_a_place_that_cannot_be_written_is_named_first(toy, tmp_path, monkeypatch, capsys):
    before, words = resource.getrlimit(resource.RLIMIT_FSIZE), [str(toy("raise SystemError"))]
    for folder, size, why in ((tmp_path / "no", None, "No such file"), (tmp_path, 9, "File too")):
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size or before[0], before[1]))
        try:
            assert program(run.main, [*words, str(tmp_path / "out.ipynb")]) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert capsys.readouterr().err.startswith(f"TMPDIR {folder}: cannot be written ({why}")
    assert program(run.main, [*words, "/proc/none/out.ipynb"]) == 1
    line = capsys.readouterr().err
    assert line.startswith("/proc/none: ") and line.count("\n") == 1


@pytest.mark.fault(105, 108, 109)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("toy.ipynb toy.ipynb", "toy.ipynb: the notebook itself; give its executed copy another"),
        ("toy.ipynb link.ipynb", "link.ipynb: the notebook itself"),
        ("toy.ipynb s3://bucket/out.ipynb", "s3://bucket/out.ipynb: not the name of a notebook"),
        ("toy.ipynb folder.ipynb", "folder.ipynb: is there and is no notebook"),
        ("toy.ipynb out.ipynb --timeout 0", "--timeout must be at least 1 second, got 0"),
        ("toy.ipynb out.ipynb -f pipe.ipynb", "pipe.ipynb: must be a file of parameters, is no"),
        ("pipe.ipynb out.ipynb", "pipe.ipynb: must be a notebook, is no regular file"),
    ],
)
def test_what_would_overwrite_or_hang_is_refused(
    toy, tmp_path, monkeypatch, capsys, words, message
):
    monkeypatch.chdir(tmp_path)
    os.symlink("toy.ipynb", "link.ipynb")
    os.mkfifo("pipe.ipynb")
    os.mkdir("folder.ipynb")
    before, listed = Path("toy.ipynb").read_bytes(), names(tmp_path)
    assert program(run.main, words.split()) == 2
    line = capsys.readouterr().err
    assert line.startswith(message) and line.count("\n") == 1
    assert Path("toy.ipynb").read_bytes() == before and names(tmp_path) == listed


@pytest.mark.fault(107, 112)
def test_nohup_optimization_and_a_patient_kernel(toy, tmp_path):
    """An ignored SIGHUP stays ignored; python -OO has no docstrings; threads do not spin."""
    notebook = toy(
        "import os, signal\nos.kill(os.getppid(), signal.SIGHUP)",
        "print(os.environ.get('GOMP_SPINCOUNT'))",
        "print(os.environ['DATA_DIR'])",
    )
    env = dict(os.environ, PYTHONOPTIMIZE="2", DATA_DIR="mine")
    env.pop("GOMP_SPINCOUNT", None)
    done = call(
        notebook, tmp_path / "out.ipynb", env=env, cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert stream(tmp_path / "out.ipynb").split("\n")[:2] == ["0", f"{tmp_path}/mine"]


@pytest.mark.fault(111)
def test_a_reader_that_leaves_or_was_never_there(toy, tmp_path):
    notebook = toy(
        "import time\nfor k in range(100):\n"
        "    print(f'epoch  {k}/100  loss 1', flush=True); time.sleep(0.1)"
    )
    words = " ".join(command(notebook, tmp_path / "out.ipynb"))
    left = ["bash", "-c", f"{words} | head -1; exit ${{PIPESTATUS[0]}}"]
    done = subprocess.run(left, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (141, "")
    assert done.stdout.count("\n") == 1 and names(tmp_path) == ["toy.ipynb"]
    toy("print('epoch  1/2  loss 1')")
    done = subprocess.run(["bash", "-c", f"{words} >&-"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert stream(tmp_path / "out.ipynb") == "epoch  1/2  loss 1\n"


def held(pid):
    """Whether a process has opened /dev/null as its fourth file."""
    try:
        return os.readlink(f"/proc/{pid}/fd/3") == os.devnull
    except OSError:
        return False


@pytest.mark.fault(112)
def test_an_early_interrupt_is_one_line(tmp_path):
    with subprocess.Popen(command("a.ipynb", "b.ipynb"), stderr=subprocess.PIPE) as process:
        while not held(process.pid):  # done after the handler is there
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == b"interrupted before anything was begun\n"


def test_folders_count_from_where_the_user_stands(toy, tmp_path, monkeypatch):
    notebook = toy(parameters='out_dir: str = ""\ndata_dir: str = ""')
    given = []
    monkeypatch.setattr(run, "run", lambda *words: given.extend(words))
    monkeypatch.chdir(run.ROOT / "tests")
    words = "-p out_dir a -p data_dir ../data".split()
    assert program(run.main, [str(notebook), str(tmp_path / "out.ipynb"), *words]) == 0
    assert given[2] == {"out_dir": "tests/a", "data_dir": "data"}


def test_the_status_line_fits_and_the_time_left_counts_the_epochs_of_this_run(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(time, "monotonic", iter([0, 0, 0, 60, 150, 0, 0, 9000]).__next__)

    def shown(live, *texts):
        screen = io.StringIO()
        progress = Progress("02_gan", 9, screen, live)
        progress.start_cell(4)
        for text in texts:
            progress.write(text)
        return screen.getvalue()

    said = "hello\nepoch 10/50  told again\nepoch 11/50  loss_d 1.2345  lo"
    assert shown(False, said, "ss_g 0.9\nepoch 12/50  loss 1\n").splitlines() == [
        "[02_gan] epoch 10/50  told again",
        "[02_gan] epoch 11/50  loss_d 1.2345  loss_g 0.9   about 39 min left",
        "[02_gan] epoch 12/50  loss 1   about 57 min left",
    ]
    cell, epoch = "[02_gan] cell 5/9", "[02_gan] epoch 11/50  loss_d 1.2345  lo"
    said = said.replace("epoch 10/50  told again\n", "")
    assert shown(True, said, "\n").split("\r\x1b[K") == ["", cell, epoch]
    assert [duration(s) for s in (0.4, 99, 192, 3900)] == ["0 s", "99 s", "3 min", "1 h 5 min"]
    assert plain("\x1b]0;title\x07a\x1b[1;31mb\x1b[0m\x00\tc") == "ab\tc"
