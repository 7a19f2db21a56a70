"""Noise of single reads that comes from the cells: thermal noise, and random telegraph noise."""

from math import sqrt
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cimemu.variation.base import WORD, Block, Stage, Stream, VariationBase

BOLTZMANN_J = 1.380649e-23


class Thermal(VariationBase):
    """Johnson noise of all cells on a bitline, raised or at ground, and of the sense circuit; drawn at every read.

    A conductance G gives a current of variance `4 k T G / (2 t)` in an integration time t; a level step is the current
    `V / (on_ohm * top)`.
    """

    model: Literal["thermal"] = "thermal"
    celsius: float = Field(25.0, ge=-273.15, le=400, description="temperature, in degrees C")
    on_ohm: float = Field(1e5, gt=0, description="resistance of a cell at the highest level, in ohm")
    read_volts: float = Field(0.2, gt=0, description="voltage of a raised wordline, in V")
    read_ns: float = Field(10.0, gt=0, description="integration time of a read, in ns")
    amplifier: float = Field(
        0.0, ge=0, le=1e3, description="rms noise of the sense circuit at its input, in level steps"
    )

    stage: ClassVar[Stage] = "read"
    source: ClassVar[str] = "H. Nyquist, Phys. Rev. 32 (1928) 110; bandwidth of an integrator 1 / (2 t)"

    @property
    def is_identity(self) -> bool:
        """Absolute zero and a silent amplifier."""
        return self.celsius == -273.15 and self.amplifier == 0

    def smallest(self, top: int) -> float | None:
        """The noise of a read with one cell at the highest level on the bitline."""
        return sqrt(self.amplifier**2 + self.per_level(top) * top)

    def per_level(self, top: int) -> float:
        """Variance in level steps squared, of one level step of conductance."""
        kelvin = self.celsius + 273.15
        return 2 * BOLTZMANN_J * kelvin * self.on_ohm * top / (self.read_volts**2 * self.read_ns * 1e-9)

    def write(self, block: Block, stream: Stream) -> None:
        """Every cell of the column counts, whether its row is raised or not."""
        block.reads.append((stream, self.amplifier**2 + self.per_level(block.top) * _sum(block.levels)))


class Telegraph(VariationBase):
    """Random telegraph noise: a share of the cells loses `amplitude` of its conductance whenever its trap is filled.

    Which cells is drawn once a write. A read sums many independent cells, so the sum is drawn as a normal number of
    the same mean and variance, for `activity` (mean square of the slice values over their largest) on the wordlines.
    """

    model: Literal["telegraph"] = "telegraph"
    amplitude: float = Field(ge=0, le=1, description="relative loss of conductance with a filled trap, dG / G")
    occupancy: float = Field(0.5, ge=0, le=1, description="share of the time that the trap is filled")
    share: float = Field(1.0, ge=0, le=1, description="share of cells that have a trap")
    activity: float = Field(0.5, ge=0, le=1, description="mean square of the driven slice values over their largest")

    stage: ClassVar[Stage] = "read"
    source: ClassVar[str] = "S. Ambrogio et al., IEEE Trans. Electron Devices 61 (2014) 2920 (RTN in HfOx RRAM)"

    @property
    def is_identity(self) -> bool:
        """Nothing is ever lost."""
        return self.amplitude == 0 or self.occupancy == 0 or self.share == 0

    def smallest(self, top: int) -> float | None:
        """The spread of one cell at level 1, or what it loses on average."""
        spread = self.amplitude * sqrt(self.occupancy * (1 - self.occupancy))
        return min(s for s in (spread, self.amplitude * self.occupancy) if s > 0)

    def write(self, block: Block, stream: Stream) -> None:
        """The mean loss goes into the cells, the rest is drawn at every read."""
        words = stream.words(block, block.levels.shape) & np.uint64(WORD - 1)
        trapped = words < np.uint64(round(self.share * WORD))
        swing = block.levels * trapped * self.amplitude
        factor = self.occupancy * (1 - self.occupancy) * self.activity * block.largest_input**2
        block.levels -= self.occupancy * swing
        block.reads.append((stream, factor * _sum(swing * swing)))


def _sum(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Column sums, row after row: a fixed order."""
    return np.asarray(np.cumsum(cells, axis=0)[-1])
