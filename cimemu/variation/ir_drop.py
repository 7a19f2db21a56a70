"""IR drop: the resistance of wordline and bitline segments, as effective cells."""

from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cimemu.kernels.wires import fit_columns, solve_lines
from cimemu.variation.base import Block, Stream, VariationBase

PARTS, SWEEPS = 4, 8


class IrDrop(VariationBase):
    """A linear network: with all other wordlines at 0 V a column current is the sum of a share of each raised row.

    So IR drop is a matrix of effective levels, exact in principle for any input. It is computed in three steps: each
    wordline as a ladder loaded by its cells, each bitline likewise (their product is the share of a cell), then the
    rows of each quarter of the array are scaled so that, raised together, they give the column currents that eight
    sweeps of alternating wordline and bitline solves settle on. Column 0 is next to the drivers, row 0 next to the
    converters; a block's wires begin at its macro's edge, cells of other blocks do not load them.
    """

    model: Literal["ir_drop"] = "ir_drop"
    segment_ohm: float = Field(ge=0, le=1e6, description="resistance of the wire between two cells, in ohm")
    on_ohm: float = Field(1e5, gt=0, description="resistance of a cell at the highest level, in ohm")
    wordline_ohm: float | None = Field(None, ge=0, le=1e6, description="of wordline segments, where they differ")
    bitline_ohm: float | None = Field(None, ge=0, le=1e6, description="of bitline segments, where they differ")

    source: ClassVar[str] = "A. Chen, IEEE Trans. Electron Devices 60 (2013) 1318 (array model with line resistance)"

    @property
    def is_identity(self) -> bool:
        """Wires without resistance."""
        return self.wires == (0.0, 0.0)

    @property
    def wires(self) -> tuple[float, float]:
        """Segment resistance of wordlines and bitlines."""
        word = self.segment_ohm if self.wordline_ohm is None else self.wordline_ohm
        bit = self.segment_ohm if self.bitline_ohm is None else self.bitline_ohm
        return word, bit

    def write(self, block: Block, stream: Stream) -> None:
        """Effective levels in the place of the written ones."""
        block.levels[:] = self.effective(block.levels, block.top, block.first_column)

    def effective(self, levels: NDArray[np.float64], top: int, first_column: int = 0) -> NDArray[np.float64]:
        """Effective levels [R, C] of cells `levels` [R, C]."""
        word, bit = (ohm / (self.on_ohm * top) for ohm in self.wires)  # conductance of a level step x segment
        rows, columns = levels.shape
        across = np.ascontiguousarray(levels.T * word)  # [C, R] loads of wordlines
        down = levels * bit  # [R, C] loads of bitlines
        edge = 1.0 / (1 + first_column)
        share = _voltages(across, None, np.ones(rows), edge).T if word else np.ones((rows, columns))
        made = np.ascontiguousarray(levels * share)
        if not bit:
            return made
        made *= _voltages(down, None, np.ones(columns), 1.0)
        if not word:
            return made
        cuts = [rows * part // PARTS for part in range(PARTS + 1)]
        for first, stop in pairwise(cuts):
            if stop > first:
                raised = np.zeros(rows)
                raised[first:stop] = 1.0
                fit_columns(made, first, stop, _currents(across, down, raised, edge) / bit)
        return made


def _currents(
    across: NDArray[np.float64], down: NDArray[np.float64], raised: NDArray[np.float64], edge: float
) -> NDArray[np.float64]:
    """Column currents [C], in units of a bitline segment's conductance, by sweeps over wordlines and bitlines."""
    bitlines = np.zeros_like(down)
    still = np.zeros(down.shape[1])
    for _ in range(SWEEPS):
        wordlines = _voltages(across, across * bitlines.T, raised, edge)
        bitlines = _voltages(down, down * wordlines.T, still, 1.0)
    return bitlines[0]


def _voltages(
    loads: NDArray[np.float64], inject: NDArray[np.float64] | None, drive: NDArray[np.float64], first: float
) -> NDArray[np.float64]:
    voltages, factors = np.empty_like(loads), np.empty_like(loads)
    solve_lines(loads, np.zeros_like(loads) if inject is None else inject, drive, first, factors, voltages)
    return voltages
