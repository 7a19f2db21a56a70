"""Pooling over windows and over whole images, in float (MaxPool also in integers)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, runtime


@dataclass(frozen=True, eq=False)
class WindowPool(Layer):
    """Base of window pools over `[images, channels, height, width]`; height may be left out, it is then 1.

    Pairs are (vertical, horizontal); `pads` is (top, left, bottom, right).
    """

    kernel_shape: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    ceil_mode: bool = False

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`[channels, height, width]` of the input's dtype."""
        x = runtime(self, types[0])
        if len(x.shape) not in (2, 3):
            raise self.error(f"per-image input {x.shape}, must be [channels, height, width] or one axis less")
        channels, *image = x.shape
        height, width = image if len(image) == 2 else (1, image[0])
        out = self.output_size(height, width)
        if min(out) < 1:
            raise self.error(f"input {height}x{width} is smaller than the window {self.kernel_shape}")
        if any(p >= (k - 1) * d + 1 for p, k, d in zip(self.pads, self.kernel_shape * 2, self.dilations * 2)):
            raise self.error(f"pads = {self.pads}, must be smaller than the window {self.kernel_shape}")
        return (TensorType((channels, *out[2 - len(image) :]), x.dtype),)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Output height and width; with `ceil_mode` a last window must start inside image or leading pad."""
        sizes = []
        for axis, size in enumerate((height, width)):
            begin, end = self.pads[axis], self.pads[axis + 2]
            kernel, stride = self.kernel_shape[axis], self.strides[axis]
            room = size + begin + end - (kernel - 1) * self.dilations[axis] - 1
            count = (-(-room // stride) if self.ceil_mode else room // stride) + 1
            if self.ceil_mode and (count - 1) * stride >= size + begin:
                count -= 1
            sizes.append(count)
        return sizes[0], sizes[1]

    def taps(self, x: Array, fill: float) -> list[Array]:
        """One view per window element, row-major: what it sees at every output position."""
        out = self.output_size(x.shape[2], x.shape[3])
        (sh, sw), (dh, dw), (kh, kw) = self.strides, self.dilations, self.kernel_shape
        margins = []
        for axis, kernel in enumerate(self.kernel_shape):
            reach = (out[axis] - 1) * self.strides[axis] + (kernel - 1) * self.dilations[axis] + 1
            begin = self.pads[axis]
            margins.append((begin, max(self.pads[axis + 2], reach - begin - x.shape[2 + axis])))
        padded = np.pad(x, ((0, 0), (0, 0), *margins), constant_values=fill)
        return [
            padded[
                :,
                :,
                i * dh : i * dh + (out[0] - 1) * sh + 1 : sh,
                j * dw : j * dw + (out[1] - 1) * sw + 1 : sw,
            ]
            for i in range(kh)
            for j in range(kw)
        ]

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """One operation per window element."""
        return outputs[0].elements * self.kernel_shape[0] * self.kernel_shape[1]


@dataclass(frozen=True, eq=False)
class MaxPool(WindowPool):
    """Largest value of each window; padding never wins."""

    op: ClassVar[str] = "MaxPool"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """The input's dtype, exact."""
        x, flat = as_image(arrays[0])
        lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        first, *rest = self.taps(x, lowest)
        out = first.copy()
        for tap in rest:
            np.maximum(out, tap, out=out)
        return (out[:, :, 0] if flat else out,)


@dataclass(frozen=True, eq=False)
class AveragePool(WindowPool):
    """Mean of each window, over the elements inside the image (and padding, if `count_include_pad`)."""

    count_include_pad: bool = False

    op: ClassVar[str] = "AveragePool"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32: the window summed row by row, then divided by its count."""
        x, flat = as_image(arrays[0])
        out = sum(self.taps(x, 0.0), np.float32(0)) / self.counts(x.shape[2], x.shape[3])
        return (out[:, :, 0] if flat else out,)

    def counts(self, height: int, width: int) -> Array:
        """float32 `[output rows, output columns]`: how many elements each mean divides by."""
        per_axis = []
        for axis, (size, positions) in enumerate(zip((height, width), self.output_size(height, width))):
            first = -self.pads[axis] if self.count_include_pad else 0
            last = size + self.pads[axis + 2] if self.count_include_pad else size
            start = np.arange(positions) * self.strides[axis] - self.pads[axis]
            seen = start[:, None] + np.arange(self.kernel_shape[axis]) * self.dilations[axis]
            per_axis.append(((seen >= first) & (seen < last)).sum(axis=1))
        made: Array = np.multiply.outer(*per_axis).astype(np.float32)
        return made

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """An addition per window element and a multiplication per output."""
        return outputs[0].elements * (self.kernel_shape[0] * self.kernel_shape[1] + 1)


@dataclass(frozen=True, eq=False)
class GlobalPool(Layer):
    """Base of pools over all axes behind the channels, kept with size 1."""

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`[channels, 1, ...]`."""
        x = runtime(self, types[0])
        if len(x.shape) < 2:
            raise self.error(f"per-image input {x.shape} has no axis behind the channels")
        return (TensorType((x.shape[0], *(1,) * (len(x.shape) - 1)), x.dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """One operation per input element and one per output."""
        return inputs[0].elements + outputs[0].elements


@dataclass(frozen=True, eq=False)
class GlobalAveragePool(GlobalPool):
    """Mean of each channel."""

    op: ClassVar[str] = "GlobalAveragePool"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32 `[images, channels, 1, ...]`."""
        x = arrays[0]
        return (x.mean(axis=tuple(range(2, x.ndim)), keepdims=True, dtype=np.float32),)


@dataclass(frozen=True, eq=False)
class GlobalMaxPool(GlobalPool):
    """Largest value of each channel."""

    op: ClassVar[str] = "GlobalMaxPool"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """`[images, channels, 1, ...]`, exact."""
        x = arrays[0]
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


def as_image(x: Array) -> tuple[Array, bool]:
    """x with a height axis, and whether it was given one."""
    return (x[:, :, None, :], True) if x.ndim == 3 else (x, False)
