"""A macro live beside a simulator: what its wires carry in every step, and a scoreboard that compares what was seen."""

from cimemu.cosim.model import MacroModel, Operation, Step
from cimemu.cosim.scoreboard import Scoreboard

__all__ = ["MacroModel", "Operation", "Scoreboard", "Step"]
