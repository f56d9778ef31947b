"""Takes protections out, one at a time in a copy of the project, and sees that the tests notice.

    make mutants                                      all of it: hours, for a nightly run
    python tests/mutants.py helpers/checkpoint.py     one module, or several

Of a module every `raise` that stands under an `if` or an `except` is replaced by `pass`, then come
its hand-written ones in TABLE, and each time the module's tests are run (for helpers/data/csv.py:
test_data_csv.py, test_csv.py or test_data.py of tests/helpers and all of tests/helpers/data,
whichever are there). Prints what survived; exit status 1 if anything did.
"""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATE = "tests/helpers/test_checkpoint.py tests/helpers/test_files.py"
KILLS = STATE + " tests/system/test_interruptions.py -k at_any_moment"
MODELS = "tests/helpers -k models"
# (file, what stands there once, what is put there, the tests that must notice)
TABLE = [
    ("helpers/files.py", "os.fsync(file.fileno())", "pass", STATE),
    ("helpers/files.py", "part = beside(path)", "part = path", STATE),
    ("helpers/files.py", "os.replace(part, path)", "path.write_bytes(part.read_bytes())", STATE),
    ("helpers/files.py", "part.unlink(missing_ok=True)", "pass", STATE),
    ("helpers/files.py", "{os.getpid()}", "0", STATE),
    ("helpers/files.py", "allow_nan=False", "allow_nan=True", STATE),
    ("helpers/checkpoint.py", "path.with_name(\"state.previous.pt\"), path", "path, path", KILLS),
    ("helpers/checkpoint.py", "lock.acquire(timeout=PATIENCE)", "pass", STATE),
    ("helpers/checkpoint.py", "lock.acquire(timeout=PATIENCE)", "lock.acquire(timeout=0)", STATE),
    ("helpers/checkpoint.py", "_locks[folder] = lock", "pass", STATE),
    ("helpers/checkpoint.py", "folder.glob(\".*.[0-9]*.part\")", "folder.glob(\"*.part\")", STATE),
    ("helpers/checkpoint.py", "leftover.unlink()", "pass", STATE),
    ("helpers/checkpoint.py", "_check_folder(folder)\n", "pass\n", STATE),
    ("helpers/checkpoint.py", "folder.resolve()", "folder", STATE),
    ("helpers/checkpoint.py", "yield from _tensors", "_tensors", STATE),
    ("helpers/checkpoint.py", "hexdigest().encode() != digest", "hexdigest() == digest", STATE),
    ("helpers/checkpoint.py", "\"cpu\", weights_only=True", "\"cpu\", weights_only=False", STATE),
    ("helpers/checkpoint.py", "map_location=\"cpu\"", "map_location=None", STATE),
    ("helpers/checkpoint.py", "(\"fused\", \"capturable\", \"foreach\")", "()", STATE),
    ("helpers/params.py", "if k not in FREE_ON_RESUME", "", STATE),
    ("helpers/training.py", "repr((int(seed), *purpose))", "repr(int(seed))", MODELS),
    ("helpers/gan.py", "fake.detach()", "fake", MODELS),
    ("workflow/run.py", "check_whole(executed)", "pass", "tests/workflow/test_run.py"),
]  # fmt: skip


def mutants(module):
    """(what, mutated source or None, tests) for each `raise` under an `if` or an `except`."""
    source, raises = (ROOT / module).read_text(encoding="utf-8"), set()
    for guard in ast.walk(ast.parse(source)):
        if isinstance(guard, (ast.If, ast.ExceptHandler)):
            raises |= {node for node in ast.walk(guard) if isinstance(node, ast.Raise)}
    for node in sorted(raises, key=lambda node: node.lineno):
        lines = source.encode().splitlines(keepends=True)  # columns are counted in bytes
        before = lines[node.lineno - 1][: node.col_offset]
        after = lines[node.end_lineno - 1][node.end_col_offset :]
        lines[node.lineno - 1 : node.end_lineno] = [before + b"pass" + after]
        yield f"{module}:{node.lineno}: raise", b"".join(lines).decode(), tests_of(module)
    for _, old, new, tests in (row for row in TABLE if row[0] == module):
        there = source.count(old) == 1
        yield f"{module}: {old!r} -> {new!r}", source.replace(old, new) if there else None, tests


def tests_of(module):
    top, *parts = Path(module).with_suffix("").parts
    parts = [part for part in parts if part != "__init__"]
    names = {"_".join(parts), parts[-1], parts[0]}
    found = [f"tests/{top}/test_{n}.py" for n in names] + [f"tests/{top}/{parts[0]}"]
    return " ".join(sorted(path for path in found if (ROOT / path).exists()))


def passes(copy, tests):
    """Whether the tests pass there; a hang counts as noticed."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    own = {"cwd": copy, "env": os.environ | {"PYTHONPATH": str(copy)}, "timeout": 600}
    try:
        return not subprocess.run(
            [*command, *tests.split()], capture_output=True, **own
        ).returncode
    except subprocess.TimeoutExpired:
        return False


def main(modules):
    found = [*ROOT.glob("helpers/**/*.py"), *ROOT.glob("workflow/**/*.py")]
    modules = modules or sorted(str(path.relative_to(ROOT)) for path in found)
    count, survived, sound = 0, [], {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy, left_out = Path(folder) / "project", (".git", ".venv", "build", "__pycache__")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*left_out))
        for file, (what, mutated, tests) in ((m, one) for m in modules for one in mutants(m)):
            if tests not in sound:
                sound[tests] = bool(tests) and passes(copy, tests)
            if mutated is None or not sound[tests]:
                verdict = "STALE: not there once" if sound[tests] else f"NO SOUND TESTS: {tests}"
            else:
                (copy / file).write_text(mutated, encoding="utf-8")
                verdict = "SURVIVED" if passes(copy, tests) else "noticed"
                shutil.copy(ROOT / file, copy / file)
            count += 1
            survived += [what] if verdict != "noticed" else []
            print(f"{verdict:9} {what}", flush=True)
    print(f"{count} mutants, {len(survived)} not noticed", *survived, sep="\n  ")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
