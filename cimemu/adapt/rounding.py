"""Rounding that gradients pass: straight-through estimators and learned steps (LSQ)."""

from typing import Any

import torch

SMALLEST_SHARE = 1 / 16  # of its first value: the least that a learned step may become


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
    def forward(ctx: Any, step: Any, share: Any) -> Any:
        """`step`; `share` a number or one for each."""
        ctx.share = share
        return step.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """A share of it."""
        return grads[0] * ctx.share, None


class Bounded(torch.autograd.Function):
    """A clamp that lets back in what is outside: a step that one bad gradient drove beyond its bound is not lost."""

    @staticmethod
    def forward(ctx: Any, x: Any, least: Any, most: float | None) -> Any:
        """`x` within its bounds; `least` a number or one for each."""
        ctx.save_for_backward(x)
        ctx.least, ctx.most = least, most
        return within(x, least, most)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """All of it inside; outside only what leads back, against the gradient."""
        (x,), slope = ctx.saved_tensors, grads[0]
        lost = (x < ctx.least) & (slope > 0)
        if ctx.most is not None:
            lost |= (x > ctx.most) & (slope < 0)
        return slope.masked_fill(lost, 0.0), None, None


def within(x: Any, least: Any, most: float | None = None) -> Any:
    """`x` clamped to least .. most."""
    x = torch.maximum(x, torch.as_tensor(least, dtype=x.dtype, device=x.device))
    return x if most is None else x.clamp(max=most)


def bounded(x: Any, least: Any, most: float | None = None) -> Any:
    """`within`, whose gradient leads back from outside."""
    return Bounded.apply(x, least, most)


def limit_gradient(parameter: Any, unit: Any, most: float) -> None:
    """The parameter's gradient within +- `most` times `unit` [as the parameter]."""
    if parameter.grad is not None:
        bound = unit * most
        parameter.grad = torch.minimum(torch.maximum(parameter.grad, -bound), bound)


def rounded(x: Any) -> Any:
    """`x` rounded to the nearest integer, ties to even; its gradient is that of `x`."""
    return Through.apply(x, x.detach().round())


def signs(x: Any) -> Any:
    """-1 or 1 (of 0: 1); the gradient passes where |x| <= 1 (the clipped straight-through estimator of binary nets)."""
    return Through.apply(x.clamp(-1, 1), torch.where(x.detach() >= 0, 1.0, -1.0))


def slowed(step: Any, share: Any) -> Any:
    """`step` whose gradient is multiplied by `share`: LSQ's `1 / sqrt(n Qp)` (Esser et al., ICLR 2020, section 2.2)."""
    return Slowed.apply(step, share)
