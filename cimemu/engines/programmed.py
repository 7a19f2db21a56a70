"""The macro's values: `mvm`, and matrices programmed once and run on many inputs (spec section 1)."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import Adc
from cimemu.arch.macro import Macro
from cimemu.engines.exact.product import exact_is_proven, exact_product, exact_sums
from cimemu.engines.lookup.prepare import Lookup, make_lookup
from cimemu.engines.lookup.run import lookup_values
from cimemu.engines.packed.run import clip_rule, sum_packed, tiles_of
from cimemu.engines.planes.clipped import POINTS, BitPlanes, make_planes
from cimemu.engines.planes.leveled import LevelPlanes, make_level_planes
from cimemu.engines.steps.run import sum_steps
from cimemu.errors import ArchError, CimemuError
from cimemu.events import Counter
from cimemu.layer.column_scale import ColumnScale
from cimemu.macro.combine import column_values, combined, correction
from cimemu.macro.counts import CellCounts, LineCounts, count_activity, count_cells, count_rows
from cimemu.macro.encode import checked_inputs
from cimemu.macro.flipping import unflipped
from cimemu.macro.naive import mvm_naive
from cimemu.macro.program import Matrix, write_matrix
from cimemu.macro.read_noise import ReadNoise, Reads
from cimemu.macro.sites import own_macros
from cimemu.macro.sums import converts_once, driven_steps, masked_inputs
from cimemu.macro.toggles import Toggles, toggles_of_rows
from cimemu.macro.vary import vary_matrix
from cimemu.mapping.layout import Layout
from cimemu.threads import on_threads
from cimemu.variation.compose import compose

PATHS = ("auto", "packed", "fixed", "exact", "naive")
_UNCOUNTED = np.zeros((0, len(Counter)), dtype=np.int64)
CHUNK_BYTES = 1 << 21  # sums of one chunk of inputs stay in the second-level cache
PARTS = 4  # chunks of a thread, where its kernel takes any number of inputs: two threads seldom need the lock at once
# Inputs after which bit planes and tables have paid for being made, where packed words serve as well (measured from 16 to
# 1280 rows and 16 to 1000 outputs: 280 to 510, and 200 to 1000).
PLANES_INPUTS, LOOKUP_INPUTS = 320, 512


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
        self.rule = clip_rule(matrix)
        self.proven = exact_is_proven(matrix)
        self.inputs = 0  # that were converted bit by bit so far

    @cached_property
    def tiles(self) -> NDArray[np.uint32] | None:
        """One-bit cells as the fused kernels of packed words take them, made when they first run."""
        return tiles_of(self.matrix)

    @cached_property
    def lookup(self) -> Lookup | None:
        """The matrix as tables, made when it is first run; None where it does not fit or the processor has no AVX2."""
        return make_lookup(self.matrix)

    @cached_property
    def planes(self) -> BitPlanes | LevelPlanes | None:
        """The matrix as bit planes, likewise; None where cells or converters are others."""
        return make_planes(self.matrix, self.rule) or make_level_planes(self.matrix)

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
        chosen = self.choose(path, codes)
        reads = Reads(positions=max(1, len(checked) // max(1, images))) if reads is None else reads
        skipping = matrix.macro.timing.skip_zero_slices
        masked = masked_inputs(checked, matrix)
        nonzero = driven_steps(masked, matrix) if skipping else None
        out = None
        if codes and matrix.references is not None:
            slices, columns = matrix.macro.input_slices, matrix.seen.shape[1]
            out = np.empty((len(checked), matrix.layout.groups, slices, columns), dtype=np.uint16)
        if chosen == "naive":
            naive = mvm_naive(
                checked,
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
                reads=reads,
                scale=None if matrix.scale is None else matrix.scale.scale,
                moved=matrix.moved_thresholds,
                base=matrix.base,
                bow=matrix.bow,
            )
            y = naive.y
            out = naive.codes if out is not None else None
        elif chosen == "exact" and matrix.scale is None:
            y = exact_product(checked, matrix)
        else:
            y = self._in_chunks(checked, masked, chosen, out, threads, reads)
        counts = self._counted(checked, max(1, images), nonzero) if counted else _UNCOUNTED
        return MvmResult(
            y=y,
            conversions=int(counts[:, Counter.CONVERSIONS].sum()),
            codes=out,
            counts=counts,
            nonzero=nonzero,
            path=chosen,
        )

    def counts(
        self,
        lines: LineCounts,
        points: int,
        nonzero: NDArray[np.bool_] | None,
    ) -> NDArray[np.int64]:
        """counts [images, len(Counter)] of `points` input vectors whose wordlines were given `lines`, cells left out."""
        matrix = self.matrix
        return count_activity(
            lines,
            points // len(lines.drawn),
            matrix.macro,
            matrix.layout,
            reference_columns=matrix.reference_columns,
            switches=matrix.switches,
            nonzero=nonzero,
            multiplications=matrix.multiplications,
        )

    def cell_counts(self, lines: LineCounts, toggles: Toggles | None) -> CellCounts:
        """What the cells draw where the wordlines were given `lines`, digital ones `toggles`."""
        matrix = self.matrix
        return count_cells(
            lines,
            toggles,
            matrix.macro,
            matrix.layout,
            row_levels=matrix.row_levels,
            row_factors=matrix.row_factors,
            unit=matrix.unit,
            used_columns=matrix.layout.outputs * matrix.macro.columns_per_output + matrix.reference_columns,
        )

    def _counted(self, x: NDArray[Any], images: int, nonzero: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """counts [images, len(Counter)] of input vectors `x`, image-major."""
        macro = self.matrix.macro
        lines = count_rows(x, images, macro)
        toggles = toggles_of_rows(x, images, macro) if macro.cell.kind == "digital" else None
        return self.cell_counts(lines, toggles).put(self.counts(lines, len(x), nonzero))

    def choose(self, path: str, codes: bool) -> str:
        """The path that runs; CimemuError where a forced one does not apply."""
        if path not in PATHS:
            raise CimemuError(f"path = {path!r}, must be one of {', '.join(PATHS)}")
        if path == "auto":
            if self.proven and not codes:
                return "exact"
            return "packed" if self.matrix.packed is not None else "fixed"
        if path == "packed" and self.matrix.packed is None:
            return "fixed"  # bit-serial as well: cells that no plane of words can hold
        if path == "exact" and (codes or not self.proven):
            raise CimemuError(
                "path = exact: not proven equal for this macro (a psum may clip), or codes asked for; use auto"
            )
        return path

    def _in_chunks(
        self,
        x: NDArray[Any],
        masked: NDArray[Any],
        path: str,
        out: NDArray[np.uint16] | None,
        threads: int | None,
        reads: Reads,
    ) -> NDArray[Any]:
        """All inputs, a cache-sized chunk at a time, on `threads` threads; every chunk is independent."""
        matrix = self.matrix
        kind = np.int64 if matrix.integer_result else np.float64
        y = np.empty((len(x), matrix.layout.outputs), dtype=kind)
        per_point = 8 * matrix.seen.shape[1] * (len(matrix.layout.row_blocks) + 1)
        floats = matrix.references is not None and matrix.references[0].lsb is None and not matrix.integer_result
        if floats and not converts_once(matrix):
            assert matrix.references is not None
            per_point *= 2 ** matrix.references[0].bits
        step = max(1, min(4096, CHUNK_BYTES // per_point))
        fused = path == "packed" and self.rule is not None and out is None and not matrix.holding
        self.inputs += len(x)
        planes, lookup = None, None
        if out is None and path == "packed" and (not fused or self.inputs >= PLANES_INPUTS):
            planes = self.planes
        if out is None and path != "exact" and planes is None and (not fused or self.inputs >= LOOKUP_INPUTS):
            lookup = self.lookup
        if lookup is not None:
            step = 1024
        if planes is not None:
            step = max(POINTS, -(-len(x) // (POINTS * PARTS * (threads or 1))) * POINTS)

        def one(first: int) -> None:
            part, total = slice(first, first + step), None
            if path == "exact":
                sums = exact_sums(x[part], masked[part], matrix)
            elif planes is not None:
                if not planes.fill(x[part], matrix, y[part]):
                    y[part] = correction(y[part], x[part], masked[part], matrix, reads.after(first))
                return
            elif lookup is not None:
                values = lookup_values(x[part], masked[part], matrix, lookup, reads.after(first), y[part])
                if isinstance(values, bool):
                    if not values:
                        y[part] = correction(y[part], x[part], masked[part], matrix, reads.after(first))
                    return
                sums = values
            elif fused:
                assert self.rule is not None
                sums = sum_packed(masked[part], matrix, self.rule, self.tiles)
            else:
                sums, total = sum_steps(
                    masked[part],
                    matrix,
                    packed=path == "packed",
                    codes_out=None if out is None else out[part],
                    reads=reads.after(first),
                )
            total = combined(sums, matrix) if total is None else total
            if matrix.flipped is not None:
                groups = None
                if matrix.row_group is not None and matrix.out_group is not None:
                    groups = (matrix.row_group, matrix.out_group)
                total = unflipped(
                    total,
                    column_values(sums, matrix),
                    x[part],
                    matrix.flipped,
                    matrix.columns.weight,
                    matrix.macro,
                    matrix.layout,
                    groups,
                )
            y[part] = correction(total, x[part], masked[part], matrix, reads.after(first))

        on_threads(threads or 1, one, range(0, len(x), step))
        return y


def program(
    w: NDArray[Any],
    macro: Macro,
    *,
    layout: Layout | None = None,
    row_group: NDArray[np.int64] | None = None,
    out_group: NDArray[np.int64] | None = None,
    adc: Adc | None = None,
    cells: NDArray[np.floating] | None = None,
    noise: tuple[ReadNoise, ...] = (),
    scale: ColumnScale | None = None,
) -> Programmed:
    """Write integer weights `w` [K, N] into cells; see `cimemu.macro.program.write_matrix` for the options."""
    return Programmed(
        write_matrix(
            w,
            macro,
            layout=layout,
            row_group=row_group,
            out_group=out_group,
            adc=adc,
            cells=cells,
            noise=noise,
            scale=scale,
        )
    )


def mvm(
    x: NDArray[Any],
    w: NDArray[Any],
    macro: Macro,
    codes: bool = False,
    *,
    path: str = "auto",
    cells: NDArray[np.floating] | None = None,
    noise: tuple[ReadNoise, ...] = (),
    reads: Reads | None = None,
    vary: Iterable[Any] = (),
    seed: int = 0,
    trial: int = 0,
    threads: int | None = None,
) -> MvmResult:
    """`x` int [P, K] times `w` int [K, N] as `macro` computes it, bit for bit (spec section 1).

    `codes=True` also returns every converter's code. `cells` [K, N * columns_per_output] are effective cell levels
    (real numbers, rounded once to multiples of 2^-fraction_bits) in the place of the ideal ones; `noise` is added to
    every partial sum, keyed by the place of its row in `reads`. `path` forces one of packed, fixed, exact, naive; all
    give the same bytes. `vary` are variation models (`["lognormal:sigma=0.1"]`, mappings or `cimemu.variation` models)
    that draw cells by `seed` and `trial`; block j of the matrix, row blocks outer, is macro j. Raises WorkloadError or
    ArchError.
    """
    programmed = program(w, macro, cells=cells, noise=noise)
    variations = compose(vary, seed, trial)
    if variations and (cells is not None or noise):
        raise ArchError("vary with cells or noise given: levels are either drawn or given, leave one of them out")
    if variations:
        programmed = Programmed(vary_matrix(programmed.matrix, own_macros(programmed.matrix.layout), variations))
    return programmed.run(x, codes=codes, path=path, threads=threads, reads=reads)
