"""Rows of tensors: how many a layer makes, in how many it fetches its inputs, and which of these an output row needs."""

import re

from cimemu.layer.base import TensorType
from cimemu.mapping.plan import LayerPlan

Spans = list[tuple[int, int]]
MACRO_UNIT = re.compile(r"tile\d+/macro\d+")


def is_macro(unit: str) -> bool:
    """Whether a unit of this name is a whole macro (its converters are units of their own in detail cycles)."""
    return MACRO_UNIT.fullmatch(unit) is not None


def tensor_rows(kind: TensorType, layout: str = "nchw") -> int:
    """Rows that a tensor is produced and fetched in: image rows of [C, H, W], positions of a matrix, else one."""
    if layout == "rows":
        return int(kind.elements // kind.shape[-1]) if kind.shape else 1
    if len(kind.shape) == 3:
        return {"nhwc": kind.shape[0], "nchw": kind.shape[1]}[layout]
    return 1


def output_rows(layer: LayerPlan) -> int:
    """Rows in which `layer` writes its outputs."""
    if layer.geometry is not None:
        return layer.geometry.height_out
    heights = {tensor_rows(kind) for kind in layer.output_types}
    return heights.pop() if len(heights) == 1 else 1


def consumer_rows(layer: LayerPlan, which: int) -> int:
    """Rows in which `layer` fetches its input."""
    if layer.geometry is not None and which == 0:
        return layer.geometry.height_in
    return tensor_rows(layer.input_types[which])


def needed_rows(layer: LayerPlan, which: int) -> Spans:
    """First and last + 1 row of input `which` that every output row needs; neither ever falls."""
    rows, height = output_rows(layer), consumer_rows(layer, which)
    if layer.geometry is None:
        return [_digital_rows(layer, row, rows, height) for row in range(rows)]
    if which == 0 and not layer.written:
        return [layer.geometry.input_rows(row) for row in range(rows)]
    return [(0, height)] * rows  # a written operand, zero points, and what waits for them


def _digital_rows(layer: LayerPlan, row: int, rows: int, height: int) -> tuple[int, int]:
    """Those of output row `row`: a pool's window (padding not known here: the widest it can be), the same row of an
    elementwise layer, else all."""
    if layer.pool_rows:
        kernel, stride = layer.pool_rows[0], layer.pool_rows[-1]
        return max(0, min(height - 1, row * stride - kernel + 1)), min(height, row * stride + kernel)
    if height == rows and len(layer.output_types) == 1 and layer.input_types[0].shape == layer.output_types[0].shape:
        return row, row + 1
    return 0, height
