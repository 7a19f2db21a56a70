"""Which layers use one matrix: the steps of a recurrent network multiply by the same cells, one after the other."""

from collections.abc import Sequence

import numpy as np

from cimemu.layer.base import Layer
from cimemu.layer.macro_layer import MacroLayer


def cells_of(layers: Sequence[Layer]) -> dict[str, str]:
    """By name of a layer on macros: the first layer whose cells it uses, itself where it has its own.

    Layers share cells where they are told to (`MacroLayer.shares`) and hold the same integers: a scheme that gave them
    different ones has taken the matrix apart.
    """
    first: dict[str, list[MacroLayer]] = {}
    found: dict[str, str] = {}
    for layer in layers:
        if not isinstance(layer, MacroLayer):
            continue
        others = first.setdefault(layer.shares, []) if layer.shares else []
        like = next((other for other in others if _same_cells(layer, other)), None)
        if like is None:
            others.append(layer)
        found[layer.name] = layer.name if like is None else like.name
    return found


def _same_cells(a: MacroLayer, b: MacroLayer) -> bool:
    """Whether two layers hold the same levels and drive them alike."""
    if a.weight is b.weight:
        equal = True
    else:
        equal = a.weight.shape == b.weight.shape and bool((a.weight == b.weight).all())
    kinds = (a.input_dtype, a.geometry.groups, a.geometry.kernel_h) == (
        b.input_dtype,
        b.geometry.groups,
        b.geometry.kernel_h,
    )
    zeros = np.array_equal(a.weight_zero_point, b.weight_zero_point)
    return equal and kinds and zeros and a.column_scale is None and b.column_scale is None


def earlier_positions(layers: Sequence[Layer]) -> dict[str, int]:
    """By name of a layer on macros: output positions of one image that its cells have served before it."""
    owner, served, found = cells_of(layers), dict[str, int](), dict[str, int]()
    for layer in layers:
        if isinstance(layer, MacroLayer):
            found[layer.name] = served.get(owner[layer.name], 0)
            served[owner[layer.name]] = found[layer.name] + layer.geometry.positions
    return found
