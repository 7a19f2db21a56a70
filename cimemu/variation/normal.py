"""Normal device-to-device spread, in proportion to the level or the same for all levels."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cimemu.kernels.noise import QUANTILE_BITS, normal_quantiles
from cimemu.kernels.small import add_by_lanes, scale_by_lanes
from cimemu.variation.base import Block, Owner, Per, Stream, VariationBase, per_field


class Normal(VariationBase):
    """`level * (1 + relative * z1) + absolute * z2`, z1 and z2 independent; a conductance is never below 0."""

    model: Literal["normal"] = "normal"
    relative: float = Field(0.0, ge=0, le=2, description="standard deviation over the level")
    absolute: float = Field(0.0, ge=0, le=16, description="standard deviation in level steps, the same at every level")
    per: Per = per_field("cell")

    draws_of: ClassVar[Owner | None] = None
    source: ClassVar[str] = (
        "T. P. Xiao et al., IEEE Circuits Syst. Mag. 22 (2022) 26, arXiv 2109.01262 (proportional and independent errors)"
    )

    @property
    def is_identity(self) -> bool:
        """Both are 0."""
        return self.relative == 0 and self.absolute == 0

    def smallest(self, top: int) -> float | None:
        """The smaller spread that is not 0."""
        return min(s for s in (self.relative, self.absolute) if s > 0)

    def write(self, block: Block, stream: Stream) -> None:
        """First the proportional part, then the absolute one."""
        quantiles = normal_quantiles()
        if self.relative:
            table = 1.0 + self.relative * (quantiles / 2.0**QUANTILE_BITS)
            scale_by_lanes(block.levels, stream.lanes(block, self.per), table)
        if self.absolute:
            sigma = np.full(block.top + 1, self.absolute)
            add_by_lanes(block.levels, block.targets, stream.lanes(block, self.per, draw=1), sigma, quantiles)
