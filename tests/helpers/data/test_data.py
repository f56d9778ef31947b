import os
import time

import numpy as np
import pytest
from written import csv, pictures, refusal, same_as_written, write_csv, write_idx

from helpers import data
from helpers.data import cache, download, standin


def known(monkeypatch, root):
    """Makes what write_idx(root) has written the published MNIST."""
    found = data.load("MNIST", "idx", root)
    digests = tuple(map(data._digest, (found.train, found.test)))
    here = data.SETS["MNIST"]._replace(published=digests)
    monkeypatch.setitem(data.SETS, "MNIST", here)
    return digests


@pytest.mark.fault(20)
def test_other_images_than_the_published_need_a_named_source(root, monkeypatch):
    files = write_idx(root, n=12)
    mine = known(monkeypatch, root)
    found = data.load("MNIST", "auto", root)
    assert found.verified and data.describe(found).endswith("(verified)")
    for part, path in files.items():
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[-1] ^= 1  # a good label, a good pixel: nothing else can tell
        path.write_bytes(changed)
        half, wanted = ("training", mine[0]) if "train" in part else ("test", mine[1])
        line = refusal(root, "auto")
        assert f"{root / 'MNIST/raw'}: not the published MNIST: SHA-256 of {half} rows" in line
        assert wanted[:12] in line and line.endswith("say so with source='idx'")
        found = data.load("MNIST", "idx", root)
        assert not found.verified
        assert data.describe(found).endswith("(not the published files)")
        assert path.read_bytes() == changed
        path.write_bytes(whole)


@pytest.mark.fault(20)
def test_published_images_in_another_order_are_known(root, monkeypatch):
    write_idx(root)
    known(monkeypatch, root)
    (root / "MNIST/raw").rename(root / "away")
    order, (images, labels) = [2, 0, 3, 1], pictures(4, len("train"))
    path = root / "mnist_train.csv"
    (root / "mnist_test.csv").write_text(csv(*pictures(4, len("test"))))
    path.write_text(csv(images[order], labels[order], "kaggle"))
    assert data.describe(data.load("MNIST", "auto", root)).endswith("(verified)")
    path.write_text(csv(images[order], labels))  # the same images, the same labels, mismatched
    refused = f"{path} and mnist_test.csv: not the published MNIST"
    assert refusal(root, "auto").startswith(refused)
    (root / "mnist_test.csv").write_text(csv(pictures(4, len("test"))[0], None))
    assert refusal(root, "auto", need_test_labels=False).startswith(refused)


def test_auto_without_data_and_network_says_so_and_takes_the_stand_in(root, capsys, monkeypatch):
    monkeypatch.setattr(standin, "digits", lambda: [pictures(4), pictures(2)])
    found = data.load("MNIST", data_dir=root)
    assert (found.source, found.real, found.verified) == ("sample", False, False)
    assert "STAND-IN: not the real set" in data.describe(found)
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("MNIST: downloading") and len(told) == 2
    assert "download failed: no route to host" in told[1] and "not the real set" in told[1]
    assert not any(root.rglob("*.part"))
    # nor does the next notebook wait for a network that was not there just now
    monkeypatch.setattr(download, "fetch", lambda *args: pytest.fail("tried again"))
    assert data.load("MNIST", data_dir=root).source == "sample"
    assert "download failed: less than 10 minutes ago" in capsys.readouterr().out
    with pytest.raises(pytest.fail.Exception, match="tried again"):
        data.load("MNIST", "download", root)
    os.utime(cache.FOLDER / "no-download-MNIST", (time.time() - 601,) * 2)
    with pytest.raises(pytest.fail.Exception, match="tried again"):
        data.load("MNIST", data_dir=root)


@pytest.mark.fault(1)
def test_a_missing_file_is_named_and_nothing_is_fetched(root, monkeypatch):
    for source, says in (("auto", "download failed"), ("sample", "no built-in stand-in")):
        assert says in (line := refusal(root, source, "KMNIST")) and "data/README.md" in line
    monkeypatch.setattr(download, "fetch", lambda *args: pytest.fail("a silent download"))
    for source, name in (("csv", "mnist_train.csv"), ("idx", "MNIST/raw/train-images-idx3-ubyte")):
        line = refusal(root, source)
        assert line.startswith(str(root)) and str(name) in line and ": no such file; " in line
        assert line.endswith("or use source='sample' for the built-in stand-in")
        assert f"put MNIST into {root} as data/README.md says, or use source='download'" in line
    assert not any(root.iterdir())
    write_csv(root)
    (root / "mnist_test.csv").unlink()
    for source in ("csv", "auto"):  # the other half
        line = refusal(root, source)
        assert line.startswith(f"{root / 'mnist_test.csv'}: no such file, though others")


def test_train_limit(root, unknown):
    write_idx(root)
    found = data.load("MNIST", data_dir=root, train_limit=3)
    whole = data.load("MNIST", data_dir=root)
    np.testing.assert_array_equal(found.train.images, whole.train.images[:3])
    assert len(found.train.labels) == 3 and len(found.test.images) == 4
    assert found.sha256 == whole.sha256 and "the first 3 training images" in found.where
    assert refusal(root, "auto", train_limit=5).startswith("train_limit 5 is more than the 4")


def test_a_folder_that_is_not_there_is_named(root):
    with pytest.raises(FileNotFoundError, match="^data_dir .*nowhere: no such folder"):
        data.load(data_dir=root / "nowhere")


def test_the_distributions_package_is_taken_after_data_dir_and_before_a_download(
    root, tmp_path, monkeypatch
):
    write_idx(tmp_path / "usr", "FashionMNIST")
    (tmp_path / "usr/FashionMNIST/raw").rename(tmp_path / "package")
    row = data.SETS["FashionMNIST"]._replace(package=str(tmp_path / "package"), published=())
    monkeypatch.setitem(data.SETS, "FashionMNIST", row)
    found = data.load("FashionMNIST", data_dir=root)
    same_as_written(found, 4)
    assert (found.source, found.where) == ("idx", str(tmp_path / "package"))
    write_idx(root, "FashionMNIST", n=5)
    same_as_written(data.load("FashionMNIST", data_dir=root), 5)


@pytest.mark.fault(20)
@pytest.mark.skipif("DATA_DIR" not in os.environ, reason="DATA_DIR is not set")
@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_published_files_are_verified(name, monkeypatch):
    monkeypatch.undo()
    found = data.load(name, "auto")
    assert found.verified and found.real and data.describe(found).endswith("(verified)")
    assert found.train.images.shape == (60_000, 28, 28) and len(found.test.images) == 10_000


@pytest.mark.parametrize(("dataset", "source"), [("mnist", "auto"), ("MNIST", "web")])
def test_a_name_that_is_none_is_refused(dataset, source):
    with pytest.raises(
        ValueError, match="^(dataset|source) must be one of .*, got '(mnist|web)'$"
    ):
        data.load(dataset, source)
