"""docs/robustness.md and the tests agree: every fault in it has a test, and no other has one."""

import ast
import re

from helpers.paths import ROOT

TABLE = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
ROWS = [line for line in TABLE.splitlines() if re.match(r"\| *\d", line)]


def marked():
    """The numbers of all faults that tests are marked with, those of parameters included."""
    for path in ROOT.glob("tests/**/test_*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("mark.fault"):
                yield from (number.value for number in call.args)


def test_every_fault_in_the_table_has_a_marked_test_and_no_mark_is_without_a_row():
    numbers = [int(re.match(r"\| (\d+) \|", row)[1]) for row in ROWS]
    assert len(numbers) == len(set(numbers)) > 80
    assert set(numbers) == set(marked())


def test_every_row_says_what_happens():
    for row in ROWS:
        cells = re.split(r" *(?<!\\)\| *", row.strip("| "))
        assert len(cells) == 3 and all(cells), row
