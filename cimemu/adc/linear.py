"""The linear converter: equidistant thresholds and levels, clipping at both ends."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from cimemu.adc.base import LIMIT, Circuit, ConverterBase, Grid


class LinearAdc(ConverterBase):
    """`t_k = zero + (k - 1/2) * lsb`, `v_k = zero + k * lsb` (contract section 1.5)."""

    model: Literal["linear"] = "linear"
    circuit: Circuit = Field("sar", description="sar, flash or ramp: decides the cycles of one conversion")
    lsb: Annotated[
        Grid,
        Field(
            description="psum units per code: one value, [row blocks][column blocks], or [row blocks][converted columns]"
        ),
    ] = 1.0
    zero: Annotated[Grid, Field(description="psum at code 0; shapes as lsb")] = 0.0

    @model_validator(mode="after")
    def _lsb_is_positive(self) -> "LinearAdc":
        if not bool(np.all(_flat(self.lsb) > 0)):
            raise ValueError(f"lsb = {self.lsb} must be > 0 everywhere")
        if not bool(np.all(_flat(self.lsb) >= 1 / LIMIT)):
            raise ValueError(f"lsb = {self.lsb} must be >= 2^-40 everywhere")
        return self

    def references(
        self, lsb: NDArray[np.float64], zero: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Thresholds [..., 2^bits - 1] and levels [..., 2^bits] for given lsb and zero of any equal shape."""
        k = np.arange(2**self.bits, dtype=np.float64)
        levels = zero[..., None] + k * lsb[..., None]
        thresholds = zero[..., None] + (k[1:] - 0.5) * lsb[..., None]
        return thresholds, levels


def _flat(grid: float | list[list[float]]) -> NDArray[np.float64]:
    if isinstance(grid, list):
        return np.array([value for row in grid for value in row], dtype=np.float64)
    return np.array([grid], dtype=np.float64)
