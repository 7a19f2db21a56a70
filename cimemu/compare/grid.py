"""The grid: schemes times the values of dotted keys, of the scheme (`converter.bits`) or of the arch (`arch.macro.rows`)."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cimemu.arch.load import parse_override
from cimemu.errors import ArchError, WorkloadError
from cimemu.ptq.scheme import Scheme, scheme_of

MOST_POINTS = 10_000


@dataclass(frozen=True)
class Axis:
    """One dotted key and its values."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Point:
    """One cell of the grid."""

    scheme: Scheme
    settings: tuple[tuple[str, str], ...]  # axis key, value as text: what names the row
    overrides: tuple[tuple[str, Any], ...]  # of the arch

    @property
    def key(self) -> tuple[str, ...]:
        """What tells rows apart."""
        return (self.scheme.name, *(value for _, value in self.settings))


def parse_axis(text: str) -> Axis:
    """`converter.bits=3,4,5` as an Axis; values are YAML."""
    try:
        key, value = parse_override(text)
    except ArchError as error:
        raise WorkloadError(str(error).replace("--set", "--vary")) from None
    parts = value if isinstance(value, list) else str(value).split(",") if isinstance(value, str) else [value]
    values = tuple(parse_override(f"x={part}")[1] if isinstance(part, str) else part for part in parts)
    if not values or any(v is None or v == "" for v in values):
        raise WorkloadError(f"--vary {text}: an empty value, write KEY=V1,V2")
    if len(set(map(str, values))) < len(values):
        raise WorkloadError(f"--vary {text}: a value is given twice")
    return Axis(key, values)


def grid_points(schemes: Sequence[Scheme], axes: Sequence[Axis], base: Mapping[str, Any]) -> list[Point]:
    """Every scheme with every combination of values; the last axis runs fastest. `base` are overrides of the arch."""
    total = len(schemes)
    for axis in axes:
        total *= len(axis.values)
    if total > MOST_POINTS:
        raise WorkloadError(f"the grid has {total} points, at most {MOST_POINTS}: give fewer values")
    if len({axis.key for axis in axes}) < len(axes):
        raise WorkloadError("--vary: the same key twice, give all its values at once")
    points = []
    for scheme in schemes:
        for values in itertools.product(*(axis.values for axis in axes)):
            named = [(axis.key, value) for axis, value in zip(axes, values)]
            changes = {key: value for key, value in named if not key.startswith("arch.")}
            arch = {key.removeprefix("arch."): value for key, value in named if key.startswith("arch.")}
            points.append(
                Point(
                    scheme=scheme_of(scheme, changes),
                    settings=tuple((key, str(value)) for key, value in named),
                    overrides=tuple({**base, **arch}.items()),
                )
            )
    return points
