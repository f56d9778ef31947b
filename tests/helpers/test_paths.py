"""Folders are found from the project's place or from where the user stands, by rule."""

import os

import pytest

from helpers import paths


def test_folders_count_from_the_project(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)
    assert paths.data_dir() == paths.data_dir("data") == paths.ROOT / "data"
    assert paths.run_dir("", "01_vae", "a_1") == paths.ROOT / "build/runs/01_vae/a_1"
    assert paths.run_dir("x", "01_vae", "a_1") == paths.ROOT / "x"
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    assert paths.data_dir() == tmp_path and paths.data_dir("x") == paths.ROOT / "x"


def test_from_here_says_the_same_folder_in_the_project_terms(monkeypatch, tmp_path):
    for here in (tmp_path, paths.ROOT, paths.ROOT / "tests"):
        monkeypatch.chdir(here)
        for said in ("a", "../b", "./c/", str(tmp_path / "d")):
            assert paths.run_dir(paths.from_here(said), "01_vae") == (here / said).resolve()
    assert paths.from_here("x") == os.path.join("tests", "x")
    assert paths.from_here("") == "" and paths.from_here("~/x") == "~/x"


@pytest.mark.fault(135)
def test_a_home_that_is_not_there_is_one_line():
    with pytest.raises(ValueError, match="^~nosuch/x: nobody of that name has a home folder"):
        paths.data_dir("~nosuch/x")
