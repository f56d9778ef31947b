"""What a run leaves as a table for other programs."""

import re
from typing import NamedTuple

import pandas
import pytest

from helpers import cgan, files, gan, paths, provenance, vae


class Record(NamedTuple):
    epoch: int
    loss: float
    note: str = "=1+1"
    command: str = "@SUM(1)"


@pytest.mark.fault(90)
def test_a_history_holds_numbers_only_so_no_spreadsheet_runs_a_cell(tmp_path):
    provenance.write_history(tmp_path, [Record(1, -0.5, "=HYPERLINK(1)"), Record(2, 1e-9)])
    assert (tmp_path / "history.csv").read_text() == "epoch,loss\n1,-0.5\n2,1e-09\n"
    assert pandas.read_csv(tmp_path / "history.csv").loss.tolist() == [-0.5, 1e-9]
    for module in (vae, gan, cgan):  # names of columns are names in the code
        assert all(name.isidentifier() for name in module.Record._fields)


@pytest.mark.fault(90)
def test_nothing_else_writes_csv():
    written = [
        path.name
        for folder in ("helpers", "report")
        for path in paths.ROOT.glob(f"{folder}/*.py")
        if re.search(r"to_csv|csv\.(writer|DictWriter)|savetxt", path.read_text(encoding="utf-8"))
    ]
    assert written == ["provenance.py"]


@pytest.mark.fault(91)
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_no_json_is_written_with_nan(tmp_path, number):
    path = tmp_path / "scores.json"
    files.write_json(path, {"fid": 1.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(path, {"fid": number})
    assert path.read_text() == '{\n  "fid": 1.5\n}\n'
    assert list(tmp_path.iterdir()) == [path]
