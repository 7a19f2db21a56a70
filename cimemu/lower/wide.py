"""Products of 16-bit operands: bytes on macros, whose sums the digital unit adds to a float result."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Layer, TensorType
from cimemu.layer.conv import Conv
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.matmul import MatMul
from cimemu.layer.requantize import Accumulator
from cimemu.layer.wide import BYTE, WIDE, Halves, WideSum
from cimemu.lower.bias import product_bias
from cimemu.lower.graph import Graph, Quantized
from cimemu.lower.products import Group
from cimemu.lower.shaped import shaped

Ints = NDArray[np.int64]


def lower_wide(graph: Graph, group: Group, x: Quantized, w: Quantized) -> list[Layer]:
    """The layers of a product with an operand of 16 bits; the last one makes its float result, rounded once."""
    layer = group.core
    assert w.value is not None
    weight, geometry, layout, _ = shaped(graph, layer, w.value.astype(np.int32))
    outputs = geometry.channels_out
    w_zero = np.broadcast_to(w.zero_point, (outputs,)).astype(np.int64)
    weight_scale = np.broadcast_to(w.scale, (outputs,))
    whole, real = product_bias(graph, group, x, weight_scale, quantized=False)
    name, last = layer.outputs[0], layout == "rows"
    wide_inputs, wide_weights = x.dtype in WIDE, w.dtype in WIDE
    layers: list[Layer] = []
    source, zero, dtype = x.name, int(x.zero_point[0]), x.dtype
    rows, low_row, offset = geometry.height_out, 0, whole
    if wide_inputs:
        sums = (weight.reshape(outputs, -1).astype(np.int64) - w_zero[:, None]).sum(axis=1)
        offset = whole + (int(np.iinfo(x.dtype).min) - zero) * sums
        halves, geometry, low_row = _halves(layer, x, f"{name}:bytes", geometry, last=last)
        layers.append(halves)
        source, zero, dtype = halves.outputs[0], 0, "uint8"
    if wide_weights:
        weight, w_zero = _bytes_of_weights(weight, w_zero, w.dtype, geometry.groups)
        geometry = replace(geometry, channels_out=2 * outputs)
    tall = (geometry.channels_out, geometry.height_out, geometry.width_out)
    products = MacroLayer(
        name=layer.name,
        inputs=(source,),
        outputs=(f"{name}:products",),
        geometry=geometry,
        weight=weight.astype(np.int16),
        weight_zero_point=w_zero,
        input_zero_point=zero,
        input_dtype=dtype,
        bias=np.zeros(len(weight), np.int64),
        stage=Accumulator(),
        output_type=TensorType((tall[1], tall[0]) if last else tall, "int32"),
        layout=layout,
        shares=layer.shares if isinstance(layer, MatMul) else "",
    )
    total = WideSum(
        name=f"{layer.name}:sum",
        inputs=products.outputs,
        outputs=(name,),
        scale=np.float64(x.scale[0]) * weight_scale.astype(np.float64),
        bias=np.zeros(outputs, np.float32) if real is None else real.value,
        offset=offset,
        out=graph.network.types[name].shape,
        rows=rows,
        low_row=low_row,
        wide_inputs=wide_inputs,
        wide_weights=wide_weights,
        groups=geometry.groups,
        last=last,
    )
    return [*layers, products, total]


def _halves(layer: Layer, x: Quantized, name: str, one: Geometry, *, last: bool) -> tuple[Halves, Geometry, int]:
    """(the layer that takes codes apart, the geometry of both halves, the first output row of the lower one)."""
    zero = int(x.zero_point[0])
    if not isinstance(layer, Conv):
        image = (one.channels_in, one.height_in, 1)
        both = replace(one, height_in=2 * one.height_in, height_out=2 * one.height_out)
        return Halves(name, (x.name,), (name,), zero, image, last=last), both, one.height_out
    # The halves are padded and end on a step of the stride, so that no window of a result sees both.
    rows = max(one.height_in + one.pad_top + one.pad_bottom, one.height_out * one.stride_h)
    rows += -rows % one.stride_h
    reach, low_row = (one.kernel_h - 1) * one.dilation_h + 1, rows // one.stride_h
    both = replace(
        one,
        height_in=2 * rows,
        width_in=one.width_in + one.pad_left + one.pad_right,
        height_out=min((2 * rows - reach) // one.stride_h + 1, low_row + one.height_out),
        pad_top=0,
        pad_left=0,
        pad_bottom=0,
        pad_right=0,
    )
    pads = ((one.pad_top, rows - one.height_in - one.pad_top), (one.pad_left, one.pad_right))
    image = (one.channels_in, one.height_in, one.width_in)
    return Halves(name, (x.name,), (name,), zero, image, pads), both, low_row


def _bytes_of_weights(weight: NDArray[np.int32], zero: Ints, dtype: str, groups: int) -> tuple[NDArray[np.int32], Ints]:
    """Weights [2 * outputs, ...] and zero points of the upper bytes, then the lower ones, of every group in turn."""
    least = int(np.iinfo(dtype).min)  # type: ignore[type-var]
    parts = []
    for codes in (weight - least, (zero - least).astype(np.int32)):
        grouped = codes.reshape(groups, 1, len(codes) // groups, *codes.shape[1:])
        both = np.concatenate([grouped // BYTE, grouped % BYTE], axis=1)
        parts.append(both.reshape(2 * len(codes), *codes.shape[1:]))
    return parts[0], parts[1].astype(np.int64)
