"""The edge of the public interface: a wrong argument, and what the machine refuses, is a CimemuError in one line."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, Unpack, get_args, get_origin, get_type_hints

from cimemu.errors import CimemuError
from cimemu.keywords import unknown

REFUSED = (OSError, UnicodeError, OverflowError, RecursionError)
_CONTAINERS = (Mapping, Sequence, Iterable)


def guarded(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """`function` under its public name: arguments are held to their annotations, and errors are CimemuErrors."""
    signature = inspect.signature(function)
    kinds: dict[str, Any] = {}
    named = {p.name for p in signature.parameters.values() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    packed = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD), "")

    @wraps(function)
    def call(*args: Any, **keys: Any) -> Any:
        if not kinds:
            hints = _hints(function)
            kinds.update(hints | _keywords(hints.get(packed)))
            named.update(_keywords(hints.get(packed)))
        if wrong := keys.keys() - named:
            raise unknown(name, min(wrong), named)
        bound = signature.bind(*args, **keys).arguments  # one missing, or one too many: TypeError
        for argument, value in {**bound, **bound.pop(packed, {})}.items():
            kind = kinds.get(argument, Any)
            if not fits(value, kind):
                shown = (
                    repr(value) if len(repr(value)) <= 60 and "\n" not in repr(value) else f"a {type(value).__name__}"
                )
                raise CimemuError(f"{name}: {argument} = {shown}, must be {described(kind)}")
        try:
            return function(*args, **keys)
        except REFUSED as error:
            raise CimemuError(f"{name}: {' '.join(str(error).split())[:300] or type(error).__name__}") from error

    call.__module__, call.__qualname__ = "cimemu", name  # so that it is pickled under the name that it is reached by
    return call


def fits(value: Any, kind: Any) -> bool:
    """Whether `value` is of the annotated kind; what is inside of containers and arrays is the function's own to check."""
    origin = get_origin(kind)
    if kind is Any or isinstance(kind, str):
        return True
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in get_args(kind))
    if origin is Literal:
        return value in get_args(kind)
    if origin in _CONTAINERS or kind in _CONTAINERS:
        return isinstance(value, origin or kind) and not isinstance(value, str | bytes)
    if origin is Callable or kind is Callable:
        return callable(value)
    if kind in (None, NoneType):
        return value is None
    number = value.item() if getattr(value, "ndim", None) == 0 else value
    if kind is bool:
        return isinstance(number, bool)
    if kind is int:
        return isinstance(number, int) and not isinstance(number, bool)
    if kind is float:
        return isinstance(number, int | float) and not isinstance(number, bool)
    if kind is str:
        return isinstance(value, str)
    if kind is Path:
        return isinstance(value, str | Path)
    return isinstance(value, kind) if inspect.isclass(kind) and kind.__module__.startswith("cimemu") else True


def described(kind: Any) -> str:
    """The kind in words."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(described(part) for part in get_args(kind)))
    if origin is Literal:
        return ", ".join(map(repr, get_args(kind)))
    words: dict[Any, str] = {
        None: "None",
        NoneType: "None",
        bool: "True or False",
        int: "a whole number",
        float: "a number",
    }
    words |= {str: "a text", Path: "a path", Mapping: "a mapping", Sequence: "a list", Iterable: "several of them"}
    words |= {Callable: "a function"}
    plain = origin or kind
    return words.get(plain) or f"a cimemu {getattr(plain, '__name__', plain)}"


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of the arguments; names that exist for the type checker alone are left unchecked."""
    try:
        return get_type_hints(function)
    except NameError:
        return {"": Any}


def _keywords(kind: Any) -> dict[str, Any]:
    """The keywords that `**given: Unpack[Keywords]` stands for, with their annotations."""
    return get_type_hints(get_args(kind)[0]) if get_origin(kind) is Unpack else {}


__all__ = ["described", "fits", "guarded"]
