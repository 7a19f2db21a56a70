"""Finite on/off ratio: a cell that holds 0 still conducts."""

from math import isinf
from typing import ClassVar, Literal

from pydantic import Field

from cimemu.variation.base import Block, Owner, Stream, VariationBase


class OnOff(VariationBase):
    """Every cell conducts `top / (ratio - 1)` levels more: G(level) = G_off + level * (G_on - G_off) / top.

    One level stays one step of the converter; what the off conductance adds is not taken off again.
    """

    model: Literal["on_off"] = "on_off"
    ratio: float = Field(gt=1, description="conductance of the highest level over that of level 0; inf: no leakage")

    draws_of: ClassVar[Owner | None] = "nothing"
    may_be_infinite: ClassVar[frozenset[str]] = frozenset({"ratio"})
    source: ClassVar[str] = "S. Yu, Proc. IEEE 106 (2018) 260, section III (on/off ratio of synaptic cells)"

    @property
    def is_identity(self) -> bool:
        """An infinite ratio."""
        return isinf(self.ratio)

    def smallest(self, top: int) -> float | None:
        """The leakage of a cell."""
        return self.leakage(top)

    def leakage(self, top: int) -> float:
        """Conductance of level 0, in level steps."""
        return top / (self.ratio - 1)

    def write(self, block: Block, stream: Stream) -> None:
        """The same for all cells."""
        block.levels += self.leakage(block.top)
        block.off += self.leakage(block.top)
