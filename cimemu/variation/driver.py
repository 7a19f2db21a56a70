"""Wordline drivers: each with an amplitude of its own, multi-bit ones with a bow."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cimemu.kernels.noise import QUANTILE_BITS, normal_quantiles
from cimemu.variation.base import Block, Owner, Stage, Stream, VariationBase


class Driver(VariationBase):
    """A wordline driven with slice value v gets `(v + 4 inl (v / m) (1 - v / m)) * (1 + gain * z)`, m = 2^dac_bits - 1.

    z is drawn once a wordline. The bow leaves 0 and the full value where they are, so a 1-bit driver has none.
    """

    model: Literal["driver"] = "driver"
    gain: float = Field(
        0.0, ge=0, le=0.5, description="standard deviation of the amplitude of a wordline's driver, relative"
    )
    inl: float = Field(0.0, ge=-4, le=4, description="bow of a multi-bit driver at mid scale, in steps of the DAC")

    stage: ClassVar[Stage] = "drivers"
    draws_of: ClassVar[Owner | None] = "device"
    source: ClassVar[str] = "IEEE Std 1658-2011 (gain and integral nonlinearity of DACs)"

    @property
    def is_identity(self) -> bool:
        """Both are 0."""
        return self.gain == 0 and self.inl == 0

    def smallest(self, top: int) -> float | None:
        """The smaller one that is not 0, at level 1."""
        return min(s for s in (self.gain, abs(self.inl)) if s > 0)

    def write(self, block: Block, stream: Stream) -> None:
        """The amplitude of a row is the same as that of its cells; the bow is taken up when inputs are driven."""
        if self.gain:
            lanes = stream.line_words(block.macro, (len(block.levels), 1)) & np.uint64(0xFFFF)
            amplitude = np.maximum(1.0 + self.gain * (normal_quantiles()[lanes] / 2.0**QUANTILE_BITS), 0.0)
            block.levels *= amplitude
            block.amplitude *= amplitude[:, 0]
        if self.inl:
            values = np.arange(block.largest_input + 1) / block.largest_input
            block.bow += 4 * self.inl * values * (1.0 - values)
