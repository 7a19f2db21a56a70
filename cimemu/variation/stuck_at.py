"""Cells that cannot be written: stuck at their lowest or highest conductance."""

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from cimemu.kernels.small import find_stuck, stick
from cimemu.variation.base import WORD, Block, Owner, Stream, VariationBase


class StuckAt(VariationBase):
    """Each cell is stuck at level 0 with probability `sa0`, at the highest level with `sa1`, never at both.

    A stuck cell is the same cell after every write; at level 0 it conducts what level 0 does (`on_off`).
    """

    model: Literal["stuck_at"] = "stuck_at"
    sa0: float = Field(0.0, ge=0, le=1, description="share of cells stuck at level 0")
    sa1: float = Field(0.0, ge=0, le=1, description="share of cells stuck at the highest level")

    draws_of: ClassVar[Owner | None] = "device"
    only_sticks: ClassVar[bool] = True
    source: ClassVar[str] = "C.-Y. Chen et al., IEEE Trans. Computers 64 (2015) 180 (SA0 and SA1 faults of RRAM)"

    @model_validator(mode="after")
    def _shares(self) -> "StuckAt":
        if self.sa0 + self.sa1 > 1:
            raise ValueError(f"sa0 + sa1 = {self.sa0 + self.sa1}, must be <= 1")
        return self

    @property
    def is_identity(self) -> bool:
        """No cell is stuck."""
        return self.sa0 == 0 and self.sa1 == 0

    def stick(self, block: Block, stream: Stream, levels: NDArray[np.int64]) -> None:
        """The draw of `write`, on levels without leakage."""
        made = levels.astype(np.float64)
        self._stuck(block, stream, made, 0.0)
        levels[:] = made

    def write(self, block: Block, stream: Stream) -> None:
        """One draw of 32 bits a cell decides between three outcomes."""
        self._stuck(block, stream, block.levels, block.off)

    def stuck(
        self, macro: int, first_column: int, shape: tuple[int, ...], top: int, stream: Stream
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The draws of `write`, without an array of cells."""
        low, high = self._limits()
        found = np.empty((shape[0] * shape[1], 3), dtype=np.int64)
        place = (macro, shape[0], first_column)
        count: int = find_stuck(stream.key, place, low, high, np.empty((1, shape[1]), dtype=np.uint64), found)
        row, column, at_top = found[:count].T
        return row, column, at_top * top

    def _limits(self) -> tuple[np.uint64, np.uint64]:
        """Words below the first stick a cell at level 0, those from it to below the second at the highest level."""
        low = round(self.sa0 * WORD)
        return np.uint64(low), np.uint64(low + round(self.sa1 * WORD))

    def _stuck(self, block: Block, stream: Stream, levels: NDArray[np.float64], off: float) -> None:
        words = stream.words(block, "cell")
        stick(levels, words, *self._limits(), off, block.top + off)
