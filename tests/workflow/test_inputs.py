"""The list of data files by which make notices news."""

import pytest

from workflow import inputs


@pytest.mark.fault(21)
def test_the_list_of_inputs_notices_changes_and_names_what_it_cannot_write(
    tmp_path, monkeypatch, capsys
):
    raw, told = tmp_path / "MNIST" / "raw", tmp_path / "build" / ".data"
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    raw.mkdir(parents=True)
    path = raw / "train-images-idx3-ubyte"
    path.write_bytes(b"x")
    assert inputs.main([str(told)]) == 0
    before = told.stat().st_mtime_ns
    assert inputs.main([str(told)]) == 0 and told.stat().st_mtime_ns == before
    path.write_bytes(b"xx")
    (raw / "gone-ubyte").symlink_to(tmp_path / "nowhere")
    assert inputs.main([str(told), "--settle"]) == 0 and told.stat().st_mtime_ns == before
    assert f"MNIST/raw/{path.name} 2 " in told.read_text() and "gone" not in told.read_text()
    told.unlink()
    told.mkdir()
    assert inputs.main([str(told)]) == 1
    assert capsys.readouterr().err == f"{told}: Is a directory\n"
