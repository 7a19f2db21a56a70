"""Pooling over windows of any number of axes (volumes), and by norms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.pool import GlobalPool
from cimemu.layer.shapes import Operand, runtime


@dataclass(frozen=True, eq=False)
class PoolNd(Layer):
    """Base of pools of `[images, channels, *axes]`; all tuples have a value per axis, `pads` (before, after)."""

    kernel_shape: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilations: tuple[int, ...]
    ceil_mode: bool = False

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`[channels, *axes]` of the input's dtype."""
        x = runtime(self, types[0])
        if len(x.shape) != len(self.kernel_shape) + 1:
            raise self.error(
                f"a window {self.kernel_shape} of an image of shape {x.shape}, must be channels and its axes"
            )
        out = self.output_size(x.shape[1:])
        if min(out) < 1:
            raise self.error(f"an image of {x.shape[1:]} is smaller than the window {self.kernel_shape}")
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel_shape, self.dilations)]
        if any(max(pad) >= span for pad, span in zip(self.pads, spans)):
            raise self.error(f"pads = {self.pads}, must be smaller than the window {self.kernel_shape}")
        return (TensorType((x.shape[0], *out), x.dtype),)

    def output_size(self, image: Sequence[int]) -> tuple[int, ...]:
        """Output sizes; with `ceil_mode` a last window must start inside image or leading pad."""
        sizes = []
        for size, kernel, stride, (begin, end), dilation in zip(
            image, self.kernel_shape, self.strides, self.pads, self.dilations
        ):
            room = size + begin + end - (kernel - 1) * dilation - 1
            count = (-(-room // stride) if self.ceil_mode else room // stride) + 1
            if self.ceil_mode and (count - 1) * stride >= size + begin:
                count -= 1
            sizes.append(count)
        return tuple(sizes)

    def taps(self, x: Array, fill: float) -> Iterator[Array]:
        """What each window element sees at every output position."""
        out = self.output_size(x.shape[2:])
        margins = []
        for axis, kernel in enumerate(self.kernel_shape):
            reach = (out[axis] - 1) * self.strides[axis] + (kernel - 1) * self.dilations[axis] + 1
            begin, end = self.pads[axis]
            margins.append((begin, max(end, reach - begin - x.shape[2 + axis])))
        padded = np.pad(x, ((0, 0), (0, 0), *margins), constant_values=fill)
        for places in product(*map(range, self.kernel_shape)):
            starts = [place * dilation for place, dilation in zip(places, self.dilations)]
            window = [slice(s, s + (n - 1) * step + 1, step) for s, n, step in zip(starts, out, self.strides)]
            yield padded[(slice(None), slice(None), *window)]

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """One operation per window element and one per output."""
        return outputs[0].elements * (int(np.prod(self.kernel_shape)) + 1)


@dataclass(frozen=True, eq=False)
class MaxPoolNd(PoolNd):
    """Largest value of each window; padding never wins."""

    op: ClassVar[str] = "MaxPool3d"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """The input's dtype, exact."""
        x = arrays[0]
        lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        first, *rest = self.taps(x, lowest)
        out = first.copy()
        for tap in rest:
            np.maximum(out, tap, out=out)
        return (out,)


@dataclass(frozen=True, eq=False)
class AveragePoolNd(PoolNd):
    """Mean of each window, over the elements inside the image (and padding, if `count_include_pad`)."""

    count_include_pad: bool = False

    op: ClassVar[str] = "AveragePool3d"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32: the window summed row by row, then divided by its count."""
        x = arrays[0]
        out = sum(self.taps(x, 0.0), x.dtype.type(0)) / self.counts(x.shape[2:])
        return (out.astype(x.dtype),)

    def counts(self, image: Sequence[int]) -> Array:
        """float32 of the output's axes: how many elements each mean divides by."""
        made = np.ones((), np.float32)
        for axis, (size, positions) in enumerate(zip(image, self.output_size(image))):
            begin, end = self.pads[axis] if self.count_include_pad else (0, 0)
            start = np.arange(positions) * self.strides[axis] - self.pads[axis][0]
            seen = start[:, None] + np.arange(self.kernel_shape[axis]) * self.dilations[axis]
            made = np.multiply.outer(made, ((seen >= -begin) & (seen < size + end)).sum(axis=1)).astype(np.float32)
        return made


@dataclass(frozen=True, eq=False)
class LpPool(PoolNd):
    """Norm of order `p` of each window."""

    p: int = 2

    op: ClassVar[str] = "LpPool"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Powers summed in float64, the root rounded once."""
        x = arrays[0]
        total = sum(self.taps(np.abs(x.astype(np.float64)) ** self.p, 0.0), np.float64(0))
        return ((total ** (1 / self.p)).astype(x.dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A power and an addition per window element, a root per output."""
        return outputs[0].elements * (2 * int(np.prod(self.kernel_shape)) + 4)


@dataclass(frozen=True, eq=False)
class GlobalLpPool(GlobalPool):
    """Norm of order `p` of each channel."""

    p: int = 2

    op: ClassVar[str] = "GlobalLpPool"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32 `[images, channels, 1, ...]`, powers summed in float64."""
        x = arrays[0]
        powers = np.abs(x.astype(np.float64)) ** self.p
        total = powers.sum(axis=tuple(range(2, x.ndim)), keepdims=True)
        return ((total ** (1 / self.p)).astype(x.dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A power and an addition per input element, a root per output."""
        return 2 * inputs[0].elements + 4 * outputs[0].elements
