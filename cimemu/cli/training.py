"""The options of `cimemu adapt` that are settings: made from the fields of their models, whose bounds and words they have.

A field that names an `option` in its `json_schema_extra` (and perhaps a `short` one, a `metavar`, and the `least` of several
numbers) is an option. What the
command line gives stands under the field's dotted key in the context; no default is made here, since the file named by
`--config` or the model has it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, Signature
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand

from cimemu import bounds

GIVEN = "cimemu.settings"  # key of the context: what was given, by dotted key


@dataclass(frozen=True)
class SettingOption:
    """One field as an option."""

    key: str  # dotted
    names: tuple[str, ...]  # "--images", "-n"
    kinds: tuple[Any, ...]  # what its annotation is made of
    help: str
    metavar: str | None
    least: float
    most: float

    @property
    def several(self) -> bool:
        """Whether it may be given again for more."""
        return self.mapping or any(get_origin(kind) is tuple for kind in self.kinds)

    @property
    def mapping(self) -> bool:
        """Whether each is KEY=VALUE."""
        return get_origin(self.kinds[0]) is dict

    @property
    def kind(self) -> Any:
        """What one value is read as."""
        plain = {part for kind in self.kinds for part in (kind, *get_args(kind))}
        return str if self.mapping else next((kind for kind in (bool, int, float) if kind in plain), str)

    def checked(self, value: Any) -> None:
        """CimemuError, naming the option, for a number outside the field's bounds."""
        for one in value if isinstance(value, list | tuple) else [value]:
            if self.kind is int and one is not None:
                bounds.whole(self.names[0], one, int(self.least), int(self.most))
            if self.kind is float and one is not None:
                bounds.real(self.names[0], one, self.least, self.most)


class SettingsCommand(TyperCommand):
    """A command with the options of the settings beside its own. The models are imported when these are asked for."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The command's own parameters, those of the settings, and --help."""
        *own, last = super().get_params(ctx)
        return [*own, *_parameters(), last]


def parameters_of(command: Any) -> list[Any]:
    """A command's arguments and options, those of the settings among them, without --help."""
    return [*command.params, *(_parameters() if isinstance(command, SettingsCommand) else ())]


def given(context: typer.Context) -> dict[str, Any]:
    """What the command line gave, by dotted key: a value, or a list of texts or numbers."""
    return dict(context.meta.get(GIVEN, {}))


def changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given as changes of the config: KEY=VALUE texts are mappings, one number alone is no list."""
    from cimemu.arch.load import parse_override

    made: dict[str, Any] = {}
    for option in setting_options():
        if option.key not in given:
            continue
        value = given[option.key]
        if option.mapping:
            value = dict(parse_override(text) for text in value)
        elif option.several and option.kind in option.kinds and len(value) == 1:
            value = value[0]
        made[option.key] = value
    return made


@cache
def setting_options() -> tuple[SettingOption, ...]:
    """All options of the config's fields."""
    from cimemu.adapt.config import AdaptConfig

    return tuple(_options(AdaptConfig))


def _options(model: Any) -> Iterator[SettingOption]:
    """Breadth first: of two fields that name one option (`train` and a stage's own training) the outer one has it."""
    waiting, seen = [("", model)], {model}
    for prefix, kind in waiting:
        for name, field in kind.model_fields.items():
            parts = _parts(field.annotation)
            inner = next((part for part in parts if hasattr(part, "model_fields") and part not in seen), None)
            if inner is not None:
                seen.add(inner)
                waiting.append((f"{prefix}{name}.", inner))
            extra = field.json_schema_extra or {}
            if "option" in extra:
                limits = {
                    side: bound for part in field.metadata for side in ("ge", "gt", "le", "lt")
                    if (bound := getattr(part, side, None)) is not None
                }  # fmt: skip
                yield SettingOption(
                    key=prefix + name,
                    names=tuple(extra[key] for key in ("option", "short") if key in extra),
                    kinds=parts,
                    help=field.description,
                    metavar=extra.get("metavar") or _metavar(parts),
                    least=extra.get("least", limits.get("ge", limits.get("gt", 0))),
                    most=limits.get("le", limits.get("lt", 10**6)),
                )


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, without None; a plain annotation itself."""
    union = get_origin(annotation) not in (None, tuple, dict, list, Literal)
    return tuple(part for part in (get_args(annotation) if union else (annotation,)) if part is not type(None))


def _metavar(parts: tuple[Any, ...]) -> str | None:
    """How a value is written: the choices, KEY=VALUE, N, or as the command line says it for the kind."""
    if get_origin(parts[0]) is Literal:
        return "|".join(map(str, get_args(parts[0])))
    if get_origin(parts[0]) is dict:
        return "KEY=VALUE"
    return "N" if parts[0] is int else None


def settings_function() -> Callable[..., None]:
    """A function with an argument for each option, as typer makes options of."""

    def nothing(**_: Any) -> None:
        """Never called."""

    arguments = {f"setting_{number}": _annotation(option) for number, option in enumerate(setting_options())}
    signature = [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=a) for name, a in arguments.items()]
    nothing.__annotations__ = arguments
    nothing.__signature__ = Signature(signature)  # type: ignore[attr-defined]
    return nothing


@cache
def _parameters() -> tuple[Any, ...]:
    """The options as typer has them."""
    probe = typer.Typer(add_completion=False, rich_markup_mode=None)
    probe.command()(settings_function())
    made = tuple(typer.main.get_command(probe).params)
    for parameter in made:
        parameter.expose_value = False  # they stand in the context
    return made


def _annotation(option: SettingOption) -> Any:
    kind: Any = list[option.kind] if option.several else option.kind  # type: ignore[name-defined]
    return Annotated[
        kind | None, typer.Option(*option.names, metavar=option.metavar, help=option.help, callback=_kept(option))
    ]


def _kept(option: SettingOption) -> Callable[[typer.Context, Any], Any]:
    def kept(context: typer.Context, value: Any) -> Any:
        option.checked(value)
        if value is not None and value != [] and value != ():
            context.meta.setdefault(GIVEN, {})[option.key] = value
        return value

    return kept
