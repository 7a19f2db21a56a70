"""Weights as converters see them, with gradients: integers into the digits of weight slices."""

from typing import Any, NamedTuple

import numpy as np
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
    whole = w.detach().round().to(torch.int64)
    digits = torch.stack(list(macro.encoding.digits(whole, macro.weight.bits, macro.cell.bits)))
    mix = torch.as_tensor(columns.mix, dtype=w.dtype, device=w.device)
    seen = torch.einsum("vs,snk->nvk", mix, digits.to(w.dtype))
    least = np.abs(columns.weight).min()
    counted = [gradient == "proper" or abs(place) == least for place in columns.weight]
    one_sided = macro.encoding.one_side_at_a_time and macro.weight.subtract == "digital"
    share = 1.0 / macro.correction.of_y / (sum(counted) / (2 if one_sided else 1))  # outputs are of_y times the columns
    slopes = tuple(share * here / float(place) for here, place in zip(counted, columns.weight))
    slope = torch.tensor(slopes, dtype=w.dtype, device=w.device)[None, :, None]
    if one_sided:
        first = torch.tensor([place > 0 for place in columns.weight], device=w.device)[None, :, None]
        slope = slope * torch.where(first, (whole >= 0)[:, None], (whole < 0)[:, None])
    return Seen(seen + slope * (w - w.detach())[:, None], None if one_sided else slopes)
