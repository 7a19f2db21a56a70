"""One output column of a layer: what it converts without a fault, and what its channel is with one."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.compute.matrix import LayerMatrix
from cimemu.encoding import UNCORRECTED
from cimemu.engines.steps.run import step_psums, sum_steps
from cimemu.faults.kernels import code_changes
from cimemu.layer.requantize import OutputStage
from cimemu.macro.codes import codes_of
from cimemu.macro.combine import combined, exact_sums
from cimemu.macro.encode import checked_inputs
from cimemu.macro.matrix import Matrix
from cimemu.macro.read_noise import Reads
from cimemu.macro.references import References
from cimemu.macro.sums import Sums, converted_weights, driven_steps, masked_inputs

CHANGES_BYTES = 1 << 25  # of differences that are made at once


@dataclass(frozen=True, eq=False)
class LayerInputs:
    """What the macros of a layer are given for the images of a run without faults."""

    rows: NDArray[Any]  # [images * positions, all rows of the layer]
    constants: NDArray[np.int64]  # [images, channels_out]
    images: int


@dataclass(frozen=True, eq=False)
class Changed:
    """Channels that a fault changed: which fault, which image, and the channel's new values [pairs, positions]."""

    fault: NDArray[np.int64]
    image: NDArray[np.int64]
    values: NDArray[Any]


class Column:
    """An output of one unit, alone, with its psums."""

    def __init__(self, layer: LayerMatrix, unit: int, output: int, inputs: LayerInputs) -> None:
        """`output` is counted in the unit; the psums of all positions of all images are made here."""
        part, whole = layer.units[unit], layer.programmed[unit].matrix
        self.layer, self.inputs, self.channel = layer, inputs, part.out_start + output
        self.matrix = matrix = some_outputs(whole, np.array([output]))
        x = np.ascontiguousarray(inputs.rows[:, part.row_start : part.row_stop])
        x = checked_inputs(x, matrix.macro, matrix.layout.rows)
        self.masked = masked_inputs(x, matrix)
        weight_zero = int(layer.weight_zero[self.channel])
        self.input_sums = exact_sums(x, matrix)[:, 0]
        self.offset = weight_zero * self.input_sums
        self.stage = some_channels(layer.layer.stage, np.array([self.channel]))
        points, macro = len(x), matrix.macro
        self.psums = np.empty((points, len(matrix.starts), macro.input_slices, matrix.seen_columns), dtype=np.int64)
        for g, i, psums in step_psums(self.masked, matrix, packed=False):
            self.psums[:, g, i] = psums
        active = driven_steps(self.masked, matrix) if macro.timing.skip_zero_slices else None
        self.weights = np.array(converted_weights(matrix, points, active))
        self.thresholds, self.values = _tables(matrix)
        self.elsewhere = np.zeros(points, dtype=np.bool_)  # positions that other replicas have; of the faults at hand
        self.recounted = (
            self.values is None
        )  # levels that are no integers, by code: sums are made anew for changed images
        self.by_column = np.zeros((0, 0, 0), dtype=np.int64) if self.recounted else self._sums(active)

    def _sums(self, active: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """Weighted sums of codes, integer values or psums [P, row blocks, V], as engine `steps` has them."""
        matrix, blocks = self.matrix, np.arange(len(self.matrix.layout.row_blocks))
        made = np.zeros((len(self.psums), len(blocks), matrix.seen_columns), dtype=np.int64)
        for g, block in enumerate(matrix.block_of):
            for i, weight in enumerate(matrix.slice_weights):
                psums = np.ascontiguousarray(self.psums[:, g, i])
                if matrix.references is not None:
                    assert self.values is not None
                    codes = codes_of(psums, matrix, int(block), slice(None))
                    psums = np.take_along_axis(self.values[block], codes.T.astype(np.int64), axis=1).T
                made[:, block] += psums * (weight if active is None else weight * active[:, g, i][:, None])
        return made

    def changes(
        self, rows: NDArray[np.int64], slices: NDArray[np.int64], deltas: NDArray[np.int64], replica: tuple[int, int]
    ) -> Iterator[Changed]:
        """What faults do to the channel: cells at `rows` and column `slices` whose levels move by `deltas`.

        `replica` = (number, how many share the positions). Images whose codes all stay are left out, and so are faults.
        """
        matrix, columns = self.matrix, self.matrix.seen_columns
        group = np.searchsorted(matrix.stops, rows, side="right")
        steps = matrix.columns.mix[:, slices].T * deltas[:, None]
        where = np.concatenate([np.stack([rows, group, matrix.block_of[group]], axis=1), steps], axis=1)
        points = len(self.masked)
        at_once = max(1, CHANGES_BYTES // (8 * points * (columns + 1)))
        spans = matrix.macro.input.spans
        parts = [(place, 2**bits - 1, int(weight)) for (place, bits), weight in zip(spans, matrix.slice_weights)]
        values = (
            np.zeros((*self.thresholds.shape[:2], self.thresholds.shape[2] + 1), np.int64)
            if self.values is None
            else self.values
        )
        positions = points // self.inputs.images
        self.elsewhere = np.arange(points) % positions % replica[1] != replica[0]
        for first in range(0, len(rows), at_once):
            some = np.ascontiguousarray(where[first : first + at_once])
            out: NDArray[np.int64] = np.zeros((len(some), points, columns + 1), dtype=np.int64)
            code_changes(self.masked, self.psums, self.thresholds, values, np.array(parts, dtype=np.int64), some, out)
            out[:, self.elsewhere] = 0
            by_image = out.reshape(len(some), self.inputs.images, positions, columns + 1)
            fault, image = np.nonzero(by_image[..., columns].any(axis=2))
            if len(fault):
                made = self._channel(image, self._total(fault, image, by_image, some, (slices[first:], deltas[first:])))
                yield Changed(fault + first, image, made)

    def _total(
        self,
        fault: NDArray[np.int64],
        image: NDArray[np.int64],
        out: NDArray[np.int64],
        where: NDArray[np.int64],
        cells: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> NDArray[Any]:
        """y before the correction [pairs, positions]."""
        _, images, positions, wide = out.shape
        if self.recounted:
            words = self.masked.reshape(images, positions, -1)
            return np.stack(
                [
                    self._recounted(words[i], int(where[f, 0]), int(cells[0][f]), int(cells[1][f]))
                    for f, i in zip(fault, image)
                ]
            )
        sums = self.by_column.reshape(images, positions, *self.by_column.shape[1:])[image]
        sums[np.arange(len(fault)), :, where[fault, 2]] += out[fault, image, :, : wide - 1]
        weights = self.weights.reshape(images, positions, -1)[image]
        flat = Sums(by_column=sums.reshape(-1, *sums.shape[2:]), weights=weights.reshape(-1, weights.shape[2]))
        return combined(flat, self.matrix)[:, 0].reshape(len(fault), positions)

    def _recounted(self, words: NDArray[Any], row: int, cut: int, delta: int) -> NDArray[Any]:
        """y of one image, all of whose codes are counted anew; other replicas' positions have no fault."""
        assert self.matrix.cells is not None
        cells = self.matrix.cells.copy()
        cells[row, cut] += delta
        y = self._y(words, replace(self.matrix, cells=cells))
        others = self.elsewhere[: len(words)]
        if others.any():
            y[others] = self._y(words[others], self.matrix)
        return y

    def _y(self, words: NDArray[Any], matrix: Matrix) -> NDArray[Any]:
        sums, _, _ = sum_steps(words, matrix, packed=False, codes_out=None, reads=Reads())
        return combined(sums, matrix)[:, 0]

    def _channel(self, image: NDArray[np.int64], y: NDArray[Any]) -> NDArray[Any]:
        """The output stage's values [pairs, positions]."""
        images, positions = self.inputs.images, y.shape[1]
        rule = self.matrix.macro.correction
        if rule != UNCORRECTED:
            y = rule.applied(y, self.input_sums.reshape(images, positions)[image])
        acc = y - self.offset.reshape(images, positions)[image] + self.inputs.constants[image, self.channel][:, None]
        made: NDArray[Any] = self.stage.apply(acc[..., None])[..., 0].astype(
            self.layer.layer.output_type.dtype, copy=False
        )
        return made


def some_outputs(matrix: Matrix, outputs: NDArray[np.int64], faults: int = 1) -> Matrix:
    """Some outputs of a matrix as a matrix of their own, with their own references and their cells as given ones.

    The range of psums has room for `faults` cells at any other level.
    """
    per = len(matrix.columns.weight)
    columns = (outputs[:, None] * per + np.arange(per)).ravel()
    cells = np.concatenate([matrix.levels_of(slice(None), slice(n, n + 1)) for n in outputs.tolist()], axis=1)
    largest = 2**matrix.macro.cell.bits * 2**matrix.macro.input.dac_bits * int(np.abs(matrix.columns.mix).sum())
    low, high = matrix.psum_range
    return replace(
        matrix,
        macro=matrix.macro.model_copy(update={"cell": matrix.macro.cell.model_copy(update={"fraction_bits": 0})}),
        layout=replace(matrix.layout, outputs=len(outputs), col_blocks=((0, len(outputs)),)),
        weights=matrix.weights[:, outputs],
        out_group=None if matrix.out_group is None else matrix.out_group[outputs],
        cells=cells.astype(np.int16),
        references=None if matrix.references is None else tuple(_of_columns(r, columns) for r in matrix.references),
        affine=tuple(None for _ in matrix.layout.row_blocks),
        psum_range=(low - faults * largest, high + faults * largest),
    )


def some_channels(stage: OutputStage, channels: NDArray[np.int64]) -> OutputStage:
    """A stage for some channels: its arrays hold one value, or one a channel."""
    arrays = {f.name: getattr(stage, f.name) for f in fields(stage)}
    return replace(
        stage,
        **{name: v.reshape(-1)[channels] for name, v in arrays.items() if isinstance(v, np.ndarray) and v.size > 1},
    )


def _of_columns(references: References, columns: NDArray[np.int64]) -> References:
    def part(table: Any) -> Any:
        return table if table is None or len(table) == 1 else table[columns]

    return References(
        thresholds=np.ascontiguousarray(part(references.thresholds)),
        levels=np.ascontiguousarray(part(references.levels)),
        lsb=part(references.lsb),
        zero=part(references.zero),
        bits=references.bits,
    )


def _tables(matrix: Matrix) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """(thresholds, what a code counts) [row blocks, V, ...]; no values where levels are no integers and not linear."""
    blocks, columns = len(matrix.layout.row_blocks), matrix.seen_columns
    if matrix.references is None:
        return np.zeros((blocks, columns, 0), dtype=np.int64), np.zeros((blocks, columns, 1), dtype=np.int64)
    thresholds = np.stack([np.broadcast_to(r.thresholds, (columns, r.thresholds.shape[1])) for r in matrix.references])
    shape = (blocks, columns, thresholds.shape[2] + 1)
    if matrix.references[0].lsb is not None:
        return thresholds, np.ascontiguousarray(np.broadcast_to(np.arange(shape[2], dtype=np.int64), shape))
    if not matrix.integer_result:
        return thresholds, None
    levels = [np.broadcast_to(r.levels.astype(np.int64), shape[1:]) for r in matrix.references]
    return thresholds, np.stack(levels)
