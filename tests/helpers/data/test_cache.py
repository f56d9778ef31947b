import os

import numpy as np
import pytest
from written import write_csv

from helpers import data
from helpers.data import cache
from helpers.data import csv as csv_files


def test_cache_saves_the_reading_and_is_never_stale(root, monkeypatch):
    path = write_csv(root)
    data.load("MNIST", "csv", root)
    before = path.stat()
    with monkeypatch.context() as patch:
        patch.setattr(csv_files, "read", lambda *args: pytest.fail("read again"))
        data.load("MNIST", "csv", root)
    with path.open("r+b") as file:  # the same file, size and time, another content
        changed = file.read().replace(b"0,255,", b"0,254,")
        file.seek(0)
        file.write(changed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert data.load("MNIST", "csv", root).train.images[0, 0, 1] == 254


@pytest.mark.fault(22)
def test_damaged_cache_is_made_again(root, tmp_path):
    write_csv(root)
    first = data.load("MNIST", "csv", root)
    entries = list((tmp_path / "cache").iterdir())
    assert len(entries) == 2
    for damage in (lambda b: b[:-1], lambda b: b"", lambda b: b[:200] + b"?" + b[201:]):
        for entry in entries:
            entry.write_bytes(damage(entry.read_bytes()))
        again = data.load("MNIST", "csv", root)
        np.testing.assert_array_equal(first.train.images, again.train.images)


def test_without_a_place_for_the_cache_all_works():
    cache.FOLDER.touch()
    assert cache.kept("entry", lambda: b"x") == b"x"
