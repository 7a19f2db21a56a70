"""What every converter model shares: bits, circuit, conversion cycles, and parameters of any granularity."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from cimemu.record import Record

Circuit = Literal["sar", "flash", "ramp"]


def _to_plain(value: Any) -> Any:
    """NumPy arrays and scalars become nested lists and Python numbers, so that YAML and arrays agree."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


MOST_CYCLES = 10**6  # of one step: a millisecond at 1 GHz
LIMIT = 2.0**40  # far beyond any psum, and sums of values stay exact in float64 and int64
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-LIMIT, le=LIMIT)]
Grid = Annotated[
    Finite | list[list[Finite]],
    BeforeValidator(_to_plain),
]
Vector = Annotated[
    list[Finite] | list[list[list[Finite]]],
    BeforeValidator(_to_plain),
]


class ConverterBase(Record):
    """Fields and conversion time of a converter with codes."""

    circuit: Circuit = Field(description="sar, flash or ramp: decides the cycles of one conversion")
    bits: int = Field(ge=1, le=14, description="code width in bits; there are 2^bits codes")
    cycles: int | None = Field(
        None,
        ge=1,
        le=MOST_CYCLES,
        description="cycles of one conversion; default by circuit: sar = bits, flash = 1, ramp = 2^bits - 1",
    )

    def conversion_cycles(self) -> int:
        """Cycles of one conversion (contract section 3)."""
        if self.cycles is not None:
            return self.cycles
        return {"sar": self.bits, "flash": 1, "ramp": 2**self.bits - 1}[self.circuit]
