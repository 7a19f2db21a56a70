"""The integer layer that runs on macros: a convolution, or a matrix product seen as a 1x1 convolution."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.column_scale import ColumnScale
from cimemu.layer.requantize import OutputStage


@dataclass(frozen=True)
class Geometry:
    """Shape of a 2-D convolution; a product `[positions, K] @ [K, N]` has height = positions, width = 1."""

    channels_in: int
    height_in: int
    width_in: int
    channels_out: int
    height_out: int
    width_out: int
    kernel_h: int = 1
    kernel_w: int = 1
    stride_h: int = 1
    stride_w: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pad_bottom: int = 0
    pad_right: int = 0
    dilation_h: int = 1
    dilation_w: int = 1
    groups: int = 1

    @property
    def positions(self) -> int:
        """Output positions of one image, row-major."""
        return self.height_out * self.width_out

    @property
    def kernel_area(self) -> int:
        """Rows of one input channel."""
        return self.kernel_h * self.kernel_w

    @property
    def rows_per_group(self) -> int:
        """K of one convolution group."""
        return self.channels_in // self.groups * self.kernel_area

    @property
    def outputs_per_group(self) -> int:
        """N of one convolution group."""
        return self.channels_out // self.groups

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        return self.positions * self.rows_per_group * self.channels_out

    def input_rows(self, output_row: int) -> tuple[int, int]:
        """First and last+1 input row (clipped to the image) that output row `output_row` needs."""
        first = output_row * self.stride_h - self.pad_top
        last = first + (self.kernel_h - 1) * self.dilation_h
        return max(0, min(first, self.height_in - 1)), min(self.height_in, max(last, 0) + 1)


@dataclass(frozen=True, eq=False)
class MacroLayer(Layer):
    """`acc[n] = sum_k (q[k] - input_zero_point) * (weight[n, k] - weight_zero_point[n]) + bias[n]`, then `stage`.

    `weight` is int16 `[channels_out, channels_in / groups, kernel_h, kernel_w]`; `bias` int64 `[channels_out]`.
    The input tensor is `[images, channels_in, height_in, width_in]` (`layout` "nchw") or
    `[images, ..., K]` with the positions in front ("rows", a matrix product), integers of `input_dtype`.
    Padding drives the input zero point, which is a value an image where `dynamic_zero_point` says so.
    `stage` turns the accumulator into the layer's output tensor. `column_scale` gives integers of different row blocks
    or columns different factors; the accumulator is then float64.
    """

    geometry: Geometry
    weight: NDArray[np.int16]
    weight_zero_point: NDArray[np.int64]
    input_zero_point: int
    input_dtype: str
    bias: NDArray[np.int64]
    stage: OutputStage
    output_type: TensorType
    layout: str = "nchw"
    dynamic_zero_point: bool = False  # a second input is the input's zero point, a value an image
    column_scale: ColumnScale | None = None
    shares: str = ""  # layers with an equal one that is not empty use one matrix in the cells, one after the other

    op: ClassVar[str] = "macro"
    on_macros: ClassVar[bool] = True

    @property
    def channels_last(self) -> bool:
        """Whether channels are the last axis of the input and output tensors."""
        return {"nchw": False, "nhwc": True, "rows": True}[self.layout]

    def infer(self, types: Sequence[TensorType | Array]) -> tuple[TensorType, ...]:
        """The output type fixed when the layer was made."""
        return (self.output_type,)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Zero-point correction, bias and requantisation of every output element."""
        return 3 * outputs[0].elements
