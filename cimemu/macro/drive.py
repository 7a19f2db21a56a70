"""What wordlines are given and cells hold for a network's quantised tensors (contract section 2, zero points)."""

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Input, Weight
from cimemu.layer.macro_layer import MacroLayer


def drive_offset(layer: MacroLayer, macro_input: Input) -> int:
    """What is added to q so that the wordlines can be given it: `u = q + offset`.

    Unsigned macros: 0 for uint8, 128 for int8 (half the width for narrower inputs). Signed macros: 0 for int8; 0
    for uint8 where input.bits = 9, else minus half the width. Raises WorkloadError for another dtype.
    """
    if layer.input_dtype not in ("uint8", "int8"):
        raise layer.error(f"its input is {layer.input_dtype}, macros take int8 or uint8: quantise it first")
    half = 1 << (min(macro_input.bits, 8) - 1)
    if macro_input.signed:
        return -half if layer.input_dtype == "uint8" and macro_input.bits <= 8 else 0
    return 0 if layer.input_dtype == "uint8" else half


def stored_weights(layer: MacroLayer, weight: Weight) -> tuple[NDArray[np.integer], int]:
    """Weights [outputs, K] as cells hold them, and what was taken off: uint8 weights are stored as `w - 128`, uint4 weights of
    4-bit macros as `w - 8`."""
    values: NDArray[np.integer] = layer.weight.reshape(layer.geometry.channels_out, layer.geometry.rows_per_group)
    smallest, largest = int(values.min(initial=0)), int(values.max(initial=0))
    shift = 128 if largest > 127 and weight.bits <= 8 else 0
    if weight.bits == 4 and 7 < largest <= 15 and smallest >= 0:
        shift = 8
    if shift:
        values = values.astype(np.int64) - shift
        values = values.astype(np.int16) if smallest - shift >= -(2**15) else values
    else:
        values = values.view()  # the layer's own numbers, not a copy
    values.flags.writeable = False
    return values, shift
