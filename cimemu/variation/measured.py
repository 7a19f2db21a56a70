"""Cells as they were measured: deviations from a file, by the level that was written."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from cimemu.kernels.noise import normal_quantiles
from cimemu.variation.base import Block, Owner, Per, Stream, VariationBase, per_field
from cimemu.variation.table import CELL_UNITS, Columns, Scale, open_table

QUANTILE = 2.0**-24  # of `normal_quantiles`
WIDE = re.compile(r"target[_ ]?([0-9.]+)(\w+)", re.I)  # a column a target: Target_100uS


@dataclass(frozen=True, eq=False)
class Table:
    """What was measured, in `unit`: targets in ascending order, mean and spread of the deviations from each, and the sorted
    deviations [cells] themselves where the file has cells."""

    unit: str
    targets: NDArray[np.float64]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    deviations: tuple[NDArray[np.float64], ...] | None


class Measured(VariationBase):
    """`level + (measured - target)` of a cell that was written to the nearest target; a conductance is never below 0.

    The file is a CSV with a row a measured cell and two columns whose names begin with `target` and `measured` and end with
    their unit: `target_level,measured_level`, or `target_uS,measured_uS` (S, mS, uS, nS). Levels 0 .. 2^cell.bits - 1 lie evenly
    between the conductances `low` and `high`, which are the lowest and highest target unless given. A file may also have a column
    a target (`target_100uS`), or mean and spread of every target (`target_uS,mean_uS,sigma_uS`).
    """

    model: Literal["measured"] = "measured"
    file: str = Field(
        description="CSV of measured cells: columns target_UNIT and measured_UNIT, or target_UNIT, mean_UNIT and sigma_UNIT; "
        "UNIT is level, S, mS, uS or nS"
    )
    draw: Literal["resample", "normal"] = Field(
        "resample",
        description="a measured deviation of that target by chance, or a normal number of its mean and spread",
    )
    low: float | None = Field(
        None, ge=0, description="conductance of level 0 in the file's unit; none: its lowest target"
    )
    high: float | None = Field(
        None, gt=0, description="conductance of the highest level in the file's unit; none: its highest target"
    )
    per: Per = per_field("write")

    draws_of: ClassVar[Owner | None] = None
    source: ClassVar[str] = "a file of measured cells"

    _table: "Table" = PrivateAttr()
    _scale: Scale = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Read the file once; its numbers go where the model goes, to other processes too."""
        self._table = table = read_measured(self.file)
        if table.deviations is None and self.draw == "resample":
            raise ValueError(f"draw = resample with {self.file}, which gives spreads and no cells; use draw=normal")
        self._scale = Scale.of(self.file, table.unit, table.targets, self.low, self.high)

    @property
    def is_identity(self) -> bool:
        """No measured cell is off its target."""
        return not (self._table.mean.any() or self._table.spread.any())

    def smallest(self, top: int) -> float | None:
        """The smallest spread of a target in level steps, or where none has a spread the smallest deviation."""
        for values in (self._table.spread, np.abs(self._table.mean)):
            if values.any():
                return float(values[values > 0].min()) / self._scale.step(top)
        return None

    def check(self, top: int) -> str | None:
        """Levels of the file are those that a cell can have."""
        return self._scale.check(self.file, top)

    def write(self, block: Block, stream: Stream) -> None:
        """One draw a cell, of the target that is nearest to its level; of two as near the lower one."""
        step, nearest = self._scale.step(block.top), self._scale.nearest(self._table.targets, block.top)
        lanes = stream.lanes(block, self.per).astype(np.int64)
        for level, target in enumerate(nearest.tolist()):
            mine = block.targets == level
            if mine.any():
                block.levels[mine] += self._drawn(lanes[mine], target) / step
        np.maximum(block.levels, 0.0, out=block.levels)

    def _drawn(self, lanes: NDArray[np.int64], target: int) -> NDArray[np.float64]:
        table = self._table
        if self.draw == "resample":
            assert table.deviations is not None
            found = table.deviations[target]
            taken: NDArray[np.float64] = found[(lanes * len(found)) >> 16]
            return taken
        made: NDArray[np.float64] = table.mean[target] + table.spread[target] * (normal_quantiles()[lanes] * QUANTILE)
        return made


def read_measured(file: str) -> Table:
    """What a CSV of measured cells holds. ValueError in one line where it is none."""
    return _table_of(open_table(file, "a CSV of measured cells"))


@lru_cache(maxsize=8)
def _table_of(columns: Columns) -> Table:
    file = columns.file
    wide = {name: found for name in columns.texts if (found := WIDE.fullmatch(name))}
    if len(wide) == len(columns.texts):
        target = np.repeat([float(found[1]) for found in wide.values()], len(columns.lines))
        return _cells(
            file, {found[2] for found in wide.values()}, target, np.concatenate([*map(columns.numbers, wide)])
        )
    names = {
        word: name
        for word in ("target", "measured", "mean", "sigma")
        if (name := columns.pick(word, CELL_UNITS)) is not None
    }
    units = {columns.units[name] for name in names.values()}
    values = {word: columns.numbers(name) for word, name in names.items()}
    if {"target", "measured"} <= set(values):
        return _cells(file, units, values["target"], values["measured"])
    if not {"target", "mean", "sigma"} <= set(values):
        raise ValueError(
            f"{file}: has columns {', '.join(columns.texts)[:80]}; must have target_UNIT and measured_UNIT (or target_UNIT, "
            "mean_UNIT and sigma_UNIT)"
        )
    order = np.argsort(values["target"])
    targets, mean, sigma = (values[word][order] for word in ("target", "mean", "sigma"))
    if len(np.unique(targets)) < len(targets):
        raise ValueError(f"{file}: a target stands twice, must have one mean and one spread")
    _refuse(file, units, targets, mean, sigma)
    return Table(units.pop(), targets, mean - targets, sigma, None)


def _cells(file: str, units: set[str], target: NDArray[np.float64], measured: NDArray[np.float64]) -> Table:
    """A row a cell."""
    _refuse(file, units, target, measured)
    targets = np.unique(target)
    deviations = tuple(np.sort(measured[target == t] - t) for t in targets)
    mean = np.array([float(d.mean()) for d in deviations])
    spread = np.array([float(d.std(ddof=1)) if len(d) > 1 else 0.0 for d in deviations])
    return Table(units.pop(), targets, mean, spread, deviations)


def _refuse(file: str, units: set[str], *values: NDArray[np.float64]) -> None:
    if len(units) != 1 or not units <= set(CELL_UNITS):
        raise ValueError(
            f"{file}: units {' and '.join(sorted(units))}, must be one of {', '.join(CELL_UNITS)}, the same in both columns"
        )
    if any((one < 0).any() for one in values):
        raise ValueError(f"{file}: a conductance is negative, must be 0 or more")
