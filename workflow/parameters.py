"""Parameters of a notebook, read from its `parameters` cell, and values for them, checked.

Everything here happens before a kernel starts; no value is ever run as code.
Every refusal is a ValueError whose text starts with the file or the parameter's name.
"""

import ast
import json
import stat
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
    if Path(path).suffix != ".ipynb":
        raise ValueError(f"{path}: not the name of a notebook, it must end in .ipynb")
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
    cells = [
        (cell.source, cell.metadata.get("tags", []))
        for cell in read_notebook(path).cells
        if cell.cell_type == "code"
    ]
    if any("injected-parameters" in tags for _, tags in cells):
        raise ValueError(f"{path}: an executed copy; run the notebook that it was made from")
    tagged = [source for source, tags in cells if "parameters" in tags]
    if len(tagged) != 1:
        raise ValueError(f"{path}: {len(tagged)} cells are tagged 'parameters', must be one")
    try:
        statements = ast.parse(tagged[0]).body
    except SyntaxError as error:
        raise ValueError(f"{path}: parameters cell, line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # a NUL, brackets without end
        raise ValueError(f"{path}: parameters cell: not Python: {error}") from None
    found = {}
    for statement in statements:
        try:
            name, parameter = _parameter(statement)
        except (ValueError, TypeError) as error:
            where = f"{path}: parameters cell, line {statement.lineno}"
            raise ValueError(f"{where}: {error}") from None
        if name in found:
            raise ValueError(f"{path}: parameters cell: {name} is there twice")
        found[name] = parameter
    return found


def given(path, files=(), pairs=()):
    """{name: value} for the notebook at `path`: first the YAML files, then the (name, text) pairs.

    A later file overrides an earlier one, and a pair overrides every file. Unknown names, wrong
    types, repeated names and, for a notebook of helpers.params, values out of range raise
    ValueError.
    """
    known, values, seen = declared(path), {}, set()
    for file in files:
        for name, value in read_yaml(file).items():
            if name not in known:
                raise ValueError(f"{file}: {params.unknown(name, known, path)}")
            values[name] = _typed(f"{file}: {name}", value, known[name].kind)
    for name, word in pairs:
        if name not in known:
            raise ValueError(params.unknown(name, known, path))
        if name in seen:
            raise ValueError(f"{name}: given twice")
        seen.add(name)
        values[name] = _typed(name, word, known[name].kind, word=True)
    if Path(path).stem in params.CONFIGS:
        every = {name: parameter.default for name, parameter in known.items()} | values
        params.check_run(Path(path).stem, every)
    return values


def read_yaml(path):
    """The mapping in a YAML file (JSON is one too): the safe loader's, without its surprises.

    A repeated key, of which that loader keeps the last, and an alias, of which a few lines can
    stand for gigabytes, raise ValueError.
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
            event = self.peek_event()
            self._refuse(f"*{event.anchor}: an alias; write the value itself", event)
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        keys = [str(key.value) for key, _ in node.value]
        for place, (key, _) in enumerate(node.value):
            if keys[place] in keys[:place]:
                self._refuse(f"{keys[place]} is there twice", key)
        return super().construct_mapping(node, deep)

    def _refuse(self, reason, where):
        raise yaml.constructor.ConstructorError(None, None, reason, where.start_mark)


def _bytes(path, what):
    """The contents of a file. A named pipe is refused: to open one may take for ever."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise ValueError(f"{path}: must be a {what}, is no regular file")
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such {what}") from None


def _parameter(statement):
    plain = isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    if not plain or statement.value is None:
        raise ValueError(f"must read 'name: type = value', got {ast.unparse(statement)!r:.80}")
    name, kind = statement.target.id, ast.unparse(statement.annotation)
    if kind not in KINDS:
        raise ValueError(f"{name} must be one of {', '.join(KINDS)}, got {kind}")
    return name, Parameter(kind, _typed(name, ast.literal_eval(statement.value), kind))


def _typed(name, value, kind, word=False):
    """The value, which must be of that kind: 1 is a fine float, "64" and True are no ints.

    A word of the command line is read as that kind first. So is text where a float is due: YAML
    1.1 takes 1e-4, without a point, for text.
    """
    adapter, wanted = KINDS[kind]
    try:
        read = word or kind == "float" and isinstance(value, str)
        return adapter.validate_python(_read(value, kind) if read else value)
    except (ValueError, RecursionError):
        raise ValueError(f"{name} must be {wanted}, got {params.shown(value)}") from None


def _read(word, kind):
    if kind == "str":
        return word
    if not word.isascii() or "_" in word or word != word.strip():
        raise ValueError  # Python would take 1_0 for 10
    return (float if kind == "float" else json.loads)(word.lower())
