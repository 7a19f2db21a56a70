"""Table look-up as an engine."""

from cimemu.engines.engine import Chunk, Engine, Outcome
from cimemu.engines.lookup.prepare import Lookup, make_lookup
from cimemu.engines.lookup.run import lookup_values
from cimemu.macro.program import Matrix

POINTS = 1024  # inputs of a chunk


def _run(chunk: Chunk, matrix: Matrix, prepared: Lookup) -> Outcome:
    values = lookup_values(chunk.x, chunk.masked, matrix, prepared, chunk.reads, chunk.y)
    return Outcome(filled=True, corrected=values) if isinstance(values, bool) else Outcome(sums=values)


LOOKUP = Engine(name="lookup", prepare=make_lookup, run=_run, points=lambda matrix, inputs, threads: POINTS)
