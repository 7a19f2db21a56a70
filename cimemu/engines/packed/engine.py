"""Packed words as an engine: which matrices it serves."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.engine import Chunk, Engine, Outcome, WhyNot, cached_points, first_reason
from cimemu.engines.packed.kernels import sum_codes_clip, sum_codes_tiled
from cimemu.engines.packed.run import clip_rule, sum_packed, tiles_of
from cimemu.macro.program import Matrix


@dataclass(frozen=True, eq=False)
class PackedCells:
    """The rule of all converters (offset, top), and one-bit cells of sixteen columns side by side where they fit."""

    rule: tuple[int, int]
    tiles: NDArray[np.uint32] | None


def _prepare(matrix: Matrix) -> PackedCells | WhyNot:
    rule = clip_rule(matrix)
    if isinstance(rule, WhyNot):
        return rule
    why = first_reason((matrix.holding, "the accumulator may overflow and is held step by step"))
    return why or PackedCells(rule, tiles_of(matrix))


def _run(chunk: Chunk, matrix: Matrix, prepared: Any) -> Outcome:
    return Outcome(sums=sum_packed(chunk.masked, matrix, prepared.rule, prepared.tiles))


def _kernels(prepared: PackedCells) -> tuple[Any, ...]:
    return (sum_codes_clip if prepared.tiles is None else sum_codes_tiled,)


PACKED = Engine(name="packed", prepare=_prepare, run=_run, points=cached_points, kernels=_kernels)
