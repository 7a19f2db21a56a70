"""Table look-up as an engine."""

from typing import Any

from cimemu.engines.engine import Chunk, Engine, Outcome
from cimemu.engines.lookup.kernels import convert_by_bytes, convert_by_words
from cimemu.engines.lookup.level_kernels import levels_by_bytes, levels_by_words
from cimemu.engines.lookup.prepare import Lookup, make_lookup
from cimemu.engines.lookup.run import lookup_values
from cimemu.engines.lookup.six_kernels import convert_by_sixes
from cimemu.engines.lookup.wide_kernels import convert_wide
from cimemu.macro.program import Matrix

POINTS = 1024  # inputs of a chunk


def _run(chunk: Chunk, matrix: Matrix, prepared: Lookup) -> Outcome:
    values = lookup_values(chunk.x, chunk.masked, matrix, prepared, chunk.reads, chunk.y)
    return Outcome(filled=True, corrected=values) if isinstance(values, bool) else Outcome(sums=values)


def _kernels(prepared: Lookup) -> tuple[Any, ...]:
    if prepared.sixes is not None:
        return (convert_by_sixes,)
    if prepared.summing is not None:
        return (levels_by_bytes if prepared.flush == 0 else levels_by_words,)
    if len(prepared.highest):
        return (convert_wide,)
    return (convert_by_bytes if prepared.flush == 0 else convert_by_words,)


LOOKUP = Engine(
    name="lookup", prepare=make_lookup, run=_run, points=lambda matrix, inputs, threads: POINTS, kernels=_kernels
)
