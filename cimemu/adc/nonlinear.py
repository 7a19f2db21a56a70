"""The nonlinear converter: any ascending thresholds and any levels."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from cimemu.adc.base import Circuit, ConverterBase, Vector


class NonlinearAdc(ConverterBase):
    """`code = number of thresholds <= psum`; the value that goes on is `levels[code]` (contract section 1.5)."""

    model: Literal["nonlinear"] = "nonlinear"
    circuit: Circuit = Field("ramp", description="sar, flash or ramp: decides the cycles of one conversion")
    thresholds: Annotated[
        Vector,
        Field(
            description="2^bits - 1 ascending psums: one vector, or [row blocks][column blocks or converted columns] of vectors"
        ),
    ]
    levels: Annotated[Vector, Field(description="2^bits values, one a code; same nesting as thresholds or one vector")]
    ramp_cells: int | None = Field(
        None, ge=0, le=2**24, description="ramp in memory: reference cells of the largest ramp (for energy and area)"
    )

    @model_validator(mode="after")
    def _counts_and_order(self) -> "NonlinearAdc":
        for vector in _vectors(self.thresholds):
            if len(vector) != 2**self.bits - 1:
                raise ValueError(
                    f"{len(vector)} thresholds given, a {self.bits}-bit converter needs 2^bits - 1 = {2**self.bits - 1}"
                )
            if bool(np.any(np.diff(np.asarray(vector, dtype=np.float64)) < 0)):
                raise ValueError(f"thresholds {vector} must ascend")
        for vector in _vectors(self.levels):
            if len(vector) != 2**self.bits:
                raise ValueError(
                    f"{len(vector)} levels given, a {self.bits}-bit converter needs 2^bits = {2**self.bits}"
                )
        return self

    def tables(self) -> tuple[list[Any], list[Any]]:
        """The two fields, which were checked when they were given."""
        return self.thresholds, self.levels


def _vectors(nested: Any) -> list[list[float]]:
    if nested and isinstance(nested[0], list):
        return [vector for row in nested for vector in row]
    return [nested]
