"""Offset (biased) binary: a cell holds a slice of `w + 2^(b-1)`, which is never negative."""

from collections.abc import Sequence
from typing import Any

from cimemu.encoding.base import Correction, Encoding, signed_range


class Offset(Encoding):
    """`w = (w + 2^(b-1)) - 2^(b-1)`: the constant comes off as that many times the sum of inputs."""

    name = "offset"
    summary = "slices of w + 2^(bits - 1)"
    may_be_flipped = True

    def values(self, weight_bits: int) -> range:
        """All numbers of two's complement."""
        return signed_range(weight_bits)

    def parts(self, w: Any, weight_bits: int) -> Sequence[Any]:
        """The weight with its offset."""
        return (w + 2 ** (weight_bits - 1),)

    def correction(self, weight_bits: int) -> Correction:
        """`- 2^(b-1) * sum_k x`."""
        return Correction(of_inputs=-(2 ** (weight_bits - 1)))
