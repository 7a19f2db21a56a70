"""One macro's vectors, from the steps of the matrix that it holds a block of."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Overflow
from cimemu.encoding import UNCORRECTED
from cimemu.golden.schedule import Schedule, schedule
from cimemu.golden.steps import Ints, UnitSteps, looked_up, reference_codes, rows_of, served_groups
from cimemu.macro.accumulator import held
from cimemu.macro.matrix import Matrix, sum_range
from cimemu.mapping.layout import accumulator_width


@dataclass(frozen=True)
class Replica:
    """Replica `number` of `count`, which works at output positions p with p mod count == number."""

    number: int
    count: int


@dataclass(frozen=True, eq=False)
class MacroVectors:
    """One macro (block of a layer) over `ops` operations of G x I steps; columns are converted columns.

    A skipped step has no codes: `driven` says which steps were driven. `shift_add` and `outputs` are of converters whose
    levels are integers; where they are real numbers the digital unit gets `column_sums`, or `level_sums` of nonlinear ones.
    """

    name: str
    unit: int
    replica: Replica
    row_block: int
    col_block: int
    first_row: int  # of the layer's matrix, and
    first_output: int  # of its output channels: those that stand first in this macro
    cells: Ints  # [rows, physical columns] levels, of varied cells times 2^fraction_bits
    reference_cells: Ints | None  # [rows, reference columns]
    flipped: Ints | None  # [1, physical columns] 1: stored inverted
    row_groups: Ints | None  # [rows] convolution group, counted among those of `output_groups`; their number: of none
    output_groups: Ints | None  # [outputs]; None: all rows are of one group
    thresholds: Ints | None  # [columns or 1, 2^bits - 1] in the cells' units: code = how many are <= psum
    levels: NDArray[Any] | None  # [columns or 1, 2^bits] int64 or float64
    inputs: Ints  # [ops, rows] as the wordlines are given them, two's complement if signed
    wordlines: Ints  # [ops, steps, rows] slice values of the raised group, 0 elsewhere
    codes: Ints  # [ops, steps, columns] codes; psums of an ideal converter, in the cells' units
    reference_codes: Ints | None  # [ops, steps, reference columns]
    driven: NDArray[np.bool_]  # [ops, steps]
    schedule: Schedule
    shift_add: Ints | None  # [ops, steps, outputs] running sums after a step, as the accumulator holds them
    column_sums: Ints | None  # [ops, steps, columns] codes weighed by input slices and added up
    level_sums: Ints | None  # [ops, columns, 2^bits] how often each code, weighed by input slices, after the last step
    outputs: Ints | None  # [ops, outputs] after the encoding's correction
    output_count: int
    groups: int
    slices: int
    code_bits: int
    signed_codes: bool  # an ideal converter's psums may be negative
    sum_bits: int  # of shift_add (the accumulator's own), column_sums or level_sums
    output_bits: int

    @property
    def op_cycles(self) -> Ints:
        """[ops]."""
        return self.schedule.ends


def signed_bits(*numbers: int) -> int:
    """Bits of two's complement that hold all these."""
    return max(n.bit_length() if n >= 0 else (~n).bit_length() for n in numbers) + 1


def block_vectors(steps: UnitSteps, unit: int, replica: Replica, origin: tuple[int, int]) -> list[MacroVectors]:
    """The vectors of every macro of a matrix, row blocks outer; `origin` is its first row and output in the layer."""
    layout = steps.matrix.layout
    return [
        _macro(steps, unit, replica, origin, (rb, slice(*rows)), (cb, slice(*outputs)))
        for rb, rows in enumerate(layout.row_blocks)
        for cb, outputs in enumerate(layout.col_blocks)
    ]


def _macro(
    steps: UnitSteps,
    unit: int,
    replica: Replica,
    origin: tuple[int, int],
    rows: tuple[int, slice],
    outputs: tuple[int, slice],
) -> MacroVectors:
    matrix, macro = steps.matrix, steps.matrix.macro
    (rb, r), (cb, c) = rows, outputs
    here = np.flatnonzero(matrix.block_of == rb)
    ops, count = len(steps.x), len(here) * macro.input_slices
    span = slice(c.start * macro.conversions_per_output, c.stop * macro.conversions_per_output)
    physical = slice(c.start * macro.columns_per_output, c.stop * macro.columns_per_output)
    codes = steps.codes[:, here][..., span].reshape(ops, count, -1)
    driven = steps.driven[:, here].reshape(ops, count)
    references = None if matrix.references is None else matrix.references[rb]
    sums = _sums(steps, rb, here, c, span)
    extra = reference_codes(steps, rb, c) if matrix.has_reference_column else None
    share = None if sums.shift_add is None else _corrected(sums.shift_add[:, -1], steps, (rb, r), c, extra)
    low, high = matrix.psum_range
    lowest, highest = min(low, int(codes.min())), max(high, int(codes.max()))
    stored = matrix.levels_of(r, c) if matrix.cells is None else matrix.cells[r, physical]
    end = f"_{replica.number:03d}" if replica.count > 1 else ""
    return MacroVectors(
        name=f"macro_{unit:03d}_{rb:03d}_{cb:03d}{end}",
        unit=unit,
        replica=replica,
        row_block=rb,
        col_block=cb,
        first_row=origin[0] + r.start,
        first_output=origin[1] + c.start,
        cells=stored.astype(np.int64),
        reference_cells=_reference_cells(matrix, r, c) if matrix.has_reference_column else None,
        flipped=None if matrix.flipped is None else matrix.flipped[rb : rb + 1, physical].astype(np.int64),
        row_groups=None if matrix.row_group is None else _row_groups(matrix, r, c),
        output_groups=None
        if matrix.out_group is None
        else np.searchsorted(served_groups(matrix, c), matrix.out_group[c]),
        thresholds=None if references is None else _of_columns(references.thresholds, span),
        levels=None if references is None else _integers(_of_columns(references.levels, span)),
        inputs=steps.masked[:, r],
        wordlines=_wordlines(steps, here, r),
        codes=codes,
        reference_codes=None if extra is None else extra.reshape(ops, count, -1),
        driven=driven,
        schedule=schedule(macro, driven, codes.shape[2]),
        shift_add=sums.shift_add,
        column_sums=sums.column_sums,
        level_sums=sums.level_sums,
        outputs=share,
        output_count=c.stop - c.start,
        groups=len(here),
        slices=macro.input_slices,
        code_bits=references.bits if references is not None else (signed_bits(lowest, highest) - (lowest >= 0)) or 1,
        signed_codes=references is None and lowest < 0,
        sum_bits=sums.bits,
        output_bits=0 if share is None else _output_bits(matrix, rb, share),
    )


class _Sums(NamedTuple):
    shift_add: Ints | None
    column_sums: Ints | None
    level_sums: Ints | None
    bits: int


def _sums(steps: UnitSteps, rb: int, here: NDArray[np.int64], outputs: slice, span: slice) -> _Sums:
    """What is added up behind the converters of one macro, and the bits of it."""
    matrix, macro = steps.matrix, steps.matrix.macro
    ops, count = len(steps.x), len(here) * macro.input_slices
    place = np.tile(matrix.slice_weights, len(here))
    if matrix.integer_result:
        values = steps.values[:, here][..., span].reshape(ops, count, outputs.stop - outputs.start, -1)
        weight = np.broadcast_to(matrix.columns.weight, values.shape[2:])
        if matrix.flipped is not None:  # what is stored inverted is taken off
            weight = np.where(matrix.flipped[rb, span].reshape(weight.shape), -weight, weight)
        running = _running(
            (values * weight).sum(axis=3) * place[:, None], macro.accumulator_bits, macro.accumulator_overflow
        )
        least, most = (ends[rb].tolist() for ends in sum_range(matrix))
        wide = signed_bits(min(least), max(most), int(running.min()), int(running.max()))
        return _Sums(
            running, None, None, macro.accumulator_bits or max(wide, accumulator_width(macro, matrix.layout, rb))
        )
    codes = steps.codes[:, here][..., span].reshape(ops, count, -1)
    weighed = np.where(steps.driven[:, here].reshape(ops, count), place, 0)
    if matrix.references is not None and matrix.references[rb].lsb is None:
        numbers = np.arange(2 ** matrix.references[rb].bits)
        by_level = np.stack([(weighed[..., None] * (codes == n)).sum(axis=1) for n in numbers], axis=2)
        return _Sums(None, None, by_level, signed_bits(int(by_level.min()), int(np.abs(place).sum())))
    added = np.cumsum(codes * weighed[..., None], axis=1)
    low, high = matrix.psum_range
    top = max(abs(low), high) if matrix.references is None else 2 ** matrix.references[rb].bits - 1
    bound = top * int(np.abs(place).sum())
    return _Sums(None, added, None, signed_bits(-bound, bound, int(added.min()), int(added.max())))


def _running(steps: Ints, bits: int | None, overflow: Overflow) -> Ints:
    """Running sums [ops, steps, outputs] after every step, as an accumulator of `bits` holds them."""
    if bits is None:
        return np.cumsum(steps, axis=1)
    made = np.empty_like(steps)
    running = np.zeros_like(steps[:, 0])
    for j in range(steps.shape[1]):  # beyond its range "error" has ended the run already
        running = made[:, j] = held(running + steps[:, j], bits, overflow)
    return made


def _output_bits(matrix: Matrix, rb: int, share: Ints) -> int:
    """Bits of a row block's corrected outputs: twice a running sum, and the correction."""
    least, most = (int(v) for v in (np.min(sum_range(matrix)[0]), np.max(sum_range(matrix)[1])))
    start, stop = matrix.layout.row_blocks[rb]
    taken = max(1 << matrix.macro.weight.bits, abs(matrix.macro.correction.of_inputs))
    correction = ((stop - start) << matrix.macro.input.bits) * taken
    return signed_bits(2 * least - correction, 2 * most + correction, int(share.min()), int(share.max()))


def _corrected(total: Ints, steps: UnitSteps, rows: tuple[int, slice], outputs: slice, extra: Ints | None) -> Ints:
    """The block's share of the outputs: its own rows' share of the encoding's correction, flipped columns put right."""
    matrix, (rb, r) = steps.matrix, rows
    correction = matrix.macro.correction
    if correction == UNCORRECTED:
        return total
    x = steps.x[:, r].astype(np.int64)
    groups = served_groups(matrix, outputs)
    if extra is None:
        by_group = np.stack([x[:, rows_of(matrix, int(group))[r]].sum(axis=1) for group in groups], axis=1)
    else:
        by_group = _reference_sums(steps, rb, outputs, extra)
    served = np.zeros(total.shape[1], np.int64)
    if matrix.out_group is not None:
        served = np.searchsorted(groups, matrix.out_group[outputs])
    sums = by_group[:, served]
    if matrix.flipped is not None:
        factor = matrix.flipped[rb].reshape(matrix.layout.outputs, -1)[outputs] @ matrix.columns.weight
        total = total + (2**matrix.macro.cell.bits - 1) * sums * factor
    return np.asarray(correction.applied(total, sums))


def _reference_sums(steps: UnitSteps, rb: int, outputs: slice, extra: Ints) -> Ints:
    """[P, reference columns] of one macro: their values, weighed by input slices and added up."""
    matrix = steps.matrix
    values = extra
    if matrix.references is not None:
        last = outputs.stop * matrix.macro.conversions_per_output - 1
        levels = _of_columns(matrix.references[rb].levels, slice(last, last + 1))
        values = looked_up(extra.reshape(-1, 1), levels).reshape(extra.shape)
    driven = steps.driven[:, matrix.block_of == rb]
    return np.asarray((np.where(driven[..., None], values, 0) * matrix.slice_weights[:, None]).sum(axis=(1, 2)))


def _of_columns(table: NDArray[Any], span: slice) -> NDArray[Any]:
    return table if len(table) == 1 else table[span]


def _integers(levels: NDArray[np.float64]) -> NDArray[Any]:
    """As int64 where all are integers."""
    return levels.astype(np.int64) if bool((levels == np.rint(levels)).all()) else levels


def _reference_cells(matrix: Matrix, rows: slice, outputs: slice) -> Ints:
    served = served_groups(matrix, outputs)
    ones = np.stack([rows_of(matrix, int(group))[rows] for group in served], axis=1)
    return ones.astype(np.int64) * matrix.unit


def _row_groups(matrix: Matrix, rows: slice, outputs: slice) -> Ints:
    """[rows] the number of a row's convolution group among those of the outputs; of other groups how many those are."""
    served = served_groups(matrix, outputs)
    made = np.full(rows.stop - rows.start, len(served), dtype=np.int64)
    for number, group in enumerate(served):
        made[rows_of(matrix, int(group))[rows]] = number
    return made


def _wordlines(steps: UnitSteps, here: NDArray[np.int64], rows: slice) -> Ints:
    """[ops, steps, rows]."""
    matrix, spans = steps.matrix, steps.matrix.macro.input.spans
    slices = len(spans)
    made = np.zeros((len(steps.x), len(here) * slices, rows.stop - rows.start), dtype=np.int64)
    for number, g in enumerate(here):
        a, b = int(matrix.starts[g]), int(matrix.stops[g])
        for i, (place, bits) in enumerate(spans):
            raised = (steps.masked[:, a:b] >> place) & (2**bits - 1)
            made[:, number * slices + i, a - rows.start : b - rows.start] = raised
    return made
