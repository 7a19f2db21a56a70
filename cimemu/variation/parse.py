"""`MODEL:PARAM=VALUE,...` into variation models; a mistake is one line that names the choices."""

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import product
from typing import Any

from cimemu import plugins
from cimemu.config_file import validated
from cimemu.errors import ArchError, PluginError
from cimemu.variation.base import VariationBase
from cimemu.variation.devices import named

GROUP = "cimemu.variation"


def parse_points(text: str) -> tuple[str, dict[str, list[Any]]]:
    """`lognormal:sigma=0,0.1,0.2` as ("lognormal", {"sigma": [0, 0.1, 0.2]}).

    A piece without `=` is one more value of the parameter before it; lists stand in brackets. ArchError where the
    model or a parameter is unknown.
    """
    name, rest = parts(text)
    kind = _model(name, text)
    points: dict[str, list[Any]] = {}
    last = None
    for piece in _pieces(rest):
        key, sign, value = piece.partition("=")
        if sign:
            last = key.strip()
            if last in points:
                raise ArchError(f"--vary {text}: {last} given twice")
            _check_parameter(name, kind, last, text)
            points[last] = [_value(value)]
        elif last is None:
            raise ArchError(f"--vary {text}: {piece!r} must be PARAM=VALUE; {name} has {_parameters(kind)}")
        else:
            points[last].append(_value(piece))
    return name, points


def parts(text: str) -> tuple[str, str]:
    """The model's name in a text and what stands behind its colon; a name may be `FILE.py:Class`."""
    named = re.match(r"\s*(.*?\.py:[^:]*)(?::|$)(.*)", text, re.S)
    if named:
        return named[1].strip(), named[2]
    name, _, rest = text.partition(":")
    return name.strip(), rest


def choices(given: Any) -> list[VariationBase]:
    """All models that one entry of `vary` stands for: a text may give several values, a mapping or a model is one."""
    return variations_at(given) if isinstance(given, str) else [make_variation(given)]


def variations_at(text: str) -> list[VariationBase]:
    """All models that a text with several values a parameter spells out: the last parameter runs fastest."""
    name, points = parse_points(text)
    return [make_variation({"model": name, **dict(zip(points, values))}) for values in product(*points.values())]


def make_variation(given: Any) -> VariationBase:
    """A model from a text with one value a parameter, a mapping with `model`, or a model as it is."""
    if isinstance(given, VariationBase):
        problem = plugins.problem_of(type(given), plugins.KINDS[GROUP])
        if problem:
            raise PluginError(f"vary: {problem}")
        return given
    if isinstance(given, str):
        name, points = parse_points(given)
        for key, values in points.items():
            if len(values) > 1:
                raise ArchError(
                    f"--vary {given}: {key} has {len(values)} values, give one (cimemu stress runs through several)"
                )
        given = {"model": name, **{key: values[0] for key, values in points.items()}}
    if not isinstance(given, Mapping):
        shown = " ".join(repr(given).split())  # an array's text has several lines
        raise ArchError(f"vary: {shown:.80}, must be MODEL:PARAM=VALUE, a mapping with model, or a variation")
    name = str(given.get("model"))
    kind = _model(name, name)
    for key in given:
        if key != "model":
            _check_parameter(name, kind, str(key), name)
    parameters = {key: value for key, value in given.items() if key != "model"}
    made: VariationBase = validated(kind, parameters, f"--vary {name}", ArchError)
    return made


def make_variations(given: Iterable[Any]) -> tuple[VariationBase, ...]:
    """The models of a run, in order."""
    return tuple(make_variation(one) for one in named(given))


def spelled(model: VariationBase) -> str:
    """A model as `--vary` takes it, every parameter in full."""
    fields = [(k, v) for k, v in model.model_dump(mode="python").items() if k != "model" and v is not None]
    name = plugins.spelling(type(model), name_of(model))
    return ":".join([name, ",".join(f"{k}={_spell(v)}" for k, v in fields)])


def name_of(model: VariationBase) -> str:
    """The name that `--vary` takes."""
    return str(type(model).model_fields["model"].default)


def described(kind: type[VariationBase]) -> str:
    """A model's parameters with their defaults in one line, as `cimemu list` shows them."""
    shown = []
    for key, field in kind.model_fields.items():
        if key != "model":
            shown.append(key if field.is_required() else f"{key}={_spell(field.default)}")
    return " ".join(shown)


def _spell(value: Any) -> str:
    return f"[{','.join(_spell(v) for v in value)}]" if isinstance(value, list | tuple) else str(value)


def _model(name: str, text: str) -> type[VariationBase]:
    try:
        kind: type[VariationBase] = plugins.find(GROUP, name)
    except PluginError as error:
        raise PluginError(f"--vary {text}: {error}") from None
    except LookupError:
        known = plugins.names(GROUP)
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ArchError(
            f"--vary {text}: no model {name!r}; {hint}choose from {', '.join(known)}, or name a file's: FILE.py:Class"
        ) from None
    return kind


def _check_parameter(name: str, kind: type[VariationBase], key: str, text: str) -> None:
    if key == "model" or key not in kind.model_fields:
        raise ArchError(f"--vary {text}: {name} has no parameter {key!r}; it has {_parameters(kind)}")


def _parameters(kind: type[VariationBase]) -> str:
    return ", ".join(key for key in kind.model_fields if key != "model")


def _pieces(text: str) -> list[str]:
    """Comma-separated pieces, commas in brackets left alone."""
    pieces, depth, start = [], 0, 0
    for i, sign in enumerate(text):
        depth += (sign == "[") - (sign == "]")
        if sign == "," and depth == 0:
            pieces.append(text[start:i])
            start = i + 1
    return [piece.strip() for piece in [*pieces, text[start:]] if piece.strip()]


def _value(text: str) -> Any:
    """A number, list or truth value as JSON; anything else stays text."""
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()
