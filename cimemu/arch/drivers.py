"""How an input reaches the wordlines: its slices, and what drives them (contract section 1.2)."""

from math import ceil
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from cimemu.record import Grown


class Input(Grown):
    """How an input value reaches the wordlines."""

    bits: int = Field(ge=1, le=9, description="input width in bits")
    signed: bool = Field(False, description="two's complement inputs; needs dac_bits = 1")
    dac_bits: int = Field(1, ge=1, le=9, description="input bits driven in one slice")
    dac: Literal["voltage", "pulse", "bits"] = Field(
        "voltage",
        description="a slice is one level, a train of pulses, or its bits one by one, weighed in analog before one conversion",
    )
    driver: Literal["returns", "holds"] = Field(
        "returns",
        description="a wordline falls back to 0 after each slice; or it stays, and is charged for the bits that change",
    )
    slices: tuple[int, ...] = Field(
        (),
        description="bits of each input slice, that of the lowest bits first, in the place of slices of dac_bits each; "
        "they add up to bits, and dac must be voltage",
    )
    later: ClassVar[tuple[str, ...]] = ("driver", "slices")

    @model_validator(mode="after")
    def _slices_are_the_input(self) -> "Input":
        """The DAC is as wide as the widest slice; `dac_bits` is still not a field that was set."""
        if not self.slices:
            return self
        given, widest = list(self.slices), max(self.slices)
        if min(given) < 1 or sum(given) != self.bits:
            raise ValueError(f"slices = {given}, must be >= 1 each and add up to bits = {self.bits}")
        if self.dac != "voltage":
            raise ValueError(
                f"slices = {given} with dac {self.dac}: a slice a time of its own, use dac voltage or no slices"
            )
        if "dac_bits" in self.model_fields_set and self.dac_bits != widest:
            raise ValueError(
                f"slices = {given} with dac_bits = {self.dac_bits}: must be {widest}, the widest slice, or left out"
            )
        self.__dict__["dac_bits"] = widest
        return self

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """(place of the lowest bit, bits) of every slice, the lowest first; the last may reach beyond the input's bits."""
        widths = self.slices or (self.dac_bits,) * ceil(self.bits / self.dac_bits)
        return tuple((sum(widths[:i]), width) for i, width in enumerate(widths))

    @property
    def evenly_sliced(self) -> bool:
        """Whether slice i begins at bit `i * dac_bits`."""
        return all(place == i * self.dac_bits for i, (place, _) in enumerate(self.spans))

    @model_validator(mode="after")
    def _pulses_return(self) -> "Input":
        if self.driver == "holds" and self.dac == "pulse":
            raise ValueError("driver holds with dac pulse: pulses fall back to 0, use dac voltage or bits")
        return self


__all__ = ["Input"]
