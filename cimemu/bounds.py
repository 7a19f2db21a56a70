"""Numbers that a user gives: each has a least and a largest value, and one line says which."""

import math
from typing import Any

from cimemu.errors import CimemuError

MOST_SEED = 2**63 - 1
MOST_TRIAL = 2**31 - 1
MOST_TRIALS = 10**6
MOST_IMAGES = 10**9
MOST_THREADS = 1024
MOST_CYCLE = 2**62


def whole(name: str, value: Any, least: int, most: int, error: type[CimemuError] = CimemuError) -> int:
    """`value` as an int in least .. most. Raises `error`, which names it."""
    number = getattr(value, "item", lambda: value)() if getattr(value, "ndim", None) == 0 else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise error(f"{name} = {_short(value)}, must be a whole number {least} .. {most}")
    if not least <= number <= most:
        rule = f">= {least}" if number < least else f"<= {most}"
        raise error(f"{name} = {_short(value)}, must be {rule}")
    return number


def real(name: str, value: Any, least: float, most: float, error: type[CimemuError] = CimemuError) -> float:
    """`value` as a finite float in least .. most. Raises `error`, which names it."""
    number = getattr(value, "item", lambda: value)() if getattr(value, "ndim", None) == 0 else value
    good = isinstance(number, int | float) and not isinstance(number, bool)
    if not good or math.isnan(number):
        raise error(f"{name} = {_short(value)}, must be a number {least:g} .. {most:g}")
    if not least <= number <= most:
        rule = f">= {least:g}" if number < least else f"<= {most:g}"
        raise error(f"{name} = {_short(value)}, must be {rule}")
    return float(number)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
