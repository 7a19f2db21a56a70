"""Digital cells step by step, from the definition: what stands on every cell, and which bits change."""

from collections.abc import Sequence
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.mapping.layout import Layout

Groups = tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]  # convolution group of every row, of every output


class DigitalState:
    """The products of a matrix's cells, and the bits that changed so far."""

    def __init__(
        self,
        macro: Macro,
        layout: Layout,
        columns: Sequence[Sequence[Sequence[int]]],
        unit: int,
        reference: Groups | None,
    ) -> None:
        """`columns[k][n][s]` are levels times `unit`; `reference` gives the groups where there are reference columns."""
        self.macro, self.layout = macro, layout
        self.image: int | None = None
        self.given: dict[Any, int] = {}
        self.product: dict[Any, int] = {}
        self.inputs = self.products = 0
        top = 2**macro.cell.bits - 1
        self.cells: list[dict[Any, int]] = []  # by row: whole level of every cell
        for k, row in enumerate(columns):
            held = {
                (n, s): min(top, max(0, round(v / unit))) for n, output in enumerate(row) for s, v in enumerate(output)
            }
            self.cells.append(held | ({} if reference is None else self._ones(k, *reference)))

    def _ones(self, k: int, row_group: NDArray[np.int64] | None, out_group: NDArray[np.int64] | None) -> dict[Any, int]:
        """Row k's cells of the reference columns: one for every column block and convolution group in it."""
        if row_group is None or out_group is None:
            return {("reference", b): 1 for b in range(len(self.layout.col_blocks))}
        return {
            ("reference", b, kind): int(row_group[k] == kind)
            for b, (start, stop) in enumerate(self.layout.col_blocks)
            for kind in {int(g) for g in out_group[start:stop]}
        }

    def step(self, image: int, block: int, first: int, piece: Sequence[int]) -> None:
        """The rows `first` .. of a row block are given `piece`, its other rows 0. An image begins with zeros."""
        if image != self.image:
            self.image, self.given, self.product = image, {}, {}
        for k in range(*self.layout.row_blocks[block]):
            value = piece[k - first] if first <= k < first + len(piece) else 0
            for cell, level in self.cells[k].items():
                self._drive((k, cell), value, level)

    def _drive(self, cell: Any, value: int, level: int) -> None:
        """`value` pulses, each up and down, or `value` in bits that stand until the next slice."""
        match self.macro.input.dac:
            case "pulse":
                self.inputs += 2 * value
                self.products += 2 * value * bin(level).count("1")
            case "voltage":
                self.inputs += bin(self.given.get(cell, 0) ^ value).count("1")
                self.products += bin(self.product.get(cell, 0) ^ value * level).count("1")
                self.given[cell], self.product[cell] = value, value * level
            case other:
                assert_never(other)
