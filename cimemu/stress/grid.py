"""`--vary` of sweep: keys and lists of values."""

from collections.abc import Sequence
from typing import Any

from cimemu.config_file import parse_value
from cimemu.errors import ArchError


def key_values(texts: Sequence[str]) -> list[tuple[str, list[Any]]]:
    """`macro.adc.bits=4,5,6` as ("macro.adc.bits", [4, 5, 6]); values are YAML, split at commas outside brackets."""
    found: list[tuple[str, list[Any]]] = []
    for text in texts:
        key, sign, values = text.partition("=")
        if not sign or not key.strip() or not values.strip():
            raise ArchError(f"--vary {text}: must be KEY=V1,V2, for example --vary macro.adc.bits=4,5,6")
        if any(key.strip() == there for there, _ in found):
            raise ArchError(f"--vary {text}: {key.strip()} is given twice, give all its values in one --vary")
        found.append((key.strip(), [parsed(value, text) for value in split(values)]))
    return found


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
    """One value of `--vary text`."""
    try:
        return parse_value(value)
    except ValueError as error:
        raise ArchError(f"--vary {text}: {error}") from None
