"""What is counted when inputs meet a programmed matrix: exact, and the same whatever path made the values."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.compute.encode import input_range
from cimemu.events import Counter
from cimemu.kernels.activity import count_inputs
from cimemu.mapping.layout import Layout, accumulator_width


def slice_tables(macro: Macro) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For every input value from the smallest: the sum of its slices, and how many of them are not zero."""
    low, high = input_range(macro)
    code = np.arange(low, high + 1) & (2**macro.input.bits - 1)
    dac = macro.input.dac_bits
    slices = np.stack([(code >> (i * dac)) & (2**dac - 1) for i in range(macro.input_slices)])
    return slices.sum(axis=0), (slices != 0).sum(axis=0)


def charge_tables(macro: Macro) -> tuple[NDArray[np.int64], int]:
    """For every input value from the smallest: what it draws from a cell, summed over its slices; and the unit of that.

    A train of pulses (and a digital cell's gates) draw in proportion to the slice's value, in units of a pulse; a
    voltage draws in proportion to its square, in units of the full-scale voltage.
    """
    low, high = input_range(macro)
    code = np.arange(low, high + 1) & (2**macro.input.bits - 1)
    dac = macro.input.dac_bits
    slices = np.stack([(code >> (i * dac)) & (2**dac - 1) for i in range(macro.input_slices)])
    if macro.input.dac == "pulse" or macro.cell.kind == "digital":
        return slices.sum(axis=0), 1
    return (slices**2).sum(axis=0), (2**dac - 1) ** 2


def count_activity(
    x: NDArray[Any],
    images: int,
    macro: Macro,
    layout: Layout,
    *,
    row_levels: NDArray[np.float64],
    used_columns: int,
    reference_columns: int,
    switches: tuple[int, ...],
    nonzero: NDArray[np.bool_] | None,
    multiplications: int,
) -> NDArray[np.int64]:
    """counts [images, len(Counter)] of `x` [images * positions, K].

    `row_levels[k]` is the sum of the levels on row k over the used physical columns of all column blocks (reference
    columns included), `used_columns` their number, `reference_columns` how many reference columns all column
    blocks have together, `switches` the reference switches of a step by row block, `nonzero` [P, groups, I] which
    steps were driven (None: all), `multiplications` by scales of one position beside the
    requantisation's own.
    """
    counts = np.zeros((images, len(Counter)), dtype=np.int64)
    positions = len(x) // images
    blocks, col_blocks = len(layout.row_blocks), len(layout.col_blocks)
    pulses_of, raised_of = slice_tables(macro)
    pulses = np.zeros((images, x.shape[1]), dtype=np.int64)
    raised = np.zeros(images, dtype=np.int64)
    count_inputs(x, input_range(macro)[0], pulses_of, raised_of, pulses, raised)
    (charge_of, unit), charge = charge_tables(macro), pulses
    if not np.array_equal(charge_of, pulses_of):
        charge = np.zeros_like(pulses)
        count_inputs(x, input_range(macro)[0], charge_of, raised_of, charge, np.zeros(images, dtype=np.int64))
    converted = layout.outputs * macro.conversions_per_output
    if nonzero is None:
        by_block = np.outer(np.full(images, positions * macro.input_slices), np.array(layout.groups_per_block))
    else:
        driven = nonzero.reshape(images, positions, layout.groups, macro.input_slices).sum(axis=(1, 3))
        ends = np.cumsum(layout.groups_per_block)
        by_block = np.stack([part.sum(axis=1) for part in np.split(driven, ends[:-1], axis=1)], axis=1)
    steps = by_block.sum(axis=1)
    all_steps = positions * layout.groups * macro.input_slices
    counts[:, Counter.MACRO_OPS] = positions * blocks * col_blocks
    counts[:, Counter.STEPS] = steps * col_blocks
    counts[:, Counter.SKIPPED_STEPS] = (all_steps - steps) * col_blocks
    counts[:, Counter.WORDLINES_RAISED] = raised * col_blocks
    counts[:, Counter.WORDLINE_PULSES] = pulses.sum(axis=1) * col_blocks
    counts[:, Counter.CELL_PULSES] = np.rint(charge.sum(axis=1) * used_columns / unit)
    counts[:, Counter.CELL_LEVEL_PULSES] = np.rint((charge @ row_levels) / unit).astype(np.int64)
    counts[:, Counter.CONVERSIONS] = steps * (converted + reference_columns)
    counts[:, Counter.REFERENCE_SWITCHES] = by_block @ np.array(switches, dtype=np.int64)
    counts[:, Counter.SHIFT_ADDS] = counts[:, Counter.CONVERSIONS]
    if macro.weight.encoding in ("offset", "binary") and macro.weight.correction == "digital":
        counts[:, Counter.CORRECTION_ADDS] = positions * layout.rows
    counts[:, Counter.PSUM_ADDS] = positions * layout.outputs * (blocks - 1)
    counts[:, Counter.INPUT_BITS] = positions * layout.rows * macro.input.bits * col_blocks
    counts[:, Counter.SCALE_MULTIPLICATIONS] = positions * multiplications
    width = sum(accumulator_width(macro, layout, block) for block in range(blocks))
    counts[:, Counter.OUTPUT_BITS] = positions * layout.outputs * width
    return counts
