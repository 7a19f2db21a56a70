"""Step by step as an engine: it serves every matrix."""

from cimemu.engines.engine import Chunk, Engine, Outcome, cached_points
from cimemu.engines.steps.run import sum_steps
from cimemu.macro.program import Matrix


def _run(chunk: Chunk, matrix: Matrix, prepared: None) -> Outcome:
    packed = matrix.packed is not None
    sums, total, alarms = sum_steps(chunk.masked, matrix, packed=packed, codes_out=chunk.codes, reads=chunk.reads)
    return Outcome(sums=sums, total=total, alarms=alarms)


STEPS = Engine(name="steps", prepare=lambda matrix: None, run=_run, points=cached_points, gives_codes=True)
