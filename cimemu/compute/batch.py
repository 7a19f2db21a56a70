"""One layer's batch on its way through the macros: strips of windows in, finished output rows out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.compute.scaled_layer import finished
from cimemu.compute.written import WrittenLayer
from cimemu.engines.exact.layer import ExactLayer
from cimemu.engines.programmed import Programmed
from cimemu.events import Counter
from cimemu.macro.counts import CellCounts, LineCounts, WindowCounts, count_rows
from cimemu.macro.encode import input_range, limits_of
from cimemu.macro.read_noise import Reads
from cimemu.macro.toggles import Toggles
from cimemu.windows.strips import EXACT_BYTES, ROWS_BYTES, Room, Source, Strip, cut_in_strips, own_room

MOST_UNITS = 256  # whose counts, each below 2^54, sum in int64


@dataclass(frozen=True, eq=False)
class MatrixResult:
    """A layer's output tensor for a batch and what happened on the way."""

    output: NDArray[Any]  # [images, *output shape]
    counts: NDArray[np.int64]  # [images, len(Counter)]
    nonzero: tuple[NDArray[np.bool_], ...]  # per unit [images * positions, groups, I]; empty unless slices are skipped
    paths: frozenset[str]  # which kernels ran


class LayerBatch:
    """A batch of one layer; workers take strips of it and write into one output tensor."""

    def __init__(
        self,
        matrix: WrittenLayer,
        source: Source,
        exact: ExactLayer | None,
        path: str,
        first_image: int,
        *,
        counted: bool,
    ) -> None:
        """`exact` is the layer's exact form where it may take the place of all its macros; `counted`: inputs are counted."""
        self.matrix, self.source, self.exact, self.path, self.first_image = matrix, source, exact, path, first_image
        self.counted = counted
        geometry = matrix.layer.geometry
        self.images = len(source.tensor)
        self.output = matrix.writer.tensor(self.images)
        zeros, constant = matrix.fixed(self.images)
        self.constant = constant if source.zeros is zeros else matrix.constants(source.zeros)
        if matrix.layer.column_scale is not None:  # its corrections are made with it
            self.constant = np.zeros_like(self.constant)
        self.nonzero: list[NDArray[np.bool_]] = []
        if matrix.macro.timing.skip_zero_slices:
            points = self.images * geometry.positions
            shapes = [(points, p.matrix.layout.groups, matrix.macro.input_slices) for p in matrix.programmed]
            self.nonzero = [np.zeros(shape, dtype=np.bool_) for shape in shapes]
        low, high = input_range(matrix.macro)
        least, most = limits_of(source.tensor.dtype)
        self.always_in_range = low <= least + source.offset and most + source.offset <= high

    def strips(self, workers: int, budget_bytes: int) -> list[Strip]:
        """The batch in strips; the arrays of all workers together fit the budget where one output row does."""
        g, source = self.matrix.layer.geometry, self.source
        if self.exact is not None:
            per_row, aim = self.exact.bytes_per_row(source), EXACT_BYTES
        else:
            item = 1 if source.narrow else 2
            inputs = g.channels_in * source.columns * g.stride_h
            per_row = item * inputs + g.width_out * (4 * item * g.groups * g.rows_per_group + 24 * g.channels_out)
            aim = ROWS_BYTES * min(len(self.matrix.units), 16)  # every unit's calls take their share of a strip
        return cut_in_strips(self.images, g.height_out, per_row, min(aim, budget_bytes // (2 * workers)), workers)

    def work(self, strips: Sequence[Strip]) -> "Done":
        """Finish `strips`; what their inputs were and which kernels ran."""
        g, replicas = self.matrix.layer.geometry, len(self.matrix.replicas)
        windows = WindowCounts(self.matrix.window_tables, self.images, (g.channels_in, g.kernel_h, g.kernel_w))
        rows = g.groups * g.rows_per_group
        shares = [LineCounts.zeros(self.images, rows) for _ in range(replicas)] if replicas > 1 else []
        done = Done(windows=windows, shares=shares, paths=set())
        with own_room() as room:
            self._work(strips, room, done)
        return done

    def _work(self, strips: Sequence[Strip], room: Room, done: "Done") -> None:
        """The same in arrays of the worker's own."""
        g, replicas, windows = self.matrix.layer.geometry, len(self.matrix.replicas), done.windows
        stride, dilation, _ = self.source.window
        for cut in strips:
            strip = self.source.strip(cut, room)
            if self.exact is not None and self._in_range(strip):
                done.paths.add("exact")
                start = self.constant[cut.first : cut.last].astype(np.int32)
                acc, line = self.exact.accumulators(strip, cut, start, room)
                self.matrix.writer.write(acc, line, cut, self.output, room)
            else:
                self._on_macros(strip, cut, room, done)
            if replicas == 1 and self.counted:
                windows.add(strip, cut.first, (stride, dilation, (cut.rows, g.width_out)), room)

    def _in_range(self, strip: NDArray[Any]) -> bool:
        """Whether the macros take every value; where not, the way over the macros names the first that they do not."""
        if self.always_in_range or not strip.size:
            return True
        low, high = input_range(self.matrix.macro)
        return low <= int(strip.min()) and int(strip.max()) <= high

    def _on_macros(self, strip: NDArray[Any], cut: Strip, room: Room, done: "Done") -> None:
        """A strip through the macros of every unit, its output positions shared by the replicas in turn."""
        matrix, g, count = self.matrix, self.matrix.layer.geometry, len(self.matrix.replicas)
        rows = matrix.windows(strip, self.source, cut, room)
        begin = cut.row_start * g.width_out  # output position of the first row; 0 where there are several images
        first = cut.first * g.positions + begin
        if count == 1:
            before = matrix.first_position  # of the image, on these cells: by layers that share them
            reads = Reads(first_row=self.first_image * g.positions + first, positions=g.positions, replica=before)
            y = self._products(rows, cut, matrix.replicas[0], reads, first + np.arange(len(rows)), done)
        else:
            position = np.tile(np.arange(begin, begin + len(rows) // cut.images), cut.images)
            y = np.empty((0, 0))
            for r in range(count):
                mine = np.flatnonzero(position % count == r)
                if not len(mine):
                    continue
                share = -(-(g.positions - r) // count)
                before = (self.first_image + cut.first) * share + max(0, -(-(begin - r) // count))
                reads = Reads(first_row=before, positions=share, replicas=count, replica=r)
                x = np.ascontiguousarray(rows[mine])
                if self.counted:
                    done.shares[r].add(count_rows(x, cut.images, matrix.macro), cut.first)
                part = self._products(x, cut, matrix.replicas[r], reads, first + mine, done)
                y = y if y.size else np.empty((len(rows), part.shape[1]), dtype=part.dtype)
                y[mine] = part
        acc = matrix.writer.accumulators_of(y, self.constant[cut.first : cut.last], cut, room)
        matrix.writer.write(acc, g.width_out, cut, self.output, room)

    def _products(
        self,
        rows: NDArray[Any],
        cut: Strip,
        written: Sequence[Programmed],
        reads: Reads,
        points: NDArray[np.int64],
        done: "Done",
    ) -> NDArray[Any]:
        """`sum u * (w - zw)` [P, channels_out] of input vectors that are the output points `points` of the batch."""
        matrix = self.matrix
        parts = []
        for number, (x, unit, programmed) in enumerate(matrix.on_units(rows, written)):
            result = programmed.run(x, images=cut.images, path=self.path, threads=1, reads=reads, counted=False)
            done.paths.add(result.path)
            if result.nonzero is not None:
                self.nonzero[number][points] = result.nonzero
            if programmed.matrix.scale is None:
                parts.append(matrix.without_weight_zeros(result.y, x, unit))
                continue
            zeros = np.repeat(self.source.zeros[cut.first : cut.last], len(x) // cut.images)
            bias = matrix.layer.bias[unit.out_start : unit.out_stop]
            parts.append(finished(result.y, x, programmed.matrix, zeros, bias))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def result(self, done: Sequence["Done"], toggles: Sequence[Toggles]) -> MatrixResult:
        """Everything that the workers did, joined; `toggles` by replica where changes are counted."""
        matrix, positions = self.matrix, self.matrix.layer.geometry.positions
        count = len(matrix.replicas)
        total = np.zeros((self.images, len(Counter)), dtype=np.int64)
        paths = frozenset().union(*(worker.paths for worker in done))
        if not self.counted:
            return MatrixResult(output=self.output, counts=total, nonzero=tuple(self.nonzero), paths=paths)
        if count == 1 and not self.nonzero and not toggles and self._counted_plainly(done, total):
            return MatrixResult(output=self.output, counts=total, nonzero=(), paths=paths)
        cells: CellCounts | None = None
        for r, written in enumerate(matrix.replicas):
            if count == 1:
                lines = done[0].windows.joined([other.windows for other in done[1:]])
            else:
                lines = done[0].shares[r]
                for other in done[1:]:
                    lines.add(other.shares[r])
            share = -(-(positions - r) // count)
            for number, (unit, programmed) in enumerate(zip(matrix.units, written)):
                nonzero = None
                if self.nonzero:
                    whole = self.nonzero[number]
                    nonzero = whole.reshape(self.images, positions, *whole.shape[1:])[:, r::count]
                    nonzero = nonzero.reshape(-1, *whole.shape[1:])
                rows = slice(unit.row_start, unit.row_stop)
                mine = lines.of_rows(rows)
                changes = toggles[r].of_rows(rows) if toggles else None
                total += programmed.counts(mine, self.images * share, nonzero, changes)
                drawn = programmed.cell_counts(mine, changes)
                cells = drawn if cells is None else cells.plus(drawn)
        if cells is not None:
            total = cells.put(total)
        return MatrixResult(output=self.output, counts=total, nonzero=tuple(self.nonzero), paths=paths)

    def _counted_plainly(self, done: Sequence["Done"], total: NDArray[np.int64]) -> bool:
        """Fill `total` [images, len(Counter)] by one product a unit; False, and nothing done, where int64 may not do."""
        matrix = self.matrix
        written = matrix.replicas[0]
        plain = [programmed.plain_counts(matrix.layer.geometry.positions) for programmed in written]
        if len(plain) > MOST_UNITS or None in plain:
            return False
        lines = done[0].windows.joined([other.windows for other in done[1:]])
        drawn = level = np.zeros(self.images, dtype=np.int64)
        for unit, counted in zip(matrix.units, plain):
            assert counted is not None
            part = counted.add(lines.of_rows(slice(unit.row_start, unit.row_stop)), total)
            drawn, level = drawn + part[0], level + part[1]
        CellCounts(drawn, level, written[0].matrix.unit).put(total)
        return True


@dataclass(frozen=True, eq=False)
class Done:
    """What one worker's strips were: inputs counted, by replica where there are several, and kernels that ran."""

    windows: WindowCounts
    shares: list[LineCounts]
    paths: set[str]
