"""Integer TensorFlow Lite operators as layers, with the multipliers and ranges that the runtime prepares."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimemu.importer.tflite_checks import check_bias, check_reach, check_reshape, check_weight
from cimemu.importer.tflite_file import TflOperator, TflTensor
from cimemu.importer.tflite_rows import Row, Tensors, option, row
from cimemu.layer.base import Layer, TensorType
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.requantize import FixedPoint, Fp64HalfAway, OutputStage
from cimemu.layer.rounding import quantize_multiplier
from cimemu.layer.tfl import TflPool, TflSoftmax
from cimemu.layer.tfl_moves import TflReshape
from cimemu.layer.tfl_softmax import softmax_parameters
from cimemu.layer.tfl_whole import image_shape
from cimemu.layer.tfl_wide_tables import TflWideSoftmax

ACTIVATIONS = {0: (None, None), 1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)}  # none, ReLU, ReLU1, ReLU6
SAME = 0


def limits(op: TflOperator, target: TflTensor) -> tuple[int, int]:
    """Smallest and largest output code: the type's, narrowed by a fused activation (CalculateActivationRange)."""
    kind = np.iinfo(target.dtype)
    low, high = int(kind.min), int(kind.max)
    number = option(op, "FusedActivationFunction", 0)
    if number not in ACTIVATIONS:
        raise op.error(f"fused activation {number}, must be none, ReLU, ReLU1 or ReLU6")

    def code(real: float) -> int:
        steps = float(np.float32(real) / target.scale[0])
        if not abs(steps) < 1 << 30:
            raise op.error(
                f"output scale {target.scale[0]:.4g} makes its fused activation's bound {real:g} a code beyond 32 bits: "
                "convert it again"
            )
        return int(target.zero_point[0]) + int(np.copysign(np.floor(abs(steps) + 0.5), steps))

    with np.errstate(over="ignore"):
        bottom, top = (None if bound is None else code(bound) for bound in ACTIVATIONS[number])
    return low if bottom is None else max(low, bottom), high if top is None else min(high, top)


def window(op: TflOperator, image: Sequence[int], kernel: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """(output size, padding before, padding after) of rows and columns under SAME or VALID padding."""
    strides = (op.options.StrideH(), op.options.StrideW())
    dilations = (1, 1)
    if hasattr(op.options, "DilationHFactor"):
        dilations = (op.options.DilationHFactor(), op.options.DilationWFactor())
    out, before, after = [], [], []
    for size, k, stride, dilation in zip(image, kernel, strides, dilations):
        reach = (k - 1) * dilation + 1
        count = -(-size // stride) if op.options.Padding() == SAME else -(-(size - reach + 1) // stride)
        if count < 1:
            raise op.error(f"a kernel of {list(kernel)} does not fit an image of {list(image)}")
        total = max(0, (count - 1) * stride + reach - size)
        out.append(count)
        before.append(total // 2)
        after.append(total - total // 2)
    return out, before, after


def multipliers(x: TflTensor, w: TflTensor, target: TflTensor) -> NDArray[np.float64]:
    """Input scale x weight scale / output scale, [1] or [outputs], in float64."""
    return np.float64(x.scale[0]) * w.scale.astype(np.float64) / np.float64(target.scale[0])


def fixed_point(op: TflOperator, x: TflTensor, w: TflTensor, target: TflTensor) -> FixedPoint:
    """The stage of a convolution; legacy uint8 ones multiply the scales in float32."""
    real = multipliers(x, w, target)
    if x.dtype == "uint8":
        with np.errstate(over="ignore"):
            real = (x.scale[0] * w.scale).astype(np.float64) / np.float64(target.scale[0])
    if not np.isfinite(real).all():
        raise op.error(
            f"input scale {x.scale[0]:.4g} x weight scale {w.scale[0]:.4g} is beyond float32: convert it again"
        )
    pairs = [quantize_multiplier(float(value)) for value in real]
    low, high = limits(op, target)
    return FixedPoint(
        q31=np.array([m for m, _ in pairs], dtype=np.int64),
        shift=np.array([s for _, s in pairs], dtype=np.int64),
        zero_point=int(target.zero_point[0]),
        low=low,
        high=high,
        dtype=target.dtype,
    )


def weights(
    op: TflOperator, inputs: Tensors, target: TflTensor, axis: int
) -> tuple[TflTensor, TflTensor, NDArray[np.int16], NDArray[np.int64] | None]:
    """(input, weight, its values, bias values) of a product whose weight has its outputs on `axis`."""
    x, w = inputs[0], inputs[1] if len(inputs) > 1 else None
    bias = inputs[2] if len(inputs) > 2 else None
    assert x is not None
    check_weight(op, x, w, axis)
    assert w is not None
    assert w.value is not None
    check_bias(op, x, w, bias, target)
    values = None if bias is None or bias.value is None else bias.value.reshape(-1).astype(np.int64)
    return x, w, w.value.astype(np.int16), values


def reach(x: TflTensor, w: TflTensor, weight: NDArray[np.int16], bias: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """The largest sum of each output, for weight [outputs, ...]."""
    kind, zero = np.iinfo(x.dtype), int(x.zero_point[0])
    farthest = max(kind.max - zero, zero - kind.min)
    centred = weight.reshape(len(weight), -1).astype(np.int64) - w.zero_point.reshape(-1, 1)
    return np.asarray(np.abs(centred).sum(axis=1) * float(farthest) + (0.0 if bias is None else np.abs(bias)))


class Form(NamedTuple):
    """What a product is beside its numbers."""

    geometry: Geometry
    stage: OutputStage
    layout: str


def macro_layer(
    op: TflOperator,
    target: TflTensor,
    x: TflTensor,
    w: TflTensor,
    weight: NDArray[np.int16],
    bias: NDArray[np.int64] | None,
    form: Form,
) -> MacroLayer:
    """The layer on macros of a checked product. WorkloadError where bias or output do not fit its geometry."""
    geometry, outputs = form.geometry, form.geometry.channels_out
    if bias is not None and bias.shape != (outputs,):
        raise op.error(f"bias of shape {list(bias.shape)}, must be [{outputs}]")
    if int(np.prod(target.shape, dtype=np.int64)) != geometry.positions * outputs:
        raise op.error(f"output of shape {list(target.shape)}, must have {geometry.positions} x {outputs} elements")
    return MacroLayer(
        name=target.name,
        inputs=(x.name,),
        outputs=(target.name,),
        geometry=geometry,
        weight=np.ascontiguousarray(weight),
        weight_zero_point=np.broadcast_to(w.zero_point, (outputs,)).astype(np.int64),
        input_zero_point=int(x.zero_point[0]),
        input_dtype=x.dtype,
        bias=np.zeros(outputs, np.int64) if bias is None else bias,
        stage=form.stage,
        output_type=TensorType(image_shape(target.shape), target.dtype),
        layout=form.layout,
    )


def _conv(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    depthwise = op.op == "DEPTHWISE_CONV_2D"
    x, w, value, bias = weights(op, inputs, target, 3 if depthwise else 0)
    weight = value.transpose(3, 0, 1, 2) if depthwise else value.transpose(0, 3, 1, 2)
    _, height, width, channels = x.shape
    groups = channels // weight.shape[1]
    if channels % weight.shape[1] or weight.shape[0] % groups:
        raise op.error(f"weight of shape {list(value.shape)} does not fit {channels} input channels")
    out, before, after = window(op, (height, width), weight.shape[2:])
    geometry = Geometry(
        channels_in=channels,
        height_in=height,
        width_in=width,
        channels_out=weight.shape[0],
        height_out=out[0],
        width_out=out[1],
        kernel_h=weight.shape[2],
        kernel_w=weight.shape[3],
        stride_h=op.options.StrideH(),
        stride_w=op.options.StrideW(),
        pad_top=before[0],
        pad_left=before[1],
        pad_bottom=after[0],
        pad_right=after[1],
        dilation_h=op.options.DilationHFactor(),
        dilation_w=op.options.DilationWFactor(),
        groups=groups,
    )
    stage = fixed_point(op, x, w, target)
    check_reach(op, reach(x, w, weight, bias), np.exp2(stage.shift, dtype=np.float64))
    return macro_layer(op, target, x, w, weight, bias, Form(geometry, stage, "nhwc"))


def _fully_connected(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    x, w, value, bias = weights(op, inputs, target, 0)
    if op.options is not None and op.options.WeightsFormat():
        raise op.error(f"weights_format = {op.options.WeightsFormat()} (shuffled), must be 0: convert it again")
    outputs, rows = value.shape
    elements = int(np.prod(x.shape, dtype=np.int64))
    if elements % rows:
        raise op.error(f"input of shape {list(x.shape)} does not divide into rows of {rows}, the weight's inputs")
    geometry = Geometry(rows, elements // rows, 1, outputs, elements // rows, 1)
    multiplier = multipliers(x, w, target)
    low, high = limits(op, target)
    stage = Fp64HalfAway(multiplier, int(target.zero_point[0]), low, high, target.dtype)
    check_reach(op, reach(x, w, value, bias), multiplier)
    return macro_layer(op, target, x, w, value[:, :, None, None], bias, Form(geometry, stage, "rows"))


def _pool(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    x = inputs[0]
    assert x is not None
    kernel = (op.options.FilterHeight(), op.options.FilterWidth())
    out, before, _ = window(op, x.shape[1:3], kernel)
    if (float(x.scale[0]), int(x.zero_point[0])) != (float(target.scale[0]), int(target.zero_point[0])):
        raise op.error("input and output have different scales, a pool keeps them")
    low, high = limits(op, target)
    return TflPool(
        name=target.name,
        inputs=(x.name,),
        outputs=(target.name,),
        kind={"AVERAGE_POOL_2D": "average", "MAX_POOL_2D": "max"}[op.op],
        kernel=kernel,
        stride=(op.options.StrideH(), op.options.StrideW()),
        pad=(before[0], before[1]),
        out=(out[0], out[1]),
        low=low,
        high=high,
    )


def _reshape(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    x = inputs[0]
    assert x is not None
    check_reshape(op, inputs[1] if len(inputs) > 1 else None, target)
    return TflReshape(target.name, (x.name,), (target.name,), (x.shape,), target=target.shape)


def _softmax(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    x = inputs[0]
    assert x is not None
    if x.dtype == "int16":
        return _wide_softmax(op, x, target)
    if float(target.scale[0]) != 1 / 256 or int(target.zero_point[0]) != np.iinfo(target.dtype).min:
        raise op.error(
            f"output scale {target.scale[0]}, zero point {target.zero_point[0]}: must be 1/256 and the lowest"
        )
    if op.options is None:
        raise op.error("its options are missing, beta must be given: convert it again")
    beta = float(op.options.Beta())
    if not beta * float(x.scale[0]) * (1 << 26) > 1.0:
        raise op.error(f"beta {beta:g} x input scale {x.scale[0]:.4g}, must be above 2^-26: convert it again")
    q31, shift, diff_min = softmax_parameters(beta, float(x.scale[0]))
    return TflSoftmax(
        name=target.name,
        inputs=(x.name,),
        outputs=(target.name,),
        q31=q31,
        left_shift=shift,
        diff_min=diff_min,
        dtype=target.dtype,
    )


def _wide_softmax(op: TflOperator, x: TflTensor, target: TflTensor) -> Layer:
    beta = float(option(op, "Beta", 0.0))
    if float(target.scale[0]) != 1 / 32768:
        raise op.error(f"output scale {target.scale[0]:.7g}, must be 1/32768: convert it again")
    scale = TflWideSoftmax.multiplier(beta, x.scale[0])
    if not (0.0 < beta * float(x.scale[0]) < 2.0 and scale[0]):
        raise op.error(f"beta {beta:g} x input scale {x.scale[0]:.4g}, must be above 0 and below 2: convert it again")
    return TflWideSoftmax(target.name, (x.name,), (target.name,), scale)


PRODUCT_OPS: dict[str, Row] = {
    "AVERAGE_POOL_2D": row(_pool, wide=True),
    "CONV_2D": row(_conv),
    "DEPTHWISE_CONV_2D": row(_conv),
    "FULLY_CONNECTED": row(_fully_connected),
    "MAX_POOL_2D": row(_pool, wide=True),
    "RESHAPE": row(_reshape, wide=True),
    "SOFTMAX": row(_softmax, wide=True),
}
