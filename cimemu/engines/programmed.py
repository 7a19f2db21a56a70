"""A matrix that is written once and run on many inputs, by the engine that serves (contract, section 1)."""

from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import Adc
from cimemu.arch.macro import Macro
from cimemu.engines.choose import PAYS_FROM, Choice, choose, engines_of
from cimemu.engines.engine import Chunk, Engine, Outcome, WhyNot
from cimemu.engines.exact.engine import EXACT
from cimemu.engines.packed.engine import PACKED
from cimemu.engines.steps.clamped import clamped_sums, clamps
from cimemu.engines.steps.engine import STEPS
from cimemu.engines.steps.run import sum_steps
from cimemu.events import Counter
from cimemu.lanes.jit import is_compiled
from cimemu.lanes.small import pays, timed
from cimemu.layer.column_scale import ColumnScale
from cimemu.macro.checksums import Alarms
from cimemu.macro.combine import column_values, combined, correction
from cimemu.macro.counts import Activity, CellCounts, LineCounts, count_cells, count_rows
from cimemu.macro.encode import checked_inputs
from cimemu.macro.flipping import unflipped
from cimemu.macro.naive import Given, mvm_naive
from cimemu.macro.plain_counts import PlainCounts
from cimemu.macro.program import Matrix, Writing, write_matrix
from cimemu.macro.read_noise import ReadNoise, Reads
from cimemu.macro.sums import driven_steps, masked_inputs
from cimemu.macro.toggles import Toggles, toggles_of_rows, toggling
from cimemu.mapping.layout import Layout
from cimemu.threads import on_threads

STEPWISE = "checksum columns are compared step by step"
_UNCOUNTED = np.zeros((0, len(Counter)), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class MvmResult:
    """What a matrix product on macros gives.

    `y` int64 or float64 [P, N]; `conversions` column conversions; `codes` uint16
    [P, groups in all row blocks, I, N * conversions per output] (65535: skipped) or None; `counts` int64
    [images, len(Counter)]; `nonzero` bool [P, groups, I] where zero slices are skipped, else None; `path` names
    the kernels that ran.
    """

    y: NDArray[Any]
    conversions: int
    codes: NDArray[np.uint16] | None
    counts: NDArray[np.int64]
    nonzero: NDArray[np.bool_] | None
    path: str


class Programmed:
    """A weight matrix in the cells of as many macros as it takes."""

    def __init__(self, matrix: Matrix) -> None:
        """Wrap a written matrix (`program` makes it)."""
        self.matrix = matrix
        self.inputs = 0  # that were converted bit by bit so far
        self.kept: dict[str, Any] = {}  # what engines have prepared, by their names
        self.alarms = Alarms(0, 0, 0)  # of checksum columns, since the cells were written
        self.lock = Lock()  # of these, which threads add to

    def prepared(self, engine: Engine) -> Any:
        """What an engine has made of the matrix, once; a WhyNot where it does not serve."""
        if engine.name not in self.kept:
            apart = self.matrix.amends and engine is not STEPS
            self.kept[engine.name] = WhyNot(STEPWISE) if apart else engine.prepare(self.matrix)
        return self.kept[engine.name]

    def choose(self, path: str, *, codes: bool = False, inputs: int | None = None) -> Choice:
        """The engine that runs `inputs` in all (default: as many as will pay); see `cimemu.engines.choose`."""
        values = codes and self.matrix.references is not None
        many = max(PAYS_FROM.values()) if inputs is None else inputs
        return choose(self.prepared, path, codes=codes, values=values, inputs=many)

    def _forget(self, chosen: Engine) -> None:
        """Give back what `chosen` does not need: it has made what it needs of the cells. Words served until it paid."""
        paid = chosen.name in PAYS_FROM
        if paid:
            self.kept.pop(PACKED.name, None)
        self.matrix.forget(words=paid)

    @property
    def proven(self) -> bool:
        """Whether no converter can leave its exact range: the macro is an integer matrix product."""
        return not isinstance(self.prepared(EXACT), WhyNot)

    def run(
        self,
        x: NDArray[Any],
        *,
        codes: bool = False,
        images: int = 1,
        path: str = "auto",
        threads: int | None = None,
        reads: Reads | None = None,
        counted: bool = True,
    ) -> MvmResult:
        """`x` int [P, K], P = images * positions, image-major. WorkloadError for inputs out of range.

        `counted` False leaves `counts` empty: the caller has counted the inputs (see `counts`).
        `reads` places the rows of x among all images and positions: what read noise is keyed by (default: x is
        whole images from the first).
        """
        matrix = self.matrix
        checked = checked_inputs(x, matrix.macro, matrix.layout.rows)
        reads = Reads(positions=max(1, len(checked) // max(1, images))) if reads is None else reads
        masked = masked_inputs(checked, matrix)
        nonzero = driven_steps(masked, matrix) if matrix.macro.timing.skip_zero_slices else None
        if path == "naive":
            y, out = self._naive(checked, reads, codes)
            name = "naive"
        else:
            choice = self.choose(path, codes=codes, inputs=self.inputs + len(checked))
            self.inputs += len(checked) if choice.engine.serial else 0
            self._forget(choice.engine)
            forced = len(engines_of(path)) == 1
            y, out = self._in_chunks(choice, Inputs(checked, masked, reads), codes, threads or 1, forced)
            name = choice.engine.name
        counts = self._counted(checked, max(1, images), nonzero) if counted else _UNCOUNTED
        return MvmResult(
            y=y,
            conversions=int(counts[:, Counter.CONVERSIONS].sum()),
            codes=out,
            counts=counts,
            nonzero=nonzero,
            path=name,
        )

    def counts(
        self,
        lines: LineCounts,
        points: int,
        nonzero: NDArray[np.bool_] | None,
        toggles: Toggles | None,
    ) -> NDArray[np.int64]:
        """counts [images, len(Counter)] of `points` input vectors whose wordlines were given `lines`, cells left out.

        Of wordlines that hold, `toggles` says what changes on them.
        """
        held = None
        if self.matrix.macro.input.driver == "holds":
            assert toggles is not None
            held = toggles.changes(self.matrix.layout)[0].sum(axis=1)
        return self._activity.counts(lines, points // len(lines.drawn), nonzero, held)

    @cached_property
    def _activity(self) -> Activity:
        matrix = self.matrix
        further = (matrix.reference_columns, matrix.check_columns)
        return Activity(matrix.macro, matrix.layout, further, matrix.switches, matrix.multiplications)

    @cached_property
    def _drawing(self) -> tuple[tuple[NDArray[np.int64], int], int]:
        """(levels by row and the sum of their magnitudes, used columns), as often as a step is read."""
        matrix = self.matrix
        reads = matrix.macro.repair.reads
        used = matrix.layout.outputs * matrix.macro.output_width + matrix.reference_columns + matrix.check_columns
        levels = matrix.row_levels * reads
        return (levels, int(np.abs(levels).sum())), used * reads

    def plain_counts(self, positions: int) -> PlainCounts | None:
        """How images of so many positions are counted at once, where no step is skipped and cells are analog; or None."""
        if positions not in self._plain:
            (levels, _), used = self._drawing
            self._plain[positions] = PlainCounts.of(self.matrix, self._activity, levels, used, positions)
        return self._plain[positions]

    @cached_property
    def _plain(self) -> dict[int, PlainCounts | None]:
        return {}

    def cell_counts(self, lines: LineCounts, toggles: Toggles | None) -> CellCounts:
        """What the cells draw where the wordlines were given `lines`, digital ones `toggles`."""
        matrix = self.matrix
        levels, used = self._drawing
        toggles = toggles if matrix.macro.cell.kind == "digital" else None
        return count_cells(
            lines,
            toggles,
            matrix.layout,
            row_levels=levels,
            row_factors=None if toggles is None else matrix.row_factors,
            unit=matrix.unit,
            used_columns=used,
        )

    def _counted(self, x: NDArray[Any], images: int, nonzero: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """counts [images, len(Counter)] of input vectors `x`, image-major."""
        macro = self.matrix.macro
        lines = count_rows(x, images, macro)
        toggles = toggles_of_rows(x, images, macro) if toggling(macro) else None
        return self.cell_counts(lines, toggles).put(self.counts(lines, len(x), nonzero, toggles))

    def _codes(self, inputs: int) -> NDArray[np.uint16]:
        """Room for the codes of so many inputs."""
        matrix = self.matrix
        shape = (inputs, matrix.layout.groups, matrix.macro.input_slices, matrix.seen_columns)
        return np.empty(shape, dtype=np.uint16)

    def _naive(self, x: NDArray[Any], reads: Reads, codes: bool) -> tuple[NDArray[Any], NDArray[np.uint16] | None]:
        """(y, codes) by the naive twin."""
        matrix = self.matrix
        given = Given(
            matrix.weights,
            matrix.macro,
            matrix.layout,
            adc=matrix.adc,
            cells=matrix.cells,
            row_group=matrix.row_group,
            out_group=matrix.out_group,
            noise=matrix.noise,
            traps=matrix.traps,
            gated=matrix.gated,
            scale=None if matrix.scale is None else matrix.scale.scale,
            moved=matrix.moved_thresholds,
            calibrated=matrix.calibrated_grid,
            base=matrix.base,
            bow=matrix.bow,
            checks=None if matrix.checks is None or matrix.cells is None else matrix.checks.cells,
        )
        naive = mvm_naive(x, given, reads)
        return naive.y, naive.codes if codes and matrix.references is not None else None

    def _in_chunks(
        self, choice: Choice, inputs: "Inputs", codes: bool, threads: int, forced: bool
    ) -> tuple[NDArray[Any], NDArray[np.uint16] | None]:
        """(y, codes) of all inputs, a chunk at a time, on `threads` threads; every chunk is independent.

        An engine that is `forced` runs by itself; NumPy stands in for any other until compiling its kernels pays.
        """
        matrix, count = self.matrix, len(inputs.x)
        y = np.empty((count, matrix.layout.outputs), dtype=np.int64 if matrix.integer_result else np.float64)
        out = self._codes(count) if codes and matrix.references is not None else None
        alone = forced or compiled(choice)
        engine = choice.engine if alone else STEPS
        step = engine.points(matrix, count, threads)

        def one(first: int) -> None:
            part = slice(first, first + step)
            chunk = Chunk(
                x=inputs.x[part],
                masked=inputs.masked[part],
                reads=inputs.reads.after(first),
                y=y[part],
                codes=None if out is None else out[part],
            )
            outcome = engine.run(chunk, matrix, choice.prepared) if alone else timed(in_numpy, chunk, matrix)
            finish(chunk, matrix, outcome)
            if outcome.alarms is not None:
                with self.lock:
                    self.alarms = self.alarms.plus(outcome.alarms)

        on_threads(threads, one, range(0, count, step))
        return y, out


def compiled(choice: Choice) -> bool:
    """Whether an engine's kernels are compiled, or are to be: until that pays, the steps in NumPy stand in for it."""
    return pays() or all(is_compiled(kernel) for kernel in choice.engine.kernels(choice.prepared))


def in_numpy(chunk: Chunk, matrix: Matrix) -> Outcome:
    """A chunk step by step; all engines give the same bytes."""
    if chunk.codes is None and (rule := clamps(matrix)) is not None:
        return Outcome(sums=clamped_sums(chunk.masked, matrix, rule))
    words, codes, reads = chunk.masked, chunk.codes, chunk.reads
    sums, total, alarms = sum_steps(words, matrix, packed=False, codes_out=codes, reads=reads)
    return Outcome(sums=sums, total=total, alarms=alarms)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Checked inputs [P, K], as unsigned bit patterns too, and where they stand among all reads."""

    x: NDArray[Any]
    masked: NDArray[Any]
    reads: Reads


def finish(chunk: Chunk, matrix: Matrix, outcome: Outcome) -> None:
    """Fill a chunk's y from what an engine left: sums combined, flipped columns put right, the encoding's correction."""
    if outcome.corrected:
        return
    total = chunk.y
    if not outcome.filled:
        assert outcome.sums is not None
        total = combined(outcome.sums, matrix) if outcome.total is None else outcome.total
        if matrix.flipped is not None:
            groups = None
            if matrix.row_group is not None and matrix.out_group is not None:
                groups = (matrix.row_group, matrix.out_group)
            total = unflipped(
                total,
                column_values(outcome.sums, matrix),
                chunk.x,
                matrix.flipped,
                matrix.columns.weight,
                matrix.macro,
                matrix.layout,
                groups,
            )
    # Last of all: the accumulator is held without the correction (contract, section 1.6).
    chunk.y[...] = correction(total, chunk.x, chunk.masked, matrix, chunk.reads)


class WritingKeywords(TypedDict, total=False):
    """The fields of `cimemu.macro.program.Writing`, as keywords."""

    layout: Layout | None
    row_group: NDArray[np.int64] | None
    out_group: NDArray[np.int64] | None
    adc: Adc | None
    cells: NDArray[np.floating] | None
    noise: tuple[ReadNoise, ...]
    scale: ColumnScale | None


def program(w: NDArray[Any], macro: Macro, **how: Unpack[WritingKeywords]) -> Programmed:
    """Write integer weights `w` [K, N] into cells; the keywords are the fields of `cimemu.macro.program.Writing`."""
    return Programmed(write_matrix(w, macro, Writing(**how)))
