"""Post-training quantisation: a float network becomes a QDQ graph, and that an integer network."""

from cimemu.ptq.apply import apply_scheme
from cimemu.ptq.converter import calibrate_converters
from cimemu.ptq.quantize import quantize
from cimemu.ptq.scheme import Scheme, read_scheme, scheme_of

__all__ = ["Scheme", "apply_scheme", "calibrate_converters", "quantize", "read_scheme", "scheme_of"]
