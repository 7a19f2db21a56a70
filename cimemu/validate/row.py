"""One line of the validation table."""

from dataclasses import dataclass
from typing import Literal

Use = Literal["calibrated", "held out"]


@dataclass(frozen=True)
class Row:
    """A published figure and what the emulator gives for it."""

    macro: str  # the preset
    quantity: str
    condition: str
    unit: str
    published: float
    emulated: float
    use: Use
    limit: float | None = None  # largest relative error that is aimed at; None: no aim, see the note
    note: str = ""

    @property
    def error(self) -> float:
        """Relative error of the emulated figure."""
        return self.emulated / self.published - 1

    @property
    def within(self) -> bool | None:
        """Whether a held-out figure is as near as aimed at; None where nothing is aimed at."""
        return None if self.limit is None else abs(self.error) <= self.limit
