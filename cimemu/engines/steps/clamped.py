"""Converters that are one addition and one clamp, in NumPy: psums, codes and their sums stay floats of 32 bits, all exact."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.blas import kind_for, product
from cimemu.macro.encode import input_slice
from cimemu.macro.program import Matrix
from cimemu.macro.sums import Sums, converted_weights, driven_steps


def clamps(matrix: Matrix) -> tuple[tuple[int, int], ...] | None:
    """(what is added, largest code) of every row block's converter; None where a matrix needs the steps of `sum_steps`."""
    if matrix.references is None or matrix.holding or matrix.cells is not None or matrix.noise:
        return None
    rules = []
    for affine, references in zip(matrix.affine, matrix.references):
        if affine is None or not affine.plain:
            return None
        rules.append((int(affine.bias[0]), 2**references.bits - 1))
    skipping = matrix.macro.timing.skip_zero_slices
    if skipping and any(added > 0 for added, _ in rules):  # a step that is skipped would have a code
        return None
    psum = max(abs(v) for v in matrix.psum_range) + max(abs(added) for added, _ in rules)
    total = max(top for _, top in rules) * int(np.abs(matrix.slice_weights).sum()) * len(matrix.starts)
    return tuple(rules) if kind_for(max(psum, total)) is np.float32 else None


def clamped_sums(x: NDArray[Any], matrix: Matrix, rules: tuple[tuple[int, int], ...]) -> Sums:
    """The weighed sums of codes of inputs `x` [P, K] as bit patterns."""
    sums = np.zeros((len(x), len(rules), matrix.seen_columns), dtype=np.float32)
    for g, (first, last) in enumerate(zip(matrix.starts, matrix.stops)):
        cells: NDArray[Any] = matrix.seen_of(slice(first, last)).astype(np.float32)
        added, top = rules[matrix.block_of[g]]
        for i, weight in enumerate(matrix.slice_weights):
            piece: NDArray[Any] = input_slice(x[:, first:last], i, matrix.macro.input)
            codes = product(piece.astype(np.float32), cells)
            if added:
                codes += np.float32(added)
            np.clip(codes, np.float32(0), np.float32(top), out=codes)
            codes *= np.float32(weight)
            sums[:, matrix.block_of[g]] += codes
    active = driven_steps(x, matrix) if matrix.macro.timing.skip_zero_slices else None
    return Sums(by_column=sums.astype(np.int64), weights=converted_weights(matrix, len(x), active))
