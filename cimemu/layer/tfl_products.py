"""TensorFlow Lite's products that are no convolution: what TRANSPOSE_CONV adds up, and BATCH_MATMUL of two activations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.blas import product
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.requantize import OutputStage
from cimemu.layer.rounding import gemmlowp_double
from cimemu.layer.shapes import Operand, runtime
from cimemu.layer.tfl_whole import Shape, Whole
from cimemu.layer.tfl_wide import BYTE, scaled_wide


@dataclass(frozen=True, eq=False)
class Scatter(Layer):
    """Base: products of every input pixel with every kernel element, added where they fall, and what becomes of the sums.

    The input is `[images, rows, columns, kernel rows * kernel columns * channels]`, the accumulators of the first half,
    which runs on macros. What falls outside the output is left out; then comes the bias.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]  # top, left
    out: Shape  # rows, columns, channels
    bias: NDArray[np.int64]
    dtype: str

    op: ClassVar[str] = "TRANSPOSE_CONV"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`[rows, columns, channels]`."""
        x = runtime(self, types[0])
        if len(x.shape) != 3 or x.shape[2] != self.kernel[0] * self.kernel[1] * self.out[2]:
            raise self.error(f"products of shape {x.shape}, must have {self.kernel} x {self.out[2]} in the last axis")
        return (TensorType(self.out, self.dtype),)

    def added(self, accumulators: Array) -> Array:
        """Sums `[images, *out]`, with the bias."""
        images, rows, columns, _ = accumulators.shape
        (kh, kw), (sh, sw) = self.kernel, self.stride
        channels = self.out[2]
        products = accumulators.reshape(images, rows, columns, kh, kw, channels)
        full = np.zeros((images, (rows - 1) * sh + kh, (columns - 1) * sw + kw, channels), products.dtype)
        for r in range(kh):
            for c in range(kw):
                full[:, r : r + (rows - 1) * sh + 1 : sh, c : c + (columns - 1) * sw + 1 : sw] += products[
                    :, :, :, r, c
                ]
        total = np.zeros((images, *self.out), np.int64 if products.dtype.kind == "i" else np.float64)
        cut = full[:, self.pad[0] : self.pad[0] + self.out[0], self.pad[1] : self.pad[1] + self.out[1]]
        total[:, : cut.shape[1], : cut.shape[2]] = cut
        return np.asarray(total + self.bias)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """An addition per product; bias and requantisation of every output element."""
        return inputs[0].elements + 3 * outputs[0].elements


@dataclass(frozen=True, eq=False)
class TflScatter(Scatter):
    """The second half of `TRANSPOSE_CONV` of 8-bit codes."""

    stage: OutputStage

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of `dtype`."""
        return (self.stage.apply(self.added(arrays[0])),)


@dataclass(frozen=True, eq=False)
class TflWideScatter(Scatter):
    """The second half of `TRANSPOSE_CONV` of 16-bit codes: below the accumulators of the high bytes lie those of the low ones."""

    offset: NDArray[np.int64]  # of every column: 128 times the sum of its weights
    q31: NDArray[np.int64]  # [1] or [channels]
    shift: NDArray[np.int64]
    limits: tuple[int, int]

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`[rows, columns, channels]`."""
        x = runtime(self, types[0])
        if len(x.shape) != 3 or x.shape[0] % 2:
            raise self.error(f"accumulators of shape {x.shape}, must be of two images, one above the other")
        return super().infer([TensorType((x.shape[0] // 2, *x.shape[1:]), x.dtype)])

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of `dtype`."""
        high, low = np.split(arrays[0].astype(np.int64), 2, axis=1)
        total = self.added(BYTE * high + low + self.offset)
        return (np.clip(scaled_wide(total, self.q31, self.shift), *self.limits).astype(self.dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A shift and an addition per pair of products, then as of 8-bit codes."""
        return inputs[0].elements + super().digital_ops(inputs, outputs)


@dataclass(frozen=True, eq=False)
class TflBatchMatMul(Whole):
    """`BATCH_MATMUL` of two activations, on the digital unit: an exact sum of products, then one multiplier.

    Of 8-bit codes the sum is rounded twice, of 16-bit ones once.
    """

    adjoint: tuple[bool, bool]  # whether the last two axes of the first and second operand change places
    zero_a: int
    zero_b: int
    zero_y: int
    scale: tuple[int, int]  # (q31, shift)

    op: ClassVar[str] = "BATCH_MATMUL"

    def _operands(self) -> tuple[Shape, Shape]:
        made = tuple(
            (*shape[:-2], shape[-1], shape[-2]) if swapped else shape
            for shape, swapped in zip(self.shapes, self.adjoint)
        )
        return made[0], made[1]

    def made(self) -> Sequence[Shape]:
        """Rows of the first, columns of the second; the axes before them are broadcast."""
        if min(len(shape) for shape in self.shapes) < 2:
            raise self.error(f"shapes {[list(s) for s in self.shapes]}, must have two axes at least")
        a, b = self._operands()
        try:
            front = np.broadcast_shapes(a[:-2], b[:-2])
        except ValueError:
            front = None
        if front is None or a[-1] != b[-2]:
            raise self.error(f"shapes {list(a)} and {list(b)} do not multiply: convert it again")
        return [(*front, a[-2], b[-1])]

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Integers of the first operand's type."""
        rank = max(array.ndim for array in arrays)
        wide: list[NDArray[Any]] = []
        for array, zero, swapped in zip(arrays, (self.zero_a, self.zero_b), self.adjoint):
            centred = array.astype(np.float64) - zero  # sums stay below 2^53, where float64 is exact
            centred = centred.reshape(len(array), *(1,) * (rank - array.ndim), *array.shape[1:])
            wide.append(centred.swapaxes(-1, -2) if swapped else centred)
        total = np.rint(product(wide[0], wide[1])).astype(np.int64)
        limits = np.iinfo(arrays[0].dtype)
        wider = arrays[0].dtype == np.int16
        steps = scaled_wide(total, *map(np.asarray, self.scale)) if wider else gemmlowp_double(total, *self.scale)
        return [np.clip(steps + self.zero_y, limits.min, limits.max)]

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A MAC counts as two operations; requantisation of every output element."""
        return (2 * self._operands()[0][-1] + 4) * outputs[0].elements
