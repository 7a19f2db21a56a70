"""Faults of single cells: what each of them does to a network's outputs."""

from cimemu.faults.campaign import FaultResult, every_fault
from cimemu.faults.faulty_chip import write_faulty_chip

__all__ = ["FaultResult", "every_fault", "write_faulty_chip"]
