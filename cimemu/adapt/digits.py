"""Weights as converters see them, with gradients: integers into the digits of weight slices."""

from typing import Any

import torch

from cimemu.arch.macro import Macro
from cimemu.compute.encode import columns_of

GRADIENTS = ("proper", "public")


def seen_by_converters(w: Any, macro: Macro, gradient: str) -> Any:
    """[N, conversions per output, K]: what each conversion sees per unit of input of integer weights `w` [N, K].

    Forward: the digits that `cimemu.compute.encode` writes into cells. Backward ("proper"): of a weight's V conversions
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
    place = torch.as_tensor(columns.weight, dtype=w.dtype, device=w.device)
    passing = torch.ones_like(place) if gradient == "proper" else (place.abs() == 1).to(w.dtype)
    shares = passing[None, :, None].expand(1, len(place), 1)
    if encoding == "differential" and macro.weight.subtract == "digital":  # a weight lies on one side of its pair
        positive = (whole >= 0)[:, None, :]
        shares = shares * torch.where((place > 0)[None, :, None], positive, ~positive)
    slope = shares / shares.sum(dim=1, keepdim=True) / place[None, :, None]
    if encoding == "binary":
        slope = slope / 2  # B = 2 t - 1
    return seen + slope * (w - w.detach())[:, None, :]
