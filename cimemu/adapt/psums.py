"""Converters in the training forward: partial sums into values, weighed and added up over arrays and weight slices.

Partial sums are [images, arrays * outputs * conversions, positions], columns in that order.
"""

from typing import Any, NamedTuple

import numpy as np
import torch

from cimemu.adapt.rounding import Through
from cimemu.kernels.psum_step import convert_sum, convert_sum_back
from cimemu.kernels.table_step import table_sum, table_sum_back


class Shape(NamedTuple):
    """How columns make outputs."""

    outputs: int
    conversions: int  # per output and array


def converted(psums: Any, lsb: Any, zero: Any, factor: Any, top: int, shape: Shape) -> Any:
    """[images, outputs, positions]: the sum of `factor * (zero + lsb * code)` of an output's columns.

    `code = clamp(floor((psum - zero) / lsb + 1/2), 0, top)`; lsb, zero, factor [columns]. Gradients are straight through
    inside 0 .. top, and those of learned steps and offsets (LSQ+, Bhalgat et al., CVPRW 2020, eq. 4-5).
    """
    return Convert.apply(psums, lsb, zero, factor, top, shape)


def looked_up(psums: Any, thresholds: Any, levels: Any, factor: Any, shape: Shape) -> Any:
    """The same for tables [columns or 1, T], [columns or 1, T + 1]: gradients pass between the outer levels.

    Thresholds ascend. Tables get no gradient.
    """
    if psums.device.type != "cpu":
        return looked_up_torch(psums, thresholds, levels, factor, shape)
    return LookUp.apply(psums, thresholds, levels, factor, shape)


def looked_up_torch(psums: Any, thresholds: Any, levels: Any, factor: Any, shape: Shape) -> Any:
    """`looked_up` in torch's operations."""
    code = torch.zeros_like(psums, dtype=torch.int64)
    for t in range(thresholds.shape[1]):
        code += psums >= thresholds[:, t, None]
    table = levels.expand(psums.shape[1], -1)
    value = torch.gather(table.T.contiguous(), 0, code.transpose(0, 1).flatten(1).T).T  # [columns, images * positions]
    value = value.reshape(psums.shape[1], len(psums), -1).transpose(0, 1)
    low, high = levels.min(dim=1).values, levels.max(dim=1).values
    soft = torch.minimum(torch.maximum(psums, low[:, None]), high[:, None])
    return summed(Through.apply(soft, value.detach()) * factor[:, None], shape)


def summed(values: Any, shape: Shape) -> Any:
    """[images, outputs, positions] of values [images, columns, positions]."""
    images, _, positions = values.shape
    return values.reshape(images, -1, shape.outputs, shape.conversions, positions).sum(dim=(1, 3))


class Convert(torch.autograd.Function):
    """`converted`, forward and backward: compiled on the processor, torch's own operations elsewhere."""

    @staticmethod
    def forward(ctx: Any, psums: Any, lsb: Any, zero: Any, factor: Any, top: int, shape: Shape) -> Any:
        """Values of outputs."""
        ctx.top, ctx.shape = top, shape
        psums = psums.contiguous()
        ctx.save_for_backward(psums, lsb, zero, factor)
        if psums.device.type != "cpu":
            return forward_torch(psums, lsb, zero, factor, top, shape)
        out = torch.empty((len(psums), shape.outputs, psums.shape[2]), dtype=torch.float32)
        convert_sum(*_arrays(psums, lsb, zero, factor), np.float32(top), shape.conversions, out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Gradients of psums, lsb, zero and factor."""
        psums, lsb, zero, factor = ctx.saved_tensors
        slope = grads[0].contiguous()
        if psums.device.type != "cpu":
            return (*backward_torch(psums, lsb, zero, factor, ctx.top, ctx.shape, slope), None, None)
        back = torch.empty_like(psums)
        sums = [np.zeros(psums.shape[1]) for _ in range(3)]
        arrays = _arrays(psums, lsb, zero, factor)
        work = np.empty((3, psums.shape[2]), dtype=np.float32)
        convert_sum_back(*arrays, np.float32(ctx.top), ctx.shape.conversions, slope.numpy(), back.numpy(), work, *sums)
        return (back, *(torch.from_numpy(v).to(torch.float32) for v in sums), None, None)


class LookUp(torch.autograd.Function):
    """`looked_up` on the processor, compiled."""

    @staticmethod
    def forward(ctx: Any, psums: Any, thresholds: Any, levels: Any, factor: Any, shape: Shape) -> Any:
        """Values of outputs."""
        ctx.shape = shape
        psums = psums.contiguous()
        ctx.save_for_backward(psums, thresholds, levels, factor)
        out = torch.empty((len(psums), shape.outputs, psums.shape[2]), dtype=torch.float32)
        work = np.empty((2, psums.shape[2]), dtype=np.float32)
        table_sum(*_arrays(psums, thresholds, levels, factor), shape.conversions, work, out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Gradients of psums and factor."""
        psums, _, _, factor = ctx.saved_tensors
        back = torch.empty_like(psums)
        work, total = np.empty((2, psums.shape[2]), dtype=np.float32), np.zeros(psums.shape[1])
        slope = grads[0].contiguous().numpy()
        table_sum_back(*_arrays(*ctx.saved_tensors), ctx.shape.conversions, slope, back.numpy(), work, total)
        return back, None, None, torch.from_numpy(total).to(factor.dtype), None


def forward_torch(psums: Any, lsb: Any, zero: Any, factor: Any, top: int, shape: Shape) -> Any:
    """`converted` in torch's operations."""
    code = torch.floor((psums - zero[:, None]) * (1 / lsb)[:, None] + 0.5).clamp(0, top)
    return summed(factor[:, None] * (zero[:, None] + lsb[:, None] * code), shape)


def backward_torch(
    psums: Any, lsb: Any, zero: Any, factor: Any, top: int, shape: Shape, slope: Any
) -> tuple[Any, Any, Any, Any]:
    """Its gradients of psums, lsb, zero and factor."""
    images, columns, positions = psums.shape
    arrays = columns // (shape.outputs * shape.conversions)
    wanted = slope[:, None, :, None].expand(-1, arrays, -1, shape.conversions, -1).reshape(images, columns, positions)
    place = (psums - zero[:, None]) * (1 / lsb)[:, None]
    code = torch.floor(place + 0.5).clamp(0, top)
    inside = ((place >= 0) & (place <= top)).to(psums.dtype)
    here = wanted * factor[:, None]
    return (
        here * inside,
        (here * (code - inside * place)).sum(dim=(0, 2)),
        (here * (1 - inside)).sum(dim=(0, 2)),
        (wanted * (zero[:, None] + lsb[:, None] * code)).sum(dim=(0, 2)),
    )


def _arrays(*tensors: Any) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
