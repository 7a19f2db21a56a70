"""Random telegraph noise: traps beside cells that are filled or empty at a read."""

from math import sqrt
from typing import ClassVar, Literal, assert_never

import numpy as np
from pydantic import Field

from cimemu.variation.base import WORD, Block, Owner, Per, Stage, Stream, TrapCells, VariationBase, per_field
from cimemu.variation.thermal import column_sums

CHANCES = 1 << 16  # an occupancy is a whole number of 65536ths


class Telegraph(VariationBase):
    """Random telegraph noise: a share of the cells loses `amplitude` of its conductance whenever its trap is filled.

    `per` is about which cells have a trap. `draw: traps` draws the two states of every trap by themselves, anew
    at every read, input vector or image (`hold`: how long a trap stays as it is). `draw: normal` is a fast approximation:
    a read's sum over traps as one normal number of the same mean and variance, for `activity` on the wordlines.
    """

    model: Literal["telegraph"] = "telegraph"
    amplitude: float = Field(ge=0, le=1, description="relative loss of conductance with a filled trap, dG / G")
    occupancy: float = Field(0.5, ge=0, le=1, description="share of the time that the trap is filled")
    share: float = Field(1.0, ge=0, le=1, description="share of cells that have a trap")
    draw: Literal["traps", "normal"] = Field("traps", description="every trap's state, or a normal number a read")
    hold: Literal["read", "input", "image"] = Field(
        "read", description="what a trap keeps its state for: one conversion, an input vector's, an image's"
    )
    activity: float = Field(
        0.5, ge=0, le=1, description="draw normal: mean square of the driven slice values over their largest"
    )
    per: Per = per_field("cell")

    draws_of: ClassVar[Owner | None] = None
    stage: ClassVar[Stage] = "read"
    behind_wires: ClassVar[bool] = True
    source: ClassVar[str] = "S. Ambrogio et al., IEEE Trans. Electron Devices 61 (2014) 2920 (RTN in HfOx RRAM)"

    @property
    def is_identity(self) -> bool:
        """Nothing is ever lost."""
        return self.amplitude == 0 or self.occupancy == 0 or self.share == 0

    def smallest(self, top: int) -> float | None:
        """The spread of one cell at level 1, or what it loses on average."""
        spread = self.amplitude * sqrt(self.occupancy * (1 - self.occupancy))
        return min(s for s in (spread, self.amplitude * self.occupancy) if s > 0)

    def check(self, top: int) -> str | None:
        """A normal number a read has no state to hold."""
        if self.draw == "normal" and self.hold != "read":
            return f"hold = {self.hold} with draw normal: its draws are one a read, use draw traps"
        return None

    def write(self, block: Block, stream: Stream) -> None:
        """Find the cells with traps; a normal draw's mean loss goes into the cells, the rest is drawn at every read."""
        words = stream.words(block, self.per) & np.uint64(WORD - 1)
        trapped = words < np.uint64(round(self.share * WORD))
        match self.draw:
            case "traps":
                chance = round(self.occupancy * CHANCES)
                block.traps.append(TrapCells(stream, np.where(trapped, self.amplitude, 0.0), chance, self.hold))
            case "normal":
                swing = block.levels * trapped * self.amplitude
                factor = self.occupancy * (1 - self.occupancy) * self.activity * block.largest_input**2
                block.levels -= self.occupancy * swing
                block.reads.append((stream, factor * column_sums(swing * swing)))
            case other:
                assert_never(other)
