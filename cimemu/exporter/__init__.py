"""Networks out of cimemu: a standard ONNX file."""

from cimemu.exporter.to_onnx import onnx_model, save_onnx

__all__ = ["onnx_model", "save_onnx"]
