"""After the converters: levels, shift-add over weight slices and row blocks, and the encoding's correction."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.encoding import UNCORRECTED
from cimemu.macro.codes import codes_of
from cimemu.macro.encode import input_slice
from cimemu.macro.matrix import Matrix
from cimemu.macro.read_noise import Reads, add_noise
from cimemu.macro.references import References
from cimemu.macro.scaled import added_up, correction_factors, input_sums
from cimemu.macro.small import combine_integer, level_sums
from cimemu.macro.sums import Sums, group_in_block


def combined(sums: Sums, matrix: Matrix) -> NDArray[Any]:
    """y before the correction [P, N]: `lsb * A + zero * Z` in ascending (row block, column) order.

    In int64 where all levels are integers, else in float64 with every product and sum rounded by itself (no
    fused multiply-add).
    """
    points = len(sums.by_column)
    outputs, weight = matrix.layout.outputs, matrix.columns.weight
    if matrix.base is not None:
        sums = replace(sums, by_column=sums.by_column + sums.weights[:, :, None] * matrix.base)
    if matrix.references is None and (matrix.unit > 1 or matrix.scale is not None):
        return _ideal_float(sums, matrix)
    if matrix.references is None or (matrix.scale is None and _one_integer_rule(matrix.references, sums)):
        rule = None if matrix.references is None else matrix.references[0]
        lsb = 1 if rule is None or rule.lsb is None else int(rule.lsb[0])
        zero = 0 if rule is None or rule.zero is None else int(rule.zero[0])
        y = np.empty((points, outputs), dtype=np.int64)
        slice_sums = np.array(sums.weights[0]) if points else np.zeros(sums.weights.shape[1], np.int64)
        combine_integer(sums.by_column, weight, lsb, zero, slice_sums, y)
        return y
    columns = outputs * len(weight)
    sums = replace(sums, by_column=sums.by_column[:, :, :columns])
    if matrix.integer_result:
        values = column_values(sums, matrix).reshape(points, len(matrix.references), outputs, -1)
        return np.asarray((values * weight).sum(axis=(1, 3)))
    # Float sums depend on their order, so the contract fixes it (section 1.6); each product and each sum is rounded by
    # itself, as NumPy does and a fused multiply-add would not.
    result = np.zeros((points, outputs), dtype=np.float64)
    per_output = len(weight)
    for block, references in enumerate(matrix.references if matrix.values is None else matrix.values):
        for v in range(per_output):
            chosen = np.arange(v, columns, per_output)
            result = result + _level_sum(sums, block, chosen, int(weight[v]), references)
    return result


def column_values(sums: Sums, matrix: Matrix) -> NDArray[np.int64]:
    """`lsb * A + zero * Z` [P, row blocks, converted columns] where all levels are integers."""
    columns = matrix.layout.outputs * len(matrix.columns.weight)
    values = np.array(sums.by_column[:, :, :columns], dtype=np.int64)
    for block, references in enumerate(matrix.references or ()):
        if references.lsb is not None and references.zero is not None:
            values[:, block] *= references.lsb.astype(np.int64)
            values[:, block] += sums.weights[:, block, None] * references.zero.astype(np.int64)
    return values


def _one_integer_rule(references: tuple[References, ...], sums: Sums) -> bool:
    """Whether one integer lsb and zero serve all columns and row blocks, and every input had the same steps."""
    first = references[0]
    if first.lsb is None or first.zero is None or not all(r.uniform and r.integer for r in references):
        return False
    same = all(r.lsb == first.lsb and r.zero == first.zero for r in references)
    return bool(same and (first.zero[0] == 0 or (len(sums.weights) > 0 and (sums.weights == sums.weights[0]).all())))


def _ideal_float(sums: Sums, matrix: Matrix) -> NDArray[np.float64]:
    """Ideal converter on fixed-point cells or with column scales: exact sums over a power of two, ascending order."""
    points, outputs, per_output = len(sums.by_column), matrix.layout.outputs, len(matrix.columns.weight)
    y = np.zeros((points, outputs), dtype=np.float64)
    for block in range(sums.by_column.shape[1]):
        for v in range(per_output):
            part = sums.by_column[:, block, v : outputs * per_output : per_output] * int(matrix.columns.weight[v])
            if matrix.scale is None:
                y = y + part / matrix.unit
            else:
                y = y + matrix.scale.scale[block, v::per_output] * (part / matrix.unit)
    return y


def _level_sum(
    sums: Sums, block: int, columns: NDArray[np.int64], weight: int, references: References
) -> NDArray[np.float64]:
    """One converted column's `lsb * A + zero * Z`, or the sum of level x A over ascending distinct levels."""
    if references.lsb is not None and references.zero is not None:
        lsb = references.lsb if references.uniform else references.lsb[columns]
        zero = references.zero if references.uniform else references.zero[columns]
        a = sums.by_column[:, block, columns] * weight
        z = (sums.weights[:, block] * weight)[:, None]
        return lsb * a + zero * z
    if sums.levels is not None:
        return sums.levels[:, block, columns] * (sums.weights[:, block] * weight)[:, None]
    assert sums.by_code is not None
    return levels_times_counts(sums.by_code[:, block, columns] * weight, references, columns)


def levels_times_counts(
    counts: NDArray[np.int64], references: References, columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Sum over ascending distinct levels of level x (integer sum of its codes); counts [P, columns, codes]."""
    levels = references.levels if references.uniform else references.levels[columns]
    order = np.argsort(levels, axis=1, kind="stable")
    total = np.empty(counts.shape[:2], dtype=np.float64)
    level_sums(np.ascontiguousarray(counts), order, np.take_along_axis(levels, order, axis=1), total)
    return total


def correction(y: NDArray[Any], x: NDArray[Any], masked: NDArray[Any], matrix: Matrix, reads: Reads) -> NDArray[Any]:
    """The encoding's correction of y [P, N]: `y - 2^(b-1) * sum_k x` (offset), `2 * y - sum_k x` (binary)."""
    rule = matrix.macro.correction
    if rule == UNCORRECTED:
        return y
    if matrix.scale is not None:
        layout = matrix.layout
        if matrix.has_reference_column:
            sums: NDArray[Any] = _reference_sums(masked, matrix, reads)
        else:
            sums = input_sums(x, layout, matrix.row_group, matrix.out_group)
        total: NDArray[Any] = added_up(correction_factors(matrix.scale, matrix.macro.conversions_per_output), sums)
    elif matrix.has_reference_column:
        total = added_blocks(_reference_sums(masked, matrix, reads))
    else:
        total = exact_sums(x, matrix)
    return np.asarray(rule.applied(y, total))


def exact_sums(x: NDArray[Any], matrix: Matrix) -> NDArray[np.int64]:
    """sum_k x over the rows of each output's group: [P, 1], or [P, N] for packed grouped convolutions."""
    if matrix.row_group is None or matrix.out_group is None:
        made: NDArray[np.int64] = x.sum(axis=1, dtype=np.int64)[:, None]
        return made
    groups = int(matrix.out_group.max()) + 1
    sums = np.stack([x[:, matrix.row_group == group].sum(axis=1, dtype=np.int64) for group in range(groups)], axis=1)
    return sums[:, matrix.out_group]


def _reference_sums(masked: NDArray[Any], matrix: Matrix, reads: Reads) -> NDArray[Any]:
    """sum_k x of every row block from converted all-ones columns [P, row blocks, N]: each macro's own, by the
    references of its last column."""
    layout, per_output = matrix.layout, matrix.macro.conversions_per_output
    out_group = np.zeros(layout.outputs, dtype=np.int64) if matrix.out_group is None else matrix.out_group
    row_group = np.zeros(layout.rows, dtype=np.int64) if matrix.row_group is None else matrix.row_group
    kind = np.int64 if matrix.integer_levels else np.float64
    result = np.zeros((len(masked), len(layout.row_blocks), layout.outputs), dtype=kind)
    for start, stop in layout.col_blocks:
        # A reference column has the references of its macro's last used column (contract, section 9).
        last = np.array([stop * per_output - 1])
        for further, group in enumerate(np.unique(out_group[start:stop]), 1):
            served = np.flatnonzero(out_group[start:stop] == group) + start
            for block in range(len(layout.row_blocks)):
                rows = row_group == group
                made = _reference_block(masked, matrix, block, last, rows, (reads, further))
                result[:, block, served] = made[:, None]
    return result


def added_blocks(values: NDArray[Any]) -> NDArray[Any]:
    """Row blocks [P, row blocks, N] added in ascending order, from 0."""
    total = np.zeros((len(values), values.shape[2]), dtype=values.dtype)
    for block in range(values.shape[1]):
        total = total + values[:, block]
    return total


def reference_steps(
    masked: NDArray[Any],
    matrix: Matrix,
    block: int,
    last: NDArray[np.int64],
    rows: NDArray[np.bool_],
    read: tuple[Reads, int],
) -> Iterator[tuple[int, int, NDArray[np.int64], NDArray[np.bool_]]]:
    """(group, slice, codes [P] of one macro's reference column, which inputs are driven); psums of an ideal converter.

    It has a 1 on each of `rows`, is the second of `read` columns behind the `last` one, and shares that one's references
    and noise but not its draws.
    """
    skipping = matrix.macro.timing.skip_zero_slices
    points = len(masked)
    for g in np.flatnonzero(matrix.block_of == block):
        span = slice(matrix.starts[g], matrix.stops[g])
        for i in range(len(matrix.slice_weights)):
            pieces = input_slice(masked[:, span], i, matrix.macro.input)
            on = np.asarray(pieces.any(axis=1) if skipping else np.ones(points, dtype=np.bool_))
            psum = pieces[:, rows[span]].sum(axis=1, dtype=np.int64) * matrix.unit
            if matrix.noise:
                sources = tuple(
                    replace(s, keys=s.keys[:, last], columns=s.columns[last] + read[1], sigma=s.sigma[:, last])
                    for s in matrix.noise
                )
                place = (block, group_in_block(matrix, int(g)), i)
                add_noise(psum[:, None], sources, read[0], place, matrix.macro)
            codes = psum if matrix.references is None else codes_of(psum[:, None], matrix, block, last)[:, 0]
            yield int(g), i, np.asarray(codes, dtype=np.int64), on


def _reference_block(
    masked: NDArray[Any],
    matrix: Matrix,
    block: int,
    last: NDArray[np.int64],
    rows: NDArray[np.bool_],
    read: tuple[Reads, int],
) -> NDArray[Any]:
    """One macro's reference column over its groups and slices: `lsb * A + zero * Z` [P]; see `reference_steps`."""
    points = len(masked)
    total = np.zeros(points, dtype=np.int64)
    weights = np.zeros(points, dtype=np.int64)
    by_code = None
    for _, i, codes, on in reference_steps(masked, matrix, block, last, rows, read):
        weight = matrix.slice_weights[i]
        weights += weight * on
        total += weight * codes * on
        if matrix.references is not None and matrix.references[block].lsb is None:
            by_code = (
                np.zeros((points, 1, 2 ** matrix.references[block].bits), np.int64) if by_code is None else by_code
            )
            by_code[np.arange(points), 0, codes] += weight * on
    if matrix.references is None:
        return total if matrix.unit == 1 else total / matrix.unit
    references = matrix.references[block]
    if references.lsb is not None and references.zero is not None:
        index = 0 if references.uniform else int(last[0])
        lsb, zero = references.lsb[index], references.zero[index]
        if matrix.integer_levels:
            return int(lsb) * total + int(zero) * weights
        made: NDArray[Any] = lsb * total + zero * weights
        return made
    assert by_code is not None
    if matrix.integer_levels:
        return np.asarray(by_code[:, 0] @ references.levels[0 if references.uniform else int(last[0])].astype(np.int64))
    return levels_times_counts(by_code, references, np.array([0]) if references.uniform else last)[:, 0]
