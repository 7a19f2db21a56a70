"""Integer TensorFlow Lite operators as layers, with the multipliers and ranges that the runtime prepares."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.importer.tflite_file import TflOperator, TflTensor
from cimemu.layer.base import Layer, TensorType
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.requantize import FixedPoint
from cimemu.layer.rounding import quantize_multiplier
from cimemu.layer.shape import Reshape
from cimemu.layer.tfl import TflAdd, TflPool, TflSoftmax
from cimemu.layer.tfl_softmax import softmax_parameters

Tensors = Sequence[TflTensor | None]
ACTIVATIONS = {0: (None, None), 1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)}  # none, ReLU, ReLU1, ReLU6
SAME = 0


def limits(op: TflOperator, target: TflTensor) -> tuple[int, int]:
    """Smallest and largest output code: the type's, narrowed by a fused activation (CalculateActivationRange)."""
    kind = np.iinfo(target.dtype)
    low, high = int(kind.min), int(kind.max)
    number = 0 if op.options is None else op.options.FusedActivationFunction()
    if number not in ACTIVATIONS:
        raise op.error(f"fused activation {number}, must be none, ReLU, ReLU1 or ReLU6")

    def code(real: float) -> int:
        ratio = np.float32(real) / target.scale[0]
        return int(target.zero_point[0]) + int(np.copysign(np.floor(np.abs(ratio) + np.float32(0.5)), ratio))

    bottom, top = ACTIVATIONS[number]
    low = low if bottom is None else max(low, code(bottom))
    high = high if top is None else min(high, code(top))
    return low, high


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


def _stage(op: TflOperator, x: TflTensor, w: TflTensor, target: TflTensor, outputs: int, mode: str) -> FixedPoint:
    """A multiplier per output channel, or one for the layer; scales are multiplied in float64, of uint8 layers in float32."""
    if len(w.scale) == 1:
        if x.dtype == "uint8" and op.op != "FULLY_CONNECTED":
            real = [float(np.float32(x.scale[0] * w.scale[0])) / float(target.scale[0])]
        else:
            real = [float(x.scale[0]) * float(w.scale[0]) / float(target.scale[0])]
    elif len(w.scale) == outputs:
        real = [float(x.scale[0]) * float(scale) / float(target.scale[0]) for scale in w.scale]
    else:
        raise op.error(f"weight has {len(w.scale)} scales, must have 1 or {outputs}")
    multipliers = [quantize_multiplier(value) for value in real]
    low, high = limits(op, target)
    return FixedPoint(
        mode=mode,
        q31=np.array([m for m, _ in multipliers], dtype=np.int64),
        shift=np.array([s for _, s in multipliers], dtype=np.int64),
        zero_point=int(target.zero_point[0]),
        low=low,
        high=high,
        dtype=target.dtype,
    )


def _weights(
    op: TflOperator, inputs: Tensors
) -> tuple[TflTensor, TflTensor, NDArray[np.int16], NDArray[np.int64] | None]:
    """(input, weight, its values, bias values) of a product."""
    x, w = inputs[0], inputs[1]
    bias = inputs[2] if len(inputs) > 2 else None
    if x is None or w is None or w.value is None or w.value.dtype.name not in ("int8", "uint8") or not len(w.scale):
        raise op.error("its weight must be constant int8 or uint8 with scales")
    if bias is not None and (bias.value is None or bias.dtype != "int32"):
        raise op.error("its bias must be constant int32")
    values = None if bias is None or bias.value is None else bias.value.reshape(-1).astype(np.int64)
    return x, w, w.value.astype(np.int16), values


def _macro_layer(
    op: TflOperator,
    target: TflTensor,
    x: TflTensor,
    w: TflTensor,
    weight: NDArray[np.int16],
    bias: NDArray[np.int64] | None,
    geometry: Geometry,
    stage: FixedPoint,
    layout: str,
) -> MacroLayer:
    outputs = geometry.channels_out
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
        stage=stage,
        output_type=TensorType(target.shape[1:], target.dtype),
        layout=layout,
    )


def _conv(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    x, w, value, bias = _weights(op, inputs)
    depthwise = op.op == "DEPTHWISE_CONV_2D"
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
    stage = _stage(op, x, w, target, weight.shape[0], "gemmlowp_double")
    return _macro_layer(op, target, x, w, weight, bias, geometry, stage, "nhwc")


def _fully_connected(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    x, w, value, bias = _weights(op, inputs)
    outputs, rows = value.shape
    positions = int(np.prod(x.shape, dtype=np.int64)) // rows
    geometry = Geometry(rows, positions, 1, outputs, positions, 1)
    stage = _stage(op, x, w, target, outputs, "q31_half_away")
    return _macro_layer(op, target, x, w, value[:, :, None, None], bias, geometry, stage, "rows")


def _add(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    a, b = inputs[0], inputs[1]
    if a is None or b is None or a.value is not None or b.value is not None or len(b.scale) != 1:
        raise op.error("adds a constant, only two computed tensors are supported")
    twice = 2.0 * max(float(a.scale[0]), float(b.scale[0]))
    low, high = limits(op, target)
    return TflAdd(
        name=target.name,
        inputs=(a.name, b.name),
        outputs=(target.name,),
        zero_a=int(a.zero_point[0]),
        zero_b=int(b.zero_point[0]),
        zero_y=int(target.zero_point[0]),
        scale_a=quantize_multiplier(float(a.scale[0]) / twice),
        scale_b=quantize_multiplier(float(b.scale[0]) / twice),
        scale_y=quantize_multiplier(twice / ((1 << 20) * float(target.scale[0]))),
        low=low,
        high=high,
        dtype=target.dtype,
    )


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
        kind="average" if op.op == "AVERAGE_POOL_2D" else "max",
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
    if target.shape[:1] != (1,):
        raise op.error(f"to {list(target.shape)}, the batch axis must stay in front")
    return Reshape(name=target.name, inputs=(x.name,), outputs=(target.name,), shape=target.shape[1:])


def _softmax(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    x = inputs[0]
    assert x is not None
    if float(target.scale[0]) != 1 / 256 or int(target.zero_point[0]) != np.iinfo(target.dtype).min:
        raise op.error(
            f"output scale {target.scale[0]}, zero point {target.zero_point[0]}: must be 1/256 and the lowest"
        )
    beta = 1.0 if op.options is None else float(op.options.Beta())
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


INTEGER_OPS: dict[str, Callable[[TflOperator, Any, TflTensor], Layer]] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": _pool,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _conv,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _pool,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
}
