"""Lowering: a QuantizeLinear / DequantizeLinear graph becomes integer layers, macro layers among them."""

from cimemu.lower.lower import lower

__all__ = ["lower"]
