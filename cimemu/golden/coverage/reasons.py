"""Whether a goal can be reached, and why not: proofs from the cells, the thresholds and the cycles."""

from random import Random
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimemu.golden.coverage.goals import KINDS, Block, Ints, column_weights
from cimemu.golden.coverage.sums import ColumnSums
from cimemu.macro.encode import input_slice_weights
from cimemu.macro.matrix import limits
from cimemu.mapping.cycles import convert_cycles, drive_cycles

Span = tuple[int, int, int]  # column (reference columns behind the others), smallest and largest sum wanted
State = Literal["reachable", "out of reach", "unknown"]
NEVER = 1 << 62
MOST_EXAMINED = 20_000  # columns whose sums are listed, in groups of rows


class Verdict(NamedTuple):
    """What is known of a goal that no operation reaches, and why it is out of reach."""

    state: State
    reason: str | None = None


REACHABLE, UNKNOWN = Verdict("reachable"), Verdict("unknown")


def unless(reason: str | None, otherwise: Verdict) -> Verdict:
    """Out of reach where there is a reason."""
    return otherwise if reason is None else Verdict("out of reach", reason)


class Reasons:
    """What the cells of one macro can give; sums of a column are listed once, when they are asked for."""

    def __init__(self, block: Block, budget: list[int]) -> None:
        """`budget` [1] is how many columns may still be listed, of all macros together."""
        self.block, self.budget = block, budget
        self.cells = block.seen
        if block.v.reference_cells is not None:
            self.cells = np.concatenate([block.seen, block.v.reference_cells], axis=1)
        self.top = (1 << max(block.slice_bits)) - 1
        self._sums: dict[tuple[int, int], ColumnSums | None] = {}
        parts = [self.cells[block.rows_of(group)] for group in range(block.v.groups)]
        self.low = np.stack([np.minimum(part, 0).sum(axis=0) * self.top for part in parts])  # [groups, columns]
        self.high = np.stack([np.maximum(part, 0).sum(axis=0) * self.top for part in parts])

    def sums(self, group: int, column: int) -> ColumnSums | None:
        """None where too many columns have been listed."""
        key = (group, column)
        if key not in self._sums:
            self.budget[0] -= 1
            made = None
            if self.budget[0] >= 0:
                cells = self.cells[self.block.rows_of(group), column]
                made = ColumnSums(cells, max(self.block.slice_bits), driven=self.block.skips)
            self._sums[key] = made
        return self._sums[key]

    def spans(self, kind: str, index: tuple[int, ...]) -> list[Span]:
        """What columns have to see for a goal: any of these."""
        block, (place, value) = self.block, index
        match kind:
            case "codes" | "reference codes":
                columns = [block.columns + place] if kind == "reference codes" else self._columns(place)
                made = []
                for column in columns:
                    t = block.table(min(column, block.columns - 1))
                    low = int(t[value - 1]) if value else -NEVER
                    high = int(t[value]) - 1 if value < len(t) else NEVER
                    made.append((column, low, high))
                return made
            case "clips":
                below, above = block.clips()
                columns = self._columns(place)
                return [(c, int(above[c]), NEVER) if value else (c, -NEVER, int(below[c])) for c in columns]
            case "sums":
                wanted = int(block.sum_ends()[value][place])
                return [(place, wanted, wanted)]
            case other:
                raise AssertionError(other)

    def _columns(self, converter: int) -> list[int]:
        each = self.block.macro.columns_per_adc
        return list(range(converter * each, min((converter + 1) * each, self.block.columns)))

    def choice(self, kind: str, index: tuple[int, ...], group: int, random: Random) -> NDArray[np.int64] | None:
        """[rows of the group] slice values that reach a goal; None where no column of the group does."""
        spans = self.spans(kind, index)
        random.shuffle(spans)
        for column, low, high in spans:
            if low > self.high[group, column] or high < self.low[group, column]:
                continue
            sums = self.sums(group, column)
            made = None if sums is None else sums.choice(low, high, random)
            if made is not None:
                return made
        return None

    def of_columns(self, kind: str, index: tuple[int, ...]) -> Verdict:
        """Whether columns see what a goal wants: exactly, from all sums of their cells."""
        spans = self.spans(kind, index)
        if all(low > high for _, low, high in spans):
            return Verdict("out of reach", "two thresholds are equal, so no sum lies between them")
        for column, low, high in spans:
            for group in range(self.block.v.groups):
                if low > self.high[group, column] or high < self.low[group, column]:
                    continue
                sums = self.sums(group, column)
                if sums is None:
                    return UNKNOWN
                if sums.within(low, high):
                    return REACHABLE
        columns = [column for column, _, _ in spans]
        least, most = int(self.low[:, columns].min()), int(self.high[:, columns].max())
        if all(low > self.high[:, column].max() for column, low, _ in spans):
            first = min(low for _, low, _ in spans)
            return Verdict("out of reach", f"it needs a sum of {first} or more, the cells add up to {most} at most")
        if all(high < self.low[:, column].min() for column, _, high in spans):
            last = max(high for _, _, high in spans)
            return Verdict("out of reach", f"it needs a sum of {last} or less, the cells add up to {least} at least")
        raised = " while a wordline is raised" if self.block.skips else ""
        return Verdict("out of reach", f"no choice of rows adds up to a sum that it needs{raised}")

    def of(self, kind: str, index: tuple[int, ...]) -> Verdict:
        """Whether a goal that no operation reaches can be reached."""
        block = self.block
        if not block.exact:
            return UNKNOWN
        steps = block.v.groups * block.v.slices
        match kind:
            case "codes" | "reference codes" | "clips" | "sums":
                return self.of_columns(kind, index)
            case "accumulators" | "overflows":
                return unless(self._of_sums(kind, index, steps), UNKNOWN)
            case "outputs":
                return UNKNOWN
            case "driven" | "skipped":
                return REACHABLE
            case "order":
                alone = KINDS[kind].values[index[0]] != "all skipped" and steps == 1
                return unless("an operation has one step" if alone else None, REACHABLE)
            case "overlap":
                return unless(self._of_overlap(KINDS[kind].values[index[0]], steps), REACHABLE)
            case other:
                raise AssertionError(other)

    def _of_sums(self, kind: str, index: tuple[int, ...], steps: int) -> str | None:
        output, value = index
        low, high = self.running_ends
        least, most = int(low[output]), int(high[output])
        if kind == "overflows":
            assert self.block.macro.accumulator_bits is not None
            ends = limits(self.block.macro.accumulator_bits)
            if value and most <= ends[1]:
                return f"its running sums end at {most}, the accumulator at {ends[1]}"
            if not value and least >= ends[0]:
                return f"its running sums begin at {least}, the accumulator at {ends[0]}"
            return None
        state = KINDS[kind].values[value]
        wraps = self.block.macro.accumulator_bits is not None and self.block.macro.accumulator_overflow == "wrap"
        if state == "carry":
            return "an operation has one step, so nothing is added to a sum" if steps == 1 else None
        if wraps:
            return None
        if state == "negative" and least >= 0:
            return "nothing that is added is negative"
        if state == "positive" and most <= 0:
            return "nothing that is added is positive"
        return None

    @property
    def running_ends(self) -> tuple[Ints, Ints]:
        """[outputs] bounds of running sums, as codes of the smallest and largest sum of every column allow."""
        if not hasattr(self, "_ends"):
            self._ends = self._running_ends()
        return self._ends

    def _running_ends(self) -> tuple[Ints, Ints]:
        block = self.block
        weights = column_weights(block)
        least = np.zeros(block.v.output_count, np.int64)
        most = np.zeros_like(least)
        for group in range(block.v.groups):
            low, high = self.low[group, : block.columns], self.high[group, : block.columns]
            if block.v.levels is not None:
                low, high = self._level_ends(low, high)
            ends = [side.reshape(weights.shape) * weights for side in (low, high)]
            below, above = np.minimum(*ends).sum(axis=1), np.maximum(*ends).sum(axis=1)
            for place in input_slice_weights(block.macro):
                least += np.minimum(np.minimum(place * below, place * above), 0)
                most += np.maximum(np.maximum(place * below, place * above), 0)
        return least, most

    def _level_ends(self, low: Ints, high: Ints) -> tuple[Ints, Ints]:
        """Smallest and largest level of the codes between those of two sums of every column."""
        block = self.block
        assert block.v.levels is not None
        table = np.broadcast_to(block.v.levels, (block.columns, block.code_count)).astype(np.int64)
        made = np.zeros((2, block.columns), np.int64)
        for column in range(block.columns):
            first, last = np.searchsorted(block.table(column), [low[column], high[column]], side="right")
            met = table[column, first : last + 1]
            made[:, column] = met.min(), met.max()
        return made[0], made[1]

    def _of_overlap(self, wait: str, steps: int) -> str | None:
        block = self.block
        macro = block.macro
        drive, convert = drive_cycles(macro), convert_cycles(macro, block.columns)
        if steps == 1:
            return "an operation has one step"
        if wait == "wordlines held":
            never = convert <= drive and not (block.skips and convert > macro.timing.skip_cycles)
            return f"a conversion takes {convert} cycles, the next slice is driven for {drive}" if never else None
        never = drive <= convert and (not block.skips or steps == 2)
        return f"the next slice is driven for {drive} cycles, a conversion takes {convert}" if never else None
