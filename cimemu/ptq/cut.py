"""Where the weights of a layer lie: the row block and the array of each, as the mapping cuts them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.errors import WorkloadError
from cimemu.mapping.layout import cut_layer


@dataclass(frozen=True, eq=False)
class Cut:
    """One layer's weights [N outputs, K inputs of a convolution group] on arrays."""

    block: NDArray[np.int64]  # [N, K] row block of every weight
    array: NDArray[np.int64]  # [N] column block, numbered over all units of the layer
    row_starts: tuple[int, ...]  # of the longest unit
    conversions: int  # per output
    kernel_area: int

    @property
    def blocks(self) -> int:
        """Row blocks."""
        return len(self.row_starts)

    def groups(self, granularity: str) -> NDArray[np.int64]:
        """A number per (output, row block), [N, blocks]: equal where a scale is shared."""
        outputs = len(self.array)
        n, b = np.arange(outputs)[:, None], np.arange(self.blocks)[None]
        if granularity == "layer":
            return np.zeros((outputs, self.blocks), dtype=np.int64)
        if granularity == "channel":
            return np.broadcast_to(n, (outputs, self.blocks)).copy()
        if granularity not in ("array", "column"):
            raise WorkloadError(f"granularity = {granularity!r}, must be layer, channel, array or column")
        return np.asarray((self.array[:, None] if granularity == "array" else n) * self.blocks + b)


def make_cut(groups: int, rows_per_group: int, outputs_per_group: int, kernel_area: int, macro: Macro) -> Cut:
    """The cut of a convolution (or product: one group, kernel_area 1) on `macro`."""
    outputs = groups * outputs_per_group
    block = np.zeros((outputs, rows_per_group), dtype=np.int64)
    array = np.zeros(outputs, dtype=np.int64)
    starts: tuple[int, ...] = (0,)
    arrays = 0
    cut = cut_layer(groups, rows_per_group, outputs_per_group, macro, kernel_area)
    for unit, layout in zip(cut.units, cut.layouts):
        edges = np.array([start for start, _ in layout.row_blocks])
        if len(edges) > len(starts):
            starts = tuple(int(edge) for edge in edges)
        for n in range(unit.out_start, unit.out_stop):
            first = (n // outputs_per_group) * rows_per_group - unit.row_start
            block[n] = np.searchsorted(edges, first + np.arange(rows_per_group), side="right") - 1
        for number, (a, b) in enumerate(layout.col_blocks):
            array[unit.out_start + a : unit.out_start + b] = arrays + number
        arrays += len(layout.col_blocks)
    return Cut(block, array, starts, macro.conversions_per_output, kernel_area)
