"""Monte Carlo over cells and sweeps over chips: many runs, one resumable file (`cimemu stress`, `cimemu sweep`)."""

from cimemu.stress.monte_carlo import stress
from cimemu.stress.sweep import sweep

__all__ = ["stress", "sweep"]
