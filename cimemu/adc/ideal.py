"""The ideal converter: the value is the partial sum itself, there are no codes."""

from typing import Literal

from pydantic import Field

from cimemu.adc.base import MOST_CYCLES
from cimemu.record import Record


class IdealAdc(Record):
    """No quantisation; also the column read of a digital macro."""

    model: Literal["ideal"] = "ideal"
    cycles: int = Field(1, ge=1, le=MOST_CYCLES, description="cycles of one column read")

    def conversion_cycles(self) -> int:
        """Cycles of one column read."""
        return self.cycles
