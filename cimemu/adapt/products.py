"""A macro layer's products with their gradients: codes and digits to partial sums, through converters, added up.

Some images at a time, so that their partial sums stay in the cache; those are not kept for the way back but computed once
more where that is cheap. Backward, the digits of a weight share its gradient: one convolution gives it, not one a slice.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from cimemu.adapt.kernels.psum_step import merge_slices
from cimemu.adapt.psum_conv import LAST, Convolution, gradient, psums_of
from cimemu.adapt.psums import Converters, prepared

AT_ONCE = 2**20  # partial sums: 4 MiB; more leave the cache, fewer cost calls


def products(
    u: Any, filters: Any, integers: Any, how: Convolution, converters: Converters, outputs: int, noise: Any = None
) -> Any:
    """[images, outputs, height, width] of codes `u` [images, channels, ...].

    `noise` of a shape [images, height, width, columns] and which images these are, drawn at each call, is added to psums.

    `filters` [columns, ...] are digits, columns in the order of `how`; `integers` [groups * outputs, ...] are the weights
    that they are of: these get the gradient, by `how.slopes`, or else filters do.
    """
    return Products.apply(u, filters, integers, *converters.given, Rest(how, converters.rule, outputs, noise))


class Rest(NamedTuple):
    """What `Products` takes besides tensors."""

    how: Convolution
    rule: Any  # of the converters
    outputs: int
    noise: Any


class Products(torch.autograd.Function):
    """`products`, forward and backward."""

    @staticmethod
    def forward(ctx: Any, u: Any, filters: Any, integers: Any, a: Any, b: Any, factor: Any, rest: Rest) -> Any:
        """Values of outputs, channels last."""
        how, rule, outputs, noise = rest
        u, filters = u.contiguous(memory_format=LAST), filters.contiguous(memory_format=LAST)
        made, cheap = psums_of(filters, how)
        kept, parts, given = [], [], prepared((a, b, factor))
        for images in _some(u, len(filters)):
            psums = made(u[images]).permute(0, 2, 3, 1)
            if noise is not None:
                psums = psums + noise(psums.shape, images)
            values = rule.values(psums.flatten(1, 2).contiguous(), given, outputs)
            parts.append(values.unflatten(1, psums.shape[1:3]))
            if not cheap or noise is not None:  # the way back meets the same reads
                kept.append(psums)
        ctx.how, ctx.rule, ctx.made, ctx.integers = how, rule, made, integers.shape
        ctx.save_for_backward(u, filters, a, b, factor, *kept)
        return torch.cat(parts).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Gradients of codes, of integers or filters, and of what converters learn."""
        how: Convolution = ctx.how
        u, filters, a, b, factor, *kept = ctx.saved_tensors
        slope, given = grads[0].permute(0, 2, 3, 1).contiguous(), prepared((a, b, factor))
        kind = getattr(torch, how.gradients)
        digits = filters.to(kind)
        whole = digits if how.slopes is None else digits.new_empty(ctx.integers).contiguous(memory_format=LAST)
        codes, weights, learned = [], 0, None
        for number, images in enumerate(_some(u, len(filters))):
            some = u[images]
            psums = kept[number] if kept else ctx.made(some).permute(0, 2, 3, 1)
            flat, some = psums.flatten(1, 2).contiguous(), some.to(kind)
            back, sums = ctx.rule.gradients(flat, given, slope[images].flatten(1, 2))
            learned = sums if learned is None else [v if v is None else v + w for v, w in zip(learned, sums)]
            back = back.unflatten(1, psums.shape[1:3])
            shared = back if how.slopes in (None, (1.0,)) else merged(back, how)
            if ctx.needs_input_grad[0]:
                codes.append(gradient(back.permute(0, 3, 1, 2).to(kind), some, digits, how, 0))
            weights = weights + gradient(shared.permute(0, 3, 1, 2).to(kind), some, whole, how, 1)
        assert learned is not None
        return (
            torch.cat(codes) if codes else None,
            *((weights, None) if how.slopes is None else (None, weights)),
            *(None if v is None else v.to(torch.float32) for v in learned),
            None,
        )


def merged(back: Any, how: Convolution) -> Any:
    """[images, height, width, groups * outputs] of the gradient [..., columns] of partial sums: that of whole weights."""
    assert how.slopes is not None
    if back.device.type != "cpu":
        split = back.unflatten(3, (how.groups, how.conversions, -1))
        return torch.einsum("...gvn,v->...gn", split, back.new_tensor(how.slopes)).flatten(3)
    outputs = back.shape[3] // (how.groups * how.conversions)
    made = torch.empty((*back.shape[:3], how.groups * outputs), dtype=torch.float32)
    slopes = np.array(how.slopes, dtype=np.float32)
    merge_slices(back.numpy().reshape(-1, how.conversions, outputs), slopes, made.numpy().reshape(-1, outputs))
    return made


def _some(u: Any, columns: int) -> Iterator[slice]:
    """Images that are computed together."""
    images = max(1, AT_ONCE // (columns * u.shape[2] * u.shape[3])) if u.device.type == "cpu" else len(u)
    return (slice(first, first + images) for first in range(0, len(u), images))
