"""Two's complement: a bit for each cell, the last of which counts negative."""

from collections.abc import Sequence
from typing import Any

from cimemu.encoding.base import Encoding, signed_range


class TwosComplement(Encoding):
    """No correction is needed, as the sign has a column of its own; a slice of more bits would have no one sign."""

    name = "twos_complement"
    summary = "bits of the two's complement code"

    def refusal(self, weight_bits: int, cell_bits: int) -> str | None:
        """One bit in a cell."""
        return None if cell_bits == 1 else f"encoding {self.name} with cell.bits = {cell_bits}, needs cell.bits = 1"

    def values(self, weight_bits: int) -> range:
        """All numbers of two's complement."""
        return signed_range(weight_bits)

    def parts(self, w: Any, weight_bits: int) -> Sequence[Any]:
        """The code as an unsigned number."""
        return (w & (2**weight_bits - 1),)

    def places(self, weight_bits: int, cell_bits: int) -> tuple[int, ...]:
        """Powers of two, the last one negative."""
        *plain, last = super().places(weight_bits, cell_bits)
        return (*plain, -last)
