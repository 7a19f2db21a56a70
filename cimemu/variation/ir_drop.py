"""IR drop: the resistance of wordline and bitline segments."""

from typing import ClassVar, Literal, assert_never

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cimemu.variation.base import Block, GatedArray, Owner, Stage, Stream, VariationBase
from cimemu.variation.wires import Wires, exact_shares, fast_shares

Floats = NDArray[np.float64]


class IrDrop(VariationBase):
    """Wires with resistance. Column 0 is next to the drivers, row 0 next to the converters.

    `rows: grounded`: wordlines that are not raised are held at 0 V, the array is linear in its inputs, and IR drop is a
    matrix of effective levels: `solver: exact` is nodal analysis of every row, `fast` an approximation for many raised
    rows. `rows: gated`: cells of rows that are not raised are disconnected (by their transistors), each set of raised
    rows is another array: `exact` solves each set as it is read, `fast` takes effective levels for a share `activity`
    of raised rows. The wires are those of the whole macro, with all bitlines held at 0 V: cells of other blocks load
    them, and cells that hold no weight as level 0 does.
    """

    model: Literal["ir_drop"] = "ir_drop"
    segment_ohm: float = Field(ge=0, le=1e6, description="resistance of the wire between two cells, in ohm")
    on_ohm: float = Field(1e5, gt=0, description="resistance of a cell at the highest level, in ohm")
    wordline_ohm: float | None = Field(None, ge=0, le=1e6, description="of wordline segments, where they differ")
    bitline_ohm: float | None = Field(None, ge=0, le=1e6, description="of bitline segments, where they differ")
    rows: Literal["grounded", "gated"] = Field(
        "grounded", description="cells of rows that are not raised: between 0 V and the bitline, or disconnected"
    )
    solver: Literal["exact", "fast"] = Field(
        "exact",
        description="nodal analysis, or an approximation (grounded: for many raised rows; gated: for `activity`)",
    )
    activity: float = Field(
        0.5, ge=0, le=1, description="gated: share of the rows raised together; not for exact values"
    )

    draws_of: ClassVar[Owner | None] = "nothing"
    stage: ClassVar[Stage] = "wires"
    source: ClassVar[str] = "A. Chen, IEEE Trans. Electron Devices 60 (2013) 1318 (array model with line resistance)"

    @property
    def is_identity(self) -> bool:
        """Wires without resistance."""
        return self.wires == (0.0, 0.0)

    def smallest(self, top: int) -> float | None:
        """Near cells lose very little, and far ones keep very little: all the fraction bits there are."""
        return 2.0**-11

    @property
    def solves_reads(self) -> bool:
        """Whether every read is solved by itself."""
        return self.rows == "gated" and self.solver == "exact"

    @property
    def wires(self) -> tuple[float, float]:
        """Segment resistance of wordlines and bitlines."""
        word = self.segment_ohm if self.wordline_ohm is None else self.wordline_ohm
        bit = self.segment_ohm if self.bitline_ohm is None else self.bitline_ohm
        return word, bit

    def write(self, block: Block, stream: Stream) -> None:
        """Effective levels in the place of the written ones."""
        word, bit = (ohm / (self.on_ohm * block.on_steps) for ohm in self.wires)  # x conductance of a level step
        wires, rows, columns = Wires(word, bit), len(block.levels), block.levels.shape[1]
        own = slice(block.first_column, block.first_column + columns)
        if block.array is None:
            wires, own = Wires(word, bit, word_lead=1.0 + block.first_column), slice(0, columns)
        array = block.levels.copy() if block.array is None else _conducting(block.array, rows, own.stop)
        if self.solves_reads:
            block.gated = GatedArray(np.ascontiguousarray(array[:rows]), wires, own)
        block.levels[:] = self.effective(array, wires, rows, block.active_rows)[:, own]

    def effective(self, levels: Floats, wires: Wires, rows: int, active_rows: int) -> Floats:
        """Effective levels [rows, C] of the first rows of cells `levels` [R, C]."""
        match self.rows:
            case "grounded":
                return {"exact": exact_shares, "fast": fast_shares}[self.solver](levels, wires)[:rows]
            case "gated":
                return self._gated(levels, wires, rows, active_rows)
            case other:
                assert_never(other)

    def _gated(self, levels: Floats, wires: Wires, rows: int, active_rows: int) -> Floats:
        """Those of rows that are raised with their own group alone."""
        made = np.empty((rows, levels.shape[1]))
        for first in range(0, rows, active_rows):  # rows of other groups are disconnected while one is raised
            group = slice(first, min(first + active_rows, rows))
            near = Wires(wires.word, wires.bit, wires.word_lead, wires.bit_lead + first)
            made[group] = exact_shares(np.ascontiguousarray(levels[group]), near, self.activity)
        return made


def _conducting(array: Floats, rows: int, columns: int) -> Floats:
    """`array` without the far rows and columns that conduct nothing; the first `rows` and `columns` stay."""
    used_rows, used_columns = np.flatnonzero(array.any(axis=1)), np.flatnonzero(array.any(axis=0))
    last_row = max(rows, int(used_rows[-1]) + 1 if len(used_rows) else 0)
    last_column = max(columns, int(used_columns[-1]) + 1 if len(used_columns) else 0)
    return np.ascontiguousarray(array[:last_row, :last_column])
