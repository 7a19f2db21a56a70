"""Weights to integers: symmetric, per output channel or for the whole layer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def quantized_weight(
    weight: NDArray[np.float32], bits: int, axis: int, *, per_channel: bool, least: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(int8 values of `weight`'s shape, scales [outputs] or [1]) on -(2^(bits-1)-1) .. 2^(bits-1)-1.

    The most negative code is left out so that every encoding can store the weights. One bit: {-1, +1} times the mean
    magnitude (XNOR-Net, Rastegari et al., ECCV 2016). `least` [outputs] are the smallest scales allowed.
    """
    moved = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float64)
    floor: Any = 1e-12
    if least is not None:
        floor = np.maximum(least if per_channel else least.max(keepdims=True), 1e-12)
    rows = moved if per_channel else moved.reshape(1, -1)
    if bits == 1:
        scales = np.maximum(np.abs(rows).mean(axis=1), floor).astype(np.float32)
        values = np.where(moved >= 0, 1, -1)
    else:
        top = 2 ** (bits - 1) - 1
        scales = np.maximum(np.abs(rows).max(axis=1) / top, floor).astype(np.float32)
        values = np.clip(np.rint(moved / scales.astype(np.float64)[:, None]), -top, top)
    shape = (weight.shape[axis], *np.delete(weight.shape, axis))
    return np.moveaxis(values.astype(np.int8).reshape(shape), 0, axis), scales
