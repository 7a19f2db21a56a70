"""Programs that PyTorch's PT2E quantiser made: its operators by their own arithmetic, as ONNX.

`quantized_decomposed.quantize_per_tensor` is `clamp(round(x * float32(1 / scale)) + zero_point, quant_min, quant_max)`: it
multiplies with the inverse, where ONNX's QuantizeLinear divides, and its range may be narrower than its type's. Here it is a
Mul and a QuantizeLinear of scale 1, so that ties fall where PyTorch lets them fall, and a Clip where the range is narrower.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

OPERATORS = "torch.ao.quantization.fx._decomposed"  # PyTorch's own module that registers them
QUANTISED = "quantized_decomposed."


def register() -> None:
    """Let PyTorch know these operators, which it needs to read a program that holds them."""
    try:
        importlib.import_module(OPERATORS)
    except ImportError:  # a release without them: a program that holds them is refused by its reader
        return


def holds_codes(program: Any) -> bool:
    """Whether an exported program quantises."""
    return any(str(node.target).startswith(QUANTISED) for node in program.graph.nodes)


def translations(torch: Any) -> Mapping[Any, Callable[..., Any]]:
    """By overload, what PyTorch's exporter is to write for it; empty where the operators are not registered."""
    space = getattr(torch.ops, "quantized_decomposed", None)
    if space is None or not hasattr(space, "quantize_per_tensor"):
        return {}
    return {
        space.quantize_per_tensor.default: _quantize,
        space.quantize_per_tensor.tensor: _quantize_by_tensors,
        space.dequantize_per_tensor.tensor: _dequantize_by_tensors,
    }


def _operators() -> Any:
    return importlib.import_module("onnxscript").opset18


def _constant(value: Any) -> Any:
    onnxscript = importlib.import_module("onnxscript")
    return _operators().Constant(value=onnxscript.ir.tensor(value))


def _type(dtype: int) -> Any:
    """The NumPy type of ONNX's number for it."""
    return importlib.import_module("onnxscript").ir.DataType(dtype).numpy()


def _limited(codes: Any, quant_min: int, quant_max: int, dtype: int) -> Any:
    """Codes within a range that is narrower than their type."""
    kind = _type(dtype)
    if quant_min <= np.iinfo(kind).min and quant_max >= np.iinfo(kind).max:
        return codes
    return _operators().Clip(codes, _constant(np.array(quant_min, kind)), _constant(np.array(quant_max, kind)))


def _quantize(x: Any, scale: float, zero_point: int, quant_min: int, quant_max: int, dtype: int) -> Any:
    """The scale and the zero point are numbers."""
    op = _operators()
    steps = op.Mul(x, _constant(np.array(1.0 / scale, np.float32)))
    zero = _constant(np.array(zero_point, _type(dtype)))
    return _limited(op.QuantizeLinear(steps, _constant(np.array(1.0, np.float32)), zero), quant_min, quant_max, dtype)


def _quantize_by_tensors(x: Any, scale: Any, zero_point: Any, quant_min: int, quant_max: int, dtype: int) -> Any:
    """The scale and the zero point are tensors of one element."""
    op, ir = _operators(), importlib.import_module("onnxscript").ir
    inverse = op.Cast(op.Reciprocal(op.Cast(scale, to=ir.DataType.DOUBLE)), to=ir.DataType.FLOAT)
    steps = op.Mul(x, _number(inverse))
    zero = _number(op.Cast(zero_point, to=dtype))
    return _limited(op.QuantizeLinear(steps, _constant(np.array(1.0, np.float32)), zero), quant_min, quant_max, dtype)


def _dequantize_by_tensors(x: Any, scale: Any, zero_point: Any, quant_min: int, quant_max: int, dtype: int) -> Any:
    """The scale and the zero point are tensors of one element; the range says nothing here."""
    op, ir = _operators(), importlib.import_module("onnxscript").ir
    zero = _number(op.Cast(zero_point, to=dtype))
    return op.DequantizeLinear(x, _number(op.Cast(scale, to=ir.DataType.FLOAT)), zero)


def _number(tensor: Any) -> Any:
    """A tensor of one element without axes."""
    return _operators().Reshape(tensor, _constant(np.array([], np.int64)))
