"""The public names as a page tells them: signature, text and example, taken from the source (`cimemu.printed`)."""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib import import_module
from typing import Any

import cimemu

WIDTH = 100  # characters of a signature that stands in one line


def entries() -> Iterator[str]:
    """A section of Markdown for every name of `cimemu.__all__`, functions first, then classes, then errors."""
    for name in sorted(filter(lambda name: name != "__version__", cimemu.__all__), key=_rank):
        value = inspect.unwrap(getattr(cimemu, name))
        yield "\n\n".join([f"## `{name}`", f"```python\n{signature(value)}\n```", *_paragraphs(value)])


def signature(value: Any) -> str:
    """The call as the source spells it: `name(argument: kind = default, ...) -> kind`; of an error, what it derives from."""
    node = _definition(value)
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return _joined(node.name, list(_arguments(node.args)), returns)
    if issubclass(value, Exception):
        return f"{node.name}({', '.join(ast.unparse(base) for base in node.bases)})"
    return _joined(node.name, list(_fields(node, keywords=not is_dataclass(value))), "")


def _rank(name: str) -> tuple[int, str]:
    value = getattr(cimemu, name)
    if not inspect.isclass(value):
        return 0, name
    return (2 if issubclass(value, Exception) else 1), name


def _definition(value: Any) -> ast.FunctionDef | ast.ClassDef:
    """The node of the function or class in the file that defines it."""
    tree = ast.parse(inspect.getsource(import_module(value.__module__)))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return next(node for node in found if node.name == value.__name__)


def _arguments(given: ast.arguments) -> Iterator[str]:
    """Every argument with its kind and default, `*` where keywords begin."""
    missing = len(given.args) - len(given.defaults)
    for number, argument in enumerate(given.args):
        yield _argument(argument, given.defaults[number - missing] if number >= missing else None)
    if given.vararg:
        yield f"*{_argument(given.vararg, None)}"
    elif given.kwonlyargs:
        yield "*"
    for argument, default in zip(given.kwonlyargs, given.kw_defaults):
        yield _argument(argument, default)
    if given.kwarg:
        yield f"**{_argument(given.kwarg, None)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    return f"{argument.arg}{kind}" + (f" = {ast.unparse(default)}" if default is not None else "")


def _fields(node: ast.ClassDef, keywords: bool) -> Iterator[str]:
    """Every field of a record with its kind and default, `...` where a function makes the default."""
    if keywords:
        yield "*"
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and "ClassVar" not in ast.unparse(line.annotation):
            default = _default(line.value)
            kind = f"{ast.unparse(line.target)}: {ast.unparse(line.annotation)}"
            yield kind + (f" = {default}" if default else "")


def _default(value: ast.expr | None) -> str:
    """The default behind a field as text, "" where it must be given; `Field(1, ...)` stands for 1."""
    if not isinstance(value, ast.Call):
        return "" if value is None else ast.unparse(value)
    if value.args:
        return ast.unparse(value.args[0])
    return "..." if any(keyword.arg == "default_factory" for keyword in value.keywords) else ""


def _joined(name: str, parts: list[str], returns: str) -> str:
    line = f"{name}({', '.join(parts)}){returns}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), f"){returns}"])


def _paragraphs(value: Any) -> Iterator[str]:
    """The text, with its examples as fenced blocks."""
    for paragraph in re.split(r"\n\n+", inspect.cleandoc(value.__doc__ or "")):
        yield f"```pycon\n{paragraph}\n```" if paragraph.startswith(">>>") else paragraph
