"""What an integer TensorFlow Lite operator must store: every rule with the value that breaks it and the remedy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import WorkloadError
from cimemu.importer.tflite_file import TflFile, TflOperator, TflTensor
from cimemu.layer.rounding import same_scale

BYTES = ("int8", "uint8")
WIDE = ("int16",)
WIDTHS = "16-bit codes are not supported here"
REMEDY = "convert the network with full int8 quantisation"
WEIGHTED = (
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "TRANSPOSE_CONV",
    "BATCH_MATMUL",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
)


def check_wiring(file: TflFile) -> None:
    """WorkloadError where a tensor number names no tensor, or a tensor is read before, made after or never made."""
    count = len(file.tensors)
    for what, numbers in (("input", file.inputs), ("output", file.outputs)):
        if not numbers or not all(0 <= i < count for i in numbers) or len(set(numbers)) < len(numbers):
            raise WorkloadError(
                f"{what}s are tensors {list(numbers)}, must be different ones of {count}: convert it again"
            )
    ready = {*file.inputs, *(tensor.index for tensor in file.tensors if tensor.variable)}
    for operator in file.operators:
        if not all(-1 <= i < count for i in operator.inputs) or not all(0 <= i < count for i in operator.outputs):
            raise operator.error(
                f"tensors {list(operator.inputs)} and {list(operator.outputs)}, must be of {count}: convert it again"
            )
        for i in operator.inputs:
            if i >= 0 and i not in ready and file.tensors[i].value is None:
                raise operator.error(f"reads tensor {file.tensors[i].name} that nothing has made: convert it again")
        for i in operator.outputs:
            if i in ready or file.tensors[i].value is not None:
                raise operator.error(f"makes tensor {file.tensors[i].name} that is there already: convert it again")
        ready |= set(operator.outputs)
        _check_finite(file, operator)
    for i in file.inputs:
        if file.tensors[i].value is not None:
            raise WorkloadError(f"input {file.tensors[i].name} is a constant: convert it again")
    for i in file.outputs:
        if i not in ready or i in file.inputs:
            raise WorkloadError(f"output {file.tensors[i].name} is made by no operator: convert it again")


def _check_finite(file: TflFile, op: TflOperator) -> None:
    """WorkloadError for an infinite weight or bias; elsewhere an infinity may be a bound."""
    for i in (i for i in op.inputs[1:] if i >= 0 and op.op in WEIGHTED):
        value = file.tensors[i].value
        if value is not None and value.dtype.kind == "f" and not np.isfinite(value).all():
            raise op.error(f"tensor {file.tensors[i].name} holds a value that is no number, must be finite")


def check_activation(op: TflOperator, tensor: TflTensor | None, *, wide: bool = False) -> None:
    """WorkloadError where an input or output is no 8-bit tensor (or, where `wide`, int16) of one usable scale and zero
    point."""
    if tensor is None:
        raise op.error("an input is left out, it must be given")
    if wide and tensor.dtype in WIDE and tensor.zero_point.any():
        raise op.error(
            f"tensor {tensor.name} is int16 with zero point {tensor.zero_point[0]}, must be 0: convert it again"
        )
    if tensor.dtype in ("int16", "uint16") and not (wide and tensor.dtype in WIDE):
        raise op.error(f"tensor {tensor.name} is {tensor.dtype}: {WIDTHS}: {REMEDY}")
    if tensor.dtype not in (*BYTES, *WIDE):
        raise op.error(f"tensor {tensor.name} is {tensor.dtype}, must be int8 or uint8: {REMEDY}")
    if len(tensor.scale) != 1:
        raise op.error(f"tensor {tensor.name} has {len(tensor.scale)} scales, must have one: quantise it per tensor")
    check_parameters(op, tensor)


def check_parameters(op: TflOperator, tensor: TflTensor) -> None:
    """WorkloadError for a scale that is no positive finite number, or a zero point outside the type."""
    usable = np.isfinite(tensor.scale) & (tensor.scale > 0)
    if not usable.all():
        raise op.error(
            f"tensor {tensor.name}: scale {tensor.scale[~usable][0]}, must be positive and finite: convert it again"
        )
    kind = np.iinfo(tensor.dtype)
    outside = (tensor.zero_point < kind.min) | (tensor.zero_point > kind.max)
    if outside.any():
        raise op.error(
            f"tensor {tensor.name}: zero point {tensor.zero_point[outside][0]}, must be {kind.min} .. {kind.max}: "
            "convert it again"
        )


def check_alike(op: TflOperator, tensors: Sequence[TflTensor | None]) -> None:
    """WorkloadError where inputs and outputs are of different types."""
    kinds = sorted({tensor.dtype for tensor in tensors if tensor is not None})
    if len(kinds) > 1:
        raise op.error(f"its tensors are {' and '.join(kinds)}, must be of one type: {REMEDY}")


def check_weight(op: TflOperator, x: TflTensor, w: TflTensor | None, axis: int) -> None:
    """WorkloadError for a weight that is no constant of the input's type with scales per tensor or along `axis`."""
    if w is None or w.value is None or w.dtype not in BYTES or not len(w.scale):
        raise op.error("its weight must be constant int8 or uint8 with scales")
    check_alike(op, (x, w))
    check_parameters(op, w)
    rank, outputs = w.value.ndim, w.value.shape[axis] if w.value.ndim > axis else 0
    if rank != (2 if op.op == "FULLY_CONNECTED" else 4):
        raise op.error(f"weight {w.name} of shape {list(w.value.shape)} has {rank} axes: convert it again")
    if len(w.scale) > 1 and (w.axis != axis or len(w.scale) != outputs):
        raise op.error(
            f"weight {w.name} has {len(w.scale)} scales along axis {w.axis}, must have one or one an output (axis {axis}, "
            f"{outputs}): quantise it per output channel"
        )
    if w.dtype == "uint8" and len(w.scale) > 1:
        raise op.error(f"weight {w.name} is uint8 with {len(w.scale)} scales, must have one: {REMEDY}")
    if w.dtype == "int8" and w.zero_point.any():
        raise op.error(f"weight {w.name} is int8 with zero point {w.zero_point[w.zero_point != 0][0]}, must be 0")


def check_bias(op: TflOperator, x: TflTensor, w: TflTensor, bias: TflTensor | None, target: TflTensor) -> None:
    """WorkloadError for a bias that is no constant int32 in steps of input scale x weight scale: the runtime adds its
    integers whatever it stores."""
    if bias is None:
        return
    if bias.value is None or bias.dtype != "int32":
        kind = "computed" if bias.value is None else bias.dtype
        raise op.error(f"bias {bias.name} is {kind}, must be constant int32: {REMEDY}")
    if bias.zero_point.any():
        raise op.error(f"bias {bias.name} has zero point {bias.zero_point[bias.zero_point != 0][0]}, must be 0")
    product = x.scale[0].astype(np.float64) * w.scale.astype(np.float64)
    if len(bias.scale) not in (0, 1, len(product)):
        raise op.error(f"bias {bias.name} has {len(bias.scale)} scales, must have one or {len(product)}")
    # Denormal scales may differ by their own steps, of which the runtime takes two hundredths of an output step.
    far = len(bias.scale) and bool((np.abs(bias.scale.astype(np.float64) - product) > 0.02 * target.scale[0]).any())
    if len(bias.scale) and (far or not same_scale(bias.scale, product)):
        own, steps = (np.broadcast_to(v, max(len(product), len(bias.scale))) for v in (bias.scale, product))
        where = int(np.argmax(np.abs(own - steps) / steps))
        raise op.error(
            f"bias {bias.name} has scale {own[where]:.7g}, must be input scale x weight scale = {steps[where]:.7g}: "
            "convert it again"
        )


def check_reach(op: TflOperator, reach: NDArray[np.float64], factor: NDArray[np.float64]) -> None:
    """WorkloadError where sums of up to `reach`, times `factor`, pass the 32 bits of the runtime, which wraps or worse.

    [outputs] or [1]; the largest sum is that of a real weight and bias with the farthest input.
    """
    largest = reach * np.maximum(factor, 1.0)
    if not (largest < 2.0**31).all():
        raise op.error(
            f"its scaled sums may reach {float(np.nanmax(largest)):.4g}, must stay within 32 bits: the output's scale is too "
            "small or the bias too large, convert it again"
        )


def check_reshape(op: TflOperator, shape: TflTensor | None, target: TflTensor) -> None:
    """WorkloadError where the shape that a RESHAPE stores is not that of its output tensor."""
    stored: list[int] | None = None
    if shape is not None:
        if shape.value is None:
            raise op.error(f"shape {shape.name} is computed, must be a constant: fix the shape in the conversion")
        stored = [int(size) for size in shape.value.reshape(-1)]
    elif op.options is not None and op.options.NewShapeLength():
        stored = [int(size) for size in op.options.NewShapeAsNumpy()]
    if stored is None:
        return
    same = len(stored) == len(target.shape) and all(a in (-1, b) for a, b in zip(stored, target.shape))
    if not same or stored.count(-1) > 1:
        raise op.error(f"stores the shape {stored}, its output is {list(target.shape)}: convert it again")


def check_input_type(name: str, dtype: str) -> None:
    """WorkloadError for a network whose input is neither codes nor float, nor indices of a table or truth values."""
    if dtype not in (*BYTES, *WIDE, "float32", "int32", "int64", "bool"):
        raise WorkloadError(
            f"input {name} is {dtype}, must be int8, uint8, int16, float32, bool or indices (int32, int64): {REMEDY}"
        )
