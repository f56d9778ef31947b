"""One undisturbed run, which all others must equal."""

import struct

import numpy as np
import pytest
from running import begin_run, end

EPOCHS = 24


@pytest.fixture(scope="session")
def words(tmp_path_factory):
    """The parameters of a run, of any notebook: 512 images of its own data set."""
    folder = tmp_path_factory.mktemp("data")
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for stem, count in (("train", 512), ("t10k", 60)):
        pixels, labels = rng.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count) % 10
        for name, array in (("images-idx3", pixels), ("labels-idx1", labels.astype(np.uint8))):
            head = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
            (raw / f"{stem}-{name}-ubyte").write_bytes(head + array.tobytes())
    settings = {"dataset": "MNIST", "source": "idx", "data_dir": folder, "epochs": EPOCHS}
    settings |= {"batch_size": 8}
    return [word for pair in settings.items() for word in ("-p", *pair)]


@pytest.fixture(scope="session")
def usual(words, tmp_path_factory):
    """The folder of a run with nothing around it, but one of another setting beside it."""
    folder = tmp_path_factory.mktemp("usual")
    one = begin_run("01_vae", folder, *words, umask=0o022)
    other = begin_run("01_vae", folder / "other", *words, "-p", "seed", 1, umask=0o022)
    end(one), end(other)
    return folder
