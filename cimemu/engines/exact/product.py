"""The exact product: where no converter can leave its exact range, a macro is an integer matrix product."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.blas import kind_for, product
from cimemu.engines.engine import WhyNot, first_reason
from cimemu.macro.encode import input_range
from cimemu.macro.program import Matrix
from cimemu.macro.sums import Sums, converted_weights


def why_not_exact(matrix: Matrix) -> WhyNot | None:
    """None where no psum can leave the range in which the converter's value is the psum itself.

    Decided from the programmed levels and the largest input slice alone; then `y = x @ w` is what the bit-serial
    macro gives.
    """
    low, high = matrix.psum_range
    why = first_reason(
        (matrix.cells is not None, "cells are not ideal"),
        (matrix.holding, "the accumulator may overflow and is held step by step"),
    )
    if why is not None or matrix.references is None:
        return why
    why = first_reason(
        (matrix.scale is not None and not _counts_ones(matrix), "a scaled converter does not count psums in ones"),
        (high - low > 1 << 16, f"psums from {low} to {high} are too many to prove it for each"),
    )
    if why is not None:
        return why
    psums = np.arange(low, high + 1)
    for references in matrix.references:
        for thresholds, levels in zip(references.thresholds, references.levels):
            values = levels[np.searchsorted(thresholds, psums, side="right")]
            if not np.array_equal(values, psums):
                first = int(psums[np.flatnonzero(values != psums)[0]])
                return WhyNot(f"psums reach from {low} to {high}, and a converter gives {first} another value")
    return None if matrix.integer_levels else WhyNot("a converter has levels that are no integers")


def _counts_ones(matrix: Matrix) -> bool:
    """Whether codes count psums in ones, so that sums of codes follow from sums of psums."""
    assert matrix.references is not None
    skipping = matrix.macro.timing.skip_zero_slices
    return all(
        r.lsb is not None and r.zero is not None and bool((r.lsb == 1).all()) and not (skipping and r.zero.any())
        for r in matrix.references
    )


def exact_sums(x: NDArray[Any], masked: NDArray[Any], matrix: Matrix) -> Sums:
    """The sums that a lossless converter would give, from integer products of inputs and cells."""
    blocks = matrix.layout.row_blocks
    by_column = np.empty((len(x), len(blocks), matrix.seen_columns), dtype=np.int64)
    largest = int(np.abs(matrix.columns.mix).sum(axis=1).max()) * (2**matrix.macro.cell.bits - 1)  # of a cell as seen
    bound = largest * matrix.layout.rows * max(abs(v) for v in input_range(matrix.macro))
    kind = kind_for(bound)
    weights = converted_weights(matrix, len(x), None)
    for block, (start, stop) in enumerate(blocks):
        by_column[:, block] = product(x[:, start:stop].astype(kind), matrix.seen_of(slice(start, stop)).astype(kind))
        if matrix.references is not None:
            zero = matrix.references[block].zero
            assert zero is not None
            by_column[:, block] -= weights[:, block, None] * zero.astype(np.int64)
    return Sums(by_column=by_column, weights=weights)


def exact_product(x: NDArray[Any], matrix: Matrix, y: NDArray[np.int64]) -> None:
    """y = `x @ w` in integers, by BLAS where its floats are exact."""
    low, high = input_range(matrix.macro)
    bound = int(np.abs(matrix.weights).sum(axis=0, dtype=np.int64).max()) * max(-low, high)
    kind = kind_for(bound)
    y[...] = product(x.astype(kind), matrix.weights.astype(kind))
