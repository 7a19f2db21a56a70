"""Reads of arrays whose rows are disconnected while they are not raised: each set of raised rows is solved by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.mapping.layout import Layout
from cimemu.variation.base import Block
from cimemu.variation.wires import raised_currents

Place = tuple[int, int]  # (row block, column block)


@dataclass(frozen=True, eq=False)
class GatedReads:
    """The blocks of one matrix, solved for the rows that a slice raises.

    A row of slice value v > 0 is driven with `(v + bow[v]) * amplitude`; a pulse DAC raises it for v pulses, each pulse
    another set of rows. A column's sum is rounded once, to a multiple of 2^-fraction_bits.
    """

    macro: Macro
    layout: Layout
    blocks: Mapping[Place, Block]

    def sums(self, piece: NDArray[Any], row_block: int, first: int) -> NDArray[np.int64]:
        """Sums of physical columns [P, C] x 2^fraction_bits, of slice values `piece` [P, n] on rows from `first` on.

        `first` counts from the first row of the block.
        """
        values, which = np.unique(np.asarray(piece, dtype=np.int64), axis=0, return_inverse=True)
        made = np.empty((len(values), self.layout.outputs * self.macro.columns_per_output), dtype=np.int64)
        for number, (start, stop) in enumerate(self.layout.col_blocks):
            block = self.blocks[row_block, number]
            columns = slice(start * self.macro.columns_per_output, stop * self.macro.columns_per_output)
            for row, value in zip(made[:, columns], values):
                row[:] = np.rint(self._currents(block, value, first) * 2.0**self.macro.cell.fraction_bits)
        return made[which.reshape(-1)]

    def _currents(self, block: Block, value: NDArray[np.int64], first: int) -> NDArray[np.float64]:
        """Column sums [C] of one block in level steps."""
        assert block.gated is not None
        rows = slice(first, first + len(value))
        drive, array = np.zeros(len(block.levels)), block.gated
        drive[rows] = np.where(value > 0, value + block.bow[value], 0.0) * block.amplitude[rows]
        match self.macro.input.dac:
            case "voltage":
                return raised_currents(array.levels, drive, array.wires)[array.columns]
            case "pulse":
                total = np.zeros(block.levels.shape[1])
                drive[rows] /= np.maximum(value, 1)
                for pulse in range(int(value.max(initial=0))):
                    drive[rows] *= value > pulse
                    total += raised_currents(array.levels, drive, array.wires)[array.columns]
                return total
            case "bits":
                total = np.zeros(block.levels.shape[1])
                drive[rows] /= np.maximum(value, 1)
                for bit in range(self.macro.input.dac_bits):
                    one = drive.copy()
                    one[rows] *= (value >> bit) & 1
                    total += 2.0**bit * raised_currents(array.levels, one, array.wires)[array.columns]
                return total
            case other:
                assert_never(other)


def gated_reads(macro: Macro, layout: Layout, blocks: Mapping[Place, Block]) -> GatedReads | None:
    """How the reads of written blocks are solved; None where they are sums of cells."""
    if all(block.gated is None for block in blocks.values()):
        return None
    return GatedReads(macro, layout, blocks)
