"""Wordlines and bitlines that cannot be switched: never raised, always raised; no current, full current."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from cimemu.variation.base import WORD, Block, Owner, Stage, Stream, VariationBase


class _StuckLine(VariationBase):
    """Shares of lines that are stuck, never at both."""

    off: float = Field(0.0, ge=0, le=1, description="share of lines stuck off (open)")
    on: float = Field(0.0, ge=0, le=1, description="share of lines stuck on (shorted)")

    stage: ClassVar[Stage] = "lines"
    behind_wires: ClassVar[bool] = True
    draws_of: ClassVar[Owner | None] = "device"
    source: ClassVar[str] = "S. Kannan et al., IEEE Trans. Nanotechnology 12 (2013) 413 (faults of memristor crossbars)"

    @model_validator(mode="after")
    def _shares(self) -> "_StuckLine":
        if self.off + self.on > 1:
            raise ValueError(f"off + on = {self.off + self.on}, must be <= 1")
        return self

    @property
    def is_identity(self) -> bool:
        """No line is stuck."""
        return self.off == 0 and self.on == 0

    def outcomes(self, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(stuck off, stuck on) of lines with 64 random bits each."""
        drawn = words & np.uint64(WORD - 1)
        low = round(self.off * WORD)
        off = drawn < np.uint64(low)
        return off, (drawn < np.uint64(low + round(self.on * WORD))) & ~off


class StuckWordline(_StuckLine):
    """A wordline stuck off adds nothing; one stuck on adds its cells at the full slice value to every conversion.

    A wordline has one fault over the whole macro, whichever block is read.
    """

    model: Literal["stuck_wordline"] = "stuck_wordline"

    def write(self, block: Block, stream: Stream) -> None:
        """One draw a row of the macro."""
        words = stream.line_words(block.macro, (len(block.levels), 1))[:, 0]
        off, on = self.outcomes(words)
        for row in np.flatnonzero(on):  # one row after the other: a sum of a fixed order
            block.always += block.levels[row] * block.largest_input
        block.levels[off | on] = 0.0


class StuckBitline(_StuckLine):
    """A bitline stuck off carries no current; one stuck on carries that of all its cells at the highest level."""

    model: Literal["stuck_bitline"] = "stuck_bitline"

    def write(self, block: Block, stream: Stream) -> None:
        """One draw a column of the macro."""
        off, on = self.outcomes(stream.line_words(block.macro, (1, block.levels.shape[1]), block.first_column)[0])
        block.levels[:, off | on] = 0.0
        block.always[off] = 0.0
        block.always[on] = block.on_steps * len(block.levels) * block.largest_input
