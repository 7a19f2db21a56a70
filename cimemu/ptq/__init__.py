"""Post-training quantisation: a float network becomes a QDQ graph, and that an integer network."""

from cimemu.ptq.converter import calibrate_converters
from cimemu.ptq.quantize import quantize

__all__ = ["calibrate_converters", "quantize"]
