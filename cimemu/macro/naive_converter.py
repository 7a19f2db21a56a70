"""Converters from their definition, on Python numbers: a psum into a code and a value, and sums of values."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import IdealAdc, LinearAdc, Plain
from cimemu.mapping.layout import Layout


class Place(NamedTuple):
    """A converted column: its row block, its number among all, and the output that it belongs to."""

    block: int
    column: int
    output: int


@dataclass(frozen=True, eq=False)
class NaiveConverter:
    """What `adc` makes of psums in units of 1 / `unit`; `moved` are thresholds of converters with errors of their own."""

    adc: Plain
    unit: int
    layout: Layout
    conversions: int  # per output
    moved: Sequence[NDArray[np.int64]] | None
    calibrated: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]] | None = None

    @property
    def integer(self) -> bool:
        """Whether all levels are integers."""
        if isinstance(self.adc, IdealAdc):
            return self.unit == 1
        if self.calibrated is not None:
            return all(float(value).is_integer() for grids in self.calibrated for grid in grids for value in grid)
        parts: list[Any] = [self.adc.lsb, self.adc.zero] if isinstance(self.adc, LinearAdc) else [self.adc.levels]
        return bool(all((np.asarray(part, dtype=np.float64) % 1 == 0).all() for part in parts))

    def convert(self, psum: int, place: Place) -> tuple[int | None, float]:
        """(code, value) of a psum; an ideal converter has no code."""
        adc, unit = self.adc, self.unit
        own = None
        if self.moved is not None:
            own = sum(1 for t in self.moved[place.block][place.column] if int(t) <= psum)
        if isinstance(adc, IdealAdc):
            return None, psum / unit if unit > 1 else psum
        if isinstance(adc, LinearAdc):
            lsb, zero = self._grid(place)
            if own is None:  # as many thresholds as are <= the psum: they ascend
                own = bisect_right(range(1, 2**adc.bits), psum / unit, key=lambda k: zero + (k - 0.5) * lsb)
            lsb, zero = self._worth(place)
            return own, zero + own * lsb
        thresholds = self._pick(adc.thresholds, place) if isinstance(adc.thresholds[0], list) else adc.thresholds
        code = sum(1 for t in thresholds if t <= psum / unit) if own is None else own
        return code, self._levels(place)[code]

    def value(self, tally: dict[int, int], place: Place, scale: float = 1) -> float | int:
        """`lsb * A + zero * Z` (linear), one A per distinct level (nonlinear), the exact sum (ideal), times a column's scale.

        `tally` holds the weighted count of every code, or of every psum of an ideal converter.
        """
        if isinstance(self.adc, IdealAdc):
            exact = sum(key * count for key, count in tally.items())
            return scale * (exact / self.unit) if self.unit > 1 else scale * exact
        if isinstance(self.adc, LinearAdc):
            lsb, zero = self._worth(place)
            a, z = sum(code * count for code, count in tally.items()), sum(tally.values())
            made: float | int = (lsb * scale) * a + (zero * scale) * z
            return made
        levels = self._levels(place)
        by_level: dict[float, int] = {}
        for code, count in tally.items():
            by_level[levels[code] * scale] = by_level.get(levels[code] * scale, 0) + count
        total = 0.0
        for value in sorted(by_level):
            total = total + value * by_level[value]
        return total

    def _grid(self, place: Place) -> tuple[Any, Any]:
        """(lsb, zero) of a linear converter."""
        assert isinstance(self.adc, LinearAdc)
        lsb, zero = self.adc.lsb, self.adc.zero
        return (
            self._pick(lsb, place) if isinstance(lsb, list) else lsb,
            self._pick(zero, place) if isinstance(zero, list) else zero,
        )

    def _worth(self, place: Place) -> tuple[Any, Any]:
        """(lsb, zero) of a linear converter's codes in the digital unit."""
        if self.calibrated is None:
            return self._grid(place)
        lsb, zero = (grid[place.column if len(grid) > 1 else 0] for grid in self.calibrated[place.block])
        return lsb, zero

    def _levels(self, place: Place) -> Any:
        """Levels of a converter that is a table."""
        assert not isinstance(self.adc, IdealAdc | LinearAdc)
        return self._pick(self.adc.levels, place) if isinstance(self.adc.levels[0], list) else self.adc.levels

    def _pick(self, grid: Any, place: Place) -> Any:
        """The entry of one value, of [row blocks][column blocks] or of [row blocks][converted columns]."""
        row = grid[place.block]
        if len(row) == self.layout.outputs * self.conversions:
            return row[place.column]
        blocks = enumerate(self.layout.col_blocks)
        return row[next(b for b, (start, stop) in blocks if start <= place.output < stop)]
