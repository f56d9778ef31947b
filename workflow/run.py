"""Runs a notebook with other parameters, strictly.

    python -m workflow.run notebooks/02_gan.ipynb out.ipynb -p epochs 50 [-f FILE.yaml]

papermill does the work. This adds what it leaves open: wrong parameters are refused before a
kernel starts, the result appears at its path only when it is whole, a failure is one line and
leaves out.failed.ipynb, and the terminal shows how far the training is.

Exit status: 0 done, 1 failed, 2 refused, 130 interrupted by Ctrl-C, 143 ended by SIGTERM, 141 when
nobody reads its output any more.
"""

import argparse
import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":  # the imports below take seconds, in which there is nothing to lose
    early = b"interrupted before anything was begun\n"
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, early), os._exit(130)))
    while os.open(os.devnull, os.O_RDWR) < 3:  # a closed stdout would be the number of a new file
        pass
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from traitlets.config import Config

from helpers.files import beside, write_atomically
from helpers.paths import ROOT, from_here
from workflow import arguments
from workflow.program import complain, plain, program
from workflow.progress import Progress

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal asked for the end; its number is the argument.

    asyncio lets a KeyboardInterrupt through at once, where it would keep any other exception until
    the cell ends.
    """


class Failed(OSError):
    """The notebook did not run to its end; the text says where and why."""


REASONS = {  # the first that fits an error
    papermill.PapermillExecutionError: "{error.ename}: {error.evalue}",
    CellTimeoutError: "still running after {timeout} s",
    DeadKernelError: "the kernel died (out of memory?)",
    ModuleNotFoundError: "kernel python3 is missing: ipykernel is not installed for {python}",
    ValueError: "{error}",
    Exception: "{kind}: {error}",
}


class ThisInterpreter(AsyncKernelManager):
    """Starts the kernel python3 with the interpreter that runs this module.

    The usual search would prefer a kernel of the same name in the user's home folder. What the
    process says itself is no output of the notebook: a traceback whenever it is told to go.
    """

    @property
    def kernel_spec(self):
        from ipykernel.kernelspec import get_kernel_dict

        return KernelSpec(**get_kernel_dict())

    async def start_kernel(self, **options):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        await super().start_kernel(**quiet, **options)


def main(words):
    options = parse(words)
    for name in ("asyncio", "papermill", "traitlets"):  # as of tasks left behind by an interrupt
        logging.getLogger(name).setLevel(logging.CRITICAL)
    values = {}
    try:
        check(options)
        values = arguments.given(options.notebook, options.file, options.parameter)
        for name in values.keys() & {"data_dir", "out_dir"}:
            values[name] = from_here(values[name])
        run(options.notebook, options.output, values, options.timeout)
    except Stopped as stopped:
        how = "interrupted" if stopped.args[0] == signal.SIGINT else "ended by a signal"
        # to resume is what goes on; resume = False would begin anew
        anew = ", but with resume True" if values.get("resume") is False else ""
        complain(f"{options.notebook}: {how}; to go on, run the same command again{anew}")
        return 128 + stopped.args[0]


def parse(words):
    about = "Runs a notebook with other parameters, strictly."  # python -OO has no __doc__
    parser = argparse.ArgumentParser(prog="python -m workflow.run", description=about)
    parser.add_argument("notebook", help="the notebook to run; it is not changed")
    parser.add_argument("output", help="where the executed copy goes")
    parser.add_argument(
        "-p", dest="parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="a parameter, such as -p epochs 50; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "-f", dest="file", action="append", default=[], metavar="FILE.yaml",
        help="a file of parameters; -p overrides it",
    )  # fmt: skip
    parser.add_argument("--timeout", type=int, metavar="SECONDS", help="longest time for one cell")
    return parser.parse_args(words)


def check(options):
    """Raise ValueError unless the output is the name of a notebook that may be written."""
    output = options.output
    if "://" in output or Path(output).suffix != ".ipynb":
        raise ValueError(f"{output}: not the name of a notebook here, it must end in .ipynb")
    for path in (Path(output), _failed(Path(output))):
        if path.exists() and not path.is_file():
            raise ValueError(f"{path}: is there and is no notebook")
        if path.exists() and path.samefile(options.notebook):
            raise ValueError(f"{path}: the notebook itself; give its executed copy another name")
    if options.timeout is not None and options.timeout < 1:
        raise ValueError(f"--timeout must be at least 1 second, got {options.timeout}")


def run(notebook, output, values, timeout=None):
    """Execute a copy of `notebook` with {name: value} `values`; it appears at `output` when whole.

    timeout: seconds for one cell, None for no limit. Raises Failed; `output` is then as it was.
    """
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    beside(output).touch()  # what cannot be written is better known before than after
    beside(output).unlink()
    cells = len(arguments.read_notebook(notebook).cells) + bool(values)
    live = sys.stdout.isatty() and "-j" not in os.environ.get("MAKEFLAGS", "")
    progress = Progress(Path(notebook).stem, cells, sys.stdout, live)
    with private_jupyter() as folder:
        running = folder / "running.ipynb"
        try:
            executed = _execute(notebook, running, values, timeout, progress)
            check_whole(executed)
        except BrokenPipeError:  # nobody reads it any more
            raise
        except Exception as error:
            where = see = ""
            if isinstance(error, OSError) and not isinstance(error, CellTimeoutError):
                raise OSError(f"{error.filename or folder}: {error.strerror or error}") from error
            if running.exists():
                write_atomically(_failed(output), running.read_bytes())
                where, see = f", cell {_last_begun(running)}", f"; see {_failed(output)}"
            raise Failed(f"{notebook}{where}: {_reason(error, timeout)}{see}") from error
        finally:
            progress.clear()
    executed.metadata.papermill.update(input_path=str(notebook), output_path=str(output))
    write_atomically(output, nbformat.writes(executed).encode())
    _failed(output).unlink(missing_ok=True)
    progress.done(output)


def check_whole(notebook):
    """Raise ValueError unless every code cell was run and none ended in an error.

    papermill takes sys.exit() for success and leaves the cells after it alone.
    """
    for cell in notebook.cells:
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        for output in cell.outputs:
            if output.output_type == "error":
                what = f"{output.ename} {output.evalue}".strip()
                raise ValueError(f"{what}, and the cells after it were not run")
        if cell.execution_count is None:
            raise ValueError(f"not run: {cell.source.splitlines()[0]!r}")


def _execute(notebook, running, values, timeout, progress):
    paths = (str(Path(path).resolve()) for path in (notebook, running))
    return papermill.execute_notebook(
        *(path.replace("{", "{{").replace("}", "}}") for path in paths),  # no {placeholders}
        parameters=values,
        kernel_name="python3",
        language="python",
        cwd=str(ROOT),
        progress_bar=False,
        start_timeout=120,
        execution_timeout=timeout,
        stdout_file=progress,
        stderr_file=progress,
        coalesce_streams=True,
        kernel_manager_class=ThisInterpreter,
        on_cell_start=lambda cell, cell_index: progress.start_cell(cell_index),
        # encrypts where it can; without it every start prints a warning
        config=Config({"KernelManager": {"transport_encryption": "auto"}}),
    )


def _failed(output):
    return output.with_name(f"{output.stem}.failed.ipynb")


@contextlib.contextmanager
def private_jupyter():
    """The environment of a kernel for a while, with Jupyter's folders in a temporary place.

    A reader's own IPython start-up files then change nothing, and no home folder is needed.
    """
    before = dict(os.environ)
    try:
        folder = tempfile.TemporaryDirectory(prefix="notebook-run-", ignore_cleanup_errors=True)
        Path(folder.name, "room").write_bytes(bytes(2**14))  # or a kernel would die unexplained
    except OSError as error:
        where = tempfile.tempdir or before.get("TMPDIR", "")
        raise OSError(f"TMPDIR {where}: cannot be written ({error.strerror})") from None
    os.environ.update(IPYTHONDIR=folder.name, JUPYTER_RUNTIME_DIR=folder.name)
    if "DATA_DIR" in before:
        os.environ["DATA_DIR"] = from_here(before["DATA_DIR"])
    with folder:
        try:
            yield Path(folder.name)
        finally:
            os.environ.clear()
            os.environ.update(before)


def _last_begun(path):
    """The number of the last code cell that was begun, as JupyterLab shows it beside the cell."""
    cells = nbformat.read(path, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]
    return sum(cell.metadata.papermill.get("start_time") is not None for cell in code)


def _reason(error, timeout):
    kind, python = type(error).__name__, sys.executable
    text = next(text for each, text in REASONS.items() if isinstance(error, each))
    text = text.format(error=error, timeout=timeout, kind=kind, python=python)
    lines = [plain(line).strip() for line in text.splitlines() if line.strip()]
    return lines[0][:400] if lines else kind


def _stop(number, frame):
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)  # a second Ctrl-C must not leave a kernel behind
    raise Stopped(number)


if __name__ == "__main__":
    for number in SIGNALS:
        if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:  # as nohup wants
            signal.signal(number, _stop)
    sys.exit(program(main, sys.argv[1:]))
