"""Cells as they were measured: deviations from a file, by the level that was written."""

import csv
import io
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from cimemu.errors import ArchError
from cimemu.given_file import read_text
from cimemu.kernels.noise import normal_quantiles
from cimemu.variation.base import Block, Owner, Per, Stream, VariationBase, per_field

SIEMENS = {"S": 1.0, "mS": 1e-3, "uS": 1e-6, "nS": 1e-9}
MOST_BYTES = 1 << 26
QUANTILE = 2.0**-24  # of `normal_quantiles`


@dataclass(frozen=True)
class Table:
    """What was measured: targets in ascending order, and the sorted deviations [cells] of each, in `unit`."""

    unit: str
    targets: tuple[float, ...]
    sorted_deviations: tuple[tuple[float, ...], ...]

    @property
    def of_levels(self) -> bool:
        """Whether the unit is a level step, and no conductance."""
        return self.unit == "level"

    @cached_property
    def deviations(self) -> tuple[NDArray[np.float64], ...]:
        """The same as arrays."""
        return tuple(np.array(one) for one in self.sorted_deviations)


class Measured(VariationBase):
    """`level + (measured - target)` of a cell that was written to the nearest target; a conductance is never below 0.

    The file is a CSV with a row a measured cell and two columns whose names begin with `target` and `measured` and end with
    their unit: `target_level,measured_level`, or `target_uS,measured_uS` (S, mS, uS, nS). Levels 0 .. 2^cell.bits - 1 lie evenly
    between the conductances `low` and `high`, which are the lowest and highest target unless given.
    """

    model: Literal["measured"] = "measured"
    file: str = Field(
        description="CSV of measured cells: columns target_UNIT and measured_UNIT, UNIT level, S, mS, uS or nS"
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

    def model_post_init(self, context: Any) -> None:
        """Read the file once; its numbers go where the model goes, to other processes too."""
        self._table = read_measured(self.file)
        if self._table.of_levels and (self.low is not None or self.high is not None):
            raise ValueError(f"low and high with {self.file}, which gives levels: leave them out")
        if not self._table.of_levels and self._high <= self._low:
            raise ValueError(
                f"high = {self._high:g} {self._table.unit}, must be above low = {self._low:g}; give low and high"
            )

    @property
    def _low(self) -> float:
        return self._table.targets[0] if self.low is None else self.low

    @property
    def _high(self) -> float:
        return self._table.targets[-1] if self.high is None else self.high

    @property
    def is_identity(self) -> bool:
        """No measured cell is off its target."""
        return not any(deviations.any() for deviations in self._table.deviations)

    def smallest(self, top: int) -> float | None:
        """The smallest spread of a target in level steps, or where none has a spread the smallest deviation."""
        step = self._step(top)
        spreads = [float(d.std()) / step for d in self._table.deviations if d.std() > 0]
        return min(spreads or [float(np.abs(d[d != 0]).min()) / step for d in self._table.deviations if d.any()])

    def check(self, top: int) -> str | None:
        """Levels of the file are those that a cell can have."""
        if self._table.of_levels and (self._table.targets[-1] > top):
            return f"{self.file}: target {self._table.targets[-1]:g} is no level of the cell, must be in 0 .. {top}"
        return None

    def write(self, block: Block, stream: Stream) -> None:
        """One draw a cell, of the target that is nearest to its level; of two as near the lower one."""
        step, targets = self._step(block.top), np.array(self._table.targets)
        places = targets if self._table.of_levels else (targets - self._low) / step
        nearest = np.abs(places[None, :] - np.arange(block.top + 1)[:, None]).argmin(axis=1)
        lanes = stream.lanes(block, self.per).astype(np.int64)
        for level, target in enumerate(nearest):
            mine = block.targets == level
            if mine.any():
                block.levels[mine] += self._drawn(lanes[mine], self._table.deviations[target]) / step
        np.maximum(block.levels, 0.0, out=block.levels)

    def _drawn(self, lanes: NDArray[np.int64], deviations: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.draw == "resample":
            taken: NDArray[np.float64] = deviations[(lanes * len(deviations)) >> 16]
            return taken
        spread = float(deviations.std(ddof=1)) if len(deviations) > 1 else 0.0
        made: NDArray[np.float64] = float(deviations.mean()) + spread * (normal_quantiles()[lanes] * QUANTILE)
        return made

    def _step(self, top: int) -> float:
        """A level step in the file's unit."""
        return 1.0 if self._table.of_levels else (self._high - self._low) / top


def read_measured(file: str) -> Table:
    """What a CSV of measured cells holds. ValueError in one line where it is none."""
    try:
        text = read_text(Path(file), ArchError, "a CSV of measured cells", most=MOST_BYTES)
    except ArchError as error:
        raise ValueError(str(error)) from None
    return _parsed(text, file)


@lru_cache(maxsize=8)
def _parsed(text: str, file: str) -> Table:
    reader = csv.reader(io.StringIO(text.lstrip("\ufeff"), newline=""))
    heading = [name.strip() for name in next(reader, [])]
    columns = [
        next((i for i, name in enumerate(heading) if name.lower().startswith(word)), None)
        for word in ("target", "measured")
    ]
    if None in columns:
        raise ValueError(
            f"{file}: has columns {', '.join(heading)[:80] or '(none)'}; must have target_UNIT and measured_UNIT"
        )
    units = {re.split(r"[_\s\[(]", heading[i or 0].rstrip(")] "))[-1] for i in columns}
    if len(units) != 1 or not units <= {"level", *SIEMENS}:
        raise ValueError(
            f"{file}: units {' and '.join(sorted(units))}, must be one of level, {', '.join(SIEMENS)}, the same in both columns"
        )
    rows = []
    for number, row in enumerate(reader, start=2):
        if not any(cell.strip() for cell in row):
            continue
        try:
            rows.append([float(row[i or 0]) for i in columns])
        except (ValueError, IndexError):
            raise ValueError(f"{file}: line {number}: {','.join(row)[:60]!r} has no two numbers") from None
    if not rows:
        raise ValueError(f"{file}: has no measured cell, must have a row for each")
    made = np.array(rows, dtype=np.float64)
    if not np.isfinite(made).all() or (made < 0).any():
        raise ValueError(f"{file}: a conductance is negative or no number")
    targets = np.unique(made[:, 0])
    deviations = tuple(tuple(np.sort(made[made[:, 0] == t, 1] - t).tolist()) for t in targets)
    return Table(units.pop(), tuple(targets.tolist()), deviations)
