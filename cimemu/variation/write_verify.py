"""Quantised writing with program-and-verify: pulses until the cell reads within a tolerance, all of them charged."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cimemu.kernels.cells import write_and_verify
from cimemu.kernels.noise import normal_quantiles
from cimemu.variation.base import Block, Owner, Stream, VariationBase


class WriteVerify(VariationBase):
    """Each pulse lands at the target + sigma * z; it is repeated until within the tolerance, at most `iterations` times.

    Accepted cells are a normal cut off at the tolerance; the rest keep their last pulse. The target is the level
    rounded to the write circuit's step. Pulses are charged as programming: energy a pulse a cell, time by the
    longest row member (a row is written at once).
    """

    model: Literal["write_verify"] = "write_verify"
    sigma: float = Field(ge=0, le=16, description="standard deviation of one write pulse, in level steps")
    tolerance: float = Field(0.0, ge=0, le=16, description="accepted distance from the target, in level steps")
    iterations: int = Field(1, ge=1, le=1000, description="most write pulses of a cell; 1: no verify")
    step: float = Field(0.0, ge=0, le=1, description="smallest programmable increment, in level steps; 0: any")

    draws_of: ClassVar[Owner | None] = "writing"
    source: ClassVar[str] = "F. Alibart et al., Nanotechnology 23 (2012) 075201 (write until within a tolerance)"

    @property
    def is_identity(self) -> bool:
        """A perfect pulse on a level that can be reached."""
        return self.sigma == 0 and (self.step == 0 or (1 / self.step).is_integer())

    def smallest(self, top: int) -> float | None:
        """The spread that is left: the pulse's, or the tolerance where verifying cuts it off there."""
        tight = 0 < self.tolerance < self.sigma and self.iterations > 1
        left = self.tolerance / 2 if tight else self.sigma
        return left or None

    def write(self, block: Block, stream: Stream) -> None:
        """Write cell by cell and count the pulses; a cell that is not programmed gets none and stays as it is."""
        if self.step:
            block.levels[:] = np.rint(block.levels / self.step) * self.step
        pulses = np.zeros(block.levels.shape, dtype=np.int64)
        place = np.array([block.macro, block.first_column, block.write, self.iterations], dtype=np.int64)
        erased = block.erased
        kept = block.levels[erased]
        write_and_verify(block.levels, place, stream.key, self.sigma, self.tolerance, normal_quantiles(), pulses)
        block.levels[erased] = kept
        pulses[erased] = 0
        block.pulses = int(pulses.sum()) + (block.pulses or 0)
        block.row_pulses = int(pulses.max(axis=1).sum()) + (block.row_pulses or 0)
