"""Noise of single reads as it was measured, by the level of the cell."""

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from cimemu.variation.base import Block, Owner, Stage, Stream, VariationBase
from cimemu.variation.table import CELL_UNITS, Columns, Scale, open_table
from cimemu.variation.thermal import column_sums

LEAST_READS = 2


class MeasuredReads(VariationBase):
    """A read of a column has the noise of its cells: normal, of variance `activity * sum of sigma(level)^2`.

    The file has columns `target_UNIT` and `sigma_UNIT`, or a row a read: `target_UNIT,measured_UNIT`, and `cell` where a target was
    read on several cells; the spread is that within a cell. A level has the spread of the nearest target.
    """

    model: Literal["measured_reads"] = "measured_reads"
    file: str = Field(
        description="CSV: target_UNIT and sigma_UNIT, or target_UNIT and measured_UNIT of many reads (and cell), UNIT as there"
    )
    low: float | None = Field(None, ge=0, description="conductance of level 0; none: the lowest target")
    high: float | None = Field(None, gt=0, description="conductance of the highest level; none: the highest target")
    activity: float = Field(
        0.5,
        ge=0,
        le=1,
        description="mean square of the driven slice values over their largest: what of a column is read",
    )

    stage: ClassVar[Stage] = "read"
    draws_of: ClassVar[Owner | None] = "nothing"
    behind_wires: ClassVar[bool] = True
    source: ClassVar[str] = "a file of measured reads"

    _targets: NDArray[np.float64] = PrivateAttr()
    _sigma: NDArray[np.float64] = PrivateAttr()
    _scale: Scale = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Read the file once."""
        columns = open_table(self.file, "a CSV of measured reads")
        unit, self._targets, self._sigma = _spreads(columns)
        self._scale = Scale.of(self.file, unit, self._targets, self.low, self.high)

    @property
    def is_identity(self) -> bool:
        """No read differs."""
        return self.activity == 0 or not self._sigma.any()

    def smallest(self, top: int) -> float | None:
        """The smallest spread of a cell that is driven."""
        return float(self._sigma[self._sigma > 0].min()) / self._scale.step(top)

    def check(self, top: int) -> str | None:
        """Levels of the file are those that a cell can have."""
        return self._scale.check(self.file, top)

    def write(self, block: Block, stream: Stream) -> None:
        """Every cell counts with the spread of the level that it was told; cells that hold nothing as level 0."""
        of_level = (self._sigma / self._scale.step(block.top))[self._scale.nearest(self._targets, block.top)]
        sigma = of_level[block.targets]
        block.reads.append((stream, self.activity * block.largest_input**2 * column_sums(sigma * sigma)))


def _spreads(columns: Columns) -> tuple[str, NDArray[np.float64], NDArray[np.float64]]:
    """(unit, targets in ascending order, standard deviation of the reads of a cell at each)."""
    file = columns.file
    names = {word: columns.pick(word, CELL_UNITS) for word in ("target", "sigma", "measured")}
    value = names["sigma"] or names["measured"]
    if names["target"] is None or value is None:
        raise ValueError(
            f"{file}: has columns {', '.join(columns.texts)[:80]}; must have target_UNIT and sigma_UNIT (or measured_UNIT)"
        )
    unit = columns.units[names["target"]]
    if columns.units[value] != unit:
        raise ValueError(f"{file}: units {unit} and {columns.units[value]}, must be the same in both columns")
    given, values = columns.numbers(names["target"]), columns.numbers(value)
    targets = np.unique(given)
    if names["sigma"] is not None:
        if len(targets) < len(given) or (values < 0).any():
            raise ValueError(f"{file}: a target stands twice, or a spread is negative; must have one of 0 or more each")
        return unit, targets, values[np.argsort(given)]
    cell = columns.numbers("cell") if "cell" in columns.texts else np.zeros(len(given))
    return unit, targets, np.array([_within(values[given == t], cell[given == t], file, t) for t in targets])


def _within(values: NDArray[np.float64], cell: NDArray[np.float64], file: str, target: float) -> float:
    """The standard deviation of reads around the mean of their cell, pooled over cells."""
    cells = np.unique(cell)
    if len(values) - len(cells) < LEAST_READS - 1:
        raise ValueError(
            f"{file}: target {target:g}: one read of each cell, must have {LEAST_READS} or more for a spread"
        )
    squares = sum(float(((values[cell == one] - values[cell == one].mean()) ** 2).sum()) for one in cells)
    return float(np.sqrt(squares / (len(values) - len(cells))))
