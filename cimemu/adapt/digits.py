"""Weights as converters see them, with gradients: integers into the digits of weight slices."""

from typing import Any, NamedTuple

import torch

from cimemu.arch.macro import Macro
from cimemu.macro.encode import columns_of

GRADIENTS = ("proper", "public")


class Seen(NamedTuple):
    """What each conversion sees per unit of input."""

    digits: Any  # [N, conversions per output, K], with the gradient of the integers
    slopes: tuple[float, ...] | None  # of digits by integers, by conversion; None: not the same for all weights


def seen_by_converters(w: Any, macro: Macro, gradient: str) -> Seen:
    """Digits of integer weights `w` [N, K].

    Forward: the digits that `cimemu.macro.encode` writes into cells. Backward ("proper"): of a weight's V conversions
    each gets `1 / (V place)`, so that the recombined integer has slope one (papers differ here; ours). "public": only
    the least significant slice passes gradient, as remainder and floor division do in ColumnQuant's public code.
    """
    columns = columns_of(macro)
    bits, cell, slices = macro.weight.bits, macro.cell.bits, macro.weight_slices
    whole = w.detach().round().to(torch.int64)
    encoding = macro.weight.encoding
    if encoding == "differential":
        stored = [whole.clamp(min=0), (-whole).clamp(min=0)]
    elif encoding == "offset":
        stored = [whole + 2 ** (bits - 1)]
    elif encoding == "twos_complement":
        stored = [whole & (2**bits - 1)]
    else:
        stored = [(whole + 1) // 2]
    digits = torch.stack([(part >> (s * cell)) & (2**cell - 1) for part in stored for s in range(slices)])
    mix = torch.as_tensor(columns.mix, dtype=w.dtype, device=w.device)
    seen = torch.einsum("vs,snk->nvk", mix, digits.to(w.dtype))
    counted = [gradient == "proper" or abs(place) == 1 for place in columns.weight]
    one_sided = encoding == "differential" and macro.weight.subtract == "digital"  # a weight is on one side of its pair
    share = (0.5 if encoding == "binary" else 1.0) / (sum(counted) / (2 if one_sided else 1))  # binary: B = 2 t - 1
    slopes = tuple(share * here / float(place) for here, place in zip(counted, columns.weight))
    slope = torch.tensor(slopes, dtype=w.dtype, device=w.device)[None, :, None]
    if one_sided:
        first = torch.tensor([place > 0 for place in columns.weight], device=w.device)[None, :, None]
        slope = slope * torch.where(first, (whole >= 0)[:, None], (whole < 0)[:, None])
    return Seen(seen + slope * (w - w.detach())[:, None], None if one_sided else slopes)
