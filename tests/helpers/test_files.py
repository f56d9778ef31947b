"""Files are old or new, never half; JSON holds numbers that JSON has."""

import os

import pytest

from helpers import files


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "scores.json"
    files.write_json(path, {"b": "é", "a": 1.0})
    text = path.read_text(encoding="utf-8")
    assert text == '{\n  "a": 1.0,\n  "b": "é"\n}\n'
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, lambda *words: (_ for _ in ()).throw(OSError(28, "No space")))
            with pytest.raises(
                OSError, match=rf"^{path}: cannot be written \(No space\); the old one is kept$"
            ):
                files.write_json(path, [1])
        assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]
        assert path.read_text(encoding="utf-8") == text
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError):
            files.write_json(path, {"a": number})
    assert path.read_text(encoding="utf-8") == text


def test_what_is_renamed_is_whole_and_on_the_disk(tmp_path, monkeypatch):
    """Written, synced, renamed, in this order, aside and under a name of this process."""
    done, path = [], tmp_path / "x"
    fsync, replace = os.fsync, os.replace

    def synced(number):
        done.append(("fsync", os.fstat(number).st_size))
        fsync(number)

    def renamed(part, to):
        done.append(("replace", os.path.basename(part), to))
        replace(part, to)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    files.write_atomically(path, b"12345")
    assert done == [("fsync", 5), ("replace", f".x.{os.getpid()}.part", path)]
