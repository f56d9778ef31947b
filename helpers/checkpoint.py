"""One file per run, `state.pt`: written whole or not at all, checked when read, never unpickled.

The file is an ordinary torch archive (`torch.load(path, weights_only=True)` opens it) whose zip
comment holds the SHA-256 of everything before it, so a flipped bit or a cut end is noticed.
"""

import hashlib
import io
import os
import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from helpers.files import write_atomically
from helpers.params import FREE_ON_RESUME

FORMAT = 1
KEYS = {"format", "config", "made_from", "history", "parts"}
LARGEST = 2**31  # bytes
PATIENCE = 10  # seconds
_END = 22  # bytes of a zip's end record when its comment is empty; the last two are its length


def open_run(folder):
    """Make the run's folder if need be and hold its lock until this process ends.

    Returns the folder as a Path. Raises OSError if it cannot be written or another process has it.
    A kernel outlives a killed runner by about a second; it is given PATIENCE seconds.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", is_singleton=True)  # one process may open it again
        try:
            lock.acquire(timeout=0)
        except Timeout:
            process, parent = _holder(folder)
            if not parent or _lives(parent):
                raise
            print(f"waiting for process {process} to end, which process {parent} has left behind")
            lock.acquire(timeout=PATIENCE)
        _locks[folder] = lock
        (folder / ".pid").write_text(f"{os.getpid()} {os.getppid()}\n", encoding="ascii")
    except Timeout:
        process = _holder(folder)[0]
        holder = f"process {process}" if process else "another process"
        raise OSError(f"{folder}: in use by {holder}; wait, or set another out_dir") from None
    except OSError as error:
        raise OSError(f"{folder}: cannot be written ({error.strerror}); set out_dir") from None
    for leftover in folder.glob("*.part"):  # the lock says that nobody is writing it
        leftover.unlink()
    return folder


_locks = {}  # a lock is freed when its object is collected: keep it as long as the process


def _holder(folder):
    """The process that has the run and the one that started it, as far as they are known."""
    try:
        process, parent = map(int, (folder / ".pid").read_text(encoding="ascii").split())
        return process, parent
    except (OSError, ValueError):
        return None, None


def _lives(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's
    return True


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
    path = Path(folder) / "state.pt"
    if path.exists():
        _keep(path, path.with_name("state.previous.pt"))
    write_atomically(path, _sealed(buffer.getvalue()))


def _keep(path, previous):
    """Let the file have a second name, so that it is there at every moment."""
    part = previous.with_name(previous.name + ".part")
    part.unlink(missing_ok=True)
    try:
        os.link(path, part)
    except OSError:  # a file system without hard links
        write_atomically(previous, path.read_bytes())
    else:
        os.replace(part, previous)
        part.unlink(missing_ok=True)  # there if both are one file: a save failed before this one


def resume(folder, config, made_from, record_type, parts):
    """Put the state of folder/state.pt into the parts and return its history.

    Returns [] if there is no checkpoint. Raises ValueError if it is damaged, made from other
    data, by other code, or with a config that differs in more than what may differ; the parts
    are then as they were.
    """
    path = Path(folder) / "state.pt"
    if not path.exists():
        if path.with_name("state.previous.pt").exists():
            raise ValueError(f"{path}: missing{_advice(path)}")
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
        part.load_state_dict(_for_this_device(state["parts"][name], part))
    return [record_type(**record) for record in state["history"]]


def read(path):
    """The contents of a checkpoint; ValueError naming the path if it is not a whole, known one."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path}: {path.stat().st_size:,} bytes, no checkpoint of this project")
    payload = _unsealed(path, path.read_bytes())
    _check_packing(path, payload)
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError):  # whose text advises to unpickle it all
        raise ValueError(
            f"{path}: holds more than numbers and text, so it is not opened"
        ) from None
    if not isinstance(state, dict) or "format" not in state:
        raise ValueError(f"{path}: no checkpoint of this project")
    if state["format"] != FORMAT:
        raise ValueError(f"{path}: format {state['format']!r}, this version reads {FORMAT}")
    if missing := sorted(KEYS - state.keys()):
        raise ValueError(f"{path}: holds no {missing[0]!r}")
    return state


def _sealed(payload):
    digest = hashlib.sha256(payload[:-2]).hexdigest().encode()
    return payload[:-2] + len(digest).to_bytes(2, "little") + digest


def _unsealed(path, data):
    digest, payload = data[-64:], data[: -64 - 2]
    whole = len(data) > _END + 64 and data[-66:-64] == (64).to_bytes(2, "little")
    if not whole or hashlib.sha256(payload).hexdigest().encode() != digest:
        raise ValueError(f"{path}: damaged, or no checkpoint of this project{_advice(path)}")
    return payload + b"\0\0"


def _check_packing(path, payload):
    """torch packs nothing: what would unpack to more than the file holds is not unpacked."""
    try:
        entries = zipfile.ZipFile(io.BytesIO(payload)).infolist()
    except zipfile.BadZipFile:
        raise ValueError(f"{path}: no checkpoint of this project") from None
    size = sum(entry.file_size for entry in entries)
    if size > len(payload) or any(entry.compress_type for entry in entries):
        raise ValueError(
            f"{path}: {len(payload):,} bytes that unpack to {size:,}, "
            "no checkpoint of this project"
        )


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
        network = isinstance(part, torch.nn.Module)
        have = _shapes(saved[name] if network else saved[name].get("state", {}))
        need = _shapes(part.state_dict()) if network else _adam_shapes(part)
        for key in sorted(have.keys() | need.keys()):
            if have.get(key) != need.get(key):
                raise ValueError(
                    f"{path}: {name}.{key} has shape {have.get(key)}, needed {need.get(key)}"
                )
        for key, value in _tensors(saved[name]):
            if value.is_floating_point() and not value.isfinite().all():
                raise ValueError(f"{path}: {name}.{key} holds a number that is not finite")


def _shapes(tree):
    return {key: tuple(value.shape) for key, value in _tensors(tree)}


def _adam_shapes(optimizer):
    """The tensors that Adam keeps once it has made a step."""
    groups = optimizer.state_dict()["param_groups"]
    numbers = [number for group in groups for number in group["params"]]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    return {
        f"{number}.{key}": shape
        for number, weight in zip(numbers, weights, strict=True)
        for key, shape in (
            ("step", ()),
            ("exp_avg", tuple(weight.shape)),
            ("exp_avg_sq", tuple(weight.shape)),
        )
    }


def _for_this_device(saved, part):
    """The saved state of a part, with those settings of Adam that belong to a device as they are.

    Made on a CPU, a state says that Adam counts its steps there, which no CUDA graph can hold.
    """
    if isinstance(part, torch.optim.Optimizer):
        for group, now in zip(saved["param_groups"], part.param_groups, strict=True):
            group |= {name: now[name] for name in ("fused", "capturable", "foreach")}
    return saved


def _tensors(tree, prefix=""):
    if isinstance(tree, torch.Tensor):
        yield prefix, tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from _tensors(value, f"{prefix}.{key}" if prefix else str(key))


def _plain(config):
    return {name: list(v) if isinstance(v, tuple) else v for name, v in config.items()}
