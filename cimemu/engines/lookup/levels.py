"""Nonlinear levels on no grid, by table look-up: ranks counted in registers, levels added as the specification orders."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.digits import Digits
from cimemu.engines.lookup.converters import Moved, code_digits, digit_tables, search_halves
from cimemu.engines.lookup.level_kernels import levels_by_bytes, levels_by_words
from cimemu.engines.units import Units
from cimemu.macro.program import Matrix

RANKS_BYTES = 1 << 19  # ranks of one block of positions and 32 columns stay in the second-level cache


@dataclass(frozen=True, eq=False)
class Summing:
    """What `add_levels` needs besides ranks."""

    blocks: NDArray[np.int64]  # [row blocks, 2] of groups
    masks: NDArray[np.uint8]  # [U, 4, 32]: the weight of each slice in every lane
    signed: bool
    levels: NDArray[np.float64]  # [row blocks, 1 or C, K] ascending, times the column's weight
    conversions: int
    columns: int

    def of_units(self, units: Units) -> "Summing":
        """With the masks of input slices in `units`."""
        weights = (units.weights * units.places[:, None]) & 255
        return replace(self, masks=np.repeat(weights.astype(np.uint8)[:, :, None], 32, axis=2))

    @property
    def numbers(self) -> tuple[Any, ...]:
        """As the kernels take it."""
        return self.blocks, self.masks, self.signed, self.levels, self.conversions, self.columns


def level_summing(matrix: Matrix, levels: NDArray[np.float64]) -> Summing | None:
    """The sums of `levels`, or None where the input's weights do not fit a byte or ranks not the cache."""
    weights = matrix.slice_weights
    low, high = int(np.minimum(weights, 0).sum()), int(np.maximum(weights, 0).sum())
    signed = low < 0
    groups = max(matrix.layout.groups_per_block)
    if low < -128 or high > (127 if signed else 255) or groups * len(weights) * 1024 > RANKS_BYTES:
        return None
    return Summing(
        blocks=matrix.block_groups,
        masks=np.zeros((0, 4, 32), dtype=np.uint8),
        signed=signed,
        levels=np.ascontiguousarray(levels),
        conversions=len(matrix.columns.weight),
        columns=matrix.seen_columns,
    )


def ranking(found: tuple[Any, ...], shifted: list[Moved], ranks: list[Digits], flush: int) -> tuple[Any, ...]:
    """The converter that gives ranks: (rules, tables) of bytes, (trees, bits, ranks of codes) of words."""
    if flush == 0:
        return digit_tables(shifted, ranks)
    table = code_digits(ranks)
    if not table.shape[1]:
        table = np.arange(256, dtype=np.uint8)[None, None]
    return search_halves(shifted), found[2], table


def add_levels_of(
    nibbles: NDArray[np.uint8],
    tables: tuple[Any, ...],
    spans: NDArray[np.int64],
    converter: tuple[Any, ...],
    noise: tuple[Any, ...] | None,
    summing: Summing,
    work: tuple[Any, ...],
    y: NDArray[Any],
) -> None:
    """Fill y [P, N]; tables = (low, high, flush), `work` = scratch of words (psums, places, words)."""
    slots = int((summing.blocks[:, 1] - summing.blocks[:, 0]).max()) * len(summing.masks)
    ranks = np.zeros((slots, len(work[0]), 4, 32), dtype=np.uint8)
    parts = (np.zeros(32, dtype=np.uint8), np.zeros(32, dtype=np.int32), np.zeros(32))
    value = np.zeros((y.shape[1], 32))
    made = y if y.dtype == np.float64 else np.empty(y.shape)  # integers too are summed as floats, exactly
    if tables[2] == 0:
        levels_by_bytes(nibbles, tables[0], spans, converter, summing.numbers, (ranks, parts, value), made)
    else:
        levels_by_words(nibbles, tables, spans, converter, noise, summing.numbers, (ranks, parts, value, *work), made)
    if made is not y:
        y[:] = made
