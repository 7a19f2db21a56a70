"""Convolutions with kernels of one pixel that step over some: these get the pixels they meet, and step by one.

The same sums, and the only way to have them for certain: torch's threads (oneDNN, seen in torch 2.13) share the buffer into
which they gather such pixels, and now and then one reads what another is writing: in its products of bytes, and in the
gradient of weights in float32.
"""

from typing import Any


def met(u: Any, kernel: tuple[int, int], strides: tuple[int, int]) -> tuple[Any, tuple[int, int]]:
    """(pixels of padded `u` [..., height, width] that a kernel meets, strides between those)."""
    if kernel != (1, 1) or strides == (1, 1):
        return u, strides
    return u[..., :: strides[0], :: strides[1]], (1, 1)
