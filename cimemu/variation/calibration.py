"""Calibration of a drawn chip by test vectors that it runs itself: gains and offsets of references or behind the codes."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from cimemu.variation.base import Block, Stage, Stream, VariationBase


class Calibration(VariationBase):
    """`value = gain * (lsb * A + zero * Z) + offset * Z` behind the codes, or thresholds `(t - offset) / gain`.

    The programmed chip runs `vectors` known inputs; a least squares fit of what they give against what ideal cells and
    converters give is the gain (and offset) of the layer, the column or the converter. With `every` the chip was calibrated
    last at a multiple of so many seconds since its cells were written, and has drifted on since then; without, at the very
    time of the run.
    """

    model: Literal["calibration"] = "calibration"
    what: Literal["none", "factor", "column", "converter"] = Field(
        "factor",
        description="factor: a gain a layer; column: a gain a column; converter: a gain and an offset a converter; none: nothing",
    )
    at: Literal["digital", "reference"] = Field(
        "digital",
        description="digital: the digital unit multiplies what codes are worth; reference: the converters' thresholds move",
    )
    every: float | None = Field(
        None, gt=0, le=1e12, description="time between calibrations, in s; none: just before the run"
    )
    vectors: int = Field(16, ge=1, le=4096, description="test vectors of a calibration")
    rounds: int = Field(
        1, ge=1, le=16, description="how often thresholds are moved and measured anew; at = reference alone"
    )
    bits: int = Field(12, ge=1, le=24, description="fraction bits of gains and offsets")

    stage: ClassVar[Stage] = "calibration"
    source: ClassVar[str] = "V. Joshi et al., Nat. Commun. 11 (2020) 2473 (one factor a layer)"

    @model_validator(mode="after")
    def _rounds(self) -> "Calibration":
        if self.rounds > 1 and self.at == "digital":
            raise ValueError(
                f"rounds = {self.rounds}, must be 1 where at = digital: codes do not change, use at=reference"
            )
        return self

    @property
    def is_identity(self) -> bool:
        """Nothing is calibrated."""
        return self.what == "none"

    def write(self, block: Block, stream: Stream) -> None:
        """No cell changes: see `cimemu.engines.calibrate`."""
