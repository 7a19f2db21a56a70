"""The exact product of a whole layer where no converter can leave its exact range: a convolution, no windows laid out."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.blas import kind_for, product
from cimemu.engines.exact.kernels import convolve_depthwise, convolve_pairs, interleave
from cimemu.engines.exact.pair_kernels import OUTPUTS as PAIR_OUTPUTS
from cimemu.engines.exact.pair_kernels import POSITIONS
from cimemu.engines.exact.quad_kernels import HAS_QUADS, convolve_quads, interleave_quads
from cimemu.engines.exact.quad_kernels import OUTPUTS as QUAD_OUTPUTS
from cimemu.lanes.small import Either
from cimemu.layer.macro_layer import Geometry
from cimemu.windows.strips import Room, Source, Strip

TURNED = 64  # outputs whose weights are laid out together


class ExactLayer:
    """Weights of a layer in the form of the exact kernels.

    Weights are taken with their own zero points off, so that `acc = sum u * w + constant` needs nothing else. Channels are
    taken four at a time as bytes where the processor multiplies them so and weights and inputs are bytes, else two at a time
    as numbers of 16 bits: 32 bits a place either way.
    """

    def __init__(self, weights: NDArray[np.integer], geometry: Geometry, inputs: tuple[int, int]) -> None:
        """`weights` [channels_out, rows_per_group], all within 16 bits; `inputs` are the lowest and highest value driven."""
        g = self.geometry = geometry
        self.weights, self.largest = weights, max(abs(value) for value in inputs)
        self.grids: dict[tuple[int, int, int], Grid] = {}
        self.depthwise = g.channels_in == g.groups == g.channels_out and g.groups > 1
        if self.depthwise:
            self.filters = np.ascontiguousarray(weights.reshape(g.channels_out, g.kernel_h, g.kernel_w), dtype=np.int32)
            return
        bytes_hold = weights.size == 0 or (weights.min() >= -128 and weights.max() <= 127)
        self.quads = HAS_QUADS and bool(bytes_hold) and inputs[1] - inputs[0] <= 255
        self.lowest = inputs[0]
        kind, tile = (np.int8, QUAD_OUTPUTS) if self.quads else (np.int16, PAIR_OUTPUTS)
        together = self.together = 4 // np.dtype(kind).itemsize
        channels, outputs = g.channels_in // g.groups, g.outputs_per_group
        self.places_per_group = -(-channels // together)
        self.outputs_padded = -(-outputs // tile) * tile
        shape = (g.groups, self.places_per_group, g.kernel_area, self.outputs_padded, together)
        laid = np.zeros(shape, dtype=kind)
        by_group = weights.reshape(g.groups, outputs, channels, -1)
        for first in range(
            0, outputs, TURNED
        ):  # whole lines are written while the rows that are read stay in the cache
            some = slice(first, min(first + TURNED, outputs))
            for part in range(min(together, channels)):
                mine = by_group[:, some, part::together].transpose(0, 2, 3, 1)
                laid[:, : mine.shape[1], :, some, part] = mine
        self.words = laid.view(np.int32).reshape(g.groups, -1, self.outputs_padded)
        self.shift = self.lowest * weights.sum(axis=1, dtype=np.int64) if self.quads and self.lowest else None
        channel = np.arange(self.places_per_group)[:, None] * together + np.arange(together)
        channel = np.minimum(channel, channels - 1)  # those beyond the last have weight 0
        self.channels = (np.arange(g.groups)[:, None, None] * channels + channel).reshape(-1, together)

    def bytes_per_row(self, source: Source) -> int:
        """Arrays of one output row of one image."""
        g = self.geometry
        inputs = g.channels_in * source.columns * g.stride_h
        if self.depthwise:
            return 2 * inputs + 4 * g.channels_out * g.width_out
        columns = -(-source.columns // g.stride_w)
        return (2 if self.quads else 6) * inputs + 4 * g.groups * self.outputs_padded * columns

    def grid(self, rows: int, columns: int, output_rows: int) -> "Grid":
        """How the channels of a strip of `rows` x `columns` are laid out; made once for each."""
        key = (rows, columns, output_rows)
        if key not in self.grids:
            self.grids[key] = self._grid(*key)
        return self.grids[key]

    def _grid(self, rows: int, columns: int, output_rows: int) -> "Grid":
        g = self.geometry
        stride = (g.stride_h, g.stride_w)
        height, width = -(-rows // stride[0]), -(-columns // stride[1])
        plane = height * width
        plane += (-plane) % POSITIONS
        plane += POSITIONS * (plane // POSITIONS % 2 == 0)  # planes an even number of lines apart share cache sets
        i, j = np.arange(g.kernel_h)[:, None] * g.dilation_h, np.arange(g.kernel_w) * g.dilation_w
        tap = ((i % stride[0]) * stride[1] + j % stride[1]) * plane + (i // stride[0]) * width + j // stride[1]
        each = stride[0] * stride[1] * plane
        offsets = self.together * (np.arange(self.places_per_group)[:, None] * each + tap.ravel()).ravel()
        places = -(-output_rows * width // POSITIONS) * POSITIONS
        return Grid(plane=plane, width=width, places=places, offsets=offsets)

    def accumulators(
        self, strip: NDArray[Any], cut: Strip, start: NDArray[np.int32], room: Room
    ) -> tuple[NDArray[np.int32], int]:
        """(acc int32 [images, groups, >= outputs per group, places], places of a row); `start` [images, channels_out]."""
        way = DEPTHWISE if self.depthwise else QUADS if self.quads else PAIRS
        made: tuple[NDArray[np.int32], int] = way(self, strip, cut, start, room)
        return made

    def by_kernels(
        self, strip: NDArray[Any], cut: Strip, start: NDArray[np.int32], room: Room
    ) -> tuple[NDArray[np.int32], int]:
        """The same by compiled kernels."""
        g = self.geometry
        stride, dilation = (g.stride_h, g.stride_w), (g.dilation_h, g.dilation_w)
        if self.depthwise:
            acc = room.array("acc", (cut.images, g.channels_out, cut.rows * g.width_out), np.int32)
            convolve_depthwise(strip, self.filters, stride, dilation, (cut.rows, g.width_out), start, acc)
            return acc[:, :, None], g.width_out
        rows = strip.shape[2]
        grid = self.grid(rows, strip.shape[3], cut.rows)
        number, together = len(self.channels), self.together
        shape = (cut.images, number, *stride, together * grid.plane)
        slack = together * (grid.places + grid.plane)
        if self.shift is not None:
            start = (start + self.shift).astype(np.int32)
        begin = start.reshape(cut.images, g.groups, -1)
        if begin.shape[2] != self.outputs_padded:
            begin = room.array("begin", (cut.images, g.groups, self.outputs_padded), np.int32)
            begin[:, :, : g.outputs_per_group] = start.reshape(cut.images, g.groups, -1)
        acc = room.array("acc", (cut.images, g.groups, self.outputs_padded, grid.places), np.int32)
        image_step = together * number * stride[0] * stride[1] * grid.plane
        steps = image_step, image_step // g.groups
        if self.quads:
            quads = room.array("quads", shape, np.uint8, slack)
            if stride == (1, 1) and grid.width == strip.shape[3]:  # the rows of a plane lie in one piece: one row
                strip = strip.reshape(*strip.shape[:2], 1, -1)
            interleave_quads(strip, self.channels, -self.lowest, grid.width, quads)
            convolve_quads(room.whole("quads"), *steps, grid.offsets, self.words, begin, acc)
        else:
            pairs = room.array("pairs", shape, np.int16, slack)
            interleave(strip, self.channels[:, 0], self.channels[:, 1], grid.width, pairs)
            convolve_pairs(room.whole("pairs"), *steps, grid.offsets, self.words, begin, acc)
        return acc, grid.width

    def in_numpy(
        self, strip: NDArray[Any], cut: Strip, start: NDArray[np.int32], room: Room
    ) -> tuple[NDArray[np.int32], int]:
        """The same by BLAS in floats that hold every sum, a tap of the kernel at a time."""
        g, kind = self.geometry, self.float_kind
        rows, width = cut.rows, g.width_out
        weights = self.weights.reshape(g.groups, g.outputs_per_group, -1, g.kernel_h, g.kernel_w)
        inputs = strip.reshape(cut.images, g.groups, -1, *strip.shape[2:])
        total: NDArray[Any] = np.zeros((cut.images, g.groups, g.outputs_per_group, rows * width), dtype=kind)
        for i, j in np.ndindex(g.kernel_h, g.kernel_w):
            down, right = i * g.dilation_h, j * g.dilation_w
            seen = inputs[..., down : down + (rows - 1) * g.stride_h + 1 : g.stride_h, :]
            seen = seen[..., right : right + (width - 1) * g.stride_w + 1 : g.stride_w].astype(kind)
            total += product(weights[..., i, j].astype(kind), seen.reshape(*seen.shape[:3], rows * width))
        begin = start.reshape(cut.images, g.groups, -1, 1)
        return (total.astype(np.int64) + begin).astype(np.int32), width

    @cached_property
    def float_kind(self) -> type:
        """The type in which BLAS adds a whole output exactly."""
        sums = np.abs(self.weights.astype(np.int64)).sum(axis=1)
        return kind_for(int(sums.max(initial=0)) * self.largest)


DEPTHWISE, QUADS, PAIRS = (
    Either(ExactLayer.by_kernels, ExactLayer.in_numpy, kernel)
    for kernel in (convolve_depthwise, convolve_quads, convolve_pairs)
)


@dataclass(frozen=True, eq=False)
class Grid:
    """Where a strip's channels lie: `plane` places for those taken together and a phase of the stride, `width` a row."""

    plane: int
    width: int
    places: int  # output places of an image, a multiple of POSITIONS
    offsets: NDArray[
        np.int64
    ]  # [places of the channels * kernel rows * kernel columns] from a place to its taps, in elements
