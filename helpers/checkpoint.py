"""One file per run, `state.pt`: written whole or not at all, checked when read, never unpickled.

The file is an ordinary torch archive, which torch.load opens, whose zip comment holds the SHA-256
of everything before it, so a flipped bit or a cut end is noticed.
"""

import hashlib
import io
import os
import pickle
import platform
from dataclasses import asdict
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from helpers.files import write_atomically
from helpers.params import fixed
from helpers.paths import ROOT

FORMAT = 1
LARGEST = 2**31  # bytes of a file that is read; `params` lets no network make a larger one
PATIENCE = 5  # seconds; a kernel outlives a killed runner by about one
AGAIN = "; set resume = False to start again"
LOCK = ".lock"  # says who has the run; afterwards, that the folder is a run's
PROJECT = "data docs figures helpers notebooks profiles report sweeps tests workflow .git".split()
EARLIER = {".ipynb", ".yaml", ".log"}  # what may be there before a run: its notebook, its words


def open_run(folder):
    """Make the run's folder if need be and hold its lock until this process ends.

    Returns the folder as a Path. Raises ValueError, with nothing written, if it belongs to
    something else; OSError if it cannot be written or another process has it.
    """
    folder = Path(folder)
    _check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, is_singleton=True)  # one process may open it again
        lock.acquire(timeout=PATIENCE)
        _locks[folder] = lock
        who = f"process {os.getpid()} on {platform.node()}\n"
        (folder / LOCK).write_text(who, encoding="utf-8")
    except Timeout:
        who = (folder / LOCK).read_text(encoding="utf-8", errors="replace").strip()
        raise OSError(
            f"{folder}: in use by {who or 'another process'}; if that is a notebook left open in "
            "JupyterLab, shut down its kernel; else wait, or set another out_dir"
        ) from None
    except OSError as error:
        raise OSError(f"{folder}: cannot be written ({error.strerror}); set out_dir") from None
    for leftover in folder.glob(".*.[0-9]*.part"):  # the lock says that nobody is writing it
        leftover.unlink()
    return folder


_locks = {}  # a lock is freed when its object is collected: keep it as long as the process


def _check_folder(folder):
    """Raise ValueError unless the folder is new, empty or a run's, and not the project's own."""
    place = folder.resolve()
    if place == ROOT or any(place.is_relative_to(ROOT / name) for name in PROJECT):
        raise ValueError(f"{folder}: belongs to the project, not to a run; set another out_dir")
    if not folder.is_dir() or any((folder / name).exists() for name in (LOCK, "state.pt")):
        return
    for path in folder.iterdir():
        if not path.name.startswith(".") and path.suffix not in EARLIER:
            raise ValueError(f"{folder}: no run, and holds {path.name}; set another out_dir")


def save(folder, config, made_from, history, parts):
    """Write state.pt; the one before it stays as state.previous.pt.

    made_from: {what: SHA-256} of the data and the code.  history: a list of NamedTuples.
    parts: {name: network or optimizer}. Raises ValueError, and keeps the old file, if a number is
    not finite.
    """
    path = Path(folder) / "state.pt"
    state = {
        "format": FORMAT,
        "config": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()},
        "made_from": dict(made_from),
        "history": [record._asdict() for record in history],
        "parts": {name: part.state_dict() for name, part in parts.items()},
    }
    for name, part in state["parts"].items():
        for key, value in _tensors(part, name):
            if value.is_floating_point() and not value.isfinite().all():
                raise ValueError(f"{path}: not saved, {key} holds a number that is not finite")
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = _sealed(buffer.getvalue())
    if path.exists():
        write_atomically(path.with_name("state.previous.pt"), path.read_bytes())
    write_atomically(path, content)


def resume(folder, config, made_from, record_type, parts):
    """Put the state of folder/state.pt into the parts and return its history.

    Returns [] if there is none. Raises what `matching` does; the parts are then as they were.
    """
    if (state := matching(folder, config, made_from)) is None:
        return []
    for name, part in parts.items():
        part.load_state_dict(_for_this_device(state["parts"][name], part))
    return [record_type(**record) for record in state["history"]]


def matching(folder, config, made_from):
    """What folder/state.pt holds, or None without one: to be asked before anything is written.

    Raises what `read` does, and ValueError if it was made from other data, by other code or with
    a config that differs in what is `params.fixed`, or has more epochs than asked for.
    """
    path = Path(folder) / "state.pt"
    if not path.exists() and not path.with_name("state.previous.pt").exists():
        return None
    state = read(path)
    saved = fixed(state["config"]) | _digests(state["made_from"])
    wanted = fixed(asdict(config)) | _digests(made_from)
    for name in wanted | saved:
        if saved.get(name) != wanted.get(name):
            raise ValueError(
                f"{path}: made with {name} = {saved.get(name)!r}, now {wanted.get(name)!r}; "
                "set resume = False to start again, or another out_dir to keep both"
            )
    if len(state["history"]) > config.epochs:
        raise ValueError(
            f"{path}: has {len(state['history'])} epochs, more than epochs = {config.epochs}; "
            "nothing is cut off: ask for at least as many, or set another out_dir"
        )
    return state


def read(path):
    """The contents of a checkpoint; ValueError naming the path if it is not a whole, known one."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such checkpoint{_advice(path)}")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path}: {path.stat().st_size:,} bytes, no checkpoint of this project")
    payload = _unsealed(path, path.read_bytes())
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError):  # whose text advises to unpickle it all
        raise ValueError(f"{path}: holds more than numbers and text: not opened") from None
    found = state.get("format") if isinstance(state, dict) else None
    if found != FORMAT:
        raise ValueError(f"{path}: format {found!r}, this version reads {FORMAT}")
    return state


def _sealed(payload):
    """The zip with its digest as the comment, whose length its last two bytes say."""
    digest = hashlib.sha256(payload[:-2]).hexdigest().encode()
    return payload[:-2] + len(digest).to_bytes(2, "little") + digest


def _unsealed(path, data):
    payload, length, digest = data[:-66], data[-66:-64], data[-64:]
    as_made = length == (64).to_bytes(2, "little")
    if not as_made or hashlib.sha256(payload).hexdigest().encode() != digest:
        raise ValueError(
            f"{path}: damaged, or no checkpoint of this project{_advice(path) or AGAIN}"
        )
    return payload + b"\0\0"


def _advice(path):
    if path.name == "state.pt" and path.with_name("state.previous.pt").exists():
        return "; the one before it is state.previous.pt: rename it to state.pt to go on"
    return ""


def _for_this_device(saved, part):
    """The saved state of a part, with those settings of Adam that belong to a device as they are.

    Made on a CPU, a state says that Adam counts its steps there, which no CUDA graph can hold.
    """
    if isinstance(part, torch.optim.Optimizer):
        for group, now in zip(saved["param_groups"], part.param_groups, strict=True):
            group |= {name: now[name] for name in ("fused", "capturable", "foreach")}
    return saved


def _tensors(tree, name):
    if isinstance(tree, torch.Tensor):
        yield name, tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from _tensors(value, f"{name}.{key}")


def _digests(made_from):
    return {f"{name} (SHA-256)": digest[:12] for name, digest in made_from.items()}
