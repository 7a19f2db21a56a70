"""Activations to codes of learned steps (LSQ), compiled on the processor, torch's own operations elsewhere."""

from typing import Any

import numpy as np
import torch

from cimemu.adapt.kernels.code_step import to_codes, to_codes_back
from cimemu.adapt.kernels.smooth_step import smooth_back
from cimemu.adapt.rounding import rounded


def codes_of(x: Any, step: Any, zero: int, low: int, high: int) -> Any:
    """`clamp(rint(x / step + zero), low, high)`; gradients of `x` and `step` straight through inside the range."""
    if x.device.type != "cpu":
        return codes_torch(x, step, zero, low, high)
    return Codes.apply(x, step, zero, low, high)


def codes_torch(x: Any, step: Any, zero: int, low: int, high: int) -> Any:
    """The same in torch's operations."""
    return rounded((x / step + zero).clamp(low, high))


class Codes(torch.autograd.Function):
    """`codes_of` on the processor."""

    @staticmethod
    def forward(ctx: Any, x: Any, step: Any, zero: int, low: int, high: int) -> Any:
        """Codes, in the memory's order of `x`."""
        x = _dense(x)
        ctx.save_for_backward(x, step)
        ctx.limits = tuple(np.float32(v) for v in (zero, low, high))
        codes = torch.empty_like(x)
        to_codes(_flat(x).ravel(), np.float32(step.item()), *ctx.limits, _flat(codes).ravel())
        return codes

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Gradients of `x` and the step."""
        x, step = ctx.saved_tensors
        slope = grads[0] if grads[0].stride() == x.stride() else torch.empty_like(x).copy_(grads[0])
        back, flat = torch.empty_like(x), _flat(x)
        work = np.empty(flat.shape[1], dtype=np.float32)
        total = to_codes_back(flat, np.float32(step.item()), *ctx.limits, _flat(slope), _flat(back), work)
        return back, torch.tensor(total, dtype=step.dtype), None, None, None


class SmoothCodes(torch.autograd.Function):
    """`smooth_codes`, forward and backward."""

    @staticmethod
    def forward(ctx: Any, x: Any, step: Any, top: int, sharpness: float) -> Any:
        """The nearest level."""
        x = _dense(x)
        ctx.save_for_backward(x, step)
        ctx.top, ctx.sharpness = top, sharpness
        if x.device.type != "cpu":
            return codes_torch(x, step, 0, 0, top)
        codes = torch.empty_like(x)
        low = np.float32(0)
        to_codes(_flat(x).ravel(), np.float32(step.item()), low, low, np.float32(top), _flat(codes).ravel())
        return codes

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Gradients of `x` and of the step."""
        x, step = ctx.saved_tensors
        if x.device.type != "cpu":
            return *smooth_back_torch(x, step, ctx.top, ctx.sharpness, grads[0]), None, None
        slope = grads[0] if grads[0].stride() == x.stride() else torch.empty_like(x).copy_(grads[0])
        back, flat = torch.empty_like(x), _flat(x)
        given = tuple(np.float32(v) for v in (step.item(), ctx.top, ctx.sharpness))
        work, exps = np.empty((2, flat.shape[1]), dtype=np.float32)
        total = smooth_back(flat, *given, _flat(slope), _flat(back), work, exps)
        return back, torch.tensor(total, dtype=step.dtype), None, None


def smooth_back_torch(x: Any, step: Any, top: int, sharpness: float, given: Any) -> tuple[Any, Any]:
    """The same in torch's operations; tanh steps further away than two add less than sech^2(2.5 k)."""
    z = x / step
    nearest = torch.clamp((z + 0.5).round(), 1, top)
    slope = torch.zeros_like(z)
    for beside in range(-2, 3):
        i = nearest + beside
        there = (i >= 1) & (i <= top)
        slope += there * (0.5 * sharpness * (1 - torch.tanh(sharpness * (z - i + 0.5)) ** 2))
    inside = (z >= 0) & (z <= top)
    return given * slope / step, -(given * z * inside).sum() / step


def smooth_codes(x: Any, step: Any, top: int, sharpness: float) -> Any:
    """`sum_i step(z - i + 1/2)`, i = 1 .. top, z = x / step; backward `x` that of `1/2 (1 + tanh(k (z - i + 1/2)))`.

    k = `sharpness`. BWMA's differentiable multi-bit activation (arXiv 2508.21524), reconstructed from its abstract. The step
    has LSQ's gradient: with the slope of the tanh steps it is off by a share of z itself, which with 8 bits drove steps away
    and networks to chance.
    """
    return SmoothCodes.apply(x, step, top, sharpness)


def _dense(x: Any) -> Any:
    """`x` without gaps: channels last where it is so already."""
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x
    return x.contiguous()


def _flat(x: Any) -> Any:
    """[images, elements] in the order of memory."""
    x = x.detach()
    return (x if x.is_contiguous() else x.permute(0, 2, 3, 1)).reshape(len(x), -1).numpy()
