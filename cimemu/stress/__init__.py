"""Monte Carlo over cells and sweeps over chips: many runs, one resumable file (`cimemu stress`, `cimemu sweep`)."""

from cimemu.stress.campaign import Work
from cimemu.stress.monte_carlo import Population, stress
from cimemu.stress.sweep import Grid, sweep
from cimemu.stress.upkeep import Upkeep, upkeep

__all__ = ["Grid", "Population", "Upkeep", "Work", "stress", "sweep", "upkeep"]
