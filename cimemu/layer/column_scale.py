"""Weight scales finer than an output channel: a factor per row block and converted column, and what it costs.

Integers of different row blocks (arrays) then stand for different real weights, so the digital unit multiplies a
column's shift-added value before it adds row blocks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GRANULARITIES = ("layer", "array", "column")


@dataclass(frozen=True, eq=False)
class ColumnScale:
    """Factors of a macro layer's weights, relative to the scale that its output stage has anyway.

    The real weight is `scale * sum of its slices + offset`, in units of the output stage's weight scale. `scale`
    float64 > 0 [row blocks, outputs * conversions per output] runs over converted columns as converter grids do;
    `offset` float64 [row blocks, outputs] is added to every weight of a row block (binary weights between two real
    values), None: nothing. `row_starts` are the first input rows of the row blocks of one convolution group's unit:
    a macro that cuts rows elsewhere is refused. `granularity` says over what a scale is shared (layer, array or
    column), `slices` whether weight slices have scales of their own.
    """

    scale: NDArray[np.float64]
    offset: NDArray[np.float64] | None
    row_starts: tuple[int, ...]
    granularity: str = "column"
    slices: bool = False

    def part(self, outputs: slice, conversions: int) -> "ColumnScale":
        """The part of one unit of outputs."""
        columns = slice(outputs.start * conversions, outputs.stop * conversions)
        return ColumnScale(
            scale=self.scale[:, columns],
            offset=None if self.offset is None else self.offset[:, outputs],
            row_starts=self.row_starts,
            granularity=self.granularity,
            slices=self.slices,
        )


def multiplications(outputs: int, row_blocks: int, conversions: int, *, weights: str, slices: bool, psums: str) -> int:
    """Scale multiplications of one output position (ColumnQuant, cimemu docs quantisation; S = `conversions`, G = `row_blocks`).

    `OC` where one constant serves all columns of an output (it is the requantisation's own), `G * OC` where each
    array has one, `S * G * OC` where columns of one output and array differ: converter scales per column, whatever
    the weights' granularity, because the two fold into one constant a column.
    """
    by_block = "array" in (weights, psums) or "column" in (weights, psums)
    by_slice = slices or psums == "column"
    return outputs * (row_blocks if by_block else 1) * (conversions if by_slice else 1)
