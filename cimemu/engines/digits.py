"""A converter's levels as bytes: `level = zero + lsb * digit` exactly, or each level's rank where no such grid exists."""

from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from cimemu.macro.program import Matrix
from cimemu.macro.references import References

FINEST = 40  # levels are tried as multiples of 2^-FINEST


@dataclass(frozen=True, eq=False)
class Digits:
    """Of one row block: what stands for each code, [1 or C, codes], and the grid that makes levels of it."""

    table: NDArray[np.int64]
    lsb: NDArray[np.float64]  # [1 or C]
    zero: NDArray[np.float64]

    @property
    def are_codes(self) -> bool:
        """Whether every code stands for itself."""
        return bool((self.table == np.arange(self.table.shape[1])).all())


def level_digits(matrix: Matrix) -> list[Digits] | None:
    """Digits of every row block, or None where the levels are on no grid of 256 steps whose sums are exact."""
    references = matrix.references
    assert references is not None
    if references[0].lsb is not None:
        return [_linear(r) for r in references]
    if matrix.scale is not None:
        return None
    whole = _as_integers([r.levels for r in references])
    if whole is None:
        return None
    integers, unit = whole
    least = min(int(v.min()) for v in integers)
    step = 0
    for v in integers:
        step = gcd(step, int(np.gcd.reduce(v.ravel() - least)))
    step = max(1, step)
    most = max(int(v.max()) for v in integers)
    if (most - least) // step > 255 or _largest_sum(matrix, max(abs(least), abs(most), most - least)) >= 1 << 51:
        return None
    lsb, zero = np.array([step * unit]), np.array([least * unit])
    return [Digits(table=(v - least) // step, lsb=lsb, zero=zero) for v in integers]


def _linear(references: References) -> Digits:
    assert references.lsb is not None
    assert references.zero is not None
    return Digits(np.arange(2**references.bits)[None], references.lsb, references.zero)


def _as_integers(levels: list[NDArray[np.float64]]) -> tuple[list[NDArray[np.int64]], float] | None:
    """Levels as integer multiples of the largest power of two up to 1 that divides them all."""
    for fraction in range(FINEST + 1):
        scaled = [v * 2.0**fraction for v in levels]
        if any(float(np.abs(v).max()) >= 2.0**51 for v in scaled):
            return None
        if all(bool((v == np.rint(v)).all()) for v in scaled):
            return [v.astype(np.int64) for v in scaled], 2.0**-fraction
    return None


def _largest_sum(matrix: Matrix, level: int) -> int:
    """What one output's sum of values of at most `level` cannot exceed."""
    weights = int(np.abs(matrix.slice_weights).sum()) * int(np.abs(matrix.columns.weight).sum())
    return level * weights * len(matrix.block_of)


def level_ranks(matrix: Matrix) -> tuple[list[Digits], NDArray[np.float64]] | None:
    """(ranks among each column's distinct levels as digits, the levels times the column's weight [row blocks, 1 or C, K]).

    None where a product with the weight would round: weights are powers of two everywhere but in odd encodings.
    """
    given = matrix.references if matrix.values is None else matrix.values
    assert given is not None
    weight = np.abs(matrix.columns.weight)
    if (weight & (weight - 1)).any() or (weight == 0).any():
        return None
    if matrix.integer_result:  # then float64 must hold every sum
        most = max(float(np.abs(r.levels).max()) for r in given)
        if most >= 2.0**31 or _largest_sum(matrix, int(most)) >= 1 << 53:
            return None
    outputs = matrix.layout.outputs
    digits, values = [], []
    for references in given:
        distinct = [np.unique(row, return_inverse=True) for row in references.levels]
        ranks = np.stack([inverse.reshape(-1) for _, inverse in distinct]).astype(np.int64)
        most = max(len(found) for found, _ in distinct)
        ascending = np.stack([np.pad(found, (0, most - len(found))) for found, _ in distinct])
        digits.append(Digits(ranks, np.ones(1), np.zeros(1)))
        values.append(ascending * np.tile(matrix.columns.weight, outputs)[:, None])
    count = max(v.shape[1] for v in values)
    return digits, np.stack([np.pad(v, [(0, 0), (0, count - v.shape[1])]) for v in values])
