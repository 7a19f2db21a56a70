"""The frozen pydantic base of everything that a user writes in YAML."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from cimemu.config_file import one_line
from cimemu.errors import CimemuError

MOST_REAL = 1e30  # of any quantity in the units of the field's name: beyond it nothing is meant
MOST_WHOLE = 2**63 - 1

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass as _Meta
else:

    class _Meta(type(BaseModel)):
        """Makes a mistake in `Model(...)` a CimemuError, as in `Model.model_validate(...)`."""

        def __call__(cls, *args, **keys):
            """A new record. Fields that are records themselves are made by pydantic, not through here."""
            try:
                return super().__call__(*args, **keys)
            except ValidationError as error:
                raise cls.mistake(error) from None


class Record(BaseModel, metaclass=_Meta):
    """A frozen record that refuses unknown keys, and numbers that no quantity has."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, protected_namespaces=())
    problem: ClassVar[type[CimemuError]] = CimemuError  # what a mistake in such a record is

    may_be_infinite: ClassVar[frozenset[str]] = frozenset()  # fields whose meaning has a limit at infinity

    @model_validator(mode="before")
    @classmethod
    def _no_number_is_yes_or_no(cls, data: Any) -> Any:
        """`true` is no 1: a key that has no yes and no is not given one (YAML reads `yes` and `on` as true, too)."""
        for name, value in data.items() if isinstance(data, Mapping) else ():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and not _has_bool(field.annotation):
                raise ValueError(f"{name} = {str(value).lower()}, must be {_kind(field.annotation)}, not yes or no")
        return data

    @field_validator("*")
    @classmethod
    def _numbers_are_meant(cls, value: Any, info: ValidationInfo) -> Any:
        """Every number, or each of several, is finite (where its field does not allow infinity itself) and of a size."""
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, int) and not -MOST_WHOLE <= one <= MOST_WHOLE:
                raise ValueError(f"{one!r:.40} has more than 63 bits, give a smaller number")
            if isinstance(one, float) and (math.isnan(one) or MOST_REAL < abs(one) < math.inf):
                raise ValueError(f"{one!r} is no quantity, must be between -1e30 and 1e30")
            if isinstance(one, float) and math.isinf(one) and info.field_name not in cls.may_be_infinite:
                raise ValueError(f"{one!r} must be a finite number")
        return value

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """The record of a mapping, as of the YAML. Raises a CimemuError that names key, value and rule."""
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise cls.mistake(error) from None

    @classmethod
    def model_validate_json(cls, json_data: Any, **options: Any) -> Self:
        """The record of a JSON text. Raises a CimemuError that names key, value and rule."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError as error:
            raise cls.mistake(error) from None

    @classmethod
    def mistake(cls, error: ValidationError) -> CimemuError:
        """The first mistake in one line."""
        return cls.problem(f"{cls.__name__}: {one_line(error, cls)}")


class Grown(Record):
    """A record some of whose keys are in a dump only where they say something: dumps from before they came are what they were."""

    later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_what_says_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return self.spoken(handler(self))

    def spoken(self, made: dict[str, Any]) -> dict[str, Any]:
        """A dump without its later keys that hold their defaults."""
        fields = type(self).model_fields
        silent = {name for name in self.later if getattr(self, name) == fields[name].default}
        return {key: value for key, value in made.items() if key not in silent}


def _has_bool(kind: Any) -> bool:
    return kind in (bool, Any) or any(_has_bool(part) for part in get_args(kind))


def _kind(kind: Any) -> str:
    """What a field takes, in a word."""
    parts = _parts(kind)
    return "a number" if parts & {int, float} else "a text" if str in parts else "of the field's own kind"


def _parts(kind: Any) -> set[Any]:
    """The types that an annotation is made of."""
    inner = [part for part in get_args(kind) if isinstance(part, type) or get_args(part)]
    return {kind, *inner, *(one for part in inner if get_args(part) for one in _parts(part))}
