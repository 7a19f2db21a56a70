"""A product of 8-bit integers on the digital unit: what a macro layer computes behind converters that lose nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.blas import kind_for, product
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.shapes import Operand

CHUNK_BYTES = 4 << 20  # windows laid out at once


@dataclass(frozen=True, eq=False)
class DigitalProduct(Layer):
    """`layer`'s sums of integers, exact, and its output stage; no macro is used."""

    layer: MacroLayer

    op: ClassVar[str] = "DigitalProduct"

    @classmethod
    def of(cls, layer: MacroLayer) -> "DigitalProduct":
        """The same layer on the digital unit. Raises WorkloadError for a zero point that is computed."""
        if layer.dynamic_zero_point:
            raise layer.error("its zero point is computed, which the digital unit does not take: place it on macros")
        return cls(layer.name, layer.inputs, layer.outputs, layer)

    @property
    def geometry(self) -> Geometry:
        """That of the macro layer."""
        return self.layer.geometry

    @property
    def output_type(self) -> TensorType:
        """That of the macro layer."""
        return self.layer.output_type

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The output type fixed when the layer was made."""
        return (self.output_type,)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """The output tensor of a batch."""
        x, layer, g = arrays[0], self.layer, self.layer.geometry
        weight = layer.weight.astype(np.int64) - layer.weight_zero_point.reshape(-1, 1, 1, 1)
        rows = weight.reshape(g.groups, g.outputs_per_group, -1)
        kind = kind_for(256 * max(1, int(np.abs(rows).sum(axis=2).max())))
        rows = rows.astype(kind)
        out = np.empty((len(x), g.height_out * g.width_out, g.channels_out), layer.output_type.dtype)
        each = max(1, g.positions * g.channels_in * g.kernel_area * np.dtype(kind).itemsize)
        step = max(1, CHUNK_BYTES // each)
        for first in range(0, len(x), step):
            windows: NDArray[Any] = _windows(x[first : first + step], layer).astype(kind)
            sums = product(rows, windows).reshape(len(windows), g.channels_out, -1).astype(np.int64)
            out[first : first + step] = layer.stage.apply(sums.transpose(0, 2, 1) + layer.bias)
        return (self._shaped(out),)

    def _shaped(self, out: Array) -> Array:
        """[images, *the output's shape] of [images, positions, channels]."""
        g = self.layer.geometry
        if not self.layer.channels_last:
            out = out.transpose(0, 2, 1).reshape(len(out), g.channels_out, g.height_out, g.width_out)
        return np.ascontiguousarray(out).reshape(len(out), *self.layer.output_type.shape)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A multiplication and an addition a MAC; zero-point correction, bias and requantisation of every output."""
        return 2 * self.layer.geometry.macs + 3 * outputs[0].elements


def _windows(x: Array, layer: MacroLayer) -> NDArray[Any]:
    """[images, groups, K, positions] of inputs with their zero point off, 0 in the padding."""
    g = layer.geometry
    if layer.channels_last:
        x = np.moveaxis(x.reshape(len(x), g.height_in, g.width_in, g.channels_in), 3, 1)
    x = x.reshape(len(x), g.channels_in, g.height_in, g.width_in).astype(np.int16) - np.int16(layer.input_zero_point)
    padded = np.pad(x, ((0, 0), (0, 0), (g.pad_top, g.pad_bottom), (g.pad_left, g.pad_right)))
    taken = [padded[_tap(g, i, j)] for i in range(g.kernel_h) for j in range(g.kernel_w)]
    stacked = np.stack(taken, axis=2)  # [images, channels, kernel, height, width]
    return stacked.reshape(len(x), g.groups, g.rows_per_group, g.positions)


def _tap(g: Geometry, i: int, j: int) -> tuple[slice, ...]:
    """Where kernel element (i, j) meets the padded input."""
    down, right = i * g.dilation_h, j * g.dilation_w
    return (
        slice(None),
        slice(None),
        slice(down, down + (g.height_out - 1) * g.stride_h + 1, g.stride_h),
        slice(right, right + (g.width_out - 1) * g.stride_w + 1, g.stride_w),
    )
