"""TensorFlow Lite's products that are no convolution: what TRANSPOSE_CONV adds up, and BATCH_MATMUL of two activations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.requantize import OutputStage
from cimemu.layer.rounding import gemmlowp_double
from cimemu.layer.shapes import Operand, runtime
from cimemu.layer.tfl_whole import Shape, Whole


@dataclass(frozen=True, eq=False)
class TflScatter(Layer):
    """The second half of `TRANSPOSE_CONV`: products of every input pixel with every kernel element, added where they fall.

    The input is `[images, rows, columns, kernel rows * kernel columns * channels]`, the accumulators of the first half,
    which runs on macros. What falls outside the output is left out; then the bias, then `stage`.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]  # top, left
    out: Shape  # rows, columns, channels
    bias: NDArray[np.int64]
    stage: OutputStage
    dtype: str

    op: ClassVar[str] = "TRANSPOSE_CONV"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`[rows, columns, channels]`."""
        x = runtime(self, types[0])
        if len(x.shape) != 3 or x.shape[2] != self.kernel[0] * self.kernel[1] * self.out[2]:
            raise self.error(f"products of shape {x.shape}, must have {self.kernel} x {self.out[2]} in the last axis")
        return (TensorType(self.out, self.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of `dtype`."""
        images, rows, columns, _ = arrays[0].shape
        (kh, kw), (sh, sw) = self.kernel, self.stride
        channels = self.out[2]
        products = arrays[0].reshape(images, rows, columns, kh, kw, channels)
        full = np.zeros((images, (rows - 1) * sh + kh, (columns - 1) * sw + kw, channels), products.dtype)
        for r in range(kh):
            for c in range(kw):
                full[:, r : r + (rows - 1) * sh + 1 : sh, c : c + (columns - 1) * sw + 1 : sw] += products[
                    :, :, :, r, c
                ]
        total = np.zeros((images, *self.out), np.int64 if products.dtype.kind == "i" else np.float64)
        cut = full[:, self.pad[0] : self.pad[0] + self.out[0], self.pad[1] : self.pad[1] + self.out[1]]
        total[:, : cut.shape[1], : cut.shape[2]] = cut
        return (self.stage.apply(total + self.bias),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """An addition per product; bias and requantisation of every output element."""
        return inputs[0].elements + 3 * outputs[0].elements


@dataclass(frozen=True, eq=False)
class TflBatchMatMul(Whole):
    """`BATCH_MATMUL` of two activations, on the digital unit: an exact sum of products, then one multiplier."""

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
        """Rounded twice."""
        rank = max(array.ndim for array in arrays)
        wide: list[NDArray[Any]] = []
        for array, zero, swapped in zip(arrays, (self.zero_a, self.zero_b), self.adjoint):
            centred = array.astype(np.float64) - zero  # sums stay below 2^53, where float64 is exact
            centred = centred.reshape(len(array), *(1,) * (rank - array.ndim), *array.shape[1:])
            wide.append(centred.swapaxes(-1, -2) if swapped else centred)
        total = np.rint(np.matmul(wide[0], wide[1])).astype(np.int64)
        limits = np.iinfo(arrays[0].dtype)
        return [np.clip(gemmlowp_double(total, *self.scale) + self.zero_y, limits.min, limits.max)]

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A MAC counts as two operations; requantisation of every output element."""
        return (2 * self._operands()[0][-1] + 4) * outputs[0].elements
