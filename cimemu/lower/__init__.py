"""Lowering: a QuantizeLinear / DequantizeLinear graph becomes integer layers, macro layers among them."""

from cimemu.lower.left import left_in_float
from cimemu.lower.lower import lower

__all__ = ["left_in_float", "lower"]
