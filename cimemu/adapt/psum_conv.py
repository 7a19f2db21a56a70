"""Partial sums of all arrays and slices by one convolution, and its gradients.

Codes and digits are small integers, and their sums exact in float32 and in int32: where torch has a convolution of bytes,
it is taken, for the same result to the bit (processors multiply bytes several times faster).
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from llvmlite import binding

WIDEST = 2**15  # two products are added up in 16 bits by processors without instructions for four
LAST = torch.channels_last


class Convolution(NamedTuple):
    """How codes and digits meet; columns are [groups, conversions, outputs] in that order."""

    window: tuple[tuple[int, int], int, tuple[int, int]]  # strides, padding, dilations
    apart: int  # groups of the convolution
    groups: int  # of wordlines
    conversions: int
    slopes: tuple[float, ...] | None  # of digits by integers (`cimemu.adapt.digits`); None: filters get the gradient
    largest_code: int | None  # of codes that are integers from 0, as digits are; None: any numbers
    gradients: str = "float32"  # what gradients are multiplied as


def psums_of(filters: Any, how: Convolution) -> tuple[Callable[[Any], Any], bool]:
    """(codes [images, channels, ...] to partial sums [images, columns, height, width], whether that is cheap).

    Channels last, as `filters` are.
    """
    assert filters.shape[2:] != (1, 1) or how.window[0] == (1, 1), "cimemu.adapt.one_pixel.met first"
    if filters.device.type == "cpu" and _fit_bytes(filters, how.largest_code) and has_byte_products():
        return byte_products(filters, how), True
    return lambda some: float_products(some, filters, how), False


def float_products(u: Any, filters: Any, how: Convolution) -> Any:
    """Partial sums by the convolution of real numbers."""
    return torch.nn.functional.conv2d(u, filters, None, *how.window, how.apart)


def byte_products(filters: Any, how: Convolution) -> Callable[[Any], Any]:
    """The same to the bit, for codes 0 .. 255 and digits that `_fit_bytes`, by oneDNN's convolution of bytes."""
    onednn, (stride, padding, dilation) = torch.ops.onednn, how.window
    pads, ones, zeros = [padding] * 2, torch.ones(len(filters)), torch.zeros(len(filters), dtype=torch.int32)
    packed = onednn.qconv_prepack(filters.to(torch.int8), ones, 1.0, 0, stride, pads, dilation, how.apart, None)
    end: tuple[Any, ...] = (stride, pads, dilation, how.apart, 1.0, 0, torch.float32, "none", [], "")
    return lambda u: onednn.qconv2d_pointwise(u.to(torch.uint8), 1.0, 0, packed, ones, zeros, None, *end)


@cache
def has_byte_products() -> bool:
    """Whether torch has `byte_products` here and they are right."""
    draws = torch.Generator().manual_seed(0)
    u = torch.randint(0, 256, (2, 16, 5, 5), generator=draws).float().contiguous(memory_format=LAST)
    filters = torch.randint(-64, 65, (16, 8, 3, 3), generator=draws).float().contiguous(memory_format=LAST)
    how = Convolution(((1, 1), 0, (1, 1)), 2, 2, 1, None, 255)
    try:
        made = byte_products(filters, how)(u)
    except (AttributeError, RuntimeError, TypeError):  # torch of another version or for another processor
        return False
    return bool((made == float_products(u, filters, how)).all())


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself (AVX-512 BF16, AMX, Arm's); elsewhere it costs many times float32."""
    features = binding.get_host_cpu_features()
    return any(features.get(name, False) for name in ("avx512bf16", "amx-bf16", "bf16"))


def gradient(slope: Any, u: Any, filters: Any, how: Convolution, which: int) -> Any:
    """Of codes (`which` 0) or of filters (1) for that of partial sums, all of one type; float32."""
    (stride, padding, dilation), mask = how.window, [which == 0, which == 1, False]
    made = torch.ops.aten.convolution_backward(
        slope, u, filters, None, stride, [padding] * 2, dilation, False, [0, 0], how.apart, mask
    )
    return made[which].to(torch.float32)


def _fit_bytes(filters: Any, largest_code: int | None) -> bool:
    if largest_code is None or largest_code > 255:
        return False
    largest = float(filters.abs().max())
    return largest < 128 and 2 * largest * largest_code < WIDEST
