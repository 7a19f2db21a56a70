"""The exact product as an engine: which matrices it serves."""

from cimemu.engines.engine import Chunk, Engine, Outcome, WhyNot, cached_points
from cimemu.engines.exact.product import exact_product, exact_sums, why_not_exact
from cimemu.macro.program import Matrix


def _prepare(matrix: Matrix) -> WhyNot | None:
    return why_not_exact(matrix)


def _run(chunk: Chunk, matrix: Matrix, prepared: None) -> Outcome:
    if matrix.scale is not None:
        return Outcome(sums=exact_sums(chunk.x, chunk.masked, matrix))
    exact_product(chunk.x, matrix, chunk.y)
    return Outcome(filled=True, corrected=True)


def _points(matrix: Matrix, inputs: int, threads: int) -> int:
    """All at once: BLAS has blocks of its own."""
    return cached_points(matrix, inputs, threads) if matrix.scale is not None else max(1, inputs)


EXACT = Engine(name="exact", prepare=_prepare, run=_run, points=_points, serial=False)
