"""Windows laid out as rows of a matrix, and rows of a matrix added up as windows.

A convolution in three dimensions is Unfold and a product with its weight; a transposed convolution is a product with its
weight and Fold. So both run on macros.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, runtime


@dataclass(frozen=True)
class Windows:
    """Windows of any number of axes: a value an axis each, `pads` (before, after)."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilations: tuple[int, ...]

    def counts(self, image: Sequence[int]) -> tuple[int, ...]:
        """Positions of the window along each axis of an image."""
        return tuple(
            (size + sum(pad) - (kernel - 1) * dilation - 1) // stride + 1
            for size, kernel, stride, pad, dilation in zip(image, self.kernel, self.strides, self.pads, self.dilations)
        )

    def places(self, counts: Sequence[int]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
        """(element of the window, where it lies in the padded image at all positions), row-major."""
        for element in product(*map(range, self.kernel)):
            starts = [at * dilation for at, dilation in zip(element, self.dilations)]
            yield (
                element,
                tuple(slice(s, s + (n - 1) * step + 1, step) for s, n, step in zip(starts, counts, self.strides)),
            )


@dataclass(frozen=True, eq=False)
class Unfold(Layer):
    """`[images, channels, *axes]` as `[images, positions, channels * window]`; padding is 0."""

    windows: Windows

    op: ClassVar[str] = "Unfold"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """Rows of one window."""
        x = runtime(self, types[0])
        if len(x.shape) != len(self.windows.kernel) + 1:
            raise self.error(f"a kernel {self.windows.kernel} on an image of shape {x.shape}")
        counts = self.windows.counts(x.shape[1:])
        if min(counts) < 1:
            raise self.error(f"an image of {x.shape[1:]} is smaller than the kernel {self.windows.kernel}")
        width = x.shape[0] * int(np.prod(self.windows.kernel))
        return (TensorType((int(np.prod(counts)), width), x.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        x = arrays[0]
        counts = self.windows.counts(x.shape[2:])
        padded = np.pad(x, ((0, 0), (0, 0), *self.windows.pads))
        taps = [padded[(slice(None), slice(None), *place)] for _, place in self.windows.places(counts)]
        rows = np.stack(taps, axis=2).reshape(
            len(x), -1, int(np.prod(counts))
        )  # [images, channels * window, positions]
        return (np.ascontiguousarray(rows.swapaxes(1, 2)),)


@dataclass(frozen=True, eq=False)
class Fold(Layer):
    """`[images, positions, channels * window]` added up as `[images, channels, *size]`, `image` the positions' axes.

    What falls on the pads is left out; `size` may be larger than the windows reach, the rest is 0.
    """

    windows: Windows
    image: tuple[int, ...]
    size: tuple[int, ...]

    op: ClassVar[str] = "Fold"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`[channels, *size]`."""
        x = runtime(self, types[0])
        area = int(np.prod(self.windows.kernel))
        if len(x.shape) != 2 or x.shape[0] != int(np.prod(self.image)) or x.shape[1] % area:
            raise self.error(f"rows of shape {x.shape} for {self.image} positions of a window {self.windows.kernel}")
        if min(self.size) < 1:
            raise self.error(f"the result has size {self.size}, must be >= 1: make the pads smaller")
        return (TensorType((x.shape[1] // area, *self.size), x.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the input's dtype, added window element by window element."""
        x, kernel = arrays[0], self.windows.kernel
        parts = x.reshape(len(x), *self.image, -1, *kernel)
        parts = np.moveaxis(parts, 1 + len(self.image), 1)  # [images, channels, *positions, *window]
        reach = [
            max(before + size, (n - 1) * stride + (k - 1) * dilation + 1)
            for size, n, k, stride, (before, _), dilation in zip(
                self.size, self.image, kernel, self.windows.strides, self.windows.pads, self.windows.dilations
            )
        ]
        out = np.zeros((*parts.shape[:2], *reach), x.dtype)
        for element, place in self.windows.places(self.image):
            tap: tuple[Any, ...] = (..., *element)
            out[(slice(None), slice(None), *place)] += parts[tap]
        kept = (slice(before, before + size) for size, (before, _) in zip(self.size, self.windows.pads))
        return (np.ascontiguousarray(out[(slice(None), slice(None), *kept)]),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """An addition for every element of the rows."""
        return inputs[0].elements
