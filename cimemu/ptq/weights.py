"""Weights to integers: symmetric, per output channel or for the whole layer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 1 << 17  # weights: a megabyte of float64 stays in the second-level cache


def quantized_weight(
    weight: NDArray[np.float32], bits: int, axis: int, *, per_channel: bool, least: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(int8 values of `weight`'s shape, scales [outputs] or [1]) on -(2^(bits-1)-1) .. 2^(bits-1)-1.

    The most negative code is left out so that every encoding can store the weights. One bit: {-1, +1} times the mean
    magnitude (XNOR-Net, Rastegari et al., ECCV 2016). `least` [outputs] are the smallest scales allowed.
    """
    moved = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    floor: Any = 1e-12
    if least is not None:
        floor = np.maximum(least if per_channel else least.max(keepdims=True), 1e-12)
    rows = moved if per_channel else moved.reshape(1, -1)
    if bits == 1:
        scales = np.maximum(np.abs(rows.astype(np.float64)).mean(axis=1), floor).astype(np.float32)
        values = np.where(moved >= 0, np.int8(1), np.int8(-1))
    else:
        top = 2 ** (bits - 1) - 1
        largest = np.maximum(rows.max(axis=1), -rows.min(axis=1)).astype(np.float64)
        scales = np.maximum(largest / top, floor).astype(np.float32)
        values = _nearest(moved, scales.astype(np.float64), top)
    shape = (weight.shape[axis], *np.delete(weight.shape, axis))
    return np.moveaxis(values.reshape(shape), 0, axis), scales


def _nearest(moved: NDArray[np.float32], scales: NDArray[np.float64], top: int) -> NDArray[np.int8]:
    """Multiples of `scales` [outputs] or [1] nearest to `moved` [outputs, K]; float64 is a few rows at a time."""
    values = np.empty(moved.shape, dtype=np.int8)
    step = max(1, AT_ONCE // max(1, moved.shape[1]))
    for first in range(0, len(moved), step):
        part = slice(first, first + step)
        near = moved[part].astype(np.float64)
        near /= scales[part, None] if len(scales) > 1 else scales
        np.clip(np.rint(near, out=near), -top, top, out=near)
        values[part] = near
    return values
