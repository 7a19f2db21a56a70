"""Counts of a matrix of analog cells that skips no step, by one product of what its wordlines are given."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.events import Counter
from cimemu.macro.counts import Activity, LineCounts, line_tables
from cimemu.macro.program import Matrix


@dataclass(frozen=True, eq=False)
class PlainCounts:
    """What `Activity.counts` and `count_cells` give for so many positions of an image, decided before the first image.

    Only of matrices whose counts stay below 2^54 whatever the inputs are.
    """

    fixed: NDArray[np.int64]  # [len(Counter)] whatever the inputs are
    weights: NDArray[np.int64]  # [K, 2] of a wordline: one, and the levels on it
    columns: int  # blocks of columns, times reads: each raises the wordlines
    used_columns: int

    @classmethod
    def of(
        cls, matrix: Matrix, activity: Activity, row_levels: NDArray[np.int64], used: int, positions: int
    ) -> "PlainCounts | None":
        """None where a count could reach 2^54. `used` are the columns that are read, `row_levels` [K] sums over these."""
        most = max(int(table.max()) for table in line_tables(matrix.macro)) * positions
        columns = len(matrix.layout.col_blocks) * matrix.macro.repair.reads
        if most * max(len(row_levels) * max(used, columns), int(np.abs(row_levels).sum())) >= 1 << 54:
            return None
        weights = np.stack([np.ones_like(row_levels), row_levels], axis=1)
        return cls(positions * (activity.each + activity.steps), weights, columns, used)

    def add(self, lines: LineCounts, counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Add to counts [images, len(Counter)]; (cells drawn, levels drawn) [images], as `CellCounts` holds them."""
        sums = lines.drawn @ self.weights
        drawn = sums[:, 0]
        raised = drawn if lines.raised is lines.drawn else lines.raised.sum(axis=1)
        counts += self.fixed
        counts[:, Counter.WORDLINES_RAISED] += raised * self.columns
        counts[:, Counter.WORDLINE_PULSES] += drawn * self.columns
        return drawn * self.used_columns, sums[:, 1]
