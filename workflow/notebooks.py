"""What JupyterLab does to notebooks, kept away from the ones that are committed.

    python -m workflow.notebooks copy build/lab             copies to work on, for `make lab`
    python -m workflow.notebooks strip notebooks/*.ipynb    as they are committed
    python -m workflow.notebooks changed notebooks/*.ipynb  which defaults were edited

Saving adds outputs, counts and the kernel's own name; an edited parameter silently changes what
`make report` computes.
"""

import json
import sys
from pathlib import Path

from helpers import params
from helpers.files import write_atomically
from helpers.paths import ROOT
from workflow import arguments
from workflow.program import program

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def stripped(path):
    """The bytes of a notebook as it is committed: no outputs, everybody's kernel."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["metadata"] = METADATA
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
        kept = {"tags", "jupyter"} & cell["metadata"].keys()
        cell["metadata"] = {name: cell["metadata"][name] for name in sorted(kept)}
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    return text.encode()


def strip(path):
    if stripped(path) != path.read_bytes():
        write_atomically(path, stripped(path))
        print(f"{path}: stripped")


def changed(path):
    """Say in one line which parameters of a notebook have other defaults than helpers.params."""
    known = params.defaults(path.stem)
    for name, (_, default) in arguments.declared(path).items():
        if name not in known or default != known[name]:
            print(
                f"{path}: its own cell says {name} = {default!r}, by default {known.get(name)!r}"
            )


def copy(folder):
    """Copies of the notebooks where there are none; what somebody works on stays as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        mine = folder / path.name
        if not mine.exists():
            write_atomically(mine, path.read_bytes())
        elif stripped(mine) != stripped(path):
            print(
                f"{mine}: kept as you saved it, not as {path.name} is now; to renew it, remove it"
            )


def main(words):
    for word in words[1:]:
        {"copy": copy, "strip": strip, "changed": changed}[words[0]](Path(word))


if __name__ == "__main__":
    sys.exit(program(main, sys.argv[1:]))
