"""The matrix and the geometry of a product."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Layer
from cimemu.layer.conv import Conv
from cimemu.layer.macro_layer import Geometry
from cimemu.layer.matmul import Gemm
from cimemu.lower.graph import Graph


def output_axis(graph: Graph, layer: Layer) -> tuple[int, int]:
    """(the axis of a product's weight that runs over its outputs, how many these are)."""
    shape = graph.network.constants[layer.inputs[1]].shape
    axis = 0 if isinstance(layer, Conv) or (isinstance(layer, Gemm) and layer.trans_b) else len(shape) - 1
    return axis, shape[axis]


def shaped(graph: Graph, layer: Layer, value: NDArray[Any]) -> tuple[NDArray[Any], Geometry, str, int]:
    """(weight [outputs, inputs / groups, kh, kw], geometry, layout, the weight's output axis)."""
    types = graph.network.types
    source, target = types[layer.inputs[0]], types[layer.outputs[0]]
    if isinstance(layer, Conv):
        if value.ndim == 3:
            value = value[:, :, None, :]
        channels, *image = source.shape
        height, width = image if len(image) == 2 else (1, image[0])
        out = target.shape[1:] if len(target.shape) == 3 else (1, target.shape[1])
        top, left, bottom, right = layer.pads
        geometry = Geometry(
            channels_in=channels,
            height_in=height,
            width_in=width,
            channels_out=value.shape[0],
            height_out=out[0],
            width_out=out[1],
            kernel_h=value.shape[2],
            kernel_w=value.shape[3],
            stride_h=layer.strides[0],
            stride_w=layer.strides[1],
            pad_top=top,
            pad_left=left,
            pad_bottom=bottom,
            pad_right=right,
            dilation_h=layer.dilations[0],
            dilation_w=layer.dilations[1],
            groups=layer.groups,
        )
        return value, geometry, "nchw", 0
    if value.ndim != 2:
        raise layer.error(f"weight of shape {list(value.shape)}, must be a matrix [K, N]: one product for all")
    transposed = isinstance(layer, Gemm) and layer.trans_b
    matrix = value if transposed else value.T  # [N, K]
    positions = int(np.prod(source.shape[:-1], dtype=np.int64)) if len(source.shape) > 1 else 1
    geometry = Geometry(
        channels_in=matrix.shape[1],
        height_in=positions,
        width_in=1,
        channels_out=matrix.shape[0],
        height_out=positions,
        width_out=1,
    )
    return np.ascontiguousarray(matrix)[:, :, None, None], geometry, "rows", 0 if transposed else 1
