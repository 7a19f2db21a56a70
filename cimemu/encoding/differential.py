"""Differential: a column for what is positive and one for what is negative; a weight fills one of the two."""

from collections.abc import Sequence
from typing import Any

from cimemu.encoding.base import Encoding


class Differential(Encoding):
    """Magnitude slices of `max(w, 0)`, then of `max(-w, 0)`; subtracted behind the converter or before it."""

    name = "differential"
    summary = "slices of max(w, 0), then of max(-w, 0)"
    sides = 2
    one_side_at_a_time = True

    def refusal(self, weight_bits: int, cell_bits: int) -> str | None:
        """A sign and a bit of magnitude at the least."""
        return None if weight_bits >= 2 else f"encoding {self.name} with weight.bits = 1, needs weight.bits >= 2"

    def values(self, weight_bits: int) -> range:
        """As many on either side of 0."""
        return range(-(2 ** (weight_bits - 1)) + 1, 2 ** (weight_bits - 1))

    def part_bits(self, weight_bits: int) -> int:
        """The sign takes no cell."""
        return weight_bits - 1

    def parts(self, w: Any, weight_bits: int) -> Sequence[Any]:
        """The magnitude on the side of the sign, 0 on the other."""
        return (w > 0) * w, (w < 0) * -w
