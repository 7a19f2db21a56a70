"""Faults of single bits, in cells and outside them: what each of them does to a network's outputs."""

from cimemu.faults.campaign import FaultResult, every_fault
from cimemu.faults.faulty_chip import write_faulty_chip
from cimemu.faults.upset_sites import Upset
from cimemu.faults.upsets import Campaign, UpsetResult, upsets

__all__ = ["Campaign", "FaultResult", "Upset", "UpsetResult", "every_fault", "upsets", "write_faulty_chip"]
