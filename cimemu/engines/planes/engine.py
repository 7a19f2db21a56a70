"""Bit planes as an engine: of any converter where registers are broad, else of clipping ones; of real levels."""

from typing import Any

from cimemu.engines.engine import Chunk, Engine, Outcome, WhyNot
from cimemu.engines.planes.clip_kernels import fill_clipped
from cimemu.engines.planes.clipped import BitPlanes, make_planes
from cimemu.engines.planes.digit_kernels import convert_planes, fill_digits
from cimemu.engines.planes.rank_kernels import ranks_by_planes
from cimemu.engines.planes.ranked import RankPlanes, make_rank_planes
from cimemu.engines.planes.tables import DigitPlanes, make_digit_planes
from cimemu.lanes import broad
from cimemu.macro.program import Matrix

POINTS = 1024  # positions of a chunk, or a multiple
PARTS = 4  # chunks of a thread, as the kernel takes any number of inputs: two threads seldom need the lock at once

Planes = BitPlanes | DigitPlanes | RankPlanes


def _prepare(matrix: Matrix) -> Planes | WhyNot:
    nonlinear = matrix.references is not None and matrix.references[0].lsb is None
    made: Planes | WhyNot = make_planes(matrix)
    if isinstance(made, WhyNot) and (broad.HAS_BROAD or nonlinear):
        made = make_digit_planes(matrix)
    return make_rank_planes(matrix) if nonlinear and isinstance(made, WhyNot) else made


def _run(chunk: Chunk, matrix: Matrix, prepared: Planes) -> Outcome:
    if isinstance(prepared, DigitPlanes):
        values = prepared.values(chunk.x, chunk.masked, matrix, chunk.y)
        return Outcome(filled=True, corrected=values) if isinstance(values, bool) else Outcome(sums=values)
    return Outcome(filled=True, corrected=prepared.fill(chunk.x, matrix, chunk.y))


def _points(matrix: Matrix, inputs: int, threads: int) -> int:
    return max(POINTS, -(-inputs // (POINTS * PARTS * threads)) * POINTS)


def _kernels(prepared: Planes) -> tuple[Any, ...]:
    if isinstance(prepared, BitPlanes):
        return (fill_clipped,)
    if isinstance(prepared, RankPlanes):
        return (ranks_by_planes,)
    return (convert_planes if prepared.combining.terms is None else fill_digits,)


PLANES = Engine(name="planes", prepare=_prepare, run=_run, points=_points, kernels=_kernels)
