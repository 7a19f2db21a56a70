"""Outputs of a layer that faulty cells touch, alone: what they give for images whose inputs are known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.compute.matrix import LayerMatrix
from cimemu.engines.programmed import Programmed
from cimemu.faults.column import some_channels, some_outputs
from cimemu.faults.kernels import some_products
from cimemu.faults.stuck_cells import Faulty
from cimemu.layer.base import Array
from cimemu.macro.matrix import Matrix

PROVEN_FOR = 1 << 12  # psums beyond those of ideal cells that a converter is tried for


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the macros of a layer are given for some images."""

    rows: NDArray[Any]  # [images, positions, all rows of the layer]
    constants: NDArray[np.int64]  # [images, channels_out]

    @classmethod
    def of(cls, layer: LayerMatrix, arrays: Sequence[Array]) -> "Inputs":
        """Of the layer's input tensors."""
        zeros = arrays[1] if layer.layer.dynamic_zero_point else None
        rows, constants = layer.driven(arrays[0], zeros)
        return cls(rows.reshape(len(constants), layer.layer.geometry.positions, -1), constants)


@dataclass(frozen=True, eq=False)
class Channels:
    """New values [images, positions, channels] of some channels of a layer's output, at positions from `first` in steps."""

    channels: NDArray[np.int64]
    positions: slice
    values: NDArray[Any]


class TouchedLayer:
    """A layer on macros, for any faults of its cells."""

    def __init__(self, layer: LayerMatrix, copies: int) -> None:
        """`copies` replicas share the positions."""
        self.layer, self.copies = layer, copies
        self.margins = [lossless_margin(p.matrix) if p.proven else None for p in layer.programmed]

    def channels(self, faults: Sequence[Faulty], inputs: Inputs, images: NDArray[np.int64]) -> Iterator[Channels]:
        """What the channels that one chip's faults of this layer touch give for `images` of `inputs`."""
        layer = self.layer
        for fault in faults:
            matrix, unit = layer.programmed[fault.unit].matrix, layer.units[fault.unit]
            outputs, which = np.unique(fault.column // matrix.macro.columns_per_output, return_inverse=True)
            span = slice(fault.replica, None, self.copies)
            rows = inputs.rows[:, span, unit.row_start : unit.row_stop]
            if self._lossless(fault, which):
                weights = weights_with(matrix, outputs, which, fault)
                y = np.empty((len(images), rows.shape[1], len(outputs)), dtype=np.int64)
                some_products(np.ascontiguousarray(rows), images, weights, y)
            else:
                x = np.ascontiguousarray(rows[images]).reshape(-1, rows.shape[2])
                y = Programmed(_with_faults(matrix, outputs, fault)).run(x, counted=False).y
                y = y.reshape(len(images), rows.shape[1], len(outputs))
            channels = unit.out_start + outputs
            zeros = layer.weight_zero[channels]
            if zeros.any():
                y = y - rows[images].sum(axis=2, dtype=np.int64)[:, :, None] * zeros
            acc = y + inputs.constants[np.ix_(images, channels)][:, None]
            made = some_channels(layer.layer.stage, channels).apply(acc)
            yield Channels(channels, span, made.astype(layer.layer.output_type.dtype, copy=False))

    def _lossless(self, fault: Faulty, which: NDArray[np.int64]) -> bool:
        """Whether no converter can leave its exact range with these faults either."""
        macro, margin = self.layer.macro, self.margins[fault.unit]
        if margin is None:
            return False
        mix = self.layer.programmed[fault.unit].matrix.columns.mix
        moved = fault.delta * mix[:, fault.column % macro.columns_per_output] * (2**macro.input.dac_bits - 1)
        above = np.bincount(which, weights=np.maximum(moved, 0).max(axis=0)).max()
        # Levels are not negative: where no conversion takes one from another, no psum falls below 0.
        below = 0 if (mix >= 0).all() else np.bincount(which, weights=np.maximum(-moved, 0).max(axis=0)).max()
        return bool(below <= margin[0] and above <= margin[1])


def weights_with(
    matrix: Matrix, outputs: NDArray[np.int64], which: NDArray[np.int64], fault: Faulty
) -> NDArray[np.int64]:
    """[outputs, K] what a unit of input counts in the outputs, with the faults (`which` output each is of)."""
    columns = matrix.columns
    of_cell = columns.weight @ columns.mix
    weights = np.ascontiguousarray(matrix.weights[:, outputs].T, dtype=np.int64)
    np.add.at(weights, (which, fault.row), fault.delta * of_cell[fault.column % len(of_cell)])
    return weights


def _with_faults(matrix: Matrix, outputs: NDArray[np.int64], fault: Faulty) -> Matrix:
    """The outputs alone, with the faults in their cells."""
    alone = some_outputs(matrix, outputs, len(fault.row))
    assert alone.cells is not None
    wide = matrix.macro.columns_per_output
    cells = alone.cells.copy()
    column = np.searchsorted(outputs, fault.column // wide) * wide + fault.column % wide
    cells[fault.row, column] += fault.delta.astype(cells.dtype)
    return replace(alone, cells=cells)


def lossless_margin(matrix: Matrix) -> tuple[int, int]:
    """By how much psums may fall below and rise above those of ideal cells so that every converter's value is still the psum."""
    if matrix.references is None:
        return PROVEN_FOR, PROVEN_FOR
    low, high = matrix.psum_range
    psums = np.arange(low - PROVEN_FOR, high + PROVEN_FOR + 1)
    below = above = PROVEN_FOR
    for references in matrix.references:
        for thresholds, levels in zip(references.thresholds, references.levels):
            wrong = psums[levels[np.searchsorted(thresholds, psums, side="right")] != psums]
            below = min(below, low - int(wrong[wrong < low].max(initial=low - PROVEN_FOR - 1)) - 1)
            above = min(above, int(wrong[wrong > high].min(initial=high + PROVEN_FOR + 1)) - high - 1)
    return below, above
