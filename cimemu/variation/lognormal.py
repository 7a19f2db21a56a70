"""Lognormal device-to-device spread: every cell's conductance times exp(theta)."""

from decimal import Decimal
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cimemu.kernels.noise import QUANTILE_BITS, normal_quantiles
from cimemu.kernels.small import scale_by_lanes
from cimemu.variation.base import Block, Owner, Per, Stream, VariationBase, exact_table, per_field


class Lognormal(VariationBase):
    """`level * exp(sigma * z)`, z standard normal, one draw a cell; the median stays where it was."""

    model: Literal["lognormal"] = "lognormal"
    sigma: float = Field(ge=0, le=2, description="standard deviation of ln(conductance)")
    per: Per = per_field("cell")

    draws_of: ClassVar[Owner | None] = None
    source: ClassVar[str] = "Y. Long, X. She, S. Mukhopadhyay, DATE 2019 (w * exp(theta))"

    @property
    def is_identity(self) -> bool:
        """sigma = 0."""
        return self.sigma == 0

    def smallest(self, top: int) -> float | None:
        """The spread of level 1."""
        return self.sigma

    def write(self, block: Block, stream: Stream) -> None:
        """One factor a cell."""
        scale_by_lanes(block.levels, stream.lanes(block, self.per), exponentials(self.sigma))


@cache
def exponentials(sigma: float, mean: float = 0.0) -> NDArray[np.float64]:
    """exp(mean + sigma * z) of the 2^16 quantiles z, exactly rounded to multiples of 2^-30."""
    quantiles = normal_quantiles()

    def exact(i: int) -> Any:
        return (Decimal(mean) + Decimal(sigma) * Decimal(int(quantiles[i])) / 2**QUANTILE_BITS).exp()

    return exact_table(np.exp(mean + sigma * (quantiles / 2.0**QUANTILE_BITS)), exact)
