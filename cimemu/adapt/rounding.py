"""Rounding that gradients pass: straight-through estimators and learned steps (LSQ)."""

from typing import Any

import torch


class Through(torch.autograd.Function):
    """The second operand forward, to the bit; the gradient goes to the first."""

    @staticmethod
    def forward(ctx: Any, soft: Any, hard: Any) -> Any:
        """`hard`."""
        return hard.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """All of it to `soft`."""
        return grads[0], None


class Slowed(torch.autograd.Function):
    """The same value; a share of the gradient."""

    @staticmethod
    def forward(ctx: Any, step: Any, share: float) -> Any:
        """`step`."""
        ctx.share = share
        return step.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """A share of it."""
        return grads[0] * ctx.share, None


def rounded(x: Any) -> Any:
    """`x` rounded to the nearest integer, ties to even; its gradient is that of `x`."""
    return Through.apply(x, x.detach().round())


def signs(x: Any) -> Any:
    """-1 or 1 (of 0: 1); the gradient passes where |x| <= 1 (the clipped straight-through estimator of binary nets)."""
    return Through.apply(x.clamp(-1, 1), torch.where(x.detach() >= 0, 1.0, -1.0))


def slowed(step: Any, share: float) -> Any:
    """`step` whose gradient is multiplied by `share`: LSQ's `1 / sqrt(n Qp)` (Esser et al., ICLR 2020, section 2.2)."""
    return Slowed.apply(step, share)


class Levels(torch.autograd.Function):
    """`levels`, forward and backward."""

    @staticmethod
    def forward(ctx: Any, z: Any, top: int, sharpness: float) -> Any:
        """The nearest level."""
        ctx.save_for_backward(z)
        ctx.top, ctx.sharpness = top, sharpness
        return torch.clamp(z.round(), 0, top)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """The slope of the smooth steps near by; those further away add less than sech^2(1.5 k)."""
        (z,) = ctx.saved_tensors
        k = ctx.sharpness
        nearest = torch.clamp((z + 0.5).round(), 1, ctx.top)
        slope = torch.zeros_like(z)
        for beside in (-1, 0, 1):
            i = nearest + beside
            there = (i >= 1) & (i <= ctx.top)
            slope = slope + there * (0.5 * k * (1 - torch.tanh(k * (z - i + 0.5)) ** 2))
        return grads[0] * slope, None, None


def levels(z: Any, top: int, sharpness: float) -> Any:
    """`sum_i step(z - i + 1/2)`, i = 1 .. top; backward that of `1/2 (1 + tanh(k (z - i + 1/2)))` with k = `sharpness`.

    BWMA's differentiable multi-bit activation (arXiv 2508.21524), reconstructed from its abstract.
    """
    return Levels.apply(z, top, sharpness)
