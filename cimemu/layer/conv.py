"""Float convolution in two dimensions (or one, as height 1): im2col and one BLAS product per image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, runtime
from cimemu.layer.small import add_taps

CHUNK_BYTES = 4 << 20  # windows laid out at once: they stay in the cache, and memory is bounded


def window_count(size: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    """Output positions along one axis; <= 0 when the kernel is larger than the padded input."""
    return (size + padding - (kernel - 1) * dilation - 1) // stride + 1


@dataclass(frozen=True, eq=False)
class Conv(Layer):
    """Convolution; inputs (x, weight) or (x, weight, bias).

    x `[images, channels, height, width]` or `[images, channels, width]` (height 1 inside);
    weight `[outputs, channels / groups, *kernel]`; bias `[outputs]`. All pairs are (vertical, horizontal),
    `pads` is (top, left, bottom, right).
    """

    kernel_shape: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1

    op: ClassVar[str] = "Conv"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`[outputs, height, width]` of float32, or float16 of float16."""
        x = runtime(self, types[0])
        # A constant is the usual weight; a runtime weight would have a batch axis and cannot be one.
        weight = types[1].shape
        if len(x.shape) not in (2, 3) or len(weight) != len(x.shape) + 1:
            raise self.error(f"per-image input {x.shape} with weight {tuple(weight)}: must be a 1-D or 2-D convolution")
        if isinstance(types[1], TensorType):
            raise self.error("the weight is computed at run time, must be a constant")
        channels, *image = x.shape
        height, width = image if len(image) == 2 else (1, image[0])
        if channels != weight[1] * self.groups or weight[0] % self.groups:
            raise self.error(f"{channels} input channels, weight {tuple(weight)} and group = {self.groups} do not fit")
        if tuple(weight[2:]) != self.kernel_shape[4 - len(weight) :]:
            raise self.error(f"kernel_shape = {self.kernel_shape}, the weight has {tuple(weight[2:])}")
        if len(types) > 2 and tuple(types[2].shape) != (weight[0],):
            raise self.error(f"bias of shape {tuple(types[2].shape)}, must be ({weight[0]},)")
        out = self.output_size(height, width)
        if min(out) < 1:
            raise self.error(f"input {height}x{width} is smaller than the kernel {self.kernel_shape}")
        return (TensorType((weight[0], *out[2 - len(image) :]), "float16" if x.dtype == "float16" else "float32"),)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Output height and width."""
        top, left, bottom, right = self.pads
        (kh, kw), (sh, sw), (dh, dw) = self.kernel_shape, self.strides, self.dilations
        return window_count(height, kh, sh, dh, top + bottom), window_count(width, kw, sw, dw, left + right)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """`[images, outputs, height, width]`, summed in float32; each image's sums do not depend on its neighbours."""
        x, weight = arrays[0], arrays[1]
        if x.dtype == np.float16:
            return (self.forward([array.astype(np.float32) for array in arrays])[0].astype(np.float16),)
        flat = x.ndim == 3
        if flat:
            x, weight = x[:, :, None, :], weight[:, :, None, :]
        out_h, out_w = self.output_size(x.shape[2], x.shape[3])
        out = np.empty((len(x), weight.shape[0], out_h, out_w), np.float32)
        depthwise = weight.shape[1] == 1 and self.groups > 1
        row_bytes = 4 * out_w * x.shape[1] * self.kernel_shape[0] * self.kernel_shape[1]
        rows = min(out_h, max(1, CHUNK_BYTES // row_bytes))
        images = max(1, CHUNK_BYTES // (row_bytes * rows))
        top, left, bottom, right = self.pads
        for b in range(0, len(x), images):
            padded = np.pad(x[b : b + images], ((0, 0), (0, 0), (top, bottom), (left, right)))
            for r in range(0, out_h, rows):
                n = min(rows, out_h - r)
                target = out[b : b + images, :, r : r + n]
                (self._taps if depthwise else self._product)(padded, weight, r, target)
        if len(arrays) > 2:
            out += arrays[2].reshape(-1, 1, 1)
        return (out[:, :, 0] if flat else out,)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A multiplication and an addition per MAC."""
        macs = outputs[0].elements * inputs[0].shape[0] // self.groups
        return 2 * macs * self.kernel_shape[0] * self.kernel_shape[1]

    def _tap(self, padded: Array, first: int, shape: tuple[int, ...], i: int, j: int) -> Array:
        """What kernel element (i, j) sees from output row `first` on, for `shape` (rows, columns) outputs."""
        (sh, sw), (dh, dw) = self.strides, self.dilations
        top, left = first * sh + i * dh, j * dw
        return padded[:, :, top : top + (shape[0] - 1) * sh + 1 : sh, left : left + (shape[1] - 1) * sw + 1 : sw]

    def _product(self, padded: Array, weight: Array, first: int, out: Array) -> None:
        images, outputs, *shape = out.shape
        kh, kw = self.kernel_shape
        windows = np.empty((images, padded.shape[1], kh, kw, *shape), np.float32)
        for i in range(kh):
            for j in range(kw):
                windows[:, :, i, j] = self._tap(padded, first, tuple(shape), i, j)
        g, k, positions = self.groups, weight[0].size, shape[0] * shape[1]
        sums = weight.reshape(g, outputs // g, k) @ windows.reshape(images, g, k, positions)
        out[:] = sums.reshape(out.shape)

    def _taps(self, padded: Array, weight: Array, first: int, out: Array) -> None:
        """One input channel per output."""
        total = np.empty(out.shape, np.float32)
        taps = np.ascontiguousarray(weight[:, 0], dtype=np.float32)
        add_taps(np.ascontiguousarray(padded, dtype=np.float32), taps, first, self.strides, self.dilations, total)
        out[:] = total
