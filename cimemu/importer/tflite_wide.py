"""16x8 TensorFlow Lite products: 16-bit activations, 8-bit weights, 64-bit biases."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cimemu.importer.tflite_checks import check_weight
from cimemu.importer.tflite_file import TflOperator, TflTensor
from cimemu.importer.tflite_integer import limits, multipliers, window
from cimemu.importer.tflite_rows import Row, Tensors, given, one, same_type
from cimemu.layer.base import Layer, TensorType
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.requantize import Accumulator
from cimemu.layer.rounding import quantize_multiplier
from cimemu.layer.tfl_whole import image_shape
from cimemu.layer.tfl_wide import TflBytes, TflWideSum


def wide(narrow: Row) -> Row:
    """A product's builder: `narrow` for 8-bit activations, the two passes here for 16-bit ones."""

    def build(op: TflOperator, inputs: Tensors, targets: Sequence[TflTensor]) -> Sequence[Layer]:
        return (
            _product(op, inputs, one(op, targets))
            if given(op, inputs, 0).dtype == "int16"
            else narrow(op, inputs, targets)
        )

    return build


def _product(op: TflOperator, inputs: Tensors, target: TflTensor) -> Sequence[Layer]:
    x, w = given(op, inputs, 0), given(op, inputs, 1)
    same_type(op, (x, target), wide=True)
    check_weight(op, replace(x, dtype="int8"), w, 3 if op.op == "DEPTHWISE_CONV_2D" else 0)
    assert w.value is not None
    bias = wide_bias(op, inputs)
    if op.op == "FULLY_CONNECTED":
        geometry, pads, image, weight = _rows(op, x, w.value)
    else:
        geometry, pads, image, weight = _images(op, x, target, w.value)
    outputs = geometry.channels_out
    if bias is not None and bias.shape != (outputs,):
        raise op.error(f"bias of shape {list(bias.shape)}, must be [{outputs}]: convert it again")
    sums = weight.reshape(outputs, -1).astype(np.int64).sum(axis=1)
    positions, low_row = geometry.height_out, (geometry.height_in // 2) // geometry.stride_h
    rows = positions - low_row
    if int(np.prod(target.shape, dtype=np.int64)) != rows * geometry.width_out * outputs:
        raise op.error(
            f"output of shape {list(target.shape)}, must have {rows * geometry.width_out * outputs} elements"
        )
    q31, shift = wide_scales(op, x, w, target)
    low, high = limits(op, target)
    halves, products = f"{target.name}:bytes", f"{target.name}:products"
    return [
        TflBytes(halves, (x.name,), (halves,), image, pads),
        MacroLayer(
            name=products,
            inputs=(halves,),
            outputs=(products,),
            geometry=geometry,
            weight=np.ascontiguousarray(weight.astype(np.int16)),
            weight_zero_point=np.zeros(outputs, np.int64),
            input_zero_point=0,
            input_dtype="int8",
            bias=np.zeros(outputs, np.int64),
            stage=Accumulator(),
            output_type=TensorType((positions, geometry.width_out, outputs), "int32"),
            layout="nhwc",
        ),
        TflWideSum(
            name=target.name,
            inputs=(products,),
            outputs=(target.name,),
            low_row=low_row,
            out=image_shape(target.shape),
            rows=rows,
            bias=128 * sums + (0 if bias is None else bias),
            q31=q31,
            shift=shift,
            low=low,
            high=high,
            dtype=target.dtype,
            real=multipliers(x, w, target) if op.op == "FULLY_CONNECTED" else None,
        ),
    ]


def wide_scales(op: TflOperator, x: TflTensor, w: TflTensor, target: TflTensor) -> tuple[np.ndarray, np.ndarray]:
    """(31 bits, shifts) of a 16x8 product's multipliers. WorkloadError for one that the runtime does not take."""
    scales = [quantize_multiplier(float(real)) for real in multipliers(x, w, target)]
    if not all(-31 <= shift <= 7 for _, shift in scales):
        raise op.error("its multipliers must be within 2^-32 .. 2^7: convert it again")
    return np.array([q31 for q31, _ in scales], dtype=np.int64), np.array(
        [shift for _, shift in scales], dtype=np.int64
    )


Parts = tuple[Geometry, tuple[tuple[int, int], tuple[int, int]], tuple[int, int, int], np.ndarray]


def _rows(op: TflOperator, x: TflTensor, value: np.ndarray) -> Parts:
    """(geometry of both bytes, padding, the input as an image, weight) of a matrix product."""
    outputs, depth = value.shape
    elements = int(np.prod(x.shape, dtype=np.int64))
    if elements % depth:
        raise op.error(f"input of shape {list(x.shape)} does not divide into rows of {depth}, the weight's inputs")
    count = elements // depth
    geometry = Geometry(depth, 2 * count, 1, outputs, 2 * count, 1)
    return geometry, ((0, 0), (0, 0)), (count, 1, depth), value[:, :, None, None]


def _images(op: TflOperator, x: TflTensor, target: TflTensor, value: np.ndarray) -> Parts:
    """The same of a convolution: padded, and with rows until a step of the stride ends between the two bytes."""
    depthwise = op.op == "DEPTHWISE_CONV_2D"
    weight = value.transpose(3, 0, 1, 2) if depthwise else value.transpose(0, 3, 1, 2)
    if len(x.shape) != 4 or x.shape[0] != 1:
        raise op.error(f"input of shape {list(x.shape)}, must be [1, rows, columns, channels]")
    _, height, width, channels = x.shape
    groups = channels // weight.shape[1]
    if channels % weight.shape[1] or weight.shape[0] % groups:
        raise op.error(f"weight of shape {list(value.shape)} does not fit {channels} input channels")
    out, before, after = window(op, (height, width), weight.shape[2:])
    stride = (op.options.StrideH(), op.options.StrideW())
    dilation = (op.options.DilationHFactor(), op.options.DilationWFactor())
    rows = height + before[0] + after[0]
    rows = max(rows, out[0] * stride[0])
    rows += -rows % stride[0]
    reach = (weight.shape[2] - 1) * dilation[0] + 1
    both = (2 * rows - reach) // stride[0] + 1
    low_row = rows // stride[0]
    geometry = Geometry(
        channels_in=channels,
        height_in=2 * rows,
        width_in=width + before[1] + after[1],
        channels_out=weight.shape[0],
        height_out=min(both, low_row + out[0]),
        width_out=out[1],
        kernel_h=weight.shape[2],
        kernel_w=weight.shape[3],
        stride_h=stride[0],
        stride_w=stride[1],
        dilation_h=dilation[0],
        dilation_w=dilation[1],
        groups=groups,
    )
    bottom = rows - height - before[0]
    return geometry, ((before[0], bottom), (before[1], after[1])), (height, width, channels), weight


def wide_bias(op: TflOperator, inputs: Tensors) -> np.ndarray | None:
    """A constant bias of 64 bits, or none."""
    tensor = inputs[2] if len(inputs) > 2 else None
    if tensor is None:
        return None
    if tensor.value is None or tensor.dtype != "int64":
        kind = "computed" if tensor.value is None else tensor.dtype
        raise op.error(f"bias {tensor.name} is {kind}, must be constant int64 of a 16x8 product: convert it again")
    return tensor.value.reshape(-1)
