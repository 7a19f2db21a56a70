"""Converters in the training forward: partial sums into values, weighed and added up over arrays and weight slices.

Partial sums are [images, positions, columns]; column m adds to output n = m mod outputs. Compiled on the processor, torch's
own operations elsewhere.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from cimemu.adapt.kernels.psum_step import convert_sum, convert_sum_back
from cimemu.adapt.kernels.table_step import table_sum, table_sum_back

AT_ONCE = 512  # columns of several positions in one loop: shorter loops cost up to twice as much
Gradients = tuple[Any, list[Any]]


class Rule(Protocol):
    """How converters make values, and the way back; `given` are their parameters as `prepared` makes them."""

    def values(self, psums: Any, given: Sequence[Any], outputs: int) -> Any:
        """[images, positions, outputs] of partial sums."""

    def gradients(self, psums: Any, given: Sequence[Any], slope: Any) -> Gradients:
        """(of partial sums, of each parameter, None where it learns nothing) for `slope` [images, positions, outputs]."""


class Converters(NamedTuple):
    """A rule with its parameters; the last is the factor [columns] of what converters give."""

    rule: Rule
    given: tuple[Any, Any, Any]


class Steps(NamedTuple):
    """Linear converters: the sum of `factor * (zero + lsb * code)` of an output's columns; lsb, zero, factor [columns].

    `code = clamp(floor((psum - zero) / lsb + 1/2), 0, top)`. Gradients are straight through where that clamps nothing, and
    those of learned steps and offsets (LSQ+, Bhalgat et al., CVPRW 2020, eq. 4-5, whose range ends at the outer levels).
    """

    top: int

    def values(self, psums: Any, given: Sequence[Any], outputs: int) -> Any:
        """Values of outputs."""
        if psums.device.type != "cpu":
            return self.values_torch(psums, given, outputs)
        out = torch.empty((*psums.shape[:2], outputs), dtype=torch.float32)
        lsb, zero, factor = given
        work = np.empty((4, len(lsb)), dtype=np.float32)
        convert_sum(_by_image(psums), lsb, zero, factor, np.float32(self.top), work, out.numpy())
        return out

    def gradients(self, psums: Any, given: Sequence[Any], slope: Any) -> Gradients:
        """Of partial sums; of lsb, zero and factor."""
        if psums.device.type != "cpu":
            return self.gradients_torch(psums, given, slope)
        columns = len(given[0])
        back, sums = torch.empty_like(psums), tuple(np.zeros(columns) for _ in range(3))
        work = np.empty((7, columns), dtype=np.float32)
        top = np.float32(self.top)
        convert_sum_back(_by_image(psums), tuple(given), top, slope.numpy(), _by_image(back), work, sums)
        return back, [_by_column(v, psums) for v in sums]

    def values_torch(self, psums: Any, given: Sequence[Any], outputs: int) -> Any:
        """`values` in torch's operations."""
        lsb, zero, factor = given
        code = torch.floor((psums - zero) * _reciprocals(lsb) + 0.5).clamp(0, self.top)
        return _summed(factor * (zero + lsb * code), outputs)

    def gradients_torch(self, psums: Any, given: Sequence[Any], slope: Any) -> Gradients:
        """`gradients` in torch's operations."""
        lsb, zero, factor = given
        wanted = slope.repeat(1, 1, psums.shape[2] // slope.shape[2])
        place = (psums - zero) * _reciprocals(lsb)
        nearest = torch.floor(place + 0.5)
        code, inside = nearest.clamp(0, self.top), ((nearest >= 0) & (nearest <= self.top)).to(psums.dtype)
        here = wanted * factor
        of_given = (here * (code - inside * place), here * (1 - inside), wanted * (zero + lsb * code))
        return here * inside, [v.sum(dim=(0, 1)) for v in of_given]


class Tables(NamedTuple):
    """Any converters: thresholds [T, columns], ascending, and levels [T + 1, columns], which learn nothing.

    Gradients pass between the outer levels, and beyond them as far as the next threshold lies inside.
    """

    def values(self, psums: Any, given: Sequence[Any], outputs: int) -> Any:
        """Values of outputs."""
        if psums.device.type != "cpu":
            return self.values_torch(psums, given, outputs)
        out = torch.empty((*psums.shape[:2], outputs), dtype=torch.float32)
        thresholds, levels, factor = given
        work = np.empty((1, len(factor)), dtype=np.float32)
        table_sum(_by_image(psums), thresholds, levels, factor, work, out.numpy())
        return out

    def gradients(self, psums: Any, given: Sequence[Any], slope: Any) -> Gradients:
        """Of partial sums; of factor alone."""
        if psums.device.type != "cpu":
            return self.gradients_torch(psums, given, slope)
        thresholds, levels, factor = given
        back, total = torch.empty_like(psums), np.zeros(len(factor))
        work = np.empty((5, len(factor)), dtype=np.float32)
        arrays = (_by_image(psums), thresholds, levels, factor)
        table_sum_back(*arrays, slope.numpy(), _by_image(back), work, total)
        return back, [None, None, _by_column(total, psums)]

    def values_torch(self, psums: Any, given: Sequence[Any], outputs: int) -> Any:
        """`values` in torch's operations."""
        thresholds, levels, factor = given
        return _summed(factor * _looked_up(psums, thresholds, levels), outputs)

    def gradients_torch(self, psums: Any, given: Sequence[Any], slope: Any) -> Gradients:
        """`gradients` in torch's operations."""
        thresholds, levels, factor = given
        wanted = slope.repeat(1, 1, psums.shape[2] // slope.shape[2])
        least, most = levels.min(dim=0).values, levels.max(dim=0).values
        low, high = least - (thresholds[0] - least).clamp(min=0), most + (most - thresholds[-1]).clamp(min=0)
        inside = (psums >= low) & (psums <= high)
        total = (wanted * _looked_up(psums, thresholds, levels)).sum(dim=(0, 1))
        return wanted * factor * inside, [None, None, total]


class Converted(torch.autograd.Function):
    """Values of partial sums that are there already."""

    @staticmethod
    def forward(ctx: Any, psums: Any, a: Any, b: Any, factor: Any, rule: Rule, outputs: int) -> Any:
        """Values of outputs."""
        ctx.rule = rule
        psums = psums.contiguous()
        ctx.save_for_backward(psums, a, b, factor)
        return rule.values(psums, prepared((a, b, factor)), outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Gradients of partial sums and parameters."""
        psums, *given = ctx.saved_tensors
        back, sums = ctx.rule.gradients(psums, prepared(given), grads[0].contiguous())
        return back, *(None if v is None else v.to(torch.float32) for v in sums), None, None


def converted(psums: Any, converters: Converters, outputs: int) -> Any:
    """[images, positions, outputs] of partial sums [images, positions, columns]."""
    return Converted.apply(psums, *converters.given, converters.rule, outputs)


def _reciprocals(lsb: Any) -> Any:
    """`cimemu.adapt.kernels.psum_step.reciprocals` in torch's operations."""
    nearest = 1 / lsb
    up = torch.nextafter(nearest, torch.full_like(nearest, torch.inf))
    return torch.where(nearest.double() * lsb.double() < 1, up, nearest)


def _looked_up(psums: Any, thresholds: Any, levels: Any) -> Any:
    """Levels of partial sums."""
    code = torch.zeros_like(psums, dtype=torch.int64)
    for t in range(len(thresholds)):
        code += psums >= thresholds[t]
    return torch.gather(levels, 0, code.flatten(0, 1)).reshape(psums.shape)


def _summed(value: Any, outputs: int) -> Any:
    """[images, positions, outputs] of what columns [images, positions, columns] give."""
    return value.unflatten(2, (-1, outputs)).sum(dim=2)


def prepared(given: Sequence[Any]) -> Sequence[Any]:
    """Parameters [..., columns] as the kernels take them: arrays [..., R * columns] in float32."""
    if given[0].device.type != "cpu":
        return given
    times = max(1, AT_ONCE // given[0].shape[-1])
    return [np.ascontiguousarray(np.tile(tensor.detach().numpy(), times), dtype=np.float32) for tensor in given]


def _by_image(psums: Any) -> Any:
    """[images, positions * columns]."""
    return psums.detach().flatten(1).numpy()


def _by_column(sums: Any, psums: Any) -> Any:
    """Gradients [columns], in float64, of the kernels' [R * columns]."""
    return torch.from_numpy(sums.reshape(-1, psums.shape[2]).sum(axis=0))
