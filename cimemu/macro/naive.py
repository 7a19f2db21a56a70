"""The macro from its definition, on Python integers: the executable specification of every faster path.

It shares nothing with the fast code but the pydantic models, the layout's geometry and the solver of gated arrays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil
from operator import mul
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import Adc, plain
from cimemu.arch.macro import Macro
from cimemu.kernels.noise import normal_quantiles, philox_naive
from cimemu.macro.gated import GatedReads
from cimemu.macro.naive_checksums import NaiveChecks
from cimemu.macro.naive_converter import NaiveConverter, Place
from cimemu.macro.naive_digital import DigitalState, HeldLines
from cimemu.macro.naive_encoding import columns_naive, levels_naive
from cimemu.macro.naive_steps import Step, Tallies, accumulate, count
from cimemu.macro.read_noise import ReadNoise, Reads
from cimemu.macro.traps import Traps, lost_naive
from cimemu.mapping.layout import Layout


@dataclass(frozen=True, eq=False)
class Given:
    """A matrix as the definition takes it: weights `w` [K, N] on `macro`; `cells` are levels times 2^fraction_bits.

    `scale` [row blocks, converted columns] multiplies levels (not thresholds), and the input sums of corrections.
    `moved` are the thresholds [converted columns, T] of every row block times 2^fraction_bits where converters have
    their own, `calibrated` the (lsb, zero) [1 or converted columns] of every row block that codes are worth in the digital
    unit where those are not the converter's, `base` [row blocks, converted columns] is added to every psum of an ideal one,
    `bow[v]` [K, converted columns] where a row is driven with slice value v.
    """

    w: NDArray[np.integer]
    macro: Macro
    layout: Layout
    adc: Adc | None = None
    cells: NDArray[np.integer] | None = None
    row_group: NDArray[np.int64] | None = None
    out_group: NDArray[np.int64] | None = None
    noise: tuple[ReadNoise, ...] = ()
    traps: tuple[Traps, ...] = ()
    gated: GatedReads | None = None
    scale: NDArray[np.float64] | None = None
    moved: Sequence[NDArray[np.int64]] | None = None
    calibrated: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]] | None = None
    base: NDArray[np.int64] | None = None
    bow: Sequence[NDArray[np.int64]] = ()
    checks: NDArray[np.integer] | None = None  # [K, checksum columns] as `cells`; None: as the sums of ideal levels say

    @property
    def unit(self) -> int:
        """What a cell level of 1 is."""
        return 1 if self.cells is None else 2**self.macro.cell.fraction_bits

    def belongs(self, k: int, n: int) -> bool:
        """Whether row k and output n are of one convolution group."""
        return self.row_group is None or self.out_group is None or self.row_group[k] == self.out_group[n]

    def levels(self, k: int, n: int) -> list[int]:
        """Levels of the cells at row k, columns of output n, times `unit`."""
        wide = self.macro.columns_per_output
        if self.cells is not None:
            return [int(self.cells[k, n * wide + s]) for s in range(wide)]
        return list(levels_naive(int(self.w[k, n]), self.macro)) if self.belongs(k, n) else [0] * wide


@dataclass
class NaiveResult:
    """What the definition gives."""

    y: NDArray[Any]
    conversions: int
    codes: NDArray[np.uint16]
    running: NDArray[np.int64]  # [P, groups, I, N] after every step that was driven; where levels are integers
    shift_adds: int = 0  # codes weighed and added
    steps: int = 0  # (group, slice) driven, once per column block and read
    skipped: int = 0
    raised: int = 0  # wordlines raised, once per column block and read
    drawn: int = 0  # what the wordlines draw: pulses, or squares of the values of slices
    level_drawn: int = 0  # what the used cells draw: that x level, in units of 2^-fraction_bits when cells are given
    input_changes: int = 0  # digital cells: input bits that change, once per used column
    product_changes: int = 0  # digital cells: product bits that change


def mvm_naive(x: NDArray[np.integer], given: Given, reads: Reads | None = None) -> NaiveResult:
    """y, codes and counts of inputs `x` [P, K] through a matrix; `reads` places the rows of x among all reads."""
    return _Definition(x, given, Reads() if reads is None else reads).result()


class _Definition:
    """One run of the definition."""

    def __init__(self, x: NDArray[np.integer], given: Given, reads: Reads) -> None:
        macro, layout = given.macro, given.layout
        self.x, self.given, self.macro, self.layout, self.reads = x, given, macro, layout, reads
        bits, dac = macro.input.bits, macro.input.dac_bits
        self.widths = list(macro.input.slices) or [dac] * ceil(bits / dac)
        self.slices = len(self.widths)
        self.conversions = macro.conversions_per_output
        adc = plain(macro.adc if given.adc is None else given.adc)
        self.converter = NaiveConverter(adc, given.unit, layout, self.conversions, given.moved, given.calibrated)
        self.exact = given.scale is None and self.converter.integer
        self.columns = [[given.levels(k, n) for n in range(layout.outputs)] for k in range(layout.rows)]
        self.inverted: set[tuple[int, int, int]] = set()  # (row block, output, slice)
        self.top = 2**macro.cell.bits - 1
        if macro.weight.column_flipping:
            self._flip()
        self.guard = NaiveChecks(given, self.columns, self.converter) if macro.repair.checksum_columns else None
        wide = range(macro.columns_per_output)  # [N][columns of an output][K]: what each bitline adds up
        self.bitlines = [[[row[n][s] for row in self.columns] for s in wide] for n in range(layout.outputs)]
        self.place_value, self.pair, self.sum_factor, self.correction_factor = columns_naive(macro)
        self.use_reference = macro.weight.correction == "reference_column" and self.correction_factor != 0
        shape = (len(x), layout.groups, self.slices)
        codes = np.full((*shape, layout.outputs * self.conversions), 65535, dtype=np.uint16)
        self.made = NaiveResult(np.zeros(0), 0, codes, np.zeros((*shape, layout.outputs), dtype=np.int64))

    def _flip(self) -> None:
        """Store the columns of a row block inverted whose cells hold more than half of what they can."""
        for block, (start, stop) in enumerate(self.layout.row_blocks):
            for n, s in product(range(self.layout.outputs), range(self.macro.columns_per_output)):
                mine = [k for k in range(start, stop) if self.given.belongs(k, n)]
                if 2 * sum(self.columns[k][n][s] for k in mine) > self.top * len(mine):
                    self.inverted.add((block, n, s))
                    for k in mine:
                        self.columns[k][n][s] = self.top - self.columns[k][n][s]

    def result(self) -> NaiveResult:
        """All inputs, one by one."""
        layout, given = self.layout, self.given
        state = None
        if self.macro.cell.kind == "digital":
            groups = (given.row_group, given.out_group) if self.use_reference else None
            stored = self.columns if self.guard is None else self.guard.beside(self.columns)
            state = DigitalState(self.macro, layout, stored, given.unit, groups)
        lines = HeldLines(self.macro, layout) if self.macro.input.driver == "holds" else None
        y = []
        for p in range(len(self.x)):
            tallies, running = Tallies(), [[0] * layout.outputs for _ in layout.row_blocks]
            for step in self._steps(p):
                for held in (state, lines):
                    if held is not None:
                        held.step(step.image, step.block, step.first, step.piece)
                self._step(step, tallies, running[step.block])
            y.append([self._output(p, n, tallies, running) for n in range(layout.outputs)])
        if state is not None:
            self.made.input_changes, self.made.product_changes = state.inputs, state.products
        if lines is not None:
            self.made.drawn = lines.changes * len(layout.col_blocks)
        self.made.y = np.array(y, dtype=np.int64 if self.exact else np.float64).reshape(len(self.x), layout.outputs)
        return self.made

    def _steps(self, p: int) -> Iterator[Step]:
        """Every (group, slice) of input p in converting order."""
        image, position = self.reads.place(p)
        for g, (block, first, last) in enumerate(self.layout.group_spans):
            first_row = self.layout.row_blocks[block][0]
            group = (first - first_row) // self.layout.active_rows
            for i, width in enumerate(self.widths):
                place = 2 ** sum(self.widths[:i])
                piece = [int(self.x[p, k]) // place % 2**width for k in range(first, last)]
                negative = self.macro.input.signed and i == self.slices - 1
                weight = -place if negative else place
                yield Step(p, image, position, g, block, first, last, first_row, group, i, piece, weight)

    def _step(self, step: Step, tallies: Tallies, running: list[int]) -> None:
        """Drive, convert, weigh and add one step; `running` [N] are the row block's accumulators."""
        made, reads = self.made, self.macro.repair.reads
        across = len(self.layout.col_blocks) * reads
        if self.macro.timing.skip_zero_slices and not any(step.piece):
            made.skipped += len(self.layout.col_blocks)
            made.running[step.p, step.g, step.i] = running
            return
        made.steps += across
        made.raised += across * sum(1 for v in step.piece if v)
        drawn = [_drawn(v, self.macro) for v in step.piece]
        made.drawn += across * sum(drawn)
        solved = None
        if self.given.gated is not None:
            rows = np.array([step.piece])
            solved = self.given.gated.sums(rows, step.block, step.first - step.first_row)[0]
        seen = [self._seen(self._column_psums(step, n, solved)) for n in range(self.layout.outputs)]
        raised: dict[int, int] = {}
        if self.guard is not None:
            raised = self.guard.raised(step.block, list(step.driven), [psum for output in seen for psum, _ in output])
            made.level_drawn += reads * self.guard.drawn(drawn, step.first)
            made.conversions += reads * self.guard.columns
            made.shift_adds += self.guard.columns + 2 * self.layout.outputs * self.conversions
        for n in range(self.layout.outputs):
            made.level_drawn += reads * sum(
                _sum_of_products(drawn, column[step.first : step.last]) for column in self.bitlines[n]
            )
            added = self._convert_output(step, n, seen[n], tallies)
            for v, (_, weight) in enumerate(seen[n]):
                more = raised.get(n * self.conversions + v, 0) * step.weight * weight
                if more:
                    key = (step.block, n * self.conversions + v)
                    tallies.put_right[key] = tallies.put_right.get(key, 0) + more
                    added += more
            running[n] = accumulate(running[n] + added, self.macro, (step.image, step.position, n), step)
            if self.exact:
                made.running[step.p, step.g, step.i, n] = running[n]
        if self.use_reference:
            self._convert_references(step, tallies)

    def _column_psums(self, step: Step, n: int, solved: NDArray[Any] | None) -> list[int]:
        """What the physical columns of output n sum, less what traps hold."""
        wide = self.macro.columns_per_output
        sums = [_sum_of_products(step.piece, column[step.first : step.last]) for column in self.bitlines[n]]
        if solved is not None:
            sums = [int(solved[n * wide + s]) for s in range(wide)]
        for source in self.given.traps:
            for s, (k, v) in product(range(wide), step.driven):
                read = (step.block, k, step.first_row, n * wide + s, step.image, step.position, step.i)
                sums[s] -= v * lost_naive(source, *read)
        return sums

    def _seen(self, by_column: list[int]) -> list[tuple[int, int]]:
        """(psum, weight of its value) of every conversion of one output, from its columns' psums."""
        halves = [by_column]
        if self.pair:
            half = len(by_column) // 2
            halves = [by_column[:half], by_column[half:]]
            match self.macro.weight.subtract:
                case "analog":
                    halves = [[plus - minus for plus, minus in zip(*halves)]]
                case "digital":
                    pass
                case unknown:
                    assert_never(unknown)
        made = []
        for number, columns in enumerate(halves):
            sign = -1 if number == 1 else 1
            match self.macro.weight.combine:
                case "analog":
                    made.append((sum(v * p for v, p in zip(self.place_value, columns)), sign))
                case "digital":
                    made += [(p, sign * v) for v, p in zip(self.place_value, columns)]
                case other:
                    assert_never(other)
        return made

    def _convert_output(self, step: Step, n: int, seen: list[tuple[int, int]], tallies: Tallies) -> int:
        """Convert output n; what the step adds to its accumulator, where levels are integers."""
        added = 0
        for v, (psum, weight) in enumerate(seen):
            column = n * self.conversions + v
            if self.given.gated is None and self.given.bow:
                psum += sum(int(self.given.bow[q][k, column]) for k, q in step.driven)
            psum += self._noise(step, column, 0)
            psum += 0 if self.given.base is None else int(self.given.base[step.block, column])
            code, value = self.converter.convert(psum, Place(step.block, column, n))
            self.made.conversions += self.macro.repair.reads
            self.made.shift_adds += 1
            if code is not None:
                self.made.codes[step.p, step.g, step.i, column] = code
            count(tallies.columns, (step.block, column), psum if code is None else code, step.weight * weight)
            if self.exact:
                added += int(value) * (-1 if (step.block, n, v) in self.inverted else 1) * step.weight * weight
        return added

    def _convert_references(self, step: Step, tallies: Tallies) -> None:
        """Convert the all-ones columns of every macro: one for each convolution group that it serves."""
        given = self.given
        kinds = [0] if given.out_group is None else sorted({int(g) for g in given.out_group})
        for start, stop in self.layout.col_blocks:
            further = 0
            for kind in kinds:
                served = [n for n in range(start, stop) if given.out_group is None or given.out_group[n] == kind]
                if not served:
                    continue
                ones = [v for k, v in step.driven if given.row_group is None or given.row_group[k] == kind]
                self.made.level_drawn += sum(_drawn(v, self.macro) for v in ones) * given.unit * self.macro.repair.reads
                column = stop * self.conversions - 1
                further += 1
                psum = sum(ones) * given.unit + self._noise(step, column, further)
                code, _ = self.converter.convert(psum, Place(step.block, column, stop - 1))
                self.made.conversions += self.macro.repair.reads
                self.made.shift_adds += 1
                for n in served:
                    count(tallies.references, (step.block, n), psum if code is None else code, step.weight)

    def _noise(self, step: Step, column: int, further: int) -> int:
        """What the middle one of all reads adds to a psum; reference columns are `further` columns behind their macro's last."""
        made = [self._one_noise(step, column, further, m) for m in range(self.macro.repair.reads)]
        return sorted(made)[len(made) // 2]

    def _one_noise(self, step: Step, column: int, further: int, read: int) -> int:
        """What all sources add in one read."""
        total = 0
        for source in self.given.noise:
            octet, lane = divmod(int(source.columns[column]) + further, 8)
            number = step.i + read * self.slices
            counter = (step.image % 2**32, step.position, step.group * 2**16 + octet, number)
            words = philox_naive(*counter, int(source.keys[step.block, column]))
            quantile = int(normal_quantiles()[words[lane // 2] // 2 ** (16 * (lane % 2)) % 2**16])
            total += (int(source.sigma[step.block, column]) * quantile + 2**31) // 2**32
        return total

    def _output(self, p: int, n: int, tallies: Tallies, running: list[list[int]]) -> float | int:
        """Output n of input p: accumulators or sums of levels, flipped columns put right, the encoding's correction."""
        if self.macro.accumulator_bits is not None:
            total: float | int = sum(block[n] for block in running)
        else:
            total = 0 if self.exact else 0.0
            for block, v in product(range(len(self.layout.row_blocks)), range(self.conversions)):
                total = total + self._column_value(p, Place(block, n * self.conversions + v, n), v, tallies)
        if (self.sum_factor, self.correction_factor) == (1, 0):
            return total
        return self.sum_factor * total + self.correction_factor * self._input_sum(p, n, tallies)

    def _column_value(self, p: int, place: Place, v: int, tallies: Tallies) -> float | int:
        """What one converted column adds to its output."""
        block, column, n = place
        scale = 1 if self.given.scale is None else self.given.scale[block, column]
        value = self.converter.value(tallies.columns.get((block, column), {}), place, scale)
        value += tallies.put_right.get((block, column), 0)
        if (block, n, v) in self.inverted:
            value = self.top * self._whole(p, block, n) * self.place_value[v] - value
        return value

    def _whole(self, p: int, block: int, n: int) -> int:
        """sum_k x over the rows of a row block that belong to output n."""
        start, stop = self.layout.row_blocks[block]
        return sum(int(self.x[p, k]) for k in range(start, stop) if self.given.belongs(k, n))

    def _input_sum(self, p: int, n: int, tallies: Tallies) -> float | int:
        """The sum of inputs that the correction takes: converted, or exact."""
        scale, blocks = self.given.scale, range(len(self.layout.row_blocks))
        scales = [1 if scale is None else scale[block, (n + 1) * self.conversions - 1] for block in blocks]
        if self.use_reference:
            last = next(stop for start, stop in self.layout.col_blocks if start <= n < stop) - 1
            column = (last + 1) * self.conversions - 1
            total: float | int = 0 if self.exact else 0.0
            for block in blocks:
                ones = self.converter.value(tallies.references.get((block, n), {}), Place(block, column, last))
                total = total + scales[block] * ones
            return total
        if scale is None:
            return sum(self._whole(p, block, n) for block in blocks)
        total = 0.0
        for block in blocks:
            total = total + scales[block] * self._whole(p, block, n)
        return total


def _sum_of_products(values: list[int], levels: list[int]) -> int:
    """sum_k values[k] levels[k] (math.sumprod came with Python 3.12)."""
    return sum(map(mul, values, levels))


def _drawn(value: int, macro: Macro) -> int:
    """What a slice of this value draws: its value in pulses, its square as a voltage, a pulse for each bit that is set."""
    return {"pulse": value, "voltage": value * value, "bits": bin(value).count("1")}[macro.input.dac]
