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
import glob
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":  # the imports below take seconds, in which there is nothing to lose
    early = b"interrupted before anything was begun\n"
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, early), os._exit(130)))
    while os.open(os.devnull, os.O_RDWR) < 3:  # a closed stdout would be the number of a new file
        pass
    sys.stdout = sys.stdout or open(os.devnull, "w")

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from traitlets.config import Config

from helpers.paths import ROOT, from_here
from workflow import parameters
from workflow.progress import Progress, plain

# A thread that spins while it waits takes the core from one that works: on a busy machine training
# took six times as long.
PATIENT = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal asked for the end; its number is the argument.

    asyncio lets a KeyboardInterrupt through at once, where it would keep any other exception until
    the cell ends.
    """


class Failed(Exception):
    """The notebook did not run to its end; the text says where and why."""


class ThisInterpreter(AsyncKernelManager):
    """Starts the kernel python3 with the interpreter that runs this module.

    The usual search would prefer a kernel of the same name in the user's home folder.
    """

    @property
    def kernel_spec(self):
        from ipykernel.kernelspec import get_kernel_dict

        return KernelSpec(**get_kernel_dict())

    async def start_kernel(self, **options):
        # The process's own words, not the notebook's: a traceback whenever it is told to go. They
        # are lost with the folder, unless it fails to start.
        log = Path(os.environ["JUPYTER_RUNTIME_DIR"], "kernel.log")
        with open(log, "wb") as file:
            await super().start_kernel(stdout=file, stderr=file, **options)


def main(argv=None):
    options = parse(argv)
    for name in ("asyncio", "papermill", "traitlets"):  # as of tasks left behind by an interrupt
        logging.getLogger(name).setLevel(logging.CRITICAL)
    values = {}
    try:
        check_paths(options.notebook, options.output)
        if options.timeout is not None and options.timeout < 1:
            raise ValueError(f"--timeout must be at least 1 second, got {options.timeout}")
        values = parameters.given(options.notebook, options.file, options.parameter)
        for name in values.keys() & {"data_dir", "out_dir"}:
            values[name] = from_here(values[name])
        run(options.notebook, options.output, values, options.timeout, options.prepare_only)
    except Stopped as stopped:
        how = "interrupted" if stopped.args[0] == signal.SIGINT else "ended by a signal"
        again = "run the same command again"
        if values.get("resume") is False:  # which would begin anew
            typed = any(name == "resume" for name, _ in options.parameter)
            again += ", without -p resume False" if typed else ", with -p resume True"
        _complain(f"{options.notebook}: {how}; to go on, {again}")
        return 128 + stopped.args[0]
    except Failed as error:
        _complain(error)
        return 1
    except BrokenPipeError:  # as after | head -1; what Python still holds back goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        _complain(f"{error.filename}: {error.strerror}" if error.filename else error)
        return 1
    except ValueError as error:
        _complain(error)
        return 2
    return 0


def parse(argv):
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
    parser.add_argument(
        "--prepare-only", action="store_true", help="put the parameters in, run nothing"
    )
    return parser.parse_args(argv)


def check_paths(notebook, output):
    """Raise ValueError unless the output is the name of a notebook that may be written."""
    if "://" in output or Path(output).suffix != ".ipynb":
        raise ValueError(f"{output}: not the name of a notebook here, it must end in .ipynb")
    for path in (Path(output), _failed(Path(output))):
        if path.exists() and not path.is_file():
            raise ValueError(f"{path}: is there and is no notebook")
        if path.exists() and path.samefile(notebook):
            raise ValueError(f"{path}: the notebook itself; give its executed copy another name")


def run(notebook, output, values, timeout=None, prepare_only=False):
    """Execute a copy of `notebook` with {name: value} `values`; it appears at `output` when whole.

    timeout: seconds for one cell, None for no limit. Raises Failed; `output` is then as it was.
    """
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    running, failed = _running(output), _failed(output)
    number_of_cells = len(parameters.read_notebook(notebook).cells) + bool(values)
    live = sys.stdout.isatty() and "-j" not in os.environ.get("MAKEFLAGS", "")
    progress = Progress(Path(notebook).stem, number_of_cells, sys.stdout, live)
    try:
        executed = _execute(notebook, running, values, timeout, prepare_only, progress)
        if not prepare_only:
            check_whole(executed)
        executed.metadata.papermill.update(input_path=str(notebook), output_path=str(output))
        with open(running, "w", encoding="utf-8") as file:
            file.write(nbformat.writes(executed))
            file.flush()
            os.fsync(file.fileno())
        os.replace(running, output)
    except (Stopped, BrokenPipeError):
        progress.clear()
        running.unlink(missing_ok=True)
        raise
    except Exception as error:
        progress.clear()
        if isinstance(error, OSError) and not isinstance(error, CellTimeoutError):
            running.unlink(missing_ok=True)  # a full disk leaves half a notebook
            if error.errno is None:  # said by private_jupyter
                raise
            raise OSError(f"{error.filename or running}: {error.strerror or error}") from error
        where = see = ""
        if running.exists():
            os.replace(running, failed)
            where, see = f", cell {_position(failed, error)}", f"; see {failed}"
        raise Failed(f"{notebook}{where}: {_reason(error, timeout)}{see}") from error
    failed.unlink(missing_ok=True)
    if not prepare_only:
        progress.done(output)


def check_whole(notebook):
    """Raise ValueError unless every code cell was run and none ended in an error.

    papermill takes sys.exit() for success and leaves the cells after it alone.
    """
    for cell in notebook.cells:
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if errors:
            what = f"{errors[0].ename} {errors[0].evalue}".strip()
            raise ValueError(f"{what}, and the cells after it were not run")
        if cell.execution_count is None:
            raise ValueError(f"not run: {cell.source.splitlines()[0]!r}")


def _execute(notebook, running, values, timeout, prepare_only, progress):
    with private_jupyter() as folder:
        try:
            return papermill.execute_notebook(
                _literal(notebook),
                _literal(running),
                parameters=values,
                prepare_only=prepare_only,
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
        except RuntimeError as error:
            if "before replying" in str(error):  # it never began; only its own words say why
                said = (folder / "kernel.log").read_text("utf-8", errors="replace").split("\n")
                raise RuntimeError(f"{error}: {' '.join(said[-2:])}") from None
            raise


def _failed(output):
    return output.with_name(f"{output.stem}.failed.ipynb")


def _running(output):
    """This process's name for the unfinished copy; those of processes now gone are removed."""
    for path in output.parent.glob(f"{glob.escape(output.stem)}.running.*.ipynb"):
        with contextlib.suppress(ValueError, PermissionError):  # somebody else's
            try:
                os.kill(int(path.suffixes[-2][1:]), 0)
            except ProcessLookupError:
                path.unlink(missing_ok=True)
    return output.with_name(f"{output.stem}.running.{os.getpid()}.ipynb")


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
    if not PATIENT.keys() & before.keys():
        os.environ.update(PATIENT)
    if "DATA_DIR" in before:
        os.environ["DATA_DIR"] = from_here(before["DATA_DIR"])
    with folder:
        try:
            yield Path(folder.name)
        finally:
            os.environ.clear()
            os.environ.update(before)


def _literal(path):
    """An absolute path in which papermill finds no {placeholder} to fill in."""
    return str(Path(path).resolve()).replace("{", "{{").replace("}", "}}")


def _position(path, error):
    """The number that JupyterLab shows beside the cell that failed: else the last one begun."""
    if isinstance(error, papermill.PapermillExecutionError) and error.exec_count:
        return error.exec_count
    cells = nbformat.read(path, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]
    return sum(cell.metadata.papermill.get("start_time") is not None for cell in code)


def _reason(error, timeout):
    if isinstance(error, papermill.PapermillExecutionError):
        text = f"{error.ename}: {error.evalue}"
    elif isinstance(error, CellTimeoutError):
        text = f"still running after {timeout} s"
    elif isinstance(error, DeadKernelError):
        text = "the kernel died (out of memory?)"
    elif isinstance(error, ModuleNotFoundError) and error.name.startswith("ipykernel"):
        text = f"kernel python3 is missing: ipykernel is not installed for {sys.executable}"
    elif isinstance(error, ValueError):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error}"
    lines = [plain(line).strip() for line in text.splitlines() if line.strip()]
    return lines[0][:400] if lines else type(error).__name__


def _stop(number, frame):
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)  # a second Ctrl-C must not leave a kernel behind
    raise Stopped(number)


def _complain(text):
    with contextlib.suppress(OSError):  # nobody reads that either
        print(plain(str(text).replace("\n", " ")), file=sys.stderr)


if __name__ == "__main__":
    for number in SIGNALS:
        if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:  # as nohup wants
            signal.signal(number, _stop)
    sys.exit(main())
