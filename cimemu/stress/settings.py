"""What a stress run draws: every combination of the models' values, and the calibrations that are compared."""

import itertools
from collections.abc import Sequence
from math import prod
from typing import Any

from cimemu.arch.schema import Arch
from cimemu.errors import CimemuError
from cimemu.variation.base import VariationBase
from cimemu.variation.compose import compose
from cimemu.variation.devices import named
from cimemu.variation.parse import choices

MOST_POINTS = 100_000


def settings(arch: Arch, vary: Sequence[Any]) -> list[tuple[VariationBase, ...]]:
    """Every combination of the models' values. CimemuError where one is none for the arch's cells."""
    if not vary:
        raise CimemuError("stress: nothing to vary, give at least one model, for example lognormal:sigma=0,0.1")
    at = [choices(given) for given in named(vary)]
    if prod(map(len, at)) > MOST_POINTS:
        raise CimemuError(f"stress: {prod(map(len, at))} points, must be <= {MOST_POINTS}; give fewer values")
    found = list(itertools.product(*at))
    for setting in found:
        compose(setting).check(2**arch.macro.cell.bits - 1)
    return found


def by_calibration(drawn: Sequence[tuple[VariationBase, ...]]) -> dict[str, list[tuple[VariationBase, ...]]]:
    """The settings by what tells their calibrations apart: schemes that are compared on the same chips. One: named ""."""
    found: dict[tuple[VariationBase, ...], list[tuple[VariationBase, ...]]] = {}
    for setting in drawn:
        found.setdefault(tuple(m for m in setting if m.stage == "calibration"), []).append(setting)
    if len(found) == 1:
        return {"": list(drawn)}
    fields = [way[0].model_dump() for way in found]
    telling = [name for name in fields[0] if any(other[name] != fields[0][name] for other in fields)]
    return {
        " ".join(str(given[name]) if name in ("what", "at") else f"{name}={given[name]}" for name in telling): chips
        for given, chips in zip(fields, found.values())
    }
