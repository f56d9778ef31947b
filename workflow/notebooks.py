"""What JupyterLab does to notebooks, kept away from the ones that are committed.

    python -m workflow.notebooks copy build/lab             copies to work on, for `make lab`
    python -m workflow.notebooks strip notebooks/*.ipynb    as they are committed
    python -m workflow.notebooks changed notebooks/*.ipynb  which defaults were edited

Saving adds outputs, counts and the kernel's own name; an edited parameter silently changes what
`make report` computes.
"""

import ast
import json
import shutil
import sys
from pathlib import Path

from helpers import params
from helpers.files import write_atomically
from helpers.paths import ROOT

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def strip(path):
    """Remove outputs and counts, and put the metadata back to what every notebook here has."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["metadata"] = METADATA
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
        kept = {"tags", "jupyter"} & cell["metadata"].keys()
        cell["metadata"] = {name: cell["metadata"][name] for name in sorted(kept)}
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if text != path.read_text(encoding="utf-8"):
        write_atomically(path, text.encode())
        print(f"{path}: stripped")


def changed(path):
    """Say in one line which parameters of a notebook have other defaults than helpers.params."""
    if path.stem not in params.CONFIGS:
        return
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    (cell,) = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    known = params.defaults(path.stem)
    edited = []
    for line in ast.parse("".join(cell["source"])).body:
        name, value = line.target.id, ast.literal_eval(line.value)
        if name not in known or value != known[name]:
            edited.append(f"{name} = {value!r}, by default {known.get(name)!r}")
    if edited:
        print(f"{path}: its own cell says {'; '.join(edited)}")


def copy(folder):
    """Fresh copies of the notebooks; one that was edited in the meantime stays as it is."""
    as_copied = folder / ".as-copied"
    as_copied.mkdir(parents=True, exist_ok=True)
    for new in sorted((ROOT / "notebooks").glob("*.ipynb")):
        mine, before = folder / new.name, as_copied / new.name
        if not mine.exists() or before.exists() and mine.read_bytes() == before.read_bytes():
            shutil.copyfile(new, mine)
            shutil.copyfile(new, before)
        elif new.read_bytes() != before.read_bytes():
            print(f"{mine}: kept as you saved it; notebooks/{new.name} has changed since")


if __name__ == "__main__":
    what = {"copy": copy, "strip": strip, "changed": changed}[sys.argv[1]]
    for word in sys.argv[2:]:
        try:
            what(Path(word))
        except (OSError, ValueError, KeyError, AttributeError, SyntaxError) as error:
            sys.exit(f"{word}: not a notebook of this project ({error})")
