"""Checksum columns from their definition, on Python integers, one group after another."""

from collections.abc import Sequence
from typing import Any

from cimemu.adc import IdealAdc, LinearAdc
from cimemu.macro.naive_converter import NaiveConverter, Place


class NaiveChecks:
    """The groups of a matrix; `given` is a `cimemu.macro.naive.Given`, `levels[k][n][s]` its data cells times `unit`."""

    def __init__(self, given: Any, levels: Sequence[Sequence[Sequence[int]]], converter: NaiveConverter) -> None:
        macro, layout = given.macro, given.layout
        self.given, self.macro, self.layout, self.converter = given, macro, layout, converter
        self.top = 2**macro.cell.bits - 1
        wide = macro.columns_per_output
        self.groups: list[
            tuple[int, list[int], list[list[int]]]
        ] = []  # (column block, data columns, digits: plain, weighed)
        self.columns = 0
        self.known: dict[tuple[int, int], dict[Any, int]] = {}  # by row block and column: how far a code may be off
        for block, (start, stop) in enumerate(layout.col_blocks):
            every = list(range(start * wide, stop * wide))
            for first in range(0, len(every), macro.repair.checksum_columns):
                mine = every[first : first + macro.repair.checksum_columns]
                digits = []
                for most in (self.top * len(mine), self.top * sum(range(1, len(mine) + 1))):
                    count = 1
                    while (self.top + 1) ** count <= most:
                        count += 1
                    digits.append(list(range(self.columns, self.columns + count)))
                    self.columns += count
                self.groups.append((block, mine, digits))
        self.cells = [self._row(k, row) for k, row in enumerate(levels)]
        raised = max(last - first for _, first, last in layout.group_spans)
        self.largest = raised * self.top * (2**macro.input.dac_bits - 1)

    def _row(self, k: int, row: Sequence[Sequence[int]]) -> list[int]:
        """What the checksum cells on row k hold, times `unit`."""
        if self.given.checks is not None:
            return [int(v) for v in self.given.checks[k]]
        unit, held = self.given.unit, [0] * self.columns
        wide = self.macro.columns_per_output
        ideal = [int(level) for output in row for level in output]
        assert len(ideal) == self.layout.outputs * wide
        for _, mine, digits in self.groups:
            sums = sum(ideal[c] for c in mine), sum((j + 1) * ideal[c] for j, c in enumerate(mine))
            for total, places in zip(sums, digits):
                for digit, column in enumerate(places):
                    held[column] = total // unit // (self.top + 1) ** digit % (self.top + 1) * unit
        return held

    def beside(self, levels: Sequence[Sequence[Sequence[int]]]) -> list[list[Sequence[int]]]:
        """`levels` with the checksum cells of every row as one more output."""
        return [[*row, self.cells[k]] for k, row in enumerate(levels)]

    def drawn(self, drawn: Sequence[int], first: int) -> int:
        """What the checksum cells draw where the rows from `first` on draw `drawn`."""
        return sum(v * sum(self.cells[first + r]) for r, v in enumerate(drawn))

    def raised(self, block: int, driven: Sequence[tuple[int, int]], psums: Sequence[int]) -> dict[int, int]:
        """What the values of data columns are to be raised by, by column; `psums` are those of all data columns."""
        found = {}
        checks = [sum(v * self.cells[k][c] for k, v in driven) for c in range(self.columns)]
        for col_block, mine, digits in self.groups:
            last = self.layout.col_blocks[col_block][1] * self.macro.columns_per_output - 1
            values = [self._value(psums[c], block, c) for c in mine]
            sums = [
                [((self.top + 1) ** d, *self._value(checks[c], block, last)) for d, c in enumerate(places)]
                for places in digits
            ]
            plain = sum(place * value for place, value, _ in sums[0]) - sum(value for value, _ in values)
            weighed = sum(place * value for place, value, _ in sums[1]) - sum(
                (j + 1) * value for j, (value, _) in enumerate(values)
            )
            sure = not any(far for _, far in values) and not any(far for part in sums for *_, far in part)
            if (
                not (sure and plain and weighed and self._corrects)
                or weighed % plain
                or not 1 <= weighed // plain <= len(mine)
            ):
                continue
            number = weighed // plain - 1
            if 0 <= values[number][0] + plain <= self.largest:
                found[mine[number]] = plain
        return found

    def _value(self, psum: int, block: int, column: int) -> tuple[int, int]:
        """(whole number that a psum's code counts, the most that the psum of a healthy column of that code is from it)."""
        place = Place(block, column, column // self.macro.columns_per_output)
        code, value = self.converter.convert(psum, place)
        if code is None:
            return round(value), 0
        if (block, column) not in self.known:
            self.known[block, column] = {}
            for healthy in range(self.largest + 1):
                c, worth = self.converter.convert(healthy * self.given.unit, place)
                far = abs(healthy - round(worth))
                self.known[block, column][c] = max(far, self.known[block, column].get(c, 0))
        return round(value), self.known[block, column].get(code, 0)

    @property
    def _corrects(self) -> bool:
        """Whether values can be raised by whole numbers."""
        adc = self.converter.adc
        if isinstance(adc, IdealAdc):
            return True
        lsb = getattr(adc, "lsb", 1)
        ones = [v for row in lsb for v in row] if isinstance(lsb, list) else [lsb]
        return self.converter.integer and (not isinstance(adc, LinearAdc) or all(v == 1 for v in ones))
