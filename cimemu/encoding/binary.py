"""Binary: a weight of -1 or 1 is one cell of level 0 or 1."""

from collections.abc import Sequence
from typing import Any

from cimemu.encoding.base import Correction, Encoding


class Binary(Encoding):
    """`w = 2 * level - 1`: the outputs are twice the sums of levels, less the sum of inputs."""

    name = "binary"
    summary = "(w + 1) / 2 of weights -1 and 1"

    def refusal(self, weight_bits: int, cell_bits: int) -> str | None:
        """One bit in one cell."""
        if (weight_bits, cell_bits) == (1, 1):
            return None
        return f"encoding {self.name} with weight.bits = {weight_bits}, cell.bits = {cell_bits}, needs 1 and 1"

    def values(self, weight_bits: int) -> range:
        """-1 and 1, and nothing between."""
        return range(-1, 2, 2)

    def parts(self, w: Any, weight_bits: int) -> Sequence[Any]:
        """0 or 1."""
        return ((w + 1) >> 1,)

    def correction(self, weight_bits: int) -> Correction:
        """`2 * y - sum_k x`."""
        return Correction(of_y=2, of_inputs=-1)
