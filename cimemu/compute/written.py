"""A macro layer as it stands in cells: what a batch of it runs on."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.compute.output import OutputWriter
from cimemu.engines.programmed import Programmed
from cimemu.layer.macro_layer import MacroLayer
from cimemu.macro.counts import WindowTables
from cimemu.mapping.layout import Unit
from cimemu.windows.small import im2col
from cimemu.windows.strips import Room, Source, Strip

MOST_KEPT = 1 << 17  # bytes of constants that wait for the next call


class WrittenLayer:
    """The layer's integers, its units, and the cells of every replica; `LayerMatrix` writes them."""

    layer: MacroLayer
    macro: Macro
    units: tuple[Unit, ...]
    stored: NDArray[np.integer]  # [outputs, rows of a group] weights as the cells hold them
    weight_zero: NDArray[np.int64]  # [outputs] that was not taken off them
    programmed: list[Programmed]  # ideal cells, by unit
    replicas: list[list[Programmed]]  # [replica][unit]: output position p runs on replica p mod R
    writer: OutputWriter
    drive_offset: int  # added to a code where it is driven
    first_position: int  # output positions of an image that earlier layers of the same cells have

    def windows(self, strip: NDArray[Any], source: Source, cut: Strip, room: Room) -> NDArray[Any]:
        """Input vectors [images * positions, groups * rows] of a padded strip."""
        geometry = self.layer.geometry
        shape = (cut.images * cut.rows * geometry.width_out, geometry.groups * geometry.rows_per_group)
        rows = room.array("rows", shape, strip.dtype)
        stride, dilation, kernel = source.window
        im2col(strip, stride, dilation, kernel, (cut.rows, geometry.width_out), rows)
        return rows

    def on_units(
        self, rows: NDArray[Any], written: Sequence[Programmed]
    ) -> Iterator[tuple[NDArray[Any], Unit, Programmed]]:
        """The inputs of every unit, with the unit and its cells in `written`."""
        for unit, programmed in zip(self.units, written):
            whole = unit.row_start == 0 and unit.row_stop == rows.shape[1]
            yield (
                rows if whole else np.ascontiguousarray(rows[:, unit.row_start : unit.row_stop]),
                unit,
                programmed,
            )

    def fixed(self, images: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(zeros as the wordlines see them, `constants` of these) of so many images, where the zero point is the layer's own."""
        made = self._fixed.get(images)
        if made is None:
            zeros = np.full(images, self.layer.input_zero_point + self.drive_offset, dtype=np.int64)
            made = zeros, self.constants(zeros)
            self._fixed.clear()
            if made[1].nbytes <= MOST_KEPT:
                self._fixed[images] = made
        return made

    @cached_property
    def _fixed(self) -> dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """By number of images: the last one that was asked for, where it is small: calls of few images are short."""
        return {}

    def constants(self, zeros: NDArray[np.int64]) -> NDArray[np.int64]:
        """[images, channels_out]: what makes `sum u * (w - zw)` the accumulator; `zeros` [images] as the wordlines see them."""
        return np.asarray(self.layer.bias - zeros[:, None] * self._weight_sums)

    @cached_property
    def _weight_sums(self) -> NDArray[np.int64]:
        """[channels_out]: the sum of each output's weights without their zero."""
        sums = self.stored.sum(axis=1, dtype=np.int64)
        return np.asarray(sums - self.weight_zero * self.layer.geometry.rows_per_group)

    @cached_property
    def window_tables(self) -> WindowTables:
        """What inputs are looked up in where they are counted."""
        return WindowTables(self.macro)

    def without_weight_zeros(self, y: NDArray[Any], x: NDArray[Any], unit: Unit) -> NDArray[Any]:
        """`sum u * (w - zw)` from `y = sum u * w` [images * positions, outputs]."""
        weight_zero = self.weight_zero[unit.out_start : unit.out_stop]
        if not weight_zero.any():
            return y
        geometry = self.layer.geometry
        sums = x.reshape(x.shape[0], -1, geometry.rows_per_group).sum(axis=2, dtype=np.int64)
        made: NDArray[Any] = y - weight_zero * np.repeat(sums, geometry.outputs_per_group, axis=1)
        return made
