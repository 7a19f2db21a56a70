"""Reading at another temperature than the cells were written at."""

from decimal import Decimal, localcontext
from math import isinf
from typing import ClassVar, Literal

from pydantic import Field

from cimemu.variation.base import Block, Owner, Stream, VariationBase, decimal_exp

BOLTZMANN_EV = Decimal("8.617333262e-5")  # eV/K
KELVIN = Decimal("273.15")


class Temperature(VariationBase):
    """The on conductance moves linearly, the off conductance by an Arrhenius law.

    `G(T) = G * (1 + per_kelvin * (T - T0))`, and on top the off conductance of `off_ratio` times
    `exp(Ea / k * (1 / T0 - 1 / T)) - 1`: metallic filaments conduct less when warm, tunnel gaps and phases more.
    """

    model: Literal["temperature"] = "temperature"
    celsius: float = Field(ge=-273, le=400, description="temperature of the reads, in degrees C")
    reference_celsius: float = Field(25.0, ge=-273, le=400, description="temperature of the written levels, degrees C")
    per_kelvin: float = Field(-0.001, ge=-0.1, le=0.1, description="relative change of a conductance a kelvin")
    activation_ev: float = Field(0.1, ge=0, le=3, description="activation energy of the off conductance, in eV")
    off_ratio: float = Field(
        float("inf"), gt=1, description="on/off ratio of the cell (as in on_off); inf: no off conductance"
    )

    draws_of: ClassVar[Owner | None] = "nothing"
    may_be_infinite: ClassVar[frozenset[str]] = frozenset({"off_ratio"})
    source: ClassVar[str] = (
        "C. Walczyk et al., IEEE Trans. Electron Devices 58 (2011) 3124 (on and off state of HfO2, 213-413 K)"
    )

    @property
    def is_identity(self) -> bool:
        """The reference temperature."""
        return self.celsius == self.reference_celsius or (self.per_kelvin == 0 and self.off_more(1) == 0)

    def smallest(self, top: int) -> float | None:
        """The change of level 1, or of the leakage."""
        return min((s for s in (abs(self.factor - 1), abs(self.off_more(top))) if s > 0), default=None)

    @property
    def factor(self) -> float:
        """What every conductance is multiplied with."""
        return max(0.0, 1.0 + self.per_kelvin * (self.celsius - self.reference_celsius))

    def off_more(self, top: int) -> float:
        """More leakage of a cell, in level steps."""
        if isinf(self.off_ratio):
            return 0.0
        with localcontext() as context:
            context.prec = 50
            warm, cold = Decimal(self.celsius) + KELVIN, Decimal(self.reference_celsius) + KELVIN
            exponent = Decimal(self.activation_ev) / BOLTZMANN_EV * (1 / cold - 1 / warm)
        return top / (self.off_ratio - 1) * (decimal_exp(exponent) - 1)

    def write(self, block: Block, stream: Stream) -> None:
        """The same for all cells."""
        block.levels *= self.factor
        block.levels += self.off_more(block.top)
