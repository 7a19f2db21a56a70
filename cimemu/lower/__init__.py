"""Lowering: a QuantizeLinear / DequantizeLinear graph becomes integer layers, macro layers among them."""

from cimemu.lower.left import left_in_float
from cimemu.lower.lower import lower
from cimemu.lower.written import left_digital

__all__ = ["left_digital", "left_in_float", "lower"]
