"""Keywords into the fields of records: the thin face of functions that take few records and many names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any

from cimemu.errors import CimemuError


def filled(door: str, given: Mapping[str, Any], *records: Any) -> tuple[Any, ...]:
    """`records` (dataclasses), in order, with every keyword given in the place of the field of its name.

    A keyword that several records have goes to each. Raises CimemuError for a keyword that none has, and what a record
    says of a value.
    """
    names = [[field.name for field in fields(record)] for record in records]
    for keyword in given:
        if not any(keyword in own for own in names):
            raise unknown(door, keyword, [name for own in names for name in own])
    return tuple(
        replace(record, **some) if (some := {name: given[name] for name in own if name in given}) else record
        for record, own in zip(records, names)
    )


def by_place(door: str, names: Sequence[str], places: Sequence[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` and the arguments given by place, which are called `names`. CimemuError for one too many or given twice."""
    if len(places) > len(names):
        raise CimemuError(f"{door}: {len(places) - len(names)} arguments too many, after {names[-1]} give keywords")
    placed = dict(zip(names, places))
    twice = [name for name in placed if name in given]
    if twice:
        raise CimemuError(f"{door}: {twice[0]} is given twice, by its place and by its name")
    return {**placed, **given}


def unknown(door: str, keyword: str, names: Iterable[str]) -> CimemuError:
    """There is no such keyword; the nearest one that there is."""
    names = sorted(set(names))
    near = get_close_matches(keyword, names, 1, 0.5)
    advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    return CimemuError(f"{door}: there is no argument {keyword}, {advice}")
