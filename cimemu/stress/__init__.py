"""Monte Carlo over cells and sweeps over chips: many runs, one resumable file (`cimemu stress`, `cimemu sweep`)."""

from cimemu.stress.campaign import Work
from cimemu.stress.monte_carlo import Population, stress
from cimemu.stress.search import Hunt, search
from cimemu.stress.strata import RareResult, rare_failures
from cimemu.stress.sweep import Grid, sweep
from cimemu.stress.upkeep import Upkeep, upkeep
from cimemu.stress.yields import Chips, YieldResult, trials_planned, yield_of

__all__ = [
    "Chips",
    "Grid",
    "Hunt",
    "Population",
    "RareResult",
    "Upkeep",
    "Work",
    "YieldResult",
    "rare_failures",
    "search",
    "stress",
    "sweep",
    "trials_planned",
    "upkeep",
    "yield_of",
]
