"""An image looked up at places that a grid gives, and the grid of an affine map."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.index import of_image
from cimemu.layer.resize import cubic
from cimemu.layer.shapes import Operand, runtime

MODES = {"linear": 2, "nearest": 1, "cubic": 4}  # elements looked at along each axis
PADDING = ("zeros", "border", "reflection")


@dataclass(frozen=True, eq=False)
class GridSample(Layer):
    """Inputs (x `[images, channels, *axes]`, grid `[images, *places, axes]` in -1..1, the last axis of x first).

    `mode` is linear, nearest or cubic (images of two axes only), `padding` zeros, border or reflection; with
    `align_corners` -1 and 1 are the middles of the outermost elements, else their outer edges.
    """

    mode: str = "linear"
    padding: str = "zeros"
    align_corners: bool = False

    op: ClassVar[str] = "GridSample"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`[channels, *places]` in the image's dtype."""
        x, grid = runtime(self, types[0]), of_image(self, types[1], "the grid")
        axes = len(x.shape) - 1
        if axes < 1 or len(grid) != axes + 1 or grid[-1] != axes:
            raise self.error(f"a grid of shape {grid} for images of shape {x.shape}, they do not fit together")
        if self.mode not in MODES or self.padding not in PADDING or (self.mode == "cubic" and axes != 2):
            raise self.error(
                f"mode = {self.mode}, padding = {self.padding} for {axes} axes, must be one of {', '.join(MODES)} (cubic: "
                f"two axes) and of {', '.join(PADDING)}"
            )
        return (TensorType((x.shape[0], *grid[:-1]), x.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the image's dtype, weights and sums in float64, rounded once."""
        x, grid = arrays
        grid = np.broadcast_to(grid, (len(x), *grid.shape[1:])).astype(np.float64)
        taps = [self._taps(grid[..., -1 - axis], size) for axis, size in enumerate(x.shape[2:])]
        images = np.arange(len(x)).reshape(-1, *(1,) * (grid.ndim - 2))
        out = np.zeros((*grid.shape[:-1], x.shape[1]))
        last = np.moveaxis(x, 1, -1)
        for chosen in product(*taps):
            weight = np.prod(np.broadcast_arrays(*(weight for _, weight in chosen)), axis=0)
            out += weight[..., None] * last[(images, *(place for place, _ in chosen))]
        return (np.ascontiguousarray(np.moveaxis(out, -1, 1).astype(x.dtype)),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A multiplication and an addition per element looked at; 8 operations a place and axis for the weights."""
        axes = len(inputs[0].shape) - 1
        places = outputs[0].elements // outputs[0].shape[0]
        looked_at = int(MODES[self.mode] ** axes)
        return 2 * outputs[0].elements * looked_at + 8 * axes * places

    def _taps(self, where: Array, size: int) -> list[tuple[Array, Array]]:
        """(element, weight) of every place along one axis; the weight of what lies outside is 0."""
        at = (where + 1) / 2 * (size - 1) if self.align_corners else ((where + 1) * size - 1) / 2
        if self.mode == "cubic":
            first = np.floor(at)
            found = [(first + step, cubic(np.abs(first + step - at), -0.75)) for step in range(-1, 3)]
            return [self._inside(self._moved(tap, size), weight, size) for tap, weight in found]
        at = self._moved(at, size)
        if self.mode == "nearest":
            return [self._inside(np.rint(at), np.ones_like(at), size)]
        first = np.floor(at)
        return [self._inside(first, 1 - (at - first), size), self._inside(first + 1, at - first, size)]

    def _moved(self, at: Array, size: int) -> Array:
        """Places outside moved in, as the padding has it."""
        if self.padding == "border":
            return np.clip(at, 0, size - 1)
        if self.padding == "zeros":
            return at
        low, high = (0.0, size - 1.0) if self.align_corners else (-0.5, size - 0.5)
        span = high - low
        if span <= 0:
            return np.zeros_like(at)
        turned = np.mod(at - low, 2 * span)
        return low + np.where(turned > span, 2 * span - turned, turned)

    def _inside(self, tap: Array, weight: Array, size: int) -> tuple[Array, Array]:
        if self.padding == "zeros":
            weight = np.where((tap >= 0) & (tap < size), weight, 0.0)
        return np.clip(tap, 0, size - 1).astype(np.int64), weight


@dataclass(frozen=True, eq=False)
class AffineGrid(Layer):
    """The grid `[images, *axes, axes]` of affine maps `[images, axes, axes + 1]`, the last axis first."""

    size: tuple[int, ...]
    align_corners: bool = False

    op: ClassVar[str] = "AffineGrid"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`[*size, axes]` in the maps' dtype."""
        x, axes = runtime(self, types[0]), len(self.size)
        if x.shape != (axes, axes + 1) or min(self.size) < 1:
            raise self.error(f"maps of shape {x.shape} for a grid of {self.size}, must be [{axes}, {axes + 1}]")
        return (TensorType((*self.size, axes), x.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the maps' dtype."""
        lines = []
        for size in self.size:
            at = np.arange(size)
            corners = self.align_corners
            lines.append((2 * at / (size - 1) - 1 if size > 1 else at * 0.0) if corners else (2 * at + 1) / size - 1)
        grid = np.stack([*np.meshgrid(*lines, indexing="ij")[::-1], np.ones(self.size)], axis=-1)
        made = np.einsum("...k,bjk->b...j", grid, arrays[0].astype(np.float64))
        return (np.ascontiguousarray(made.astype(arrays[0].dtype)),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A multiplication and an addition for each number of the map."""
        return 2 * outputs[0].elements * (len(self.size) + 1)
