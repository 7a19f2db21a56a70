"""One layer's matrix on macros: weights into cells, windows onto wordlines, psums into accumulators."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import Adc, IdealAdc, LinearAdc
from cimemu.arch.macro import Macro
from cimemu.compute.drive import drive_offset, stored_weights
from cimemu.compute.macro import Programmed, program
from cimemu.compute.read_noise import Reads
from cimemu.compute.scaled_layer import finished
from cimemu.compute.sites import Sites
from cimemu.compute.vary import Draft, start_draft
from cimemu.errors import CimemuError, MappingError
from cimemu.events import Counter
from cimemu.kernels.im2col import im2col
from cimemu.layer.column_scale import ColumnScale
from cimemu.layer.macro_layer import MacroLayer
from cimemu.mapping.layout import Unit, make_layout, make_units
from cimemu.variation.compose import Variations

CellSource = Sequence[NDArray[np.float64]] | None


@dataclass(frozen=True, eq=False)
class MatrixResult:
    """Accumulators of a batch and what happened on the way."""

    accumulators: NDArray[
        np.generic
    ]  # [images, positions, channels_out], int64, or float64 where levels are no integers
    counts: NDArray[np.int64]  # [images, len(Counter)]
    nonzero: tuple[NDArray[np.bool_], ...]  # per unit [images * positions, groups, I]; empty unless slices are skipped
    paths: frozenset[str]  # which kernels ran


class LayerMatrix:
    """A macro layer with its weights written into cells."""

    def __init__(self, layer: MacroLayer, macro: Macro, *, adc: Adc | None = None, cells: CellSource = None) -> None:
        """Write `layer`'s weights; `adc` replaces the macro's converter, `cells` gives effective levels per unit.

        Raises MappingError or WorkloadError naming the layer where weights or inputs do not fit the macro.
        """
        self.layer, self.macro = layer, macro
        geometry = layer.geometry
        self.units: tuple[Unit, ...] = make_units(
            geometry.groups, geometry.rows_per_group, geometry.outputs_per_group, macro
        )
        self.drive_offset = drive_offset(layer, macro.input)
        self.stored, shift = stored_weights(layer, macro.weight)
        self.weight_zero = layer.weight_zero_point - shift
        self.programmed: list[Programmed] = []  # ideal cells, by unit
        for number, unit in enumerate(self.units):
            try:
                layout = make_layout(
                    unit.row_stop - unit.row_start,
                    unit.out_stop - unit.out_start,
                    macro,
                    geometry.kernel_area,
                )
                self.programmed.append(
                    program(
                        self._unit_matrix(unit),
                        macro,
                        layout=layout,
                        row_group=unit.row_group,
                        out_group=unit.out_group,
                        adc=adc if adc is None or len(self.units) == 1 else self._unit_adc(adc, number),
                        cells=None if cells is None else cells[number],
                        scale=self._unit_scale(unit),
                    )
                )
            except CimemuError as error:
                raise MappingError(f"layer {layer.name}: {error}") from error
        self.replicas: list[list[Programmed]] = [self.programmed]  # output position p runs on replica p mod R

    def draft(self, sites: Sequence[Sequence[Sites]], variations: Variations) -> list[list[Draft]]:
        """Cells of every replica and unit at `sites[replica][unit]`, to be written; see `take`."""
        try:
            return [
                [start_draft(ideal.matrix, place, variations) for ideal, place in zip(self.programmed, units)]
                for units in sites
            ]
        except CimemuError as error:
            raise type(error)(f"layer {self.layer.name}: {error}") from error

    def take(self, drafts: Sequence[Sequence[Draft]]) -> None:
        """Run on written drafts from now on; on the ideal cells where there are none."""
        self.replicas = [[Programmed(draft.finish()) for draft in units] for units in drafts] or [self.programmed]

    def _unit_scale(self, unit: Unit) -> ColumnScale | None:
        scale = self.layer.column_scale
        if scale is None:
            return None
        if self.weight_zero.any():
            raise MappingError("column scales with weight zero points: not defined, use symmetric weights")
        return scale.part(slice(unit.out_start, unit.out_stop), self.macro.conversions_per_output)

    def _unit_adc(self, adc: Adc, number: int) -> Adc:
        """The part of a converter's grids that belongs to one unit: grids run over the columns (or arrays) of all."""
        if isinstance(adc, IdealAdc):
            return adc
        macro, geometry = self.macro, self.layer.geometry
        per_unit = [-(-(unit.out_stop - unit.out_start) // macro.outputs) for unit in self.units]
        unit = self.units[number]
        columns = slice(unit.out_start * macro.conversions_per_output, unit.out_stop * macro.conversions_per_output)
        arrays = slice(sum(per_unit[:number]), sum(per_unit[: number + 1]))
        whole = geometry.channels_out * macro.conversions_per_output
        changed = {}
        for name in ("lsb", "zero") if isinstance(adc, LinearAdc) else ("thresholds", "levels"):
            grid = getattr(adc, name)
            if isinstance(grid, list) and isinstance(grid[0], list):  # not one value (or one vector) for all
                wide = len(grid[0]) == whole
                changed[name] = [row[columns if wide else arrays] for row in grid]
        return adc.model_copy(update=changed)

    def _unit_matrix(self, unit: Unit) -> NDArray[np.int64]:
        """w[k, n] of one unit; off-group entries stay 0 and are masked by the unit's groups."""
        per_group_rows = self.layer.geometry.rows_per_group
        per_group_outputs = self.layer.geometry.outputs_per_group
        matrix = np.zeros((unit.row_stop - unit.row_start, unit.out_stop - unit.out_start), dtype=np.int64)
        for group in range(unit.row_start // per_group_rows, -(-unit.row_stop // per_group_rows)):
            rows = slice(group * per_group_rows - unit.row_start, (group + 1) * per_group_rows - unit.row_start)
            outs = slice(group * per_group_outputs, (group + 1) * per_group_outputs)
            matrix[rows, outs.start - unit.out_start : outs.stop - unit.out_start] = self.stored[outs].T
        return matrix

    def run(
        self,
        quantized: NDArray[Any],
        *,
        path: str,
        threads: int | None,
        budget_bytes: int,
        zero_points: NDArray[Any] | None = None,
        first_image: int = 0,
    ) -> MatrixResult:
        """Accumulators of a batch `quantized` [images, *input shape] of the layer's input dtype.

        `zero_points` [images] replace the layer's own input zero point. `first_image` is the batch's place among all
        images: read noise is keyed by it.
        """
        geometry = self.layer.geometry
        images = quantized.shape[0]
        zeros = self._zero_points(images, zero_points)
        driven = self._drive(quantized, zeros)
        per_image = max(1, geometry.positions * geometry.groups * geometry.rows_per_group)
        step = int(max(1, min(images, budget_bytes // (16 * per_image))))
        parts = [
            self._run_images(driven[b : b + step], zeros[b : b + step], path, threads, first_image + b)
            for b in range(0, images, step)
        ]
        if len(parts) == 1:
            return parts[0]
        nonzero = tuple(np.concatenate(same) for same in zip(*(part.nonzero for part in parts)))
        return MatrixResult(
            accumulators=np.concatenate([part.accumulators for part in parts]),
            counts=np.concatenate([part.counts for part in parts]),
            nonzero=nonzero,
            paths=frozenset().union(*(part.paths for part in parts)),
        )

    def vectors(self, quantized: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Inputs [images * positions, rows] of every unit, as the wordlines are given them."""
        for x, _, _ in self._units(
            self._windows(self._drive(quantized, self._zero_points(len(quantized), None))), self.programmed
        ):
            yield x

    def sampled_inputs(self, quantized: NDArray[Any], vectors: int, rng: np.random.Generator) -> Iterator[NDArray[Any]]:
        """Inputs [at most `vectors`, rows] of every unit: output positions of `quantized` [images, ...] drawn by `rng`."""
        geometry = self.layer.geometry
        step = max(1, (1 << 26) // max(1, geometry.positions * geometry.groups * geometry.rows_per_group))
        total = len(quantized) * geometry.positions
        chosen = np.sort(rng.choice(total, min(vectors, total), replace=False))
        parts = []
        for first in range(0, len(quantized), step):
            part = quantized[first : first + step]
            rows = self._windows(self._drive(part, self._zero_points(len(part), None)))
            inside = (chosen >= first * geometry.positions) & (chosen < (first + step) * geometry.positions)
            parts.append(rows[chosen[inside] - first * geometry.positions])
        for x, _, _ in self._units(np.concatenate(parts), self.programmed):
            yield x

    def _windows(self, driven: NDArray[Any]) -> NDArray[Any]:
        """Input vectors [images * positions, groups * rows] of driven images."""
        geometry = self.layer.geometry
        rows = np.empty(
            (driven.shape[0] * geometry.positions, geometry.groups * geometry.rows_per_group),
            dtype=driven.dtype,
        )
        im2col(
            driven,
            (geometry.stride_h, geometry.stride_w),
            (geometry.dilation_h, geometry.dilation_w),
            (geometry.kernel_h, geometry.kernel_w),
            (geometry.height_out, geometry.width_out),
            0,
            rows,
        )
        return rows

    def _zero_points(self, images: int, given: NDArray[Any] | None) -> NDArray[np.int64]:
        """The input zero point of every image, as the wordlines see it."""
        zeros = np.full(images, self.layer.input_zero_point) if given is None else given.astype(np.int64)
        return np.asarray(zeros, dtype=np.int64) + self.drive_offset

    def _drive(self, quantized: NDArray[Any], zeros: NDArray[np.int64]) -> NDArray[Any]:
        """What the wordlines are given: `u = q + offset`, [images, channels, height, width], padding included."""
        geometry, layer = self.layer.geometry, self.layer
        shape = (quantized.shape[0], geometry.channels_in, geometry.height_in, geometry.width_in)
        if layer.layout == "rows":
            quantized = quantized.reshape(shape[0], geometry.height_in, geometry.channels_in)
            quantized = quantized.transpose(0, 2, 1)
        elif layer.layout == "nhwc":
            quantized = quantized.reshape(shape[0], geometry.height_in, geometry.width_in, geometry.channels_in)
            quantized = quantized.transpose(0, 3, 1, 2)
        narrow = not self.macro.input.signed and self.macro.input.bits <= 8
        driven = (quantized.astype(np.int16) + self.drive_offset).reshape(shape)
        pads = (
            (0, 0),
            (0, 0),
            (geometry.pad_top, geometry.pad_bottom),
            (geometry.pad_left, geometry.pad_right),
        )
        if any(pair != (0, 0) for pair in pads):
            inside = driven
            driven = np.pad(inside, pads)
            driven[:] = zeros[:, None, None, None]
            top, left = geometry.pad_top, geometry.pad_left
            driven[:, :, top : top + shape[2], left : left + shape[3]] = inside
        if narrow and driven.size and (int(driven.min()) < 0 or int(driven.max()) > 255):
            narrow = False  # let the macro name the value that is out of range
        return np.ascontiguousarray(driven, dtype=np.uint8 if narrow else np.int16)

    def _run_images(
        self, driven: NDArray[Any], zeros: NDArray[np.int64], path: str, threads: int | None, first_image: int
    ) -> MatrixResult:
        images, positions = driven.shape[0], self.layer.geometry.positions
        rows = self._windows(driven)
        count = len(self.replicas)
        parts = []
        for r, programmed in enumerate(self.replicas):
            mine = (positions - r + count - 1) // count  # output positions r, r + count, ...
            reads = Reads(first_row=first_image * mine, positions=mine, replicas=count, replica=r)
            chosen = rows
            if count > 1:
                chosen = np.ascontiguousarray(rows.reshape(images, positions, -1)[:, r::count]).reshape(
                    images * mine, rows.shape[1]
                )
            parts.append(self._run_replica(chosen, zeros, programmed, reads, path, threads))
        return parts[0] if count == 1 else _interleaved(parts)

    def _run_replica(
        self,
        rows: NDArray[Any],
        zeros: NDArray[np.int64],
        programmed: Sequence[Programmed],
        reads: Reads,
        path: str,
        threads: int | None,
    ) -> MatrixResult:
        images, positions = len(zeros), reads.positions
        counts = np.zeros((images, len(Counter)), dtype=np.int64)
        blocks: list[NDArray[Any]] = []
        nonzero: list[NDArray[np.bool_]] = []
        paths: set[str] = set()
        for x, unit, written in self._units(rows, programmed):
            result = written.run(x, images=images, path=path, threads=threads, reads=reads)
            counts += result.counts
            paths.add(result.path)
            if result.nonzero is not None:
                nonzero.append(result.nonzero)
            if written.matrix.scale is None:
                blocks.append(self._take_off_zero_points(result.y, x, unit, np.repeat(zeros, positions)))
            else:
                bias = self.layer.bias[unit.out_start : unit.out_stop]
                blocks.append(finished(result.y, x, written.matrix, np.repeat(zeros, positions), bias))
        accumulators = blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)
        return MatrixResult(
            accumulators=accumulators.reshape(images, positions, self.layer.geometry.channels_out),
            counts=counts,
            nonzero=tuple(nonzero),
            paths=frozenset(paths),
        )

    def _units(
        self, rows: NDArray[Any], written: Sequence[Programmed]
    ) -> Iterator[tuple[NDArray[Any], Unit, Programmed]]:
        for unit, programmed in zip(self.units, written):
            whole = unit.row_start == 0 and unit.row_stop == rows.shape[1]
            yield (
                rows if whole else np.ascontiguousarray(rows[:, unit.row_start : unit.row_stop]),
                unit,
                programmed,
            )

    def _take_off_zero_points(
        self, y: NDArray[Any], x: NDArray[Any], unit: Unit, zeros: NDArray[np.int64]
    ) -> NDArray[Any]:
        """`sum (u - zx)(w - zw) + bias` from `y = sum u * w`: the digital unit's corrections, exact in int64.

        `zeros` [images * positions] are the zero points as the wordlines see them.
        """
        layer = self.layer
        outs = slice(unit.out_start, unit.out_stop)
        weight_zero, sums_of_weights = self.weight_zero[outs], self.stored[outs].sum(axis=1)
        same = bool((zeros == zeros[0]).all()) if len(zeros) else True
        input_zero = zeros[:1, None] if same else zeros[:, None]
        constant = layer.bias[outs] - input_zero * sums_of_weights
        if not weight_zero.any():
            return y + constant
        per_group_rows, per_group_outputs = layer.geometry.rows_per_group, layer.geometry.outputs_per_group
        sums = x.reshape(x.shape[0], -1, per_group_rows).sum(axis=2, dtype=np.int64)
        input_sums = np.repeat(sums, per_group_outputs, axis=1)
        return y + constant + weight_zero * (input_zero * per_group_rows - input_sums)


def _interleaved(parts: Sequence[MatrixResult]) -> MatrixResult:
    """Results of replicas r = 0 .. R - 1, which hold output positions r, r + R, ..., in the order of positions."""
    count, images = len(parts), len(parts[0].accumulators)
    positions = sum(part.accumulators.shape[1] for part in parts)

    def woven(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        whole = np.empty((images, positions, *arrays[0].shape[2:]), dtype=arrays[0].dtype)
        for r, array in enumerate(arrays):
            whole[:, r::count] = array
        return whole

    driven = zip(*([n.reshape(images, -1, *n.shape[1:]) for n in part.nonzero] for part in parts))
    return MatrixResult(
        accumulators=woven([part.accumulators for part in parts]),
        counts=np.sum([part.counts for part in parts], axis=0),
        nonzero=tuple(w.reshape(-1, *w.shape[2:]) for w in map(woven, driven)),
        paths=frozenset().union(*(part.paths for part in parts)),
    )
