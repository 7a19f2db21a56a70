"""Training through an accumulator of limited width: running sums held after every (group, input slice), with gradients."""

from typing import Any

import numpy as np
import torch

from cimemu.adapt.rounding import Through
from cimemu.arch.macro import Macro
from cimemu.errors import WorkloadError
from cimemu.macro.accumulator import held
from cimemu.macro.encode import columns_of, input_slice_weights
from cimemu.macro.matrix import limits


def may_overflow(macro: Macro, rows: int, largest: float | None) -> bool:
    """Whether any weights and inputs could take the running sum of a row block of `rows` out of the accumulator.

    `largest` is the largest absolute level of its converters; None: ideal ones.
    """
    if macro.accumulator_bits is None:
        return False
    columns, top = columns_of(macro), 2**macro.cell.bits - 1
    groups = -(-rows // macro.raised_rows)
    if largest is None:
        most = min(rows, macro.raised_rows) * (2**macro.input.dac_bits - 1) * top
        by_conversion = most * np.abs(columns.mix).sum(axis=1).astype(np.float64)
    else:
        by_conversion = np.full(len(columns.weight), float(largest))
    step = float((by_conversion * np.abs(columns.weight)).sum())
    return groups * float(np.abs(input_slice_weights(macro)).sum()) * step > limits(macro.accumulator_bits)[1]


def hold(running: Any, macro: Macro) -> Any:
    """Running sums (float64, whole numbers) after a step as the accumulator holds them.

    A saturated sum passes no gradient, a wrapped one all of it. WorkloadError where the chip would end with one.
    """
    bits = macro.accumulator_bits
    assert bits is not None
    low, high = limits(bits)
    match macro.accumulator_overflow:
        case "saturate":
            return running.clamp(low, high)
        case "wrap":
            whole = running.detach().to(torch.int64).cpu().numpy()
            return Through.apply(running, torch.from_numpy(held(whole, bits, "wrap")).to(running))
        case "error":
            least, most = running.detach().min().item(), running.detach().max().item()
            if least < low or most > high:
                raise WorkloadError(
                    f"training: a running sum is {least if least < low else most:.0f}, must be {low} .. {high} "
                    f"(macro.accumulator_bits = {bits}); use more accumulator_bits, or accumulator_overflow saturate or wrap"
                )
            return running
