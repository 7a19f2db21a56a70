"""A layer's work cut into strips that fit a memory budget: some whole images, or some output rows of one image."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from threading import local
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from cimemu.layer.macro_layer import Geometry
from cimemu.windows.small import fill_strip

EXACT_BYTES = 1 << 20  # arrays of one strip of an exact product: they stay in the second-level cache
KEPT_BYTES = 1 << 20  # of an array that a thread keeps for the next layer
ROWS_BYTES = 1 << 22  # of a strip that is cut once more, into chunks, by the macros


@dataclass(frozen=True)
class Strip:
    """Output rows `row_start .. row_stop` of images `first .. last`: all rows where there are several images."""

    first: int
    last: int
    row_start: int
    row_stop: int

    @property
    def images(self) -> int:
        """Images in the strip."""
        return self.last - self.first

    @property
    def rows(self) -> int:
        """Output rows in the strip."""
        return self.row_stop - self.row_start


def cut_in_strips(images: int, output_rows: int, bytes_per_row: int, room: int, threads: int) -> list[Strip]:
    """Strips in order of image and row; `bytes_per_row` are the arrays of one output row of one image.

    A strip takes at most `room` bytes (one row at least), and there are `threads` of them or more where rows allow.
    """
    rows = max(1, room // max(1, bytes_per_row))
    rows = min(rows, max(1, -(-images * output_rows // max(1, threads))))
    if rows >= output_rows:
        step = rows // output_rows
        return [Strip(b, min(b + step, images), 0, output_rows) for b in range(0, images, step)]
    return [Strip(b, b + 1, r, min(r + rows, output_rows)) for b in range(images) for r in range(0, output_rows, rows)]


class Room:
    """Arrays that one worker uses again for strip after strip."""

    def __init__(self) -> None:
        """With nothing in it."""
        self._flat: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any, slack: int = 0) -> NDArray[Any]:
        """An array of any contents; `slack` elements behind it may be read. It is valid until `name` is asked again."""
        size = prod(shape)
        flat = self._flat.get(name)
        if flat is None or flat.dtype != dtype or len(flat) < size + slack:
            flat = self._flat[name] = np.zeros(size + slack, dtype=dtype)
        return flat[:size].reshape(shape)

    def whole(self, name: str) -> NDArray[Any]:
        """The flat array behind `name`, slack included."""
        return self._flat[name]

    def forget(self, largest: int) -> None:
        """Give back arrays of more than `largest` bytes."""
        self._flat = {name: flat for name, flat in self._flat.items() if flat.nbytes <= largest}


_OWN = local()


@contextmanager
def own_room() -> Iterator[Room]:
    """The room of this thread, which finds small arrays again from layer to layer; whoever asks meanwhile has a new one."""
    room: Room = vars(_OWN).pop("room", None) or Room()
    yield room
    room.forget(KEPT_BYTES)
    _OWN.room = room


def flat_bytes(array: NDArray[Any]) -> tuple[NDArray[np.uint8], tuple[int, ...]]:
    """An array of bytes as memory: uint8 from its first element to its last, read-only, and the strides of its axes.

    Kernels that take arrays of any layout take them so: each layout would be compiled anew.
    """
    if min(array.strides, default=0) < 0:
        array = np.ascontiguousarray(array)
    if array.flags.c_contiguous:
        flat = array.reshape(-1).view(np.uint8)
        flat.flags.writeable = False
        return flat, array.strides
    size = 1 + sum((n - 1) * stride for n, stride in zip(array.shape, array.strides)) if array.size else 0
    return as_strided(array.view(np.uint8), (size,), (1,), writeable=False), array.strides


@dataclass(frozen=True, eq=False)
class Source:
    """A layer's input tensor as [images, channels, height, width] and how it is driven."""

    tensor: NDArray[Any]
    geometry: Geometry
    offset: int  # added to every element
    zeros: NDArray[np.int64]  # [images]: what padding is given
    narrow: bool  # whether uint8 holds every driven value

    @property
    def window(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """Stride, dilation and kernel, each (vertical, horizontal)."""
        g = self.geometry
        return (g.stride_h, g.stride_w), (g.dilation_h, g.dilation_w), (g.kernel_h, g.kernel_w)

    @property
    def columns(self) -> int:
        """Width of a strip, padding included."""
        g = self.geometry
        return (g.width_out - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1

    def input_rows(self, output_rows: int) -> int:
        """Rows of a strip that give `output_rows`."""
        g = self.geometry
        return (output_rows - 1) * g.stride_h + (g.kernel_h - 1) * g.dilation_h + 1

    def strip(self, cut: Strip, room: Room) -> NDArray[Any]:
        """The padded strip uint8 or int16 [images, channels, rows, columns]."""
        g = self.geometry
        shape = (cut.images, g.channels_in, self.input_rows(cut.rows), self.columns)
        strip = room.array("strip", shape, np.uint8 if self.narrow else np.int16)
        turn = 128 if self.tensor.dtype == np.int8 else 0
        fill_strip(
            *flat_bytes(self.tensor[cut.first : cut.last]),
            (g.height_in, g.width_in, cut.row_start * g.stride_h - g.pad_top, -g.pad_left),
            (np.uint8(turn), self.offset - turn),
            self.zeros[cut.first : cut.last],
            strip,
        )
        return strip
