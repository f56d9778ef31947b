import socket
import sys
from types import SimpleNamespace

import pytest
from written import refusal, write_idx

from helpers import data
from helpers.data import download


@pytest.mark.fault(22)
def test_download_lands_whole_or_not_at_all(root, monkeypatch, capsys, unknown):
    def half(folder, split, aside):
        write_idx(data.Path(aside), folder)["test-labels"].unlink()
        raise OSError("cut off")

    def whole(folder, split, aside):
        write_idx(data.Path(aside), folder)

    monkeypatch.setattr(download, "fetch", half)
    assert "cut off" in refusal(root, "download") and list(root.iterdir()) == []
    monkeypatch.setattr(download, "fetch", whole)
    found = data.load("MNIST", "download", root)
    assert found.source == "download" and found.where.endswith("MNIST/raw")
    assert [path.name for path in root.iterdir()] == ["MNIST"]
    monkeypatch.setattr(download, "fetch", lambda *args: pytest.fail("fetched again"))
    assert data.load("MNIST", data_dir=root).source == "idx"
    assert data.load("MNIST", "download", data_dir=root).source == "download"


def test_fetch_limits_the_connection_and_reports_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.undo()
    seen = []

    def dataset(root, train, download):
        seen.append(socket.getdefaulttimeout())
        print("a progress bar", file=sys.stderr)
        raise RuntimeError("Error downloading x:\nTried a, got:\nno\n")

    fake = SimpleNamespace(datasets=SimpleNamespace(MNIST=dataset))
    monkeypatch.setattr(download, "import_torchvision", lambda: fake)
    with pytest.raises(OSError, match="^Error downloading x: Tried a, got: no$"):
        download.fetch("MNIST", "", tmp_path)
    assert seen == [10.0] and socket.getdefaulttimeout() is None
    assert capsys.readouterr() == ("", "")


def test_only_the_known_fault_of_torchvision_is_worked_around(monkeypatch):
    tried = []

    def broken(name):
        tried.append(name)
        raise RuntimeError("something else")

    monkeypatch.setattr(download.importlib, "import_module", broken)
    with pytest.raises(RuntimeError, match="something else"):
        download.import_torchvision()
    assert tried == ["torchvision"]
