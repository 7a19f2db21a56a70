"""Which sums the cells of one column can give, and which wordlines give a certain one: subset sums, exactly."""

from collections.abc import Iterator
from random import Random

import numpy as np
from numpy.typing import NDArray


class ColumnSums:
    """The sums of a column whose rows may be driven with any slice value of `bits` bits.

    A set of sums is one integer: bit s - low is set where a choice of rows adds up to s. With `driven`, a choice in which
    no row is raised does not count, as where such steps are skipped.
    """

    def __init__(self, cells: NDArray[np.int64], bits: int, *, driven: bool) -> None:
        """Of cells [rows] as the conversion sees them."""
        self.cells, self.bits, self.driven = cells, bits, driven
        self.items = [(row, bit, int(cell) << bit) for row, cell in enumerate(cells.tolist()) for bit in range(bits)]
        self.low = sum(min(weight, 0) for _, _, weight in self.items)
        self.high = sum(max(weight, 0) for _, _, weight in self.items)
        self._kept: list[tuple[int, int]] = []
        self._last = (0, 0)
        for both in self._sets():
            self._last = both

    def _sets(self) -> Iterator[tuple[int, int]]:
        """(sums of any choice, sums of a choice that raises a row) of the first items, one item more each time.

        An item of negative weight shifts where it is left out: sums are counted from the lowest one.
        """
        every, raised = 1, 0
        yield every, raised
        for _, _, weight in self.items:
            if weight < 0:
                every, raised = every << -weight | every, raised << -weight | every
            else:
                every, raised = every | every << weight, raised | every << weight
            yield every, raised

    @property
    def reached(self) -> int:
        """The set of all sums."""
        return self._last[1] if self.driven else self._last[0]

    def within(self, low: int, high: int) -> int:
        """The sums of `low` .. `high`, as a set whose bit 0 stands for max(low, the lowest sum)."""
        first, last = max(low, self.low) - self.low, min(high, self.high) - self.low
        return 0 if first > last else self.reached >> first & ((1 << (last - first + 1)) - 1)

    def choice(self, low: int, high: int, random: Random) -> NDArray[np.int64] | None:
        """[rows] slice values that add up to one of `low` .. `high`, drawn among those that do; None where there are none."""
        found = self.within(low, high)
        if not found:
            return None
        sums = [n for n in range(found.bit_length()) if found >> n & 1] if found.bit_length() <= 1024 else [
            found.bit_length() - 1
        ]  # fmt: skip
        left = random.choice(sums) + max(low, self.low) - self.low
        if not self._kept:
            self._kept = list(self._sets())
        made = np.zeros(len(self.cells), dtype=np.int64)
        raise_one = self.driven
        for number in range(len(self.items) - 1, -1, -1):
            row, bit, weight = self.items[number]
            every, raised = self._kept[number]
            out, inside = (left + weight, left) if weight < 0 else (left, left - weight)
            may_leave = out >= 0 and bool((raised if raise_one else every) >> out & 1)
            may_raise = inside >= 0 and bool(every >> inside & 1)
            if may_raise and (not may_leave or random.random() < 0.5):
                made[row] |= 1 << bit
                left, raise_one = inside, False
            else:
                left = out
        return made
