"""docs/robustness.md says of every fault which test provokes it: that this stays true."""

import ast
import re
from pathlib import Path

import pytest

from tests.mutants import run as mutants

ROOT = Path(__file__).resolve().parents[1]
TABLE = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
ROWS = {
    int(row[0]): row[1:]
    for line in TABLE.splitlines()
    if re.match(r"\| \d+ \|", line)
    for row in [re.split(r" *(?<!\\)\| *", line.strip("| "))]
}
NAMED = re.compile(r"`(\w+\.py)::(\w+)`")


def marked(path):
    """{test: numbers of the faults it is marked with} of one file, parameters included."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            calls = [
                call
                for decorator in node.decorator_list
                for call in ast.walk(decorator)
                if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("mark.fault")
            ]
            found[node.name] = {arg.value for call in calls for arg in call.args}
    return found


def test_every_fault_has_one_row():
    numbers = [int(n) for n in re.findall(r"^\| (\d+) \|", TABLE, re.M)]
    assert numbers == list(range(1, 93))
    assert all(len(row) == 3 and all(row) for row in ROWS.values())


@pytest.mark.parametrize("number", range(1, 93))
def test_the_tests_of_a_row_are_there_and_say_so(number):
    named = NAMED.findall(ROWS[number][2])
    assert named, f"row {number} names no test"
    for file, name in named:
        path = ROOT / "tests" / file
        assert path.exists(), f"row {number}: no {file}"
        tests = marked(path)
        assert name in tests, f"row {number}: no {name} in {file}"
        assert number in tests[name], f"{file}::{name} is not marked with fault {number}"


def test_every_mutant_can_still_be_made():
    """`make mutants` sees that each is noticed; here only that it fits the code of today."""
    entries = list(mutants.mutants())
    assert len(entries) > 92
    for entry in entries:
        text = (ROOT / entry["file"]).read_text(encoding="utf-8")
        assert text.count(entry["old"]) == 1, f"{entry['group']}: {entry['old']!r}"
        assert entry["new"] != entry["old"]
        file, _, name = re.split(r"[ \[]", entry["test"])[0].partition("::")
        assert (ROOT / file).exists()
        assert not name or name in marked(ROOT / file), entry["test"]
