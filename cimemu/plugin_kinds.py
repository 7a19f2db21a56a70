"""The kinds of plug-ins: for each its entry-point group, what is built in, and what a class of it must be."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One kind of thing that others may add: its entry-point group, what is built in, and what a class of it must be."""

    group: str
    what: str  # in words, for messages
    built_in: str  # "module:NAME" of the mapping from names to classes
    base: str  # "module:Class" that classes of this kind derive from; it has `plugin_group`
    tag: str  # the attribute, or the pydantic field's default, that names a class
    needs: tuple[str, ...] = ()  # what a class must define; the base's own definition does not count
    needs_of: str = ""  # "module:function" that says what a class must define besides, by the class


KINDS: Mapping[str, Kind] = {
    kind.group: kind
    for kind in (
        Kind(
            "cimemu.adc",
            "converter",
            "cimemu.adc:MODELS",
            "cimemu.adc.base:ConverterBase",
            "model",
            ("thresholds", "levels"),
        ),
        Kind("cimemu.command", "subcommand", "cimemu.cli:commands", "cimemu.bases:Command", "name", ("run",)),
        Kind(
            "cimemu.cost",
            "estimator",
            "cimemu.cost.schema:MODELS",
            "cimemu.cost.site:Estimator",
            "model",
            ("estimate",),
        ),
        Kind("cimemu.export", "exporter", "cimemu.views.export:SUFFIXES", "cimemu.bases:Exporter", "name", ("write",)),
        Kind(
            "cimemu.operator",
            "operator",
            "cimemu.importer.from_onnx:OPERATORS",
            "cimemu.layer.operator:Operator",
            "operator",
            ("infer", "forward"),
        ),
        Kind(
            "cimemu.encoding",
            "encoding",
            "cimemu.encoding:BUILT_IN",
            "cimemu.encoding.base:Encoding",
            "name",
            ("summary", "values"),
        ),
        Kind(
            "cimemu.variation",
            "variation",
            "cimemu.variation:MODELS",
            "cimemu.variation.base:VariationBase",
            "model",
            needs_of="cimemu.variation.base:verbs",
        ),
    )
}


def built_in(group: str) -> Mapping[str, Any]:
    """What cimemu itself has in `group`, by name."""
    found = _attribute(KINDS[group].built_in)
    ours: Mapping[str, Any] = found() if callable(found) else found
    return ours


def name_of(kind: Any, of: Kind) -> str:
    """The name that a class has in its group."""
    field = getattr(kind, "model_fields", {}).get(of.tag)
    return str(getattr(kind, of.tag, "") if field is None else field.default)


def problem_of(found: Any, of: Kind) -> str | None:
    """What keeps `found` from being a class of kind `of`, with the remedy; None where nothing does."""
    base: type = _attribute(of.base)
    if not (isinstance(found, type) and issubclass(found, base)):
        shown = getattr(found, "__name__", repr(found)[:40])
        return f"{shown} is no {of.what}, derive it from cimemu.extend.{base.__name__.removesuffix('Base')}"
    needs = (*of.needs, *(_attribute(of.needs_of)(found) if of.needs_of else ()))
    lacking = [need for need in needs if not _defines(found, need, base)]
    if lacking:
        return f"{of.what} {found.__name__} lacks {', '.join(lacking)}; define it (see cimemu.extend)"
    if not name_of(found, of):
        return f"{of.what} {found.__name__} has no name, give it {of.tag}"
    if name_of(found, of) in built_in(of.group) and found is not built_in(of.group)[name_of(found, of)]:
        return f"its {of.what} {name_of(found, of)!r} has the name of one of cimemu itself; rename it"
    return None


def _defines(found: Any, need: str, base: type) -> bool:
    """Whether a class has an attribute or a field of that name which is not the base's own."""
    if need in getattr(found, "model_fields", {}):
        return True
    mine = getattr(found, need, None)
    return mine is not None and mine is not getattr(base, need, None)


def _attribute(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
