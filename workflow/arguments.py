"""Parameters of a notebook, read from its `parameters` cell, and values for them, checked.

Everything here happens before a kernel starts; no value is ever run as code.
Every refusal is a ValueError whose text starts with the file or the parameter's name.
"""

import ast
import json
import re
from pathlib import Path
from typing import Annotated, NamedTuple

import nbformat
import yaml
from pydantic import ConfigDict, Field, TypeAdapter

from helpers import params

Text = Annotated[str, Field(pattern="")]  # any pattern refuses lone surrogates, bytes of no text
STRICT = ConfigDict(strict=True, allow_inf_nan=False)
KINDS = {  # annotation: (its type, what a message says)
    "int": (TypeAdapter(int, config=STRICT), "int, such as 3"),
    "float": (TypeAdapter(float, config=STRICT), "float, finite, such as 1e-3"),
    "str": (TypeAdapter(Text, config=STRICT), "str, in UTF-8 (in YAML: in quotes)"),
    "bool": (TypeAdapter(bool, config=STRICT), "True or False"),
    "list[int]": (TypeAdapter(list[int], config=STRICT), "list[int], such as [16, 22, 34]"),
}


class Parameter(NamedTuple):
    """One line of a `parameters` cell."""

    kind: str  # one of KINDS
    default: object


def read_notebook(path):
    """The notebook at `path`, version 4; ValueError if it is none."""
    data = _bytes(path, "notebook")
    try:
        notebook = nbformat.reads(data.decode("utf-8"), as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat meets damage with half a dozen kinds of exception
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ValueError(f"{path}: not a readable notebook: {reason}") from None
    return notebook


def declared(path):
    """{name: Parameter} of the one cell tagged `parameters`, in its order.

    Raises ValueError unless there is exactly one such cell and it holds nothing but annotated
    assignments of plain values, such as `epochs: int = 3  # passes over the data`.
    """
    code = [cell for cell in read_notebook(path).cells if cell.cell_type == "code"]
    if any("injected-parameters" in cell.metadata.get("tags", []) for cell in code):
        raise ValueError(f"{path}: an executed copy; run the notebook that it was made from")
    tagged = [cell.source for cell in code if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{path}: {len(tagged)} cells are tagged 'parameters', must be one")
    found = {}
    try:
        for line in ast.parse(tagged[0]).body:
            name, kind, default = _parameter(line)
            if name in found:
                raise ValueError(f"{name} is there twice")
            found[name] = Parameter(kind, typed(name, default, kind))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path}: parameters cell: {str(error).splitlines()[0]}") from None
    return found


def _parameter(line):
    """(name, kind, default) of one statement."""
    simple = isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    if not simple or line.value is None:
        raise ValueError(f"must read 'name: type = value', got {ast.unparse(line)!r:.80}")
    name, kind = line.target.id, ast.unparse(line.annotation)
    if kind not in KINDS:
        raise ValueError(f"{name} must be one of {', '.join(KINDS)}, got {kind}")
    return name, kind, ast.literal_eval(line.value)


def given(path, files=(), pairs=()):
    """{name: value} for the notebook at `path`: first the YAML files, then the (name, text) pairs.

    A later file overrides an earlier one, and a pair overrides every file. Unknown names, wrong
    types, repeated names and, for a notebook of helpers.params, values out of range raise
    ValueError.
    """
    known, values = declared(path), {}
    said = [(f"{file}: ", read_yaml(file).items(), False) for file in files]
    for where, items, word in [*said, ("", pairs, True)]:
        names = [name for name, _ in items]
        for name, value in items:
            if name not in known:
                raise ValueError(where + params.unknown(name, known, path))
            if names.count(name) > 1:
                raise ValueError(f"{name}: given twice")
            values[name] = typed(where + name, value, known[name].kind, word)
    if Path(path).stem in params.CONFIGS:
        every = {name: parameter.default for name, parameter in known.items()} | values
        params.check_run(Path(path).stem, every)
    return values


def typed(name, value, kind, word=False):
    """The value, which must be of that kind: 1 is a fine float, "64" and True are no ints.

    A word of the command line is read as that kind first.
    """
    adapter, wanted = KINDS[kind]
    try:
        return adapter.validate_python(_read(value, kind) if word else value)
    except (ValueError, RecursionError):
        raise ValueError(f"{name} must be {wanted}, got {params.shown(value)}") from None


def _read(word, kind):
    if kind == "str":
        return word
    if not word.isascii() or "_" in word or word != word.strip():
        raise ValueError  # Python would take 1_0 for 10
    return (float if kind == "float" else json.loads)(word.lower())


def read_yaml(path):
    """The mapping in a YAML file (JSON is one too): the safe loader's, without its surprises.

    A repeated key, of which that loader keeps the last, and an alias, of which a few lines can
    stand for gigabytes, raise ValueError; 1e-4, text in YAML 1.1, is a number.
    """
    data = _bytes(path, "file of parameters")
    try:
        content = yaml.load(data.decode("utf-8"), _StrictLoader)
    except Exception as error:  # PyYAML meets a wrong value with half a dozen kinds of exception
        reason = getattr(error, "problem", None) or f"{error}".split("\n")[0][:200]
        reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else reason
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        raise ValueError(f"{where}: not valid YAML: {reason}") from None
    if not isinstance(content, dict | None):
        raise ValueError(f"{path}: must hold lines such as 'epochs: 3', got {content!r:.80}")
    return content or {}


class _StrictLoader(yaml.SafeLoader):
    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            self._refuse("an alias; write the value itself", self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                self._refuse(f"{key.value} is there twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)

    def _refuse(self, reason, where):
        raise yaml.constructor.ConstructorError(None, None, reason, where)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+\.?\d*[eE][-+]?\d+$"), [*"+-0123456789"]
)


def _bytes(path, what):
    """The contents of a file. A named pipe is refused: to open one may take for ever."""
    if Path(path).exists() and not Path(path).is_file():
        raise ValueError(f"{path}: must be a {what}, is no regular file")
    return Path(path).read_bytes()
