"""`--vary` and `--with` of sweep: keys and lists of values, and keys that vary together."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from cimemu.config_file import parse_value
from cimemu.errors import ArchError

Keys = str | tuple[str, ...]  # one key, or several that vary together


def key_values(texts: Sequence[str], option: str = "--vary") -> list[tuple[str, list[Any]]]:
    """`macro.adc.bits=4,5,6` as ("macro.adc.bits", [4, 5, 6]); values are YAML, split at commas outside brackets."""
    found: list[tuple[str, list[Any]]] = []
    for text in texts:
        key, sign, values = text.partition("=")
        if not sign or not key.strip() or not values.strip():
            raise ArchError(f"{option} {text}: must be KEY=V1,V2, for example {option} macro.adc.bits=4,5,6")
        if any(key.strip() == there for there, _ in found):
            raise ArchError(f"{option} {text}: {key.strip()} is given twice, give all its values in one {option}")
        found.append((key.strip(), [parsed(value, f"{option} {text}") for value in split(values)]))
    return found


def coupled(varied: Sequence[tuple[str, list[Any]]], texts: Sequence[str]) -> dict[Keys, list[Any]]:
    """What `--vary` and `--with` ask for: lists of values by key, of tuples of values by keys that vary together.

    `--with b=3,4` goes with the key that is varied over as many values; where there are several, `--with a:b=3,4` says which.
    """
    groups: dict[str, list[tuple[str, list[Any]]]] = {key: [(key, values)] for key, values in varied}
    taken = {key for key, _ in varied}
    for key, values in key_values(texts, "--with"):
        partner, colon, own = key.partition(":")
        own = own.strip() if colon else key
        given = f"--with {key}={','.join(map(str, values))}"
        if own in taken:
            raise ArchError(f"{given}: {own} is varied already, give it once")
        fitting = [name for name, group in groups.items() if len(group[0][1]) == len(values)]
        if colon and partner.strip() not in groups:
            raise ArchError(f"{given}: {partner} is not varied, give --vary {partner}=V1,V2")
        if colon:
            fitting = [name for name in fitting if name == partner.strip()]
        if not fitting:
            counts = ", ".join(f"{name} {len(group[0][1])}" for name, group in groups.items()) or "none"
            raise ArchError(f"{given}: has {len(values)} values, must be as many as a --vary has ({counts})")
        if len(fitting) > 1:
            raise ArchError(
                f"{given}: goes with {' or '.join(fitting)}, which have as many values; say which: "
                f"--with {fitting[0]}:{given.removeprefix('--with ')}"
            )
        groups[fitting[0]].append((own, values))
        taken.add(own)
    made: dict[Keys, list[Any]] = {}
    for group in groups.values():
        if len(group) == 1:
            made[group[0][0]] = group[0][1]
        else:
            made[tuple(key for key, _ in group)] = list(zip(*(values for _, values in group)))
    return made


def combination(keys: Sequence[Keys], values: Sequence[Any]) -> dict[str, Any]:
    """The values by key of one combination. ArchError where keys that vary together have another number of values."""
    point: dict[str, Any] = {}
    for key, value in zip(keys, values):
        if isinstance(key, str):
            point[key] = value
            continue
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != len(key):
            raise ArchError(f"vary: {', '.join(key)} = {value!r:.60}, must be {len(key)} values, one for each key")
        point.update(zip(key, value))
    return point


def all_combinations(vary: Mapping[Keys, Sequence[Any]]) -> tuple[dict[str, Any], ...]:
    """Every combination of the keys' values, the last key fastest."""
    return tuple(combination(list(vary), values) for values in itertools.product(*vary.values()))


def split(text: str) -> list[str]:
    """Pieces between commas that no bracket encloses."""
    pieces, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth == 0:
            pieces.append(text[start:place])
            start = place + 1
    return [*pieces, text[start:]]


def parsed(value: str, text: str) -> Any:
    """One value of `text`, an option as it was given."""
    try:
        return parse_value(value)
    except ValueError as error:
        raise ArchError(f"{text}: {error}") from None
