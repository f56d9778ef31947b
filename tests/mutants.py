"""Takes protections out, one at a time in a copy of the project, and sees that the tests notice.

    make mutants                                      all of it: hours, for a nightly run
    python tests/mutants.py helpers/checkpoint.py     one module, or several

Of a module every `raise` that stands under an `if` or an `except` is replaced by `pass`, then come
its rows of TABLE, and each time the module's tests are run (for helpers/data/csv.py:
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
# tests of a module that do not bear its name
OTHERS = {
    "settings": "compare", "swept": "sweep", "comparison": "finished", "arguments": "run params",
    "gan": "models", "cgan": "models", "vae": "models", "training": "models surroundings",
    "display": "runs", "runs": "publish", "weights": "publish", "explorer": "live",
    "cuda_graph": "training",
    "progress": "run", "program": "run", "redraw": "publish", "restore": "publish",
    "estimate": "environment", "inputs": "environment", "notebooks": "environment",
    "setup_env": "environment",
}  # fmt: skip
# By hand: what stands once in a module, and what is put there
TABLE = {
    "helpers/files.py": [
        ("os.fsync(file.fileno())", "pass"),
        ("part = beside(path)", "part = path"),
        ("os.replace(part, path)", "path.write_bytes(part.read_bytes())"),
        ("part.unlink(missing_ok=True)", "pass"),
        ("{os.getpid()}", "0"),
        ("allow_nan=False", "allow_nan=True"),
    ],
    "helpers/checkpoint.py": [
        ('path.with_name("state.previous.pt"), path', "path, path"),
        ("lock.acquire(timeout=PATIENCE)", "pass"),
        ("lock.acquire(timeout=PATIENCE)", "lock.acquire(timeout=0)"),
        ("_locks[folder] = lock", "pass"),
        ('folder.glob(".*.[0-9]*.part")', 'folder.glob("*.part")'),
        ("leftover.unlink()", "pass"),
        ("_check_folder(folder)\n", "pass\n"),
        ("folder.resolve()", "folder"),
        ("yield from _tensors", "_tensors"),
        ("hexdigest().encode() != digest", "hexdigest() == digest"),
        ('"cpu", weights_only=True', '"cpu", weights_only=False'),
        ('map_location="cpu"', "map_location=None"),
        ('("fused", "capturable", "foreach")', "()"),
    ],
    "helpers/params.py": [
        ("if k not in FREE_ON_RESUME", ""),
    ],
    "helpers/training.py": [
        ("repr((int(seed), *purpose))", "repr(int(seed))"),
    ],
    "workflow/run.py": [
        ("check_whole(executed)", "pass"),
    ],
}


def mutants(module):
    """(line, changed source) for each `raise` under an `if` or an `except`, and by TABLE."""
    source, raises = (ROOT / module).read_bytes(), {}
    for guard in ast.walk(ast.parse(source)):
        if isinstance(guard, ast.If | ast.ExceptHandler):
            raises |= {n.lineno: n for n in ast.walk(guard) if isinstance(n, ast.Raise)}
    for line, node in sorted(raises.items()):
        lines = source.splitlines(keepends=True)  # columns are counted in bytes
        before, after = lines[line - 1][: node.col_offset], lines[node.end_lineno - 1]
        lines[line - 1 : node.end_lineno] = [before + b"pass" + after[node.end_col_offset :]]
        yield line, b"".join(lines)
    for old, new in TABLE.get(module, ()):
        assert source.count(old.encode()) == 1, f"{module}: {old!r} does not stand there once"
        yield (
            source[: source.index(old.encode())].count(b"\n") + 1,
            source.replace(old.encode(), new.encode()),
        )


def tests_of(module):
    top, *parts = Path(module).with_suffix("").parts
    parts = [part for part in parts if part != "__init__"] or [top]
    own = {"_".join(parts), parts[-1], parts[0]}
    found = [f"tests/{top}/test_{name}.py" for name in own] + [f"tests/{top}/{parts[0]}"]
    for name in OTHERS.get(parts[0], "").split():
        found += map(str, ROOT.glob(f"tests/*/test_{name}.py"))
    return sorted({os.path.relpath(ROOT / path, ROOT) for path in found if (ROOT / path).exists()})


def passes(copy, tests):
    """Whether the tests pass there; a hang counts as noticed."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    own = {"cwd": copy, "env": os.environ | {"PYTHONPATH": str(copy)}, "timeout": 600}
    try:
        return subprocess.run(command, capture_output=True, **own).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def main(modules):
    found = [*ROOT.glob("helpers/**/*.py"), *ROOT.glob("workflow/**/*.py")]
    bad = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy, left_out = Path(folder) / "project", (".git", ".venv*", "build", "__pycache__")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*left_out))
        for module in modules or sorted(str(path.relative_to(ROOT)) for path in found):
            tests, changed = tests_of(module), list(mutants(module))
            if changed and not (tests and passes(copy, tests)):
                print(f"{module}: no tests that pass: {' '.join(tests)}", flush=True)
                bad, changed = bad + 1, []
            for line, source in changed:
                (copy / module).write_bytes(source)
                survived = passes(copy, tests)
                bad += survived
                print(f"{module}:{line}: {'SURVIVED' if survived else 'noticed'}", flush=True)
            shutil.copy(ROOT / module, copy / module)
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
