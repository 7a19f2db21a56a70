"""Thermal noise of single reads."""

from math import sqrt
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cimemu.variation.base import Block, Owner, Stage, Stream, VariationBase

BOLTZMANN_J = 1.380649e-23


class Thermal(VariationBase):
    """Johnson noise of all cells on a bitline, raised or at ground, and of the sense circuit; drawn at every read.

    A conductance G gives a current of variance `4 k T G / (2 t)` in an integration time t; a level step is the current
    `V * (1 / on_ohm) * (1 - 1 / ratio) / top`, the ratio that of `on_off`.
    """

    model: Literal["thermal"] = "thermal"
    celsius: float = Field(25.0, ge=-273.15, le=400, description="temperature, in degrees C")
    on_ohm: float = Field(1e5, gt=0, description="resistance of a cell at the highest level, in ohm")
    read_volts: float = Field(0.2, gt=0, description="voltage of a raised wordline, in V")
    read_ns: float = Field(10.0, gt=0, description="integration time of a read, in ns")
    amplifier: float = Field(
        0.0, ge=0, le=1e3, description="rms noise of the sense circuit at its input, in level steps"
    )

    draws_of: ClassVar[Owner | None] = "nothing"
    stage: ClassVar[Stage] = "read"
    source: ClassVar[str] = "H. Nyquist, Phys. Rev. 32 (1928) 110; bandwidth of an integrator 1 / (2 t)"

    @property
    def is_identity(self) -> bool:
        """Absolute zero and a silent amplifier."""
        return self.celsius == -273.15 and self.amplifier == 0

    def smallest(self, top: int) -> float | None:
        """The noise of a read with one cell at the highest level on the bitline."""
        return sqrt(self.amplifier**2 + self.per_step(top) * top)

    def per_step(self, on_steps: float) -> float:
        """Variance in level steps squared, of one level step of conductance; 1 / on_ohm is `on_steps` of them."""
        kelvin = self.celsius + 273.15
        return 2 * BOLTZMANN_J * kelvin * self.on_ohm * on_steps / (self.read_volts**2 * self.read_ns * 1e-9)

    def write(self, block: Block, stream: Stream) -> None:
        """Every cell of the column counts, whether its row is raised or not."""
        block.reads.append((stream, self.amplifier**2 + self.per_step(block.on_steps) * column_sums(block.levels)))


def column_sums(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Column sums, row after row: a fixed order."""
    return np.asarray(np.cumsum(cells, axis=0)[-1])
