"""Output stages by kernels, or in NumPy where there is little to do (see `cimemu.lanes.small`)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.compute import finish_kernels as kernels
from cimemu.lanes.small import Either

Array = NDArray[Any]
Span = tuple[int, int]


def arrange_numpy(y: Array, constant: Array, acc: Array) -> None:
    """`kernels.arrange`: the cast to 32 bits wraps."""
    images, _, outputs, positions = acc.shape
    acc[:, 0] = (y.reshape(images, positions, outputs).astype(np.int64) + constant[:, None]).transpose(0, 2, 1)


def _places(acc: Array, line: int, span: Span, out: Array) -> tuple[Array, Array]:
    """(accumulators, where they go), both [images, channels, rows, columns]."""
    images, channels, _, width = out.shape
    lines = acc[:, :, : channels // acc.shape[1], : span[1] * line].reshape(images, channels, span[1], line)
    return lines[..., :width], out[:, :, span[0] : span[0] + span[1]]


def finish_fp32_numpy(acc: Array, line: int, multiplier: Array, limits: Array, span: Span, out: Array) -> None:
    """`kernels.finish_fp32`."""
    places, target = _places(acc, line, span, out)
    with np.errstate(invalid="ignore", over="ignore"):
        value = np.rint(places.astype(np.float32) * multiplier[:, None, None]) + limits[0]
    target[...] = np.fmin(np.fmax(value, limits[1]), limits[2]).astype(np.int32)


def finish_gemmlowp_numpy(acc: Array, line: int, rule: Array, limits: Array, span: Span, out: Array) -> None:
    """`kernels.finish_gemmlowp`."""
    places, target = _places(acc, line, span, out)
    q31, shift = rule[:, 0, None, None], rule[:, 1, None, None]
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    mask = (np.int64(1) << right) - 1
    product = (places.astype(np.int64) << left) * q31
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.minimum(np.where(nudged >= 0, nudged >> 31, -((-nudged) >> 31)), (1 << 31) - 1)
    up = (high & mask) > (mask >> 1) + (high < 0)
    target[...] = np.clip((high >> right) + up + limits[0], limits[1], limits[2])


def finish_fp64_numpy(acc: Array, line: int, multiplier: Array, limits: Array, span: Span, out: Array) -> None:
    """`kernels.finish_fp64`."""
    places, target = _places(acc, line, span, out)
    product = places.astype(np.float64) * multiplier[:, None, None]
    size = np.abs(product)
    whole = size.astype(np.int64)
    whole += size - whole >= 0.5
    target[...] = np.clip(np.where(product < 0, -whole, whole) + limits[0], limits[1], limits[2])


def finish_float_numpy(acc: Array, line: int, scale: Array, span: Span, out: Array) -> None:
    """`kernels.finish_float`."""
    places, target = _places(acc, line, span, out)
    target[...] = places.astype(np.float32) * scale[:, None, None]


arrange = Either(kernels.arrange, arrange_numpy)
arrange_float = Either(kernels.arrange_float, kernels.arrange_float_naive)
finish_fp32 = Either(kernels.finish_fp32, finish_fp32_numpy)
finish_gemmlowp = Either(kernels.finish_gemmlowp, finish_gemmlowp_numpy)
finish_fp64 = Either(kernels.finish_fp64, finish_fp64_numpy)
finish_float = Either(kernels.finish_float, finish_float_numpy)
