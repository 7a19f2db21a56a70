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
