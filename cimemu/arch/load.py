"""Architecture files: YAML and overrides into an `Arch`, every mistake in one line."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from cimemu.arch.schema import Arch
from cimemu.errors import ArchError

MAX_BYTES = 1 << 20


def preset_folder() -> Path:
    """Folder of the architecture presets: inside the package, or beside it in a source checkout."""
    packaged = Path(__file__).parent.parent / "_presets" / "arch"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent.parent / "arch"


def list_archs() -> list[tuple[str, str]]:
    """(name, title) of every preset."""
    return [(path.stem, str(_read(path).get("title", ""))) for path in sorted(preset_folder().glob("*.yaml"))]


def load_arch(source: str | Path | Arch, overrides: Mapping[str, Any] | None = None) -> Arch:
    """The architecture `source`: a preset's name, a YAML file's path, or an Arch.

    `overrides` maps dotted keys to values (`{"macro.adc.bits": 6}`); a mapping replaces the whole sub-tree, and
    so does a new `model` of the converter, whose other fields then start from their defaults.
    Raises ArchError naming the file, the key, the value and the rule.
    """
    if isinstance(source, Arch):
        where, tree = source.name, source.model_dump(mode="python", exclude_unset=True)
    else:
        path = _find(source)
        where, tree = _shown(path), _read(path)
    for key, value in (overrides or {}).items():
        _override(tree, key, value, where)
    try:
        return Arch.model_validate(tree)
    except ValidationError as error:
        raise ArchError(f"{where}: {_one_line(error)}") from None


def parse_override(text: str) -> tuple[str, Any]:
    """`macro.adc.bits=6` as ("macro.adc.bits", 6); the value is YAML."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ArchError(f"--set {text}: must be KEY=VALUE, for example --set macro.adc.bits=6")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise ArchError(f"--set {text}: {value!r} is not YAML; quote strings, write lists as [1, 2]") from None


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.suffix in (".yaml", ".yml") or path.is_file() or len(path.parts) > 1:
        if not path.is_file():
            raise ArchError(f"{path}: no such architecture file; `cimemu list` shows the presets")
        return path
    preset = preset_folder() / f"{source}.yaml"
    if not preset.is_file():
        names = sorted(p.stem for p in preset_folder().glob("*.yaml"))
        raise ArchError(f"architecture {str(source)!r}: no such preset or file; presets: {', '.join(names)}")
    return preset


def _shown(path: Path) -> str:
    return f"arch/{path.name}" if path.parent == preset_folder() else str(path)


class _SafeLoader(yaml.SafeLoader):
    """Safe YAML without anchors (no entity bombs) and without duplicate keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
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


def _read(path: Path) -> dict[str, Any]:
    shown = _shown(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ArchError(f"{shown}: {path.stat().st_size} bytes, must be <= {MAX_BYTES}; is it an architecture file?")
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ArchError(f"{shown}: cannot be read as text: {error}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ArchError(f"{shown}: not valid YAML{line}: {problem}") from None
    if not isinstance(tree, dict):
        raise ArchError(f"{shown}: holds a {type(tree).__name__}, must be a mapping of keys (name, clock_ns, macro ...)")
    return tree


def _override(tree: dict[str, Any], dotted: str, value: Any, where: str) -> None:
    """Set one dotted key; unknown keys are found by the validation that follows."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    keys = dotted.split(".")
    node = tree
    for number, key in enumerate(keys[:-1]):
        below = node.get(key)
        if isinstance(below, str) and key == "adc":  # `adc: ideal` is short for a mapping
            below = {"model": below}
        if below is None:
            below = {}
        if not isinstance(below, dict):
            raise ArchError(
                f"{where}: override {dotted} = {value!r}: {'.'.join(keys[: number + 1])} = {below!r} has no keys below it"
            )
        node[key] = dict(below)
        node = node[key]
    if keys[-1] == "model" and node.get("model") != value:
        node.clear()
    node[keys[-1]] = value


def _one_line(error: ValidationError) -> str:
    """The first mistake as `key = value, rule`, and how many more there are."""
    errors = error.errors()
    first = errors[0]
    location = [str(part) for part in first["loc"]]
    # a discriminated union adds its tag to the location; it is no key of the file
    key = ".".join(part for i, part in enumerate(location) if not (i and location[i - 1] == "adc" and part in _TAGS))
    value = first.get("input")
    shown = repr(value) if not isinstance(value, dict) else "{...}"
    if len(shown) > 80:
        shown = shown[:77] + "..."
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    kind = first["type"]
    if kind == "extra_forbidden":
        return f"{key} = {shown}, no such key{_suggest(location)}{more}"
    if kind == "missing":
        return f"{key}: missing, give a value{more}"
    if kind.startswith("union_tag"):
        return f"{key} = {shown}, must have model: one of {', '.join(_TAGS)}{more}"
    if kind == "value_error":
        return f"{key + ': ' if key else ''}{first['ctx']['error']}{more}"
    return f"{key} = {shown}, {_rule(first)}{more}"


_TAGS = ("ideal", "linear", "nonlinear")


def _rule(error: Any) -> str:
    """pydantic's message as a rule: `must be >= 1`."""
    context = error.get("ctx", {})
    for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
        if name in context:
            return f"must be {sign} {context[name]}"
    if "expected" in context:
        return f"must be {context['expected']}"
    return str(error["msg"]).replace("Input should be", "must be")


def _suggest(location: list[str]) -> str:
    """Near or allowed keys beside a wrong one."""
    model: Any = Arch
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        model = None if field is None else field.annotation
        if not hasattr(model, "model_fields"):
            return ""
    known = sorted(model.model_fields)
    near = get_close_matches(location[-1], known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; allowed: {', '.join(known)}"
