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
            guards = {
                ("guard", n, j): 0 for n in range(layout.outputs) for j in range(macro.weight.guard_columns)
            }  # no weight, but an input that changes
            self.cells.append(held | guards | ({} if reference is None else self._ones(k, *reference)))

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
        """`value` pulses, each up and down, or `value` in bits that stand until the next slice, or one bit after the other."""
        match self.macro.input.dac:
            case "pulse":
                self.inputs += 2 * value
                self.products += 2 * value * bin(level).count("1")
            case "voltage":
                self._stand(cell, value, level)
            case "bits":
                for bit in range(self.macro.input.dac_bits):
                    self._stand(cell, value >> bit & 1, level)
            case other:
                assert_never(other)

    def _stand(self, cell: Any, value: int, level: int) -> None:
        """`value` stands at the cell until something else does."""
        self.inputs += bin(self.given.get(cell, 0) ^ value).count("1")
        self.products += bin(self.product.get(cell, 0) ^ value * level).count("1")
        self.given[cell], self.product[cell] = value, value * level


class HeldLines:
    """The wordlines of a matrix whose drivers hold, and the bits that changed on them so far."""

    def __init__(self, macro: Macro, layout: Layout) -> None:
        """All at 0."""
        self.macro, self.layout = macro, layout
        self.image: int | None = None
        self.given: dict[int, int] = {}
        self.changes = 0

    def step(self, image: int, block: int, first: int, piece: Sequence[int]) -> None:
        """The rows `first` .. of a row block are given `piece`, its other rows 0. An image begins with zeros."""
        if image != self.image:
            self.image, self.given = image, {}
        for k in range(*self.layout.row_blocks[block]):
            value = piece[k - first] if first <= k < first + len(piece) else 0
            bits = [value >> bit & 1 for bit in range(self.macro.input.dac_bits)]
            for given in {"voltage": [value], "bits": bits}[self.macro.input.dac]:
                self.changes += bin(self.given.get(k, 0) ^ given).count("1")
                self.given[k] = given
