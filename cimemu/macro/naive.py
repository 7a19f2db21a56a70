"""The macro from its definition, on Python integers: the executable specification of every faster path.

It shares nothing with the fast code but the pydantic models, the layout's geometry and the solver of gated arrays.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import Adc, IdealAdc, LinearAdc, Plain, plain
from cimemu.arch.macro import Macro
from cimemu.draws.noise import normal_quantiles, philox_naive
from cimemu.macro.accumulator import overflow_error
from cimemu.macro.gated import GatedReads
from cimemu.macro.naive_digital import DigitalState
from cimemu.macro.naive_encoding import columns_naive, levels_naive
from cimemu.macro.read_noise import ReadNoise, Reads
from cimemu.macro.traps import Traps, lost_naive
from cimemu.mapping.layout import Layout


@dataclass
class NaiveResult:
    """What the definition gives."""

    y: NDArray[Any]
    conversions: int
    codes: NDArray[np.uint16]
    running: NDArray[np.int64]  # [P, groups, I, N] after every step that was driven; where levels are integers
    steps: int  # (group, slice) driven, once per column block
    skipped: int
    raised: int  # wordlines raised, once per column block
    drawn: int  # what the wordlines draw: pulses, or squares of the values of slices
    level_drawn: int  # what the used cells draw: that x level, in units of 2^-fraction_bits when cells are given
    input_changes: int  # digital cells: input bits that change, once per used column
    product_changes: int  # digital cells: product bits that change


def mvm_naive(
    x: NDArray[np.integer],
    w: NDArray[np.integer],
    macro: Macro,
    layout: Layout,
    *,
    adc: Adc | None = None,
    cells: NDArray[np.int64] | None = None,
    row_group: NDArray[np.int64] | None = None,
    out_group: NDArray[np.int64] | None = None,
    noise: tuple[ReadNoise, ...] = (),
    traps: tuple[Traps, ...] = (),
    gated: GatedReads | None = None,
    reads: Reads | None = None,
    scale: NDArray[np.float64] | None = None,
    moved: Sequence[NDArray[np.int64]] | None = None,
    base: NDArray[np.int64] | None = None,
    bow: Sequence[NDArray[np.int64]] = (),
) -> NaiveResult:
    """y, codes and counts of `x [P, K] @ w [K, N]` on `macro`; `cells` are levels times 2^fraction_bits.

    `scale` [row blocks, converted columns] multiplies levels (not thresholds), and the input sums of corrections.
    `moved` are the thresholds [converted columns, T] of every row block times 2^fraction_bits where converters have
    their own, `base` [row blocks, converted columns] is added to every psum of an ideal one, `bow[v]` [K, converted
    columns] where a row is driven with slice value v.
    """
    adc = plain(macro.adc if adc is None else adc)
    outputs, cell_bits = layout.outputs, macro.cell.bits
    unit = 1 if cells is None else 2**macro.cell.fraction_bits
    slices, dac = ceil(macro.input.bits / macro.input.dac_bits), macro.input.dac_bits
    conversions_per_output = macro.conversions_per_output
    groups_in = [0] if out_group is None else sorted({int(g) for g in out_group})
    y: list[list[float | int]] = []
    codes = np.full((len(x), layout.groups, slices, outputs * conversions_per_output), 65535, dtype=np.uint16)
    running_sums = np.zeros((len(x), layout.groups, slices, outputs), dtype=np.int64)
    result = NaiveResult(np.zeros(0), 0, codes, running_sums, 0, 0, 0, 0, 0, 0, 0)
    exact = scale is None and _all_levels_are_integers(adc) and (unit == 1 or adc.model != "ideal")

    def belongs(k: int, n: int) -> bool:
        return row_group is None or out_group is None or row_group[k] == out_group[n]

    def levels(k: int, n: int) -> list[int]:
        """Levels of the cells at row k, columns of output n, times `unit`."""
        if cells is not None:
            return [int(cells[k, n * macro.columns_per_output + s]) for s in range(macro.columns_per_output)]
        return list(levels_naive(int(w[k, n]), macro)) if belongs(k, n) else [0] * macro.columns_per_output

    columns = [[levels(k, n) for n in range(outputs)] for k in range(layout.rows)]
    top = 2**cell_bits - 1
    inverted: set[tuple[int, int, int]] = set()  # (row block, output, slice)
    if macro.weight.column_flipping:
        for block, (start, stop) in enumerate(layout.row_blocks):
            for n in range(outputs):
                mine = [k for k in range(start, stop) if belongs(k, n)]
                for s in range(macro.columns_per_output):
                    if 2 * sum(columns[k][n][s] for k in mine) > top * len(mine):
                        inverted.add((block, n, s))
                        for k in mine:
                            columns[k][n][s] = top - columns[k][n][s]
    place_value, pair, sum_factor, correction_factor = columns_naive(macro)

    def conversion_list(by_column: list[int]) -> list[tuple[int, int]]:
        """(psum, weight of its value) of every conversion of one output, from its columns' psums."""
        halves = [by_column]
        if pair:
            half = len(by_column) // 2
            halves = [by_column[:half], by_column[half:]]
            if macro.weight.subtract == "analog":
                halves = [[plus - minus for plus, minus in zip(*halves)]]
        made = []
        for number, half_columns in enumerate(halves):
            sign = -1 if number == 1 else 1
            if macro.weight.combine == "analog":
                made.append((sum(v * p for v, p in zip(place_value, half_columns)), sign))
            else:
                made += [(p, sign * v) for v, p in zip(place_value, half_columns)]
        return made

    use_reference = macro.weight.correction == "reference_column" and correction_factor != 0

    state = None
    if macro.cell.kind == "digital":
        state = DigitalState(macro, layout, columns, unit, (row_group, out_group) if use_reference else None)
    for p in range(len(x)):
        running = [[0] * outputs for _ in layout.row_blocks]
        # per (row block, converted column): weighted sums of codes by level
        sums: dict[tuple[int, int], dict[int, int]] = {}
        reference_sums: dict[tuple[int, int], dict[int, int]] = {}
        image, position = (Reads() if reads is None else reads).place(p)
        for g, (block, first, last) in enumerate(layout.group_spans):
            first_row = layout.row_blocks[block][0]
            group = (first - first_row) // layout.active_rows
            for i in range(slices):
                piece = [(int(x[p, k]) >> (i * dac)) % 2**dac for k in range(first, last)]
                weight_i = 2 ** (i * dac)
                if macro.input.signed and i == slices - 1:
                    weight_i = -weight_i
                if state is not None:
                    state.step(image, block, first, piece)
                if macro.timing.skip_zero_slices and not any(piece):
                    result.skipped += len(layout.col_blocks)
                    result.running[p, g, i] = running[block]
                    continue
                result.steps += len(layout.col_blocks)
                result.raised += len(layout.col_blocks) * sum(1 for v in piece if v)
                result.drawn += len(layout.col_blocks) * sum(_drawn(v, macro) for v in piece)
                solved = None if gated is None else gated.sums(np.array([piece]), block, first - first_row)[0]
                for n in range(outputs):
                    by_column = [
                        sum(v * columns[k][n][s] for k, v in zip(range(first, last), piece))
                        for s in range(macro.columns_per_output)
                    ]
                    if solved is not None:
                        by_column = [int(solved[n * len(by_column) + s]) for s in range(len(by_column))]
                    for source in traps:
                        for s, k in product(range(macro.columns_per_output), range(first, last)):
                            read = (block, k, first_row, n * macro.columns_per_output + s, image, position, i)
                            by_column[s] -= piece[k - first] * lost_naive(source, *read)
                    result.level_drawn += sum(
                        _drawn(v, macro) * columns[k][n][s]
                        for s in range(macro.columns_per_output)
                        for k, v in zip(range(first, last), piece)
                    )
                    step = 0
                    for v, (psum, weight_v) in enumerate(conversion_list(by_column)):
                        column = n * conversions_per_output + v
                        if gated is None:
                            psum += sum(int(bow[q][k, column]) for k, q in zip(range(first, last), piece) if bow)
                        for normal in noise:
                            psum += _draw(normal, block, column, 0, image, position, group, i)
                        psum += 0 if base is None else int(base[block, column])
                        code, value = _convert(adc, psum, unit, block, column, n, layout, conversions_per_output, moved)
                        result.conversions += 1
                        if code is not None:
                            codes[p, g, i, column] = code
                        key = psum if code is None else code
                        tally = sums.setdefault((block, column), {})
                        tally[key] = tally.get(key, 0) + weight_i * weight_v
                        flip = -1 if (block, n, v) in inverted else 1
                        step += (int(value) if exact else 0) * flip * weight_i * weight_v
                    running[block][n] = _accumulate(
                        running[block][n] + step, macro, (image, position, n), (block, group, i)
                    )
                    if exact:
                        result.running[p, g, i, n] = running[block][n]
                if use_reference:
                    for start, stop in layout.col_blocks:
                        further = 0
                        for kind in groups_in:
                            served = [n for n in range(start, stop) if out_group is None or out_group[n] == kind]
                            if not served:
                                continue
                            ones = [
                                v
                                for k, v in zip(range(first, last), piece)
                                if row_group is None or row_group[k] == kind
                            ]
                            psum = sum(ones) * unit
                            result.level_drawn += sum(_drawn(v, macro) for v in ones) * unit
                            column = stop * conversions_per_output - 1
                            further += 1
                            for normal in noise:
                                psum += _draw(normal, block, column, further, image, position, group, i)
                            code, _ = _convert(
                                adc, psum, unit, block, column, stop - 1, layout, conversions_per_output, moved
                            )
                            result.conversions += 1
                            key = psum if code is None else code
                            for n in served:
                                tally = reference_sums.setdefault((block, n), {})
                                tally[key] = tally.get(key, 0) + weight_i
        row: list[float | int] = []
        for n in range(outputs):
            if macro.accumulator_bits is not None:
                total: float | int = sum(sums_of_block[n] for sums_of_block in running)
            else:
                total = 0 if exact else 0.0
                for block in range(len(layout.row_blocks)):
                    for v in range(conversions_per_output):
                        column = n * conversions_per_output + v
                        value = _value(
                            adc,
                            sums.get((block, column), {}),
                            unit,
                            block,
                            column,
                            n,
                            layout,
                            conversions_per_output,
                            1 if scale is None else scale[block, column],
                        )
                        if (block, n, v) in inverted:
                            start, stop = layout.row_blocks[block]
                            whole = sum(int(x[p, k]) for k in range(start, stop) if belongs(k, n))
                            value = top * whole * place_value[v] - value
                        total = total + value
            if (sum_factor, correction_factor) != (1, 0):
                if use_reference:
                    extra: float | int = 0 if exact else 0.0
                    last_column = next(stop for start, stop in layout.col_blocks if start <= n < stop) - 1
                    for block in range(len(layout.row_blocks)):
                        column = (last_column + 1) * conversions_per_output - 1
                        ones_sum = _value(
                            adc,
                            reference_sums.get((block, n), {}),
                            unit,
                            block,
                            column,
                            last_column,
                            layout,
                            conversions_per_output,
                        )
                        top_scale = 1 if scale is None else scale[block, (n + 1) * conversions_per_output - 1]
                        extra = extra + top_scale * ones_sum
                elif scale is not None:
                    extra = 0.0
                    for block, (start, stop) in enumerate(layout.row_blocks):
                        whole = sum(int(x[p, k]) for k in range(start, stop) if belongs(k, n))
                        extra = extra + scale[block, (n + 1) * conversions_per_output - 1] * whole
                else:
                    extra = sum(int(x[p, k]) for k in range(layout.rows) if belongs(k, n))
                total = sum_factor * total + correction_factor * extra
            row.append(total)
        y.append(row)
    if state is not None:
        result.input_changes, result.product_changes = state.inputs, state.products
    result.y = np.array(y, dtype=np.int64 if exact else np.float64).reshape(len(x), outputs)
    return result


def _all_levels_are_integers(adc: Plain) -> bool:
    if isinstance(adc, IdealAdc):
        return True
    if isinstance(adc, LinearAdc):
        parts: list[Any] = [adc.lsb, adc.zero]
    else:
        parts = [adc.levels]
    return bool(all((np.asarray(part, dtype=np.float64) % 1 == 0).all() for part in parts))


def _pick(grid: Any, block: int, column: int, output: int, layout: Layout, conversions: int) -> Any:
    """The entry of one value, of [row blocks][column blocks] or of [row blocks][converted columns]."""
    row = grid[block]
    if len(row) == layout.outputs * conversions:
        return row[column]
    return row[next(b for b, (start, stop) in enumerate(layout.col_blocks) if start <= output < stop)]


def _convert(
    adc: Plain,
    psum: int,
    unit: int,
    block: int,
    column: int,
    output: int,
    layout: Layout,
    conversions: int,
    moved: Sequence[NDArray[np.int64]] | None,
) -> tuple[int | None, float]:
    """(code, value) of a psum given in units of 1 / unit."""
    own = None if moved is None else sum(1 for t in moved[block][column] if int(t) <= psum)
    where = (block, column, output, layout, conversions)
    if isinstance(adc, IdealAdc):
        return None, psum / unit if unit > 1 else psum
    if isinstance(adc, LinearAdc):
        lsb = _pick(adc.lsb, *where) if isinstance(adc.lsb, list) else adc.lsb
        zero = _pick(adc.zero, *where) if isinstance(adc.zero, list) else adc.zero
        if own is None:  # as many thresholds as are <= the psum: they ascend
            own = bisect_right(range(1, 2**adc.bits), psum / unit, key=lambda k: zero + (k - 0.5) * lsb)
        return own, zero + own * lsb
    thresholds = _pick(adc.thresholds, *where) if isinstance(adc.thresholds[0], list) else adc.thresholds
    levels = _pick(adc.levels, *where) if isinstance(adc.levels[0], list) else adc.levels
    code = sum(1 for t in thresholds if t <= psum / unit) if own is None else own
    return code, levels[code]


def _draw(
    source: ReadNoise, block: int, column: int, further: int, image: int, position: int, group: int, step: int
) -> int:
    """What one source adds to a psum; reference columns are `further` columns behind the last one of their macro."""
    octet, lane = divmod(int(source.columns[column]) + further, 8)
    words = philox_naive(image % 2**32, position, group * 2**16 + octet, step, int(source.keys[block, column]))
    quantile = int(normal_quantiles()[words[lane // 2] // 2 ** (16 * (lane % 2)) % 2**16])
    return (int(source.sigma[block, column]) * quantile + 2**31) // 2**32


def _value(
    adc: Plain,
    tally: dict[int, int],
    unit: int,
    block: int,
    column: int,
    output: int,
    layout: Layout,
    conversions: int,
    scale: float = 1,
) -> float | int:
    """`lsb * A + zero * Z` (linear), one A per distinct level (nonlinear), the exact sum (ideal), by a column's scale."""
    where = (block, column, output, layout, conversions)
    if isinstance(adc, IdealAdc):
        exact = sum(key * count for key, count in tally.items())
        return scale * (exact / unit) if unit > 1 else scale * exact
    if isinstance(adc, LinearAdc):
        lsb = _pick(adc.lsb, *where) if isinstance(adc.lsb, list) else adc.lsb
        zero = _pick(adc.zero, *where) if isinstance(adc.zero, list) else adc.zero
        a, z = sum(code * count for code, count in tally.items()), sum(tally.values())
        return (lsb * scale) * a + (zero * scale) * z
    levels = _pick(adc.levels, *where) if isinstance(adc.levels[0], list) else adc.levels
    by_level: dict[float, int] = {}
    for code, count in tally.items():
        by_level[levels[code] * scale] = by_level.get(levels[code] * scale, 0) + count
    total = 0.0
    for value in sorted(by_level):
        total = total + value * by_level[value]
    return total


def _accumulate(running: int, macro: Macro, place: tuple[int, int, int], step: tuple[int, int, int]) -> int:
    """The running sum after one (group, slice), held to `accumulator_bits`."""
    if macro.accumulator_bits is None:
        return running
    low, high = -(2 ** (macro.accumulator_bits - 1)), 2 ** (macro.accumulator_bits - 1) - 1
    if low <= running <= high:
        return running
    if macro.accumulator_overflow == "saturate":
        return min(max(running, low), high)
    if macro.accumulator_overflow == "wrap":
        return (running - low) % 2**macro.accumulator_bits + low
    raise overflow_error(macro, running, place, step)


def _drawn(value: int, macro: Macro) -> int:
    """What a slice of this value draws: its value in pulses, its square as a voltage."""
    return value if macro.input.dac == "pulse" else value * value
