"""Ideal cell levels by one table of all weights, so that they are made where they are wanted and not kept.

A weight's levels are bytes of 64-bit words, looked up together. Sums of levels are sums of these words, as long as no byte
runs over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.encoding.base import Encoding

AT_ONCE_BYTES = 1 << 21  # of levels: they stay in the second-level cache
Inside = NDArray[np.bool_] | None  # [rows, outputs]: which entries are weights; the cells of others hold 0


@dataclass(frozen=True, eq=False)
class LevelTable:
    """`words` [numbers, W]: the levels of every weight, a byte each; a negative weight's row counts from the end."""

    words: NDArray[np.uint64]
    columns: int  # of an output
    top: int  # the largest level

    def levels(self, weights: NDArray[np.int16], inside: Inside) -> NDArray[np.uint8]:
        """uint8 [rows, N * columns] of weights [rows, N]."""
        rows, outputs = weights.shape
        made = np.empty((rows, outputs, self.columns), dtype=np.uint8)
        for part in self._parts(outputs, 0, rows):
            words = np.ascontiguousarray(self._words(weights[part], None if inside is None else inside[part]))
            made[part] = words.view(np.uint8)[:, :, : self.columns]
        return made.reshape(rows, -1)

    def sums(
        self, weights: NDArray[np.int16], inside: Inside, spans: Sequence[tuple[int, int]]
    ) -> tuple[NDArray[np.int64], int]:
        """(levels of every row added up [rows], the most that the levels of a column add up to in one of `spans` of rows)."""
        of_rows, most, outputs = np.zeros(len(weights), dtype=np.int64), 0, weights.shape[1]
        cuts = np.arange(0, outputs, 255 // self.top)
        for first, last in spans:
            of_columns = np.zeros((outputs, 8 * self.words.shape[1]), dtype=np.int64)
            for part in self._parts(outputs, first, last):
                words = self._words(weights[part], None if inside is None else inside[part])
                of_columns += np.ascontiguousarray(np.add.reduce(words, axis=0)).view(np.uint8)
                across = np.ascontiguousarray(np.add.reduceat(words, cuts, axis=1))
                of_rows[part] = across.view(np.uint8).sum(axis=(1, 2), dtype=np.int64)
            most = max(most, int(of_columns.max()))
        return of_rows, most

    def _words(self, weights: NDArray[np.int16], inside: Inside) -> NDArray[np.uint64]:
        """[rows, N, W]."""
        words = self.words[:, 0][weights][:, :, None] if self.words.shape[1] == 1 else self.words[weights]
        if inside is not None:
            words = words * inside[:, :, None]
        return words

    def _parts(self, outputs: int, first: int, last: int) -> list[slice]:
        """Rows first .. last - 1, so many at a time that no byte of their sum runs over."""
        fit = AT_ONCE_BYTES // (8 * self.words.shape[1] * outputs)
        step = max(1, min(255 // self.top, fit))
        return [slice(a, min(a + step, last)) for a in range(first, last, step)]


def level_table(macro: Macro) -> LevelTable:
    """The table of a macro's encoding."""
    return _table(macro.encoding, macro.weight.bits, macro.cell.bits, macro.columns_per_output)


@lru_cache(64)
def _table(encoding: Encoding, weight_bits: int, cell_bits: int, columns: int) -> LevelTable:
    stored = encoding.values(weight_bits)
    values = np.array(sorted({*stored, 0}), dtype=np.int16)  # off-block entries are 0, where that is no weight too
    words = -(-columns // 8)
    levels = np.zeros((1 + max(0, int(values[-1])) - min(0, int(values[0])), 8 * words), dtype=np.uint8)
    for column, digit in enumerate(encoding.digits(values, weight_bits, cell_bits)):
        levels[values, column] = digit
    return LevelTable(levels.view(np.uint64), columns, 2**cell_bits - 1)
