"""Step by step: one (group, input slice) at a time, for any cells, any converter, codes and accumulators."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.blas import kind_for, product
from cimemu.engines.packed.kernels import packed_psums
from cimemu.engines.packed.pack_kernels import pack_inputs
from cimemu.engines.packed.run import pack
from cimemu.engines.steps.checked import amend_step
from cimemu.lanes.small import Either
from cimemu.macro.accumulator import RunningSums
from cimemu.macro.checksums import Alarms
from cimemu.macro.codes import chosen_levels, codes_of, integer_values
from cimemu.macro.encode import input_slice
from cimemu.macro.program import Matrix
from cimemu.macro.read_noise import Reads, add_noise
from cimemu.macro.small import add_by_code, add_weighted
from cimemu.macro.sums import Sums, converted_weights, converts_once, driven_steps, group_in_block
from cimemu.macro.traps import seen_by_conversions, trap_losses


def step_psums(x: NDArray[Any], matrix: Matrix, packed: bool) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """(group, slice, psums int64 [P, converted columns]) in converting order; the array is used again."""
    made: Iterator[tuple[int, int, NDArray[np.int64]]] = FROM_WORDS(x, matrix) if packed else from_products(x, matrix)
    return made


def from_words(x: NDArray[Any], matrix: Matrix) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """The same of whole levels, from packed words."""
    assert matrix.packed is not None
    psums = np.empty((len(x), matrix.seen_columns), dtype=np.int64)
    words = pack(x, matrix)
    for g in range(len(matrix.starts)):
        for i, (place, bits) in enumerate(matrix.macro.input.spans):
            packed_psums(words, matrix.packed, bits, g, place, psums)
            yield g, i, psums


def from_products(x: NDArray[Any], matrix: Matrix) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """The same of any cells, from exact products by BLAS."""
    macro = matrix.macro
    psums = np.empty((len(x), matrix.seen_columns), dtype=np.int64)
    bound = max(abs(matrix.psum_range[0]), matrix.psum_range[1], 1)
    kind = kind_for(bound)
    for g, (a, b) in enumerate(zip(matrix.starts, matrix.stops)):
        cells: Any = matrix.seen_of(slice(a, b)).astype(kind)
        for i in range(macro.input_slices):
            piece: Any = input_slice(x[:, a:b], i, macro.input)
            np.rint(product(piece.astype(kind), cells), out=psums, casting="unsafe")
            for value, more in enumerate(matrix.bow):
                if more.any():
                    drawn = product((piece == value).astype(np.float64), more[a:b].astype(np.float64))
                    psums += np.rint(drawn).astype(np.int64)
            yield g, i, psums


FROM_WORDS = Either(from_words, from_products, pack_inputs, packed_psums)


def seen_psums(
    x: NDArray[Any], matrix: Matrix, packed: bool, reads: Reads
) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """(group, slice, psums) as converters see them: solved where rows are gated, with what traps take off and noise adds."""
    for g, i, psums in step_psums(x, matrix, packed):
        block = int(matrix.block_of[g])
        if matrix.traps or matrix.gated is not None:
            piece = input_slice(x[:, matrix.starts[g] : matrix.stops[g]], i, matrix.macro.input)
            in_block = int(matrix.starts[g]) - matrix.layout.row_blocks[block][0]
            if matrix.gated is not None:
                psums = seen_by_conversions(matrix.gated.sums(piece, block, in_block), matrix.columns)
            if matrix.traps:
                lost = trap_losses(piece, matrix.traps, reads, (block, int(matrix.starts[g]), in_block, i))
                psums -= seen_by_conversions(lost, matrix.columns)
        if matrix.noise:
            add_noise(psums, matrix.noise, reads, (block, group_in_block(matrix, g), i), matrix.macro)
        yield g, i, psums


def sum_steps(
    x: NDArray[Any],
    matrix: Matrix,
    *,
    packed: bool,
    codes_out: NDArray[np.uint16] | None,
    reads: Reads,
    meddle: Callable[[int, int, NDArray[np.int32]], NDArray[np.int32]] | None = None,
    running: RunningSums | None = None,
) -> tuple[Sums, NDArray[np.int64] | None, Alarms | None]:
    """Step by step: any cells, any converter, codes and accumulators.

    `meddle` gives the codes of a step (group, slice) in the place of the converters', `running` are accumulators in the place of
    the macros': both for faults.

    Second: sums of held accumulators [P, N]. Third: what checksum columns saw, where they may see something.
    """
    macro, layout = matrix.macro, matrix.layout
    points, columns = len(x), matrix.seen_columns
    blocks = len(layout.row_blocks)
    sums = np.zeros((points, blocks, columns), dtype=np.int64)
    linear = matrix.references is None or matrix.references[0].lsb is not None
    use_values = not linear and matrix.integer_result
    by_code = levels = None
    if not linear and not use_values and converts_once(matrix):
        levels = np.empty((points, blocks, columns), dtype=np.float64)
    elif not linear and not use_values:
        assert matrix.references is not None
        by_code = np.zeros((points, blocks, columns, 2 ** matrix.references[0].bits), dtype=np.int64)
    active = driven_steps(x, matrix) if macro.timing.skip_zero_slices else None
    everywhere = np.ones(points, dtype=np.bool_)
    if running is None and matrix.holding:
        running = RunningSums(matrix, points)
    alarms = Alarms(0, 0, 0)
    for g, i, psums in seen_psums(x, matrix, packed, reads):
        block = int(matrix.block_of[g])
        weight = int(matrix.slice_weights[i])
        on = everywhere if active is None else np.ascontiguousarray(active[:, g, i])
        counted, codes = psums, None
        if matrix.references is not None:
            codes = codes_of(psums, matrix, block, slice(None))
            codes = codes if meddle is None else meddle(g, i, codes)
            if codes_out is not None:
                codes_out[:, g, i] = np.where(on[:, None], codes, 65535)
            if use_values:
                counted = integer_values(codes, matrix.references[block], slice(None))
            elif levels is not None:
                levels[:, block] = chosen_levels(codes, (matrix.values or matrix.references)[block])
                counted = codes.astype(np.int64)
            elif by_code is not None:
                add_by_code(codes, weight, on, by_code[:, block])
                counted = codes.astype(np.int64)
            else:
                counted = codes.astype(np.int64)
        if matrix.amends:
            found = amend_step(x, matrix, (g, i), codes, counted, on)
            alarms = alarms.plus(found)
        if by_code is None and levels is None:
            add_weighted(counted, weight, on, sums[:, block])
        if running is not None:
            value = counted
            if matrix.references is not None and linear:
                references = matrix.references[block]
                assert references.lsb is not None
                assert references.zero is not None
                value = counted * references.lsb.astype(np.int64) + references.zero.astype(np.int64)
            step = value.reshape(points, layout.outputs, -1) @ matrix.columns.weight * weight
            running.add(g, i, step * on[:, None])
    weights = converted_weights(matrix, points, active)
    summed = Sums(by_column=sums, weights=weights, by_code=by_code, levels=levels)
    return summed, None if running is None else running.total(reads), alarms if matrix.amends else None
