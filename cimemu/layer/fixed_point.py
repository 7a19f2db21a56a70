"""gemmlowp's functions of fixed-point numbers in 16 or 32 bits: exponential, reciprocal, logistic, hyperbolic tangent.

A number is an int64 array that holds raw integers; Qm means m integer bits, the others but the sign are fraction bits. The
constants are gemmlowp's: exp(-1/8) and 1/3 in Q0, exp(-2^k) for k = -2 .. 4 in Q0, 48/17 and -32/17 in Q2, all of 32 bits.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.rounding import rounding_shift

Raw = NDArray[np.int64]
EXP_MINUS_EIGHTH, THIRD = 1895147668, 715827883
BARREL = ((-2, 1672461947), (-1, 1302514674), (0, 790015084), (1, 290630308), (2, 39332535), (3, 720401), (4, 242))
C48_17, C32_17 = 1515870810, -1010580540


@dataclass(frozen=True)
class FixedPointMath:
    """Numbers of `bits` bits, 16 or 32."""

    bits: int

    @property
    def top(self) -> int:
        """The largest raw integer, which is 1 in Q0."""
        return (1 << (self.bits - 1)) - 1

    def constant(self, raw: int) -> int:
        """A constant of 32 bits in these."""
        lost = 32 - self.bits
        return (raw + ((1 << lost) >> 1)) >> lost

    def multiply(self, a: Any, b: Any) -> Raw:
        """The rounded product of Qm and Qn in Q(m + n), ties away from zero and then upwards below it."""
        product = np.asarray(a, dtype=np.int64) * np.asarray(b, dtype=np.int64)
        half = 1 << (self.bits - 2)
        total = product + np.where(product >= 0, half, 1 - half)
        shift = self.bits - 1
        return np.asarray(np.minimum(np.where(total >= 0, total >> shift, -((-total) >> shift)), self.top))

    def left(self, x: Raw, bits: int) -> Raw:
        """A saturating shift to the left."""
        made: Raw = np.clip(x << bits, -self.top - 1, self.top)
        return made

    def exp_on_negative_values(self, a: Raw, integer_bits: int) -> Raw:
        """exp of numbers <= 0 with `integer_bits`, in Q0."""
        fraction = self.bits - 1 - integer_bits
        quarter = 1 << (fraction - 2)
        inside = (a & (quarter - 1)) - quarter
        result = self._exp_near_zero(self.left(inside, integer_bits))
        remainder = inside - a
        for exponent, multiplier in BARREL:
            if integer_bits > exponent:
                bit = 1 << (fraction + exponent)
                result = np.where(remainder & bit, self.multiply(result, self.constant(multiplier)), result)
        if integer_bits > 5:
            result = np.where(a < -(32 << fraction), 0, result)
        return np.where(a == 0, self.top, result)

    def _exp_near_zero(self, a: Raw) -> Raw:
        """exp of Q0 numbers in -1/4 .. 0 by a Taylor series around -1/8."""
        x = a + (1 << (self.bits - 4))
        x2 = self.multiply(x, x)
        x3 = self.multiply(x2, x)
        x4 = self.multiply(x2, x2)
        cubic = self.multiply(rounding_shift(x4, 2) + x3, self.constant(THIRD)) + x2
        first = self.constant(EXP_MINUS_EIGHTH)
        return np.minimum(first + self.multiply(first, x + rounding_shift(cubic, 1)), self.top)

    def _newton(self, a: Raw) -> Raw:
        """2 / (1 + a) for Q0 numbers in 0 .. 1 by three Newton-Raphson steps, in Q2."""
        total = a + self.top
        half = np.where(total >= 0, (total + 1) // 2, -((-(total - 1)) // 2))
        x = self.constant(C48_17) + self.multiply(half, self.constant(C32_17))
        for _ in range(3):
            rest = (1 << (self.bits - 3)) - self.multiply(half, x)
            x = x + self.left(self.multiply(x, rest), 2)
        return x

    def one_over_one_plus(self, a: Raw) -> Raw:
        """1 / (1 + a) for Q0 numbers in 0 .. 1, in Q0."""
        return self.left(self._newton(a), 1)

    def one_minus_over_one_plus(self, a: Raw) -> Raw:
        """(1 - a) / (1 + a) for Q0 numbers in 0 .. 1, in Q0."""
        return self.left(self._newton(a) - (1 << (self.bits - 3)), 2)

    def logistic(self, a: Raw, integer_bits: int) -> Raw:
        """1 / (1 + exp(-a)) of numbers with `integer_bits`, in Q0."""
        above = self.one_over_one_plus(self.exp_on_negative_values(np.minimum(a, -a), integer_bits))
        return np.where(a == 0, (self.top + 1) // 2, np.where(a > 0, above, self.top - above))

    def tanh(self, a: Raw, integer_bits: int) -> Raw:
        """The hyperbolic tangent of numbers with `integer_bits`, in Q0."""
        size = self.one_minus_over_one_plus(self.exp_on_negative_values(np.minimum(a, -a), integer_bits + 1))
        return np.where(a == 0, 0, np.where(a < 0, -size, size))
