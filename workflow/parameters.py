"""Parameters of a notebook, read from its `parameters` cell, and values for them, checked.

Everything here happens before a kernel starts; no value is ever run as code.
Every refusal is a ValueError whose text starts with the file or the parameter's name.
"""

import ast
import difflib
import json
import math
import re
from pathlib import Path
from typing import NamedTuple

import nbformat
import yaml

KINDS = ("int", "float", "str", "bool", "list[int]")


class Parameter(NamedTuple):
    """One line of a `parameters` cell."""

    kind: str  # one of KINDS
    default: object


def read_notebook(path):
    """The notebook at `path`, version 4; ValueError if it is none."""
    if Path(path).suffix != ".ipynb":
        raise ValueError(f"{path}: not the name of a notebook, it must end in .ipynb")
    try:
        notebook = nbformat.reads(Path(path).read_text(encoding="utf-8"), as_version=4)
        nbformat.validate(notebook)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such notebook") from None
    except OSError:
        raise
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
        (cell, set(cell.metadata.get("tags", [])))
        for cell in read_notebook(path).cells
        if cell.cell_type == "code"
    ]
    if any("injected-parameters" in tags for _, tags in cells):
        raise ValueError(f"{path}: an executed copy; run the notebook that it was made from")
    tagged = [cell.source for cell, tags in cells if "parameters" in tags]
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
        name, parameter = _parameter(path, statement)
        if name in found:
            raise ValueError(f"{path}: parameters cell: {name} is there twice")
        found[name] = parameter
    return found


def given(path, files=(), pairs=()):
    """{name: value} for the notebook at `path`: first the YAML files, then the (name, text) pairs.

    A later file overrides an earlier one, and a pair overrides every file. Unknown names, wrong
    types, repeated names and values out of range (helpers.params) raise ValueError.
    """
    known = declared(path)
    values = {}
    for file in files:
        for name, value in read_yaml(file).items():
            _check_name(f"{file}: {name}", name, known, path)
            values[name] = _from_yaml(f"{file}: {name}", value, known[name].kind)
    seen = set()
    for name, text in pairs:
        _check_name(name, name, known, path)
        if name in seen:
            raise ValueError(f"{name}: given twice")
        seen.add(name)
        values[name] = _from_text(name, text, known[name].kind)
    check_ranges(path, {name: parameter.default for name, parameter in known.items()} | values)
    return values


def check_ranges(path, values):
    """Refuse what the notebook's own config would refuse; notebooks without one pass."""
    from helpers import params  # here, so that other notebooks can be run without it

    if Path(path).stem in params.CONFIGS:
        params.check_run(Path(path).stem, values)


def read_yaml(path):
    """The mapping in a YAML file (JSON is one too), by the safe loader made stricter.

    A repeated key, an alias, and a number that is not plainly decimal raise ValueError.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _StrictLoader)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file of parameters") from None
    except OSError:
        raise
    except Exception as error:  # PyYAML meets a wrong value with half a dozen kinds of exception
        reason = getattr(error, "problem", None) or f"{error}".split("\n")[0][:200]
        reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else reason
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        raise ValueError(f"{where}: not valid YAML: {reason}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold lines such as 'epochs: 3', got {content!r:.80}")
    return content


class _StrictLoader(yaml.SafeLoader):
    """The safe loader without its surprises.

    By itself it keeps the last of two equal keys, reads 010 as 8 and 1:30 as 90 (YAML 1.1), and
    follows aliases, of which a few lines can stand for gigabytes.
    """

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            self._refuse(f"*{event.anchor}: an alias; write the value itself", event.start_mark)
        return super().compose_node(parent, index)

    def construct_yaml_int(self, node):
        if not re.fullmatch(r"[-+]?(0|[1-9][0-9]{0,99})", str(node.value)):
            self._refuse(f"{node.value!r:.80} is no plain decimal number", node.start_mark)
        return int(node.value)

    def construct_yaml_float(self, node):
        if re.search("[_:]", str(node.value)):
            self._refuse(f"{node.value!r:.80} is no plain decimal number", node.start_mark)
        return super().construct_yaml_float(node)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                self._refuse(f"{key.value} is there twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)

    def _refuse(self, reason, mark):
        raise yaml.constructor.ConstructorError(None, None, reason, mark)


for kind in ("int", "float"):
    _StrictLoader.add_constructor(
        f"tag:yaml.org,2002:{kind}", getattr(_StrictLoader, f"construct_yaml_{kind}")
    )


def _parameter(path, statement):
    plain = isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    if not plain or statement.value is None:
        raise ValueError(
            f"{path}: parameters cell, line {statement.lineno}: must read 'name: type = value', "
            f"got {ast.unparse(statement)!r:.80}"
        )
    name, kind = statement.target.id, ast.unparse(statement.annotation)
    if kind not in KINDS:
        raise ValueError(f"{path}: {name} must be one of {', '.join(KINDS)}, got {kind}")
    try:
        default = _from_yaml(name, ast.literal_eval(statement.value), kind)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: parameters cell, line {statement.lineno}: {error}") from None
    return name, Parameter(kind, default)


def _check_name(where, name, known, path):
    if name in known:
        return
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    raise ValueError(f"{where}: no parameter of {path}; {hint}")


def _from_text(name, text, kind):
    """A value typed on the command line."""
    try:
        if kind in ("int", "float") and (not text.isascii() or "_" in text):
            raise _wrong(name, kind, text)  # Python would take 1_0 for 10
        if kind == "int":
            return int(text)
        if kind == "float":
            return _finite(name, float(text))
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        if kind == "list[int]":
            return _from_yaml(name, json.loads(text), kind)
    except (KeyError, ValueError, RecursionError):
        raise _wrong(name, kind, text) from None
    return _writable(name, text)


def _from_yaml(name, value, kind):
    """A value that has a type already. 1 is a fine float; "64" and True are no ints."""
    if kind == "float":
        if isinstance(value, str):  # YAML 1.1 reads 1e-4, without a point, as text
            return _from_text(name, value, kind)
        if type(value) in (int, float):
            return _finite(name, value)
    elif kind == "list[int]":
        if type(value) is list and all(type(item) is int for item in value):
            return value
    elif type(value).__name__ == kind:
        return _writable(name, value) if kind == "str" else value
    raise _wrong(name, kind, value)


def _finite(name, value):
    try:
        if math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise _wrong(name, "float", value)


def _writable(name, text):
    """Bytes that are no text reach Python as lone surrogates, which no notebook can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} must be text in UTF-8, got {text!r:.80}") from None
    return text


def _wrong(name, kind, value):
    wanted = {
        "int": "int, such as 3",
        "float": "float, finite, such as 1e-3",
        "str": "str (in YAML: in quotes)",
        "bool": "True or False",
        "list[int]": "list[int], such as [16, 22, 34]",
    }
    return ValueError(f"{name} must be {wanted[kind]}, got {value!r:.80}")
