"""One line of the validation table."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from cimemu.uncertainty import interval

Use = Literal["calibrated", "held out"]


@dataclass(frozen=True)
class Row:
    """A published figure and what the emulator gives for it.

    `emulated` may be given as an array: the figure, and the same in every draw of the prices. `low` and `high` are then the ends
    of its 90 % interval; None where no price is in it.
    """

    macro: str  # the preset
    quantity: str
    condition: str
    unit: str
    published: float
    emulated: Any  # a number once it is here
    use: Use
    limit: float | None = None  # largest relative error that is aimed at; None: no aim, see the note
    note: str = ""
    low: float | None = field(default=None, init=False)
    high: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """A figure of many draws becomes a number and its interval."""
        given: Any = self.emulated
        if isinstance(given, np.ndarray):
            drawn = given[1:]
            object.__setattr__(self, "emulated", float(given[0]))
            if np.ptp(drawn) > 0:
                low, high = interval(drawn)
                object.__setattr__(self, "low", low)
                object.__setattr__(self, "high", high)

    @property
    def inside(self) -> bool | None:
        """Whether the published figure lies in the interval; None where there is none."""
        return None if self.low is None or self.high is None else self.low <= self.published <= self.high

    @property
    def error(self) -> float:
        """Relative error of the emulated figure."""
        return float(self.emulated / self.published - 1)

    @property
    def within(self) -> bool | None:
        """Whether a held-out figure is as near as aimed at; None where nothing is aimed at."""
        return None if self.limit is None else abs(self.error) <= self.limit
