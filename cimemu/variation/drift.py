"""Conductance drift and retention: a power law in time with an exponent of each cell's own."""

from decimal import Decimal, localcontext
from functools import cache
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cimemu.kernels.small import scale_by_lanes
from cimemu.variation.base import Block, Owner, Per, Stream, VariationBase, per_field
from cimemu.variation.lognormal import exponentials


class Drift(VariationBase):
    """`G(t) = G(t0) * (t / t0) ^ -nu`, nu ~ normal(nu, nu_sigma) a cell; up to t0 nothing drifts.

    With `refresh` all cells are written again every so many seconds, and t is the time since they were written last.
    """

    model: Literal["drift"] = "drift"
    seconds: float = Field(ge=0, le=1e12, description="time since the cells were written first, in s")
    nu: float = Field(0.05, ge=-1, le=1, description="mean drift exponent; phase-change memory 0.03 .. 0.1")
    nu_sigma: float = Field(0.0, ge=0, le=1, description="standard deviation of the exponent from cell to cell")
    reference_seconds: float = Field(20.0, gt=0, description="t0: when the written levels were read, in s")
    refresh: float | None = Field(
        None, gt=0, le=1e12, description="time between writings of all cells, in s; none: one writing"
    )
    per: Per = per_field("cell")

    draws_of: ClassVar[Owner | None] = None
    source: ClassVar[str] = (
        "M. Le Gallo, A. Sebastian, J. Phys. D 53 (2020) 213002; V. Joshi et al., Nat. Commun. 11 (2020) 2473"
    )

    @property
    def age(self) -> float:
        """Time since the cells were written last."""
        return self.seconds if self.refresh is None else self.seconds % self.refresh

    @property
    def writings(self) -> int:
        """How often the cells have been written by then."""
        return 1 if self.refresh is None else 1 + int(self.seconds // self.refresh)

    def calibrated(self, every: float) -> "Drift":
        """The cells when a calibration of every so many seconds since the last writing was made last."""
        return self.model_copy(update={"seconds": self.age // every * every, "refresh": None})

    @property
    def is_identity(self) -> bool:
        """No time has passed, or no exponent."""
        return self.age <= self.reference_seconds or (self.nu == 0 and self.nu_sigma == 0)

    def smallest(self, top: int) -> float | None:
        """What is lost on average at level 1, or its spread."""
        decades = self.logarithm
        found = [s for s in (abs(self.nu) * decades, self.nu_sigma * decades) if s > 0]
        return min(found) if found else None

    @property
    def logarithm(self) -> float:
        """ln(t / t0), correctly rounded."""
        return _logarithm(max(self.age, self.reference_seconds), self.reference_seconds)

    def write(self, block: Block, stream: Stream) -> None:
        """One exponent a cell."""
        scale_by_lanes(block.levels, stream.lanes(block, self.per), self.factors())

    def factors(self) -> NDArray[np.float64]:
        """(t / t0) ^ -nu of the 2^16 quantiles of nu (a cell's lane; larger lanes drift less)."""
        return exponentials(self.nu_sigma * self.logarithm, -self.nu * self.logarithm)


@cache
def _logarithm(seconds: float, reference_seconds: float) -> float:
    with localcontext() as context:
        context.prec = 50
        return float((Decimal(seconds) / Decimal(reference_seconds)).ln())
