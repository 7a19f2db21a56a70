"""The exact product of a whole layer where no converter can leave its exact range: a convolution, no windows laid out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.exact.kernels import convolve_depthwise, convolve_pairs, interleave
from cimemu.engines.exact.pair_kernels import OUTPUTS, POSITIONS
from cimemu.layer.macro_layer import Geometry
from cimemu.windows.strips import Room, Source, Strip

TURNED = 64  # outputs whose weights are laid out together


class ExactLayer:
    """Weights of a layer in the form of the exact kernels.

    Weights are taken with their own zero points off, so that `acc = sum u * w + constant` needs nothing else.
    """

    def __init__(self, weights: NDArray[np.integer], geometry: Geometry) -> None:
        """`weights` [channels_out, rows_per_group], all within 16 bits."""
        g = self.geometry = geometry
        self.depthwise = g.channels_in == g.groups == g.channels_out and g.groups > 1
        taps = (g.kernel_h, g.kernel_w)
        if self.depthwise:
            self.filters = np.ascontiguousarray(weights.reshape(g.channels_out, *taps), dtype=np.int32)
            return
        inputs, outputs = g.channels_in // g.groups, g.outputs_per_group
        self.pairs_per_group = -(-inputs // 2)
        self.outputs_padded = -(-outputs // OUTPUTS) * OUTPUTS
        pairs = np.zeros((g.groups, self.pairs_per_group, g.kernel_area, self.outputs_padded, 2), dtype=np.int16)
        by_group = weights.reshape(g.groups, outputs, inputs, -1)
        for first in range(
            0, outputs, TURNED
        ):  # whole lines are written while the rows that are read stay in the cache
            some = slice(first, min(first + TURNED, outputs))
            for half in range(min(2, inputs)):
                mine = by_group[:, some, half::2].transpose(0, 2, 3, 1)
                pairs[:, : mine.shape[1], :, some, half] = mine
        self.words = pairs.view(np.int32).reshape(g.groups, -1, self.outputs_padded)
        channel = np.arange(g.groups)[:, None] * inputs + 2 * np.arange(self.pairs_per_group)
        self.first = channel.ravel()
        self.second = np.minimum(channel + 1, np.arange(1, g.groups + 1)[:, None] * inputs - 1).ravel()  # weight 0

    def bytes_per_row(self, source: Source) -> int:
        """Arrays of one output row of one image."""
        g = self.geometry
        inputs = g.channels_in * source.columns * g.stride_h
        if self.depthwise:
            return 2 * inputs + 4 * g.channels_out * g.width_out
        columns = -(-source.columns // g.stride_w)
        return 6 * inputs + 4 * g.groups * self.outputs_padded * columns

    def grid(self, rows: int, columns: int, output_rows: int) -> "Grid":
        """How the pairs of a strip of `rows` x `columns` are laid out."""
        g = self.geometry
        stride = (g.stride_h, g.stride_w)
        height, width = -(-rows // stride[0]), -(-columns // stride[1])
        plane = height * width
        plane += (-plane) % POSITIONS
        plane += POSITIONS * (plane // POSITIONS % 2 == 0)  # planes an even number of lines apart share cache sets
        i, j = np.arange(g.kernel_h)[:, None] * g.dilation_h, np.arange(g.kernel_w) * g.dilation_w
        tap = ((i % stride[0]) * stride[1] + j % stride[1]) * plane + (i // stride[0]) * width + j // stride[1]
        per_pair = stride[0] * stride[1] * plane
        offsets = 2 * (np.arange(self.pairs_per_group)[:, None] * per_pair + tap.ravel()).ravel()
        places = -(-output_rows * width // POSITIONS) * POSITIONS
        return Grid(plane=plane, width=width, places=places, offsets=offsets)

    def accumulators(
        self, strip: NDArray[Any], cut: Strip, start: NDArray[np.int32], room: Room
    ) -> tuple[NDArray[np.int32], int]:
        """(acc int32 [images, groups, >= outputs per group, places], places of a row); `start` [images, channels_out]."""
        g = self.geometry
        stride, dilation = (g.stride_h, g.stride_w), (g.dilation_h, g.dilation_w)
        if self.depthwise:
            acc = room.array("acc", (cut.images, g.channels_out, cut.rows * g.width_out), np.int32)
            convolve_depthwise(strip, self.filters, stride, dilation, (cut.rows, g.width_out), start, acc)
            return acc[:, :, None], g.width_out
        rows, columns = strip.shape[2:]
        grid = room.kept(("grid", rows), lambda: self.grid(rows, columns, cut.rows))
        number = len(self.first)
        shape = (cut.images, number, *stride, 2 * grid.plane)
        pairs = room.array("pairs", shape, np.int16, 2 * (grid.places + grid.plane))
        interleave(strip, self.first, self.second, grid.width, pairs)
        begin = start.reshape(cut.images, g.groups, -1)
        if begin.shape[2] != self.outputs_padded:
            begin = room.array("begin", (cut.images, g.groups, self.outputs_padded), np.int32)
            begin[:, :, : g.outputs_per_group] = start.reshape(cut.images, g.groups, -1)
        acc = room.array("acc", (cut.images, g.groups, self.outputs_padded, grid.places), np.int32)
        image_step = 2 * number * stride[0] * stride[1] * grid.plane
        convolve_pairs(room.whole("pairs"), image_step, image_step // g.groups, grid.offsets, self.words, begin, acc)
        return acc, grid.width


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the pairs of a strip lie: `plane` places a pair and phase of the stride, `width` a row of it."""

    plane: int
    width: int
    places: int  # output places of an image, a multiple of POSITIONS
    offsets: NDArray[np.int64]  # [pairs * kernel rows * kernel columns] from a place to its taps, in 16-bit numbers
