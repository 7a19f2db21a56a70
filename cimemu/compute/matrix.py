"""One layer's matrix on macros: weights into cells, windows onto wordlines, psums into accumulators."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import Adc, IdealAdc, LinearAdc, plain
from cimemu.arch.macro import Macro
from cimemu.compute.batch import LayerBatch, MatrixResult
from cimemu.compute.output import OutputWriter
from cimemu.compute.written import WrittenLayer
from cimemu.engines.calibrate import finished
from cimemu.engines.choose import engines_of
from cimemu.engines.exact.engine import EXACT
from cimemu.engines.exact.layer import ExactLayer
from cimemu.engines.programmed import program
from cimemu.errors import CimemuError, MappingError
from cimemu.layer.column_scale import ColumnScale
from cimemu.layer.macro_layer import MacroLayer
from cimemu.macro.drive import drive_offset, stored_weights
from cimemu.macro.encode import input_range, limits_of
from cimemu.macro.sites import Sites
from cimemu.macro.toggles import Toggles, edge_window, merged, toggles_of_windows, toggling
from cimemu.macro.vary import Draft, start_draft
from cimemu.mapping.layout import LayerCut, Unit, cut_layer
from cimemu.threads import on_threads
from cimemu.variation.compose import Variations
from cimemu.windows.strips import Room, Source, Strip

CellSource = Sequence[NDArray[np.float64]] | None


class LayerMatrix(WrittenLayer):
    """A macro layer with its weights written into cells."""

    def __init__(
        self,
        layer: MacroLayer,
        macro: Macro,
        *,
        adc: Adc | None = None,
        cells: CellSource = None,
        cut: LayerCut | None = None,
        like: "LayerMatrix | None" = None,
    ) -> None:
        """Write `layer`'s weights; `adc` replaces the macro's converter, `cells` gives effective levels per unit.

        `cut` is the layer's cut as its plan has it (none: it is cut here). `like` is the layer whose cells this one uses:
        nothing is written then.

        Raises MappingError or WorkloadError naming the layer where weights or inputs do not fit the macro.
        """
        self.layer, self.macro = layer, macro
        geometry = layer.geometry
        if cut is None:
            cut = self._cut()
        self.units = cut.units
        self.drive_offset = drive_offset(layer, macro.input)
        self.writer = OutputWriter(layer)
        self.exact: ExactLayer | None = None
        self.first_position = 0  # output positions of an image that the cells have served before this layer
        if like is None:
            self.stored, shift = stored_weights(layer, macro.weight)
            self.weight_zero = layer.weight_zero_point - shift
            self._write(cut, adc, cells)
        else:
            self.stored, self.weight_zero, self.programmed = like.stored, like.weight_zero, like.programmed
        bit_serial = macro.timing.skip_zero_slices or layer.column_scale is not None
        if like is not None and like.layer.geometry == geometry:
            self.exact = like.exact
        elif all(p.proven for p in self.programmed) and not bit_serial:
            self.exact = ExactLayer(self._without_zeros(), geometry, input_range(macro))
        self.replicas = [self.programmed]

    def _write(self, cut: LayerCut, adc: Adc | None, cells: CellSource) -> None:
        """The matrices of all units, in ideal cells."""
        layer, macro = self.layer, self.macro
        self.programmed = []
        for number, (unit, layout) in enumerate(zip(cut.units, cut.layouts)):
            try:
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

    def _cut(self) -> LayerCut:
        g = self.layer.geometry
        try:
            return cut_layer(g.groups, g.rows_per_group, g.outputs_per_group, self.macro, g.kernel_area)
        except CimemuError as error:
            raise MappingError(f"layer {self.layer.name}: {error}") from error

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
        self.replicas = [finished(units) for units in drafts] or [self.programmed]

    def take_from(self, other: "LayerMatrix") -> None:
        """Run on the cells that were written for another layer, whose matrix this is too."""
        self.replicas = other.replicas if other.replicas != [other.programmed] else [self.programmed]

    def _unit_scale(self, unit: Unit) -> ColumnScale | None:
        scale = self.layer.column_scale
        if scale is None:
            return None
        if self.weight_zero.any():
            raise MappingError("column scales with weight zero points: not defined, use symmetric weights")
        return scale.part(slice(unit.out_start, unit.out_stop), self.macro.conversions_per_output)

    def _unit_adc(self, adc: Adc, number: int) -> Adc:
        """The part of a converter's grids that belongs to one unit: grids run over the columns (or arrays) of all."""
        adc = plain(adc)
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

    def _without_zeros(self) -> NDArray[np.integer]:
        """[outputs, rows of a group] weights without their zero points."""
        return self.stored - self.weight_zero[:, None] if self.weight_zero.any() else self.stored

    def _unit_matrix(self, unit: Unit) -> NDArray[np.integer]:
        """w[k, n] of one unit; off-group entries stay 0 and are masked by the unit's groups."""
        if self.layer.geometry.groups == 1:
            return self.stored.T
        per_group_rows = self.layer.geometry.rows_per_group
        per_group_outputs = self.layer.geometry.outputs_per_group
        matrix = np.zeros((unit.row_stop - unit.row_start, unit.out_stop - unit.out_start), dtype=self.stored.dtype)
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
        copies: int | None = 1,
        before: NDArray[Any] | None = None,
    ) -> MatrixResult:
        """The output tensor of a batch `quantized` [images, *input shape] of the layer's input dtype.

        `zero_points` [images] replace the layer's own input zero point; `first_image` is the batch's first image among
        all (what read noise is keyed by), `copies` how many replicas of ideal cells share the positions (None: nothing is
        counted, all counts are 0). Arrays of the work in progress take at most `budget_bytes`. `before`
        [images, rows] are the inputs that a layer of the same cells drove last.
        """
        source = self._source(quantized, self._zero_points(len(quantized), zero_points))
        at_once = EXACT.name in engines_of(path) and self.replicas == [self.programmed]
        exact = self.exact if at_once else None
        workers = max(1, threads or 1)
        toggles: list[Toggles] = []
        if copies is not None and toggling(self.macro):
            toggles = merged(
                toggles_of_windows(source, self.macro, max(copies, len(self.replicas)), workers), len(self.replicas)
            )
            if before is not None:
                toggles = [toggles[0].following(before, edge_window(source, last=False), self.macro)]
        batch = LayerBatch(self, source, exact, path, first_image, counted=copies is not None)
        strips = batch.strips(workers, budget_bytes)
        if workers == 1 or len(strips) < 2:
            return batch.result([batch.work(strips)], toggles)
        return batch.result(on_threads(workers, batch.work, [strips[n::workers] for n in range(workers)]), toggles)

    def last_inputs(self, quantized: NDArray[Any], zero_points: NDArray[Any] | None = None) -> NDArray[Any]:
        """Inputs [images, rows] of every image's last operation, as the wordlines are given them."""
        return edge_window(self._source(quantized, self._zero_points(len(quantized), zero_points)), last=True)

    def vectors(self, quantized: NDArray[Any], zero_points: NDArray[Any] | None = None) -> Iterator[NDArray[Any]]:
        """Inputs [images * positions, rows] of every unit, as the wordlines are given them; `zero_points` as in `run`."""
        for x, _, _ in self.on_units(self.all_windows(quantized, zero_points), self.programmed):
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
            rows = self.all_windows(part)
            inside = (chosen >= first * geometry.positions) & (chosen < (first + step) * geometry.positions)
            parts.append(rows[chosen[inside] - first * geometry.positions])
        for x, _, _ in self.on_units(np.concatenate(parts), self.programmed):
            yield x

    def all_windows(self, quantized: NDArray[Any], zero_points: NDArray[Any] | None = None) -> NDArray[Any]:
        """Input vectors of whole images."""
        source = self._source(quantized, self._zero_points(len(quantized), zero_points))
        cut, room = Strip(0, len(quantized), 0, self.layer.geometry.height_out), Room()
        return self.windows(source.strip(cut, room), source, cut, room)

    def driven(
        self, quantized: NDArray[Any], zero_points: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """(input vectors of whole images, what is added to their products [images, channels_out])."""
        zeros = self._zero_points(len(quantized), zero_points)
        return self.all_windows(quantized, zero_points), self.constants(zeros)

    def _zero_points(self, images: int, given: NDArray[Any] | None) -> NDArray[np.int64]:
        """The input zero point of every image, as the wordlines see it."""
        if given is None:
            return self.fixed(images)[0]
        return np.asarray(given.astype(np.int64) + self.drive_offset)

    def _source(self, quantized: NDArray[Any], zeros: NDArray[np.int64]) -> Source:
        """The batch as [images, channels, height, width], and what the wordlines are given: `u = q + offset`."""
        geometry, layer = self.layer.geometry, self.layer
        images = len(quantized)
        if not layer.channels_last:
            tensor = quantized.reshape(images, geometry.channels_in, geometry.height_in, geometry.width_in)
        else:
            tensor = quantized.reshape(images, geometry.height_in, geometry.width_in, geometry.channels_in)
            tensor = tensor.transpose(0, 3, 1, 2)
        given = self.macro.input
        low, high = (limit + self.drive_offset for limit in limits_of(quantized.dtype))
        narrow = not given.signed and given.bits <= 8 and low >= 0 and high <= 255
        return Source(tensor, geometry, self.drive_offset, zeros, narrow)
