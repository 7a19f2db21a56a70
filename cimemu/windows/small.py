"""Strips and windows by kernels, or in NumPy where there is little to do (see `cimemu.lanes.small`)."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from numpy.typing import NDArray

from cimemu.lanes.small import Either
from cimemu.windows import kernels

Pair = tuple[int, int]


def fill_strip_numpy(
    source: NDArray[np.uint8],
    strides: tuple[int, ...],
    place: tuple[int, int, int, int],
    drive: tuple[np.uint8, int],
    zeros: NDArray[np.int64],
    strip: NDArray[Any],
) -> None:
    """`kernels.fill_strip` of whole images."""
    height, width, top, left = place
    turn, offset = drive
    begin, end = min(max(-left, 0), strip.shape[3]), min(max(width - left, 0), strip.shape[3])
    above, below = min(max(-top, 0), strip.shape[2]), min(max(height - top, 0), strip.shape[2])
    strip[...] = zeros[:, None, None, None]
    if begin < end and above < below and strip.size:
        first = (top + above) * strides[2] + (left + begin) * strides[3]
        shape = (*strip.shape[:2], below - above, end - begin)
        inside = as_strided(source[first:], shape, strides, writeable=False)
        strip[:, :, above:below, begin:end] = (inside ^ turn).astype(np.int16) + np.int16(offset)


def im2col_numpy(
    strip: NDArray[Any], stride: Pair, dilation: Pair, kernel_shape: Pair, out_shape: Pair, rows: NDArray[Any]
) -> None:
    """`kernels.im2col` of all windows at once."""
    reach = [(taps - 1) * apart + 1 for taps, apart in zip(kernel_shape, dilation)]
    windows = sliding_window_view(strip, reach, axis=(2, 3))[:, :, :: stride[0], :: stride[1]]
    windows = windows[:, :, : out_shape[0], : out_shape[1], :: dilation[0], :: dilation[1]]
    rows.reshape(len(strip), *out_shape, strip.shape[1], *kernel_shape)[...] = windows.transpose(0, 2, 3, 1, 4, 5)


fill_strip = Either(kernels.fill_strip, fill_strip_numpy)
im2col = Either(kernels.im2col, im2col_numpy)
