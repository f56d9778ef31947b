"""One file per run, `state.pt`: written whole or not at all, checked when read, never unpickled.

The file is an ordinary torch archive (`torch.load(path, weights_only=True)` opens it) whose zip
comment holds the SHA-256 of everything before it, so a flipped bit or a cut end is noticed.
"""

import hashlib
import io
import json
import os
import pickle
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from helpers.params import FREE_ON_RESUME

FORMAT = 1
_END = 22  # bytes of a zip's end record when its comment is empty; the last two are its length


def open_run(folder):
    """Make the run's folder if need be and hold its lock until this process ends.

    Returns the folder as a Path. Raises OSError if it cannot be written or another process has it.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", is_singleton=True)  # one process may open it again
        lock.acquire(timeout=0)
    except Timeout:
        raise OSError(
            f"{folder}: in use by {_holder(folder)}; wait, or set another out_dir"
        ) from None
    except OSError as error:
        raise OSError(f"{folder}: cannot be written ({error.strerror}); set out_dir") from None
    (folder / ".pid").write_text(f"{os.getpid()}\n")
    _locks[folder] = lock
    for leftover in folder.glob("*.part"):  # the lock says that nobody is writing it
        leftover.unlink()
    return folder


_locks = {}  # a lock is freed when its object is collected: keep it as long as the process


def _holder(folder):
    try:
        return f"process {int((folder / '.pid').read_text())}"
    except (OSError, ValueError):
        return "another process"


def save(folder, config, made_from, history, parts):
    """Write state.pt; the one before it stays as state.previous.pt.

    made_from: {what: SHA-256} of the data and the code.  history: a list of NamedTuples.
    parts: {name: network or optimizer}.
    """
    state = {
        "format": FORMAT,
        "config": _plain(asdict(config)),
        "made_from": dict(made_from),
        "history": [record._asdict() for record in history],
        "parts": {name: part.state_dict() for name, part in parts.items()},
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path, aside = Path(folder) / "state.pt", Path(folder) / "state.previous.part"
    if path.exists():
        aside.unlink(missing_ok=True)
        try:
            os.link(path, aside)  # so that state.pt is there at every moment
        except OSError:
            shutil.copyfile(path, aside)  # a file system without hard links
        os.replace(aside, path.with_name("state.previous.pt"))
    write_atomically(path, _sealed(buffer.getvalue()))


def resume(folder, config, made_from, record_type, parts):
    """Put the state of folder/state.pt into the parts and return its history.

    Returns [] if there is no checkpoint. Raises ValueError if it is damaged, made from other
    data, by other code, or with a config that differs in more than what may differ; the parts
    are then as they were.
    """
    path = Path(folder) / "state.pt"
    if not path.exists():
        return []
    state = read(path)
    _compare_configs(path, state["config"], _plain(asdict(config)))
    for name, digest in made_from.items():
        before = str(state["made_from"].get(name))
        if before != digest:
            raise ValueError(
                f"{path}: made with other {name} (SHA-256 {before[:12]}, now {digest[:12]}); "
                "set resume = False to start again, or another out_dir"
            )
    if len(state["history"]) > config.epochs:
        raise ValueError(
            f"{path}: has {len(state['history'])} epochs, more than epochs = {config.epochs}; "
            "nothing is cut off: ask for at least as many, or set another out_dir"
        )
    _check_parts(path, state["parts"], parts)
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    return [record_type(**record) for record in state["history"]]


def read(path):
    """The contents of a checkpoint; ValueError naming the path if it is not a whole, known one."""
    path = Path(path)
    if path.stat().st_size > 2**31:
        raise ValueError(f"{path}: {path.stat().st_size} bytes, no checkpoint of this project")
    payload = _unsealed(path, path.read_bytes())
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError):  # whose text advises to unpickle it all
        raise ValueError(
            f"{path}: holds more than numbers and text, so it is not opened"
        ) from None
    if state.get("format") != FORMAT:
        raise ValueError(f"{path}: format {state.get('format')!r}, this version reads {FORMAT}")
    return state


def write_atomically(path, data):
    """Write bytes to a file so that a reader sees all of the old or all of the new."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(
            f"{path}: cannot be written ({error.strerror}); the old one is kept"
        ) from None


def write_json(path, value):
    """Write a value as JSON with sorted keys, atomically; NaN is refused."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode())


def _sealed(payload):
    digest = hashlib.sha256(payload[:-2]).hexdigest().encode()
    return payload[:-2] + len(digest).to_bytes(2, "little") + digest


def _unsealed(path, data):
    digest, payload = data[-64:], data[: -64 - 2]
    whole = len(data) > _END + 64 and data[-66:-64] == (64).to_bytes(2, "little")
    if not whole or hashlib.sha256(payload).hexdigest().encode() != digest:
        raise ValueError(f"{path}: damaged, or no checkpoint of this project{_advice(path)}")
    return payload + b"\0\0"


def _advice(path):
    previous = path.with_name("state.previous.pt")
    if path.name == "state.pt" and previous.exists():
        return (
            f"; the one before it is {previous.name}: rename it to {path.name} to go on from there"
        )
    return "; set resume = False to start again"


def _compare_configs(path, saved, wanted):
    for name in wanted | saved:
        if name not in FREE_ON_RESUME and saved.get(name) != wanted.get(name):
            raise ValueError(
                f"{path}: made with {name} = {saved.get(name)!r}, now {wanted.get(name)!r}; "
                "set resume = False to start again, or another out_dir to keep both"
            )


def _check_parts(path, saved, parts):
    """Every part must be there, with the tensors it has now, and every number finite."""
    for name, part in parts.items():
        if name not in saved:
            raise ValueError(f"{path}: holds no {name!r}")
        if isinstance(part, torch.nn.Module):
            have = {key: tuple(value.shape) for key, value in saved[name].items()}
            need = {key: tuple(value.shape) for key, value in part.state_dict().items()}
            for key in sorted(have.keys() | need.keys()):
                if have.get(key) != need.get(key):
                    raise ValueError(
                        f"{path}: {name}.{key} has shape {have.get(key)}, needed {need.get(key)}"
                    )
        for key, value in _tensors(saved[name]):
            if value.is_floating_point() and not value.isfinite().all():
                raise ValueError(f"{path}: {name}.{key} holds a number that is not finite")


def _tensors(tree, prefix=""):
    if isinstance(tree, torch.Tensor):
        yield prefix, tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from _tensors(value, f"{prefix}.{key}" if prefix else str(key))


def _plain(config):
    return {name: list(v) if isinstance(v, tuple) else v for name, v in config.items()}
