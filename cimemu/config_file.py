"""A YAML file into a pydantic model: safely, and every mistake in one line."""

from copy import deepcopy
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from cimemu.errors import CimemuError
from cimemu.given_file import read_text

MAX_BYTES = 1 << 20
Model = TypeVar("Model", bound=BaseModel)


class _SafeLoader(yaml.SafeLoader):
    """Safe YAML without anchors (no entity bombs) and without duplicate keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} given twice", key_node.start_mark)
            seen.add(key if isinstance(key, str) else repr(key))
        return super().construct_mapping(node, deep=deep)


class _PlainDumper(yaml.SafeDumper):
    """YAML without anchors, as the loader takes it."""

    def ignore_aliases(self, data: Any) -> bool:
        """No value is told by a reference to an earlier one."""
        return True


def yaml_text(tree: Any) -> str:
    """A tree as YAML that people edit: keys in their order, small mappings in one line."""
    return yaml.dump(tree, Dumper=_PlainDumper, sort_keys=False, default_flow_style=None, width=130, allow_unicode=True)


@lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    """The tree of a text; a sweep reads the same few files again and again, and parsing takes longer than the rest."""
    return yaml.load(text, Loader=_SafeLoader)


def read_mapping(path: Path, shown: str, what: str, error_type: type[CimemuError]) -> dict[str, Any]:
    """The mapping in a YAML file; `shown` names the file and `what` its kind in errors of `error_type`."""
    try:
        tree = deepcopy(_parsed(read_text(path, error_type, what, most=MAX_BYTES)))
    except CimemuError:
        raise
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, OverflowError, KeyError, AttributeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise error_type(f"{shown}: not valid YAML{line}: {problem}") from None
    if not isinstance(tree, dict):
        raise error_type(f"{shown}: holds a {type(tree).__name__}, must be {what}")
    return tree


def validated(model: type[Model], tree: Any, where: str, error_type: type[CimemuError]) -> Model:
    """`tree` as a `model`; an error names `where`, the key, the value and the rule."""
    try:
        made: Model = model.__pydantic_validator__.validate_python(tree)
        return made
    except ValidationError as error:
        raise error_type(f"{where}: {one_line(error, model)}") from None


def one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """The first mistake as `key = value, rule`, and how many more there are."""
    errors = error.errors()
    first = errors[0]
    location = [str(part) for part in first["loc"]]
    # a discriminated union adds its tag to the location; it is no key of the file
    key = ".".join(part for i, part in enumerate(location) if not _is_tag(location, i))
    value = first.get("input")
    shown = " ".join(repr(value).split()) if not isinstance(value, dict) else "{...}"
    if len(shown) > 80:
        shown = shown[:77] + "..."
    given = f"{key} = {shown}" if key else shown
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    kind = first["type"]
    if kind == "extra_forbidden":
        return f"{given}, no such key{_suggest(location, model)}{more}"
    if kind == "missing":
        return f"{key}: missing, give a value{more}"
    if kind.startswith("union_tag"):
        tags = str(first["ctx"].get("expected_tags", ", ".join(_TAGS))).replace("'", "")
        tag = str(first["ctx"].get("discriminator", "model")).strip("'")
        return f"{given}, must have {tag}: one of {tags}{more}"
    if kind == "value_error":
        return f"{key + ': ' if key else ''}{first['ctx']['error']}{more}"
    return f"{given}, {_rule(first)}{more}"


_TAGS = ("ideal", "linear", "nonlinear")


def _is_tag(location: list[str], index: int) -> bool:
    """Whether a part of an error's location is a union's tag and no key of the file."""
    before = location[index - 1] if index else ""
    return (before == "adc" and location[index] in _TAGS) or (before == "estimator" and index < len(location) - 1)


def _rule(error: Any) -> str:
    """pydantic's message as a rule: `must be >= 1`."""
    context = error.get("ctx", {})
    for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
        if name in context:
            return f"must be {sign} {context[name]}"
    if "expected" in context:
        return f"must be {context['expected']}"
    return str(error["msg"]).replace("Input should be", "must be")


def _suggest(location: list[str], root: type[BaseModel]) -> str:
    """Near or allowed keys beside a wrong one."""
    models: list[Any] = [root]
    for part in location[:-1]:
        tagged = [m for m in models if getattr(m.model_fields.get("model"), "default", None) == part]
        below = [m.model_fields[part].annotation for m in models if part in m.model_fields]
        models = tagged or [m for kind in below for m in _models(kind)]
    known = sorted({name for m in models for name in m.model_fields})
    near = get_close_matches(location[-1], known, n=1)
    if not known:
        return ""
    return f"; did you mean {near[0]}?" if near else f"; allowed: {', '.join(known)}"


def _models(kind: Any) -> list[type[BaseModel]]:
    """The models in an annotation, unions opened."""
    if isinstance(kind, type):
        return [kind] if issubclass(kind, BaseModel) else []
    return [model for part in get_args(kind) for model in _models(part)]


def parse_value(text: str) -> Any:
    """One value of a command line as YAML, numbers in any of their usual forms; ValueError where it is none."""
    try:
        made = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, OverflowError, KeyError, AttributeError):
        raise ValueError(f"{text!r} is not YAML; quote strings, write lists as [1, 2]") from None
    if isinstance(made, str):
        try:
            return float(made)  # YAML takes 1e-3 for text
        except ValueError:
            return made
    return made
