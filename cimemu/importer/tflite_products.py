"""Integer TensorFlow Lite products beside convolutions: TRANSPOSE_CONV and BATCH_MATMUL."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cimemu.importer.tflite_checks import check_alike, check_reach
from cimemu.importer.tflite_file import TflOperator, TflTensor
from cimemu.importer.tflite_integer import Form as Product
from cimemu.importer.tflite_integer import fixed_point, limits, macro_layer, reach, weights, window
from cimemu.importer.tflite_rows import Row, Tensors, given, one, option, same_type
from cimemu.importer.tflite_wide import wide_bias, wide_scales
from cimemu.layer.base import Layer, TensorType
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.requantize import Accumulator
from cimemu.layer.rounding import quantize_multiplier
from cimemu.layer.tfl_products import TflBatchMatMul, TflScatter, TflWideScatter
from cimemu.layer.tfl_whole import image_shape
from cimemu.layer.tfl_wide import TflBytes


def _transpose_conv(op: TflOperator, inputs: Tensors, targets: Sequence[TflTensor]) -> Sequence[Layer]:
    """Every pixel times every kernel element on macros, then added where they fall."""
    target, x = one(op, targets), given(op, inputs, 2)
    same_type(op, (x, target), wide=True)
    is_wide = x.dtype == "int16"
    operands = (x, *inputs[1:2], *([] if is_wide else inputs[3:]))
    narrow = replace(x, dtype="int8") if is_wide else x
    _, w, value, bias = weights(op, (narrow, *operands[1:]), target, 0)
    if is_wide:
        bias = wide_bias(op, (x, w, *inputs[3:]))
    if len(x.shape) != 4 or len(target.shape) != 4 or x.shape[0] != 1:
        raise op.error(f"from {list(x.shape)} to {list(target.shape)}, must be [1, rows, columns, channels]")
    outputs, kh, kw, channels = value.shape
    if x.shape[3] != channels or target.shape[3] != outputs:
        raise op.error(
            f"weight of shape {list(value.shape)} does not fit {x.shape[3]} input channels: convert it again"
        )
    counts, before, _ = window(op, target.shape[1:3], (kh, kw))
    if tuple(counts) != x.shape[1:3]:
        raise op.error(f"input of {list(x.shape[1:3])}, its output needs {counts}: convert it again")
    # Outputs of the first half: kernel row, kernel column, channel.
    matrix = np.ascontiguousarray(value.transpose(1, 2, 0, 3).reshape(kh * kw * outputs, channels, 1, 1))
    zeros = np.tile(np.broadcast_to(w.zero_point, (outputs,)).astype(np.int64), kh * kw)
    name = f"{target.name}:products"
    added: dict[str, Any] = {
        "name": target.name,
        "inputs": (name,),
        "outputs": (target.name,),
        "kernel": (kh, kw),
        "stride": (op.options.StrideH(), op.options.StrideW()),
        "pad": (before[0], before[1]),
        "out": image_shape(target.shape),
        "bias": np.zeros(outputs, np.int64) if bias is None else bias,
        "dtype": target.dtype,
    }
    if is_wide:
        halves = f"{target.name}:bytes"
        image = (x.shape[1], x.shape[2], channels)
        sums = 128 * matrix.reshape(len(matrix), -1).astype(np.int64).sum(axis=1)
        scales = wide_scales(op, x, w, target)
        return [
            TflBytes(halves, (x.name,), (halves,), image, ((0, 0), (0, 0))),
            _pixels(name, halves, (2 * x.shape[1], x.shape[2]), matrix, zeros, 0, "int8"),
            TflWideScatter(**added, offset=sums, q31=scales[0], shift=scales[1], limits=limits(op, target)),
        ]
    stage = fixed_point(op, x, w, target)
    check_reach(op, reach(x, w, value, bias), np.exp2(stage.shift, dtype=np.float64))
    products = _pixels(name, x.name, x.shape[1:3], matrix, zeros, int(x.zero_point[0]), x.dtype)
    return [products, TflScatter(**added, stage=stage)]


def _pixels(
    name: str, source: str, image: Sequence[int], matrix: np.ndarray, zeros: np.ndarray, zero: int, dtype: str
) -> MacroLayer:
    """Every pixel of an image (rows, columns) times a matrix [columns, channels, 1, 1], as accumulators."""
    rows, columns = image
    count, channels = matrix.shape[:2]
    return MacroLayer(
        name=name,
        inputs=(source,),
        outputs=(name,),
        geometry=Geometry(channels, rows, columns, count, rows, columns),
        weight=matrix,
        weight_zero_point=zeros,
        input_zero_point=zero,
        input_dtype=dtype,
        bias=np.zeros(count, np.int64),
        stage=Accumulator(),
        output_type=TensorType((rows, columns, count), "int32"),
        layout="nhwc",
    )


def _batch_matmul(op: TflOperator, inputs: Tensors, targets: Sequence[TflTensor]) -> Sequence[Layer]:
    """Two activations on the digital unit; a constant second operand is written into macros."""
    target = one(op, targets)
    a, b = given(op, inputs, 0), given(op, inputs, 1)
    same_type(op, (a, b, target), wide=True)
    check_alike(op, (a, b, target))
    if target.dtype == "uint8":
        raise op.error(f"is {target.dtype}, must be int8 or int16: convert the network with full int8 quantisation")
    adjoint = (bool(option(op, "AdjX", False)), bool(option(op, "AdjY", False)))
    with np.errstate(over="ignore"):  # the scales' product is a float32 number of the runtime's
        real = float(a.scale[0] * b.scale[0]) / float(target.scale[0])
    depth = a.shape[-2 if adjoint[0] else -1] if len(a.shape) > 1 else 1
    if target.dtype == "int8":
        check_reach(op, np.array([float(depth) * (1 << 16)]), np.array([2.0 * real]))
    elif not (2.0**-32 < real < 2.0**7 and depth < 1 << 17):
        raise op.error(f"its multiplier is {real:.4g}, must be within 2^-32 .. 2^7: convert it again")
    if (
        target.dtype == "int8"
        and b.value is not None
        and not adjoint[0]
        and int(np.prod(b.shape[:-2], dtype=np.int64)) == 1
    ):
        matrix = b.value.reshape(b.shape[-2:])
        return [_constant(op, target, a, replace(b, value=matrix if adjoint[1] else matrix.T), real)]
    return [
        TflBatchMatMul(
            target.name,
            (a.name, b.name),
            (target.name,),
            (a.shape, b.shape),
            adjoint,
            int(a.zero_point[0]),
            int(b.zero_point[0]),
            int(target.zero_point[0]),
            quantize_multiplier(real),
        )
    ]


def _constant(op: TflOperator, target: TflTensor, x: TflTensor, w: TflTensor, real: float) -> MacroLayer:
    """A product with a constant matrix [outputs, inputs], times `real`."""
    assert w.value is not None
    outputs, rows = w.value.shape
    elements = int(np.prod(x.shape, dtype=np.int64))
    if x.shape[-1] != rows:
        raise op.error(f"input of shape {list(x.shape)} does not end in {rows}, the weight's inputs: convert it again")
    geometry = Geometry(rows, elements // rows, 1, outputs, elements // rows, 1)
    q31, shift = quantize_multiplier(real)
    stage = replace(fixed_point(op, x, w, target), q31=np.array([q31]), shift=np.array([shift]))
    weight = w.value.astype(np.int16)[:, :, None, None]
    return macro_layer(op, target, x, w, weight, None, Product(geometry, stage, "rows"))


OTHER_PRODUCT_OPS: dict[str, Row] = {"BATCH_MATMUL": _batch_matmul, "TRANSPOSE_CONV": _transpose_conv}
