"""torchvision, imported only when it is needed and in one place only."""

import contextlib
import importlib
import io
import os
import socket
import sys
import tempfile
import time
import warnings
from pathlib import Path

from helpers.data import cache

LATELY = 600  # seconds in which a download that failed is tried again only by who names it


def import_torchvision():
    """The torchvision module, also where its compiled operators cannot load.

    Built for CUDA, beside a CPU-only torch, its import stops with "operator torchvision::nms does
    not exist". Naming the two missing operators first is enough for datasets, transforms and
    utils.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the missing operators also warn about images
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            if "torchvision::nms" not in str(error):
                raise
        import torch

        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # halves of the failed import
        operators = torch.library.Library("torchvision", "DEF")
        operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        torchvision = importlib.import_module("torchvision")
        torchvision.operators_without_kernels = operators  # they vanish with this object
        return torchvision


def download(name, root, files, named=True):
    """Fetch these files of a set into root/<set>/raw: aside first, so that half never counts.

    name: of the set, such as "MNIST" or "EMNIST-letters". named: whether the reader asked for a
    download; one that failed lately is else not tried again: each try may wait for a network that
    is not there. Raises OSError.
    """
    failed = cache.FOLDER / f"no-download-{name}"
    if not named and failed.exists() and 0 <= time.time() - failed.stat().st_mtime < LATELY:
        raise OSError("less than 10 minutes ago (source='download' tries again at once)")
    folder, _, split = name.partition("-")
    print(f"{name}: downloading with torchvision into {folder}/raw ...", flush=True)
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(".part", f".{folder}-", root) as aside:
        try:
            fetch(folder, split, aside)
        except OSError:
            with contextlib.suppress(OSError):  # read-only, full
                cache.FOLDER.mkdir(parents=True, exist_ok=True)
                failed.touch()
            raise
        raw = root / folder / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        for file in files:
            os.replace(Path(aside, folder, "raw", file), raw / file)


def fetch(folder, split, root, timeout=10.0):
    """Download one set with torchvision.datasets (its mirrors, checksums) into root/<folder>/raw.

    folder: the torchvision class, e.g. "MNIST"; split: EMNIST's split, otherwise "".
    A connection may take `timeout` seconds. Raises OSError with torchvision's reason in one line.
    """
    before, quiet = socket.getdefaulttimeout(), io.StringIO()  # progress bars would fill a page
    try:
        socket.setdefaulttimeout(timeout)
        dataset = getattr(import_torchvision().datasets, folder)
        with contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet):
            for train in (True, False):
                dataset(root, train=train, download=True, **({"split": split} if split else {}))
    except Exception as error:  # a mirror may answer with anything at all
        raise OSError(" ".join(str(error).split())[:300] or type(error).__name__) from error
    finally:
        socket.setdefaulttimeout(before)
