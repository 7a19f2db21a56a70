"""Spread that depends on the level a cell was written to: a table, as measured."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cimemu.kernels.noise import normal_quantiles
from cimemu.kernels.small import add_by_lanes
from cimemu.variation.base import Block, Owner, Per, Stream, VariationBase, per_field


class LevelSpread(VariationBase):
    """`level + sigma[level written] * z`; a conductance is never below 0. Cells relax anew after each writing."""

    model: Literal["level_spread"] = "level_spread"
    sigma: tuple[float, ...] = Field(description="2^cell.bits standard deviations in level steps, of level 0 first")
    per: Per = per_field("write")

    draws_of: ClassVar[Owner | None] = None
    source: ClassVar[str] = "W. Wan et al., Nature 608 (2022) 504 (relaxation of RRAM levels, measured level by level)"

    @property
    def is_identity(self) -> bool:
        """All are 0."""
        return not any(self.sigma)

    def smallest(self, top: int) -> float | None:
        """The smallest spread that is not 0."""
        return min(s for s in self.sigma if s > 0)

    def check(self, top: int) -> str | None:
        """One sigma a level, none negative."""
        if len(self.sigma) != top + 1:
            return f"sigma has {len(self.sigma)} values, cells of levels 0 .. {top} need {top + 1}"
        if min(self.sigma) < 0:
            return f"sigma = {min(self.sigma)}, must be >= 0"
        return None

    def write(self, block: Block, stream: Stream) -> None:
        """One draw a cell."""
        sigma = np.array(self.sigma, dtype=np.float64)
        add_by_lanes(block.levels, block.targets, stream.lanes(block, self.per), sigma, normal_quantiles())
