"""A product of two activations on macros: the right operand is written into cells for every image, the left one is driven."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.requantize import OutputStage
from cimemu.layer.shapes import Operand

Ints = NDArray[np.int64]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Factor:
    """One operand: `shape` [..., rows, columns] of an image as it is stored, whose last two axes change places where it is
    `transposed`; its integers lie in low .. high, and `zero_point` stands for 0."""

    shape: Shape
    transposed: bool
    low: int
    high: int
    zero_point: int

    @property
    def matrix(self) -> Shape:
        """[..., rows, columns] as it is multiplied."""
        return (*self.shape[:-2], self.shape[-1], self.shape[-2]) if self.transposed else self.shape


@dataclass(frozen=True, eq=False)
class WrittenProduct(Layer):
    """`acc = (a - a_zero) @ (b - b_zero)` over the last two axes, then `stage`; the axes before them are broadcast.

    The inputs are (a, b), integers, and the zero points that are `computed`, one value an image. Axes in
    front along which b has more than one index number matrices of their own, *groups* (heads of attention); those
    along which it has one number more rows of a for the same matrix. Each group is a product of K rows and N
    outputs as a group of a convolution is, and each row of a an output position.
    """

    a: Factor
    b: Factor
    stage: OutputStage
    output_type: TensorType
    computed: tuple[bool, bool] = (False, False)  # of a and b: whether the zero point is an input
    scale: float = 1.0  # what a 1 of the accumulator is as a real number

    op: ClassVar[str] = "WrittenProduct"
    on_macros: ClassVar[bool] = True

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The output type fixed when the layer was made."""
        return (self.output_type,)

    @property
    def depth(self) -> int:
        """K, what a sum runs over."""
        return self.b.matrix[-2]

    @property
    def columns(self) -> int:
        """N, columns of one matrix."""
        return self.b.matrix[-1]

    @property
    def groups(self) -> int:
        """Matrices of one image."""
        return int(np.prod([self._front()[axis] for axis in self._group_axes()], dtype=np.int64))

    @property
    def positions(self) -> int:
        """Rows of a that meet every matrix."""
        front = self._front()
        return int(np.prod([front[axis] for axis in self._row_axes()], dtype=np.int64)) * self.a.matrix[-2]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        return self.positions * self.groups * self.depth * self.columns

    def rows_of(self, a: Array) -> Ints:
        """The left operand [images, ...] as [images, positions, groups, K]."""
        matrix, front = self._matrices(a, self.a), self._front()
        matrix = np.broadcast_to(matrix, (len(matrix), *front, *matrix.shape[-2:]))
        last = matrix.ndim - 2
        order = [
            0,
            *(1 + axis for axis in self._row_axes()),
            last,
            *(1 + axis for axis in self._group_axes()),
            last + 1,
        ]
        return matrix.transpose(order).reshape(len(matrix), self.positions, self.groups, self.depth).astype(np.int64)

    def matrices_of(self, b: Array) -> Ints:
        """The right operand [images, ...] as [images, groups, K, N]."""
        matrix = self._matrices(b, self.b)
        return matrix.reshape(len(matrix), self.groups, self.depth, self.columns).astype(np.int64)

    def finished(self, accumulators: Array) -> Array:
        """The output tensor from accumulators [images, positions, groups, N], int64 or float64."""
        front, rows = self._front(), self.a.matrix[-2]
        over, groups = self._row_axes(), self._group_axes()
        shape = (*(front[axis] for axis in over), rows, *(front[axis] for axis in groups), self.columns)
        whole = accumulators.reshape(len(accumulators), *shape)
        place = {axis: 1 + number for number, axis in enumerate(over)}
        place |= {axis: 2 + len(over) + number for number, axis in enumerate(groups)}
        order = [0, *(place[axis] for axis in range(len(front))), 1 + len(over), whole.ndim - 1]
        made = self.stage.apply(np.ascontiguousarray(whole.transpose(order)))
        return made.reshape(len(made), *self.output_type.shape)

    def zero_points(self, arrays: Sequence[Array], images: int) -> tuple[Ints, Ints]:
        """Zero points [images] of a and b from all inputs."""
        given = iter(arrays[2:])
        a, b = (
            np.asarray(next(given)).reshape(-1).astype(np.int64) if computed else np.full(images, factor.zero_point)
            for factor, computed in zip((self.a, self.b), self.computed)
        )
        return a, b

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Either operand added up once for the zero points, and three operations of correction and requantisation an output."""
        return inputs[0].elements + inputs[1].elements + 3 * outputs[0].elements

    def _front(self) -> Shape:
        return tuple(np.broadcast_shapes(self.a.shape[:-2], self.b.shape[:-2]))

    def _sizes(self) -> Shape:
        """b's own size along every axis in front."""
        own = self.b.shape[:-2]
        return (1,) * (len(self._front()) - len(own)) + own

    def _group_axes(self) -> list[int]:
        return [axis for axis, size in enumerate(self._sizes()) if size > 1]

    def _row_axes(self) -> list[int]:
        return [axis for axis, size in enumerate(self._sizes()) if size == 1]

    def _matrices(self, tensor: Array, factor: Factor) -> Array:
        """[images, axes in front, rows, columns]."""
        whole = tensor.reshape(len(tensor), *factor.shape)
        whole = whole.swapaxes(-1, -2) if factor.transposed else whole
        missing = len(self._front()) - len(factor.shape) + 2
        return whole.reshape(len(whole), *(1,) * missing, *whole.shape[1:])
