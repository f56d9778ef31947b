"""docs/robustness.md says of every fault which test provokes it: that this stays true."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
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
        (path,) = ROOT.glob(f"tests/*/{file}")
        tests = marked(path)
        assert name in tests, f"row {number}: no {name} in {file}"
        assert number in tests[name], f"{file}::{name} is not marked with fault {number}"
