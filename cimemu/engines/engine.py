"""What an engine is: a name, what it prepares of a matrix or why it does not serve it, and how a chunk of inputs runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.macro.checksums import Alarms
from cimemu.macro.program import Matrix
from cimemu.macro.read_noise import Reads
from cimemu.macro.sums import Sums, converts_once

CHUNK_BYTES = 1 << 21  # sums of one chunk of inputs stay in the second-level cache


@dataclass(frozen=True)
class WhyNot:
    """Why an engine does not serve: the end of a sentence that begins with the engine's name."""

    reason: str


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some inputs on their way through a matrix, and where their outputs go."""

    x: NDArray[Any]  # [P, K]
    masked: NDArray[Any]  # [P, K] as unsigned bit patterns
    reads: Reads  # where the first row stands among all reads
    y: NDArray[Any]  # [P, N], to be filled
    codes: NDArray[np.uint16] | None  # [P, groups, I, converted columns], to be filled where they are asked for


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an engine leaves: y filled, with the encoding's correction (`corrected`) or without it (`filled`), or sums.

    `total` [P, N] are sums of the running accumulators, in the place of what `sums` combine to.
    """

    filled: bool = False
    corrected: bool = False
    sums: Sums | None = None
    total: NDArray[Any] | None = None
    alarms: Alarms | None = None  # of checksum columns, where they were compared


Run = Callable[[Chunk, Matrix, Any], Outcome]


@dataclass(frozen=True)
class Engine:
    """One way from inputs to outputs. All engines give the same bytes; they differ in what they serve, and in speed."""

    name: str
    prepare: Callable[[Matrix], Any]  # what `run` needs besides the matrix, made once; a WhyNot where it does not serve
    run: Run
    points: Callable[[Matrix, int, int], int]  # inputs of a chunk, from (matrix, all inputs, threads)
    serial: bool = True  # makes every conversion
    gives_codes: bool = False
    kernels: Callable[[Any], tuple[Any, ...]] = (
        lambda prepared: ()
    )  # the largest that `run` compiles for what is prepared


def cached_points(matrix: Matrix, inputs: int, threads: int) -> int:
    """Inputs whose sums by column stay in the cache."""
    per_point = 8 * matrix.seen_columns * (len(matrix.layout.row_blocks) + 1)
    floats = matrix.references is not None and matrix.references[0].lsb is None and not matrix.integer_result
    if floats and not converts_once(matrix):
        assert matrix.references is not None
        per_point *= 2 ** matrix.references[0].bits
    made: int = max(1, min(4096, CHUNK_BYTES // per_point))
    return made


def first_reason(*cases: tuple[bool, str]) -> WhyNot | None:
    """The reason of the first case that holds."""
    return next((WhyNot(reason) for holds, reason in cases if holds), None)
