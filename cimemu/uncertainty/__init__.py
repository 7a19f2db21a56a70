"""How sure energies and areas are: 90 % intervals of prices, carried to every total by sampling."""

from cimemu.uncertainty.draws import DRAWS, Multipliers, multipliers
from cimemu.uncertainty.prices import LEVEL, Spread, spreads
from cimemu.uncertainty.totals import ChipDraws, Interval, beats, interval

__all__ = [
    "DRAWS",
    "LEVEL",
    "ChipDraws",
    "Interval",
    "Multipliers",
    "Spread",
    "beats",
    "interval",
    "multipliers",
    "spreads",
]
