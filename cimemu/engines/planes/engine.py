"""Bit planes as an engine: of clipping converters, or of real levels that ascend with the code."""

from cimemu.engines.engine import Chunk, Engine, Outcome, WhyNot
from cimemu.engines.planes.clipped import POINTS, BitPlanes, make_planes
from cimemu.engines.planes.leveled import LevelPlanes, make_level_planes
from cimemu.macro.program import Matrix

PARTS = 4  # chunks of a thread, as the kernel takes any number of inputs: two threads seldom need the lock at once


def _prepare(matrix: Matrix) -> BitPlanes | LevelPlanes | WhyNot:
    nonlinear = matrix.references is not None and matrix.references[0].lsb is None
    return make_level_planes(matrix) if nonlinear else make_planes(matrix)


def _run(chunk: Chunk, matrix: Matrix, prepared: BitPlanes | LevelPlanes) -> Outcome:
    return Outcome(filled=True, corrected=prepared.fill(chunk.x, matrix, chunk.y))


def _points(matrix: Matrix, inputs: int, threads: int) -> int:
    return max(POINTS, -(-inputs // (POINTS * PARTS * threads)) * POINTS)


PLANES = Engine(name="planes", prepare=_prepare, run=_run, points=_points)
