"""No data of the machine's, no network, a cache of its own."""

import pytest

from helpers import data
from helpers.data import cache, download


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    def unreachable(*args):
        raise OSError("no route to host")

    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.setattr(download, "fetch", unreachable)
    monkeypatch.setattr(cache, "FOLDER", tmp_path / "cache")
    clothes = data.SETS["FashionMNIST"]._replace(package="")
    monkeypatch.setitem(data.SETS, "FashionMNIST", clothes)


@pytest.fixture
def unknown(monkeypatch):
    """As if no SHA-256 of MNIST were known: source="auto" then takes any images."""
    monkeypatch.setitem(data.SETS, "MNIST", data.SETS["MNIST"]._replace(published=()))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "a folder with é"
    folder.mkdir()
    return folder
