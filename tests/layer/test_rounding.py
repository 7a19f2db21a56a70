"""The named rounding modes against their definitions, ties included."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cimemu.layer.rounding import (
    doubling_high_multiply,
    gemmlowp_double,
    q31_half_away,
    quantize_multiplier,
    rounding_shift,
)
from cimemu.layer.tfl_softmax import softmax_parameters, softmax_rows

INT32 = st.integers(-(2**31), 2**31 - 1)


def half_away(value):
    """A Fraction rounded to an integer, ties away from zero."""
    whole = abs(value).__floor__()
    up = abs(value) - whole >= Fraction(1, 2)
    return (whole + up) * (1 if value >= 0 else -1)


@given(st.floats(1e-9, 100))
@settings(derandomize=True, max_examples=300)
def test_a_multiplier_is_a_31_bit_fraction_and_a_shift(real):
    q31, shift = quantize_multiplier(real)
    assert 2**30 <= q31 < 2**31
    assert abs(q31 * 2.0 ** (shift - 31) / real - 1) <= 2**-31


@given(INT32, INT32)
@settings(derandomize=True, max_examples=300)
def test_the_doubling_high_multiply_rounds_as_gemmlowp(a, b):
    exact = Fraction(a * b, 2**31)
    if a == b == -(2**31):
        expected = 2**31 - 1
    else:
        # nudge and truncate: ties go towards plus infinity above zero and away from it just below
        nudge = 2**30 if a * b >= 0 else 1 - 2**30
        total = a * b + nudge
        expected = total // 2**31 if total >= 0 else -((-total) // 2**31)
    got = int(doubling_high_multiply(a, b))
    assert got == expected
    assert abs(got - exact) <= Fraction(1, 2) or a == b == -(2**31)


@given(INT32, st.integers(0, 31))
@settings(derandomize=True, max_examples=300)
def test_the_rounding_shift_rounds_ties_away_from_zero(x, exponent):
    assert int(rounding_shift(x, exponent)) == half_away(Fraction(x, 2**exponent))


@given(INT32, st.integers(2**30, 2**31 - 1), st.integers(-20, 0))
@settings(derandomize=True, max_examples=300)
def test_single_and_double_rounding_are_what_they_say(acc, q31, shift):
    exact = Fraction(acc * q31, 2 ** (31 - shift))
    assert int(q31_half_away(acc, q31, shift)) == half_away(exact)
    assert int(gemmlowp_double(acc, q31, shift)) == int(rounding_shift(doubling_high_multiply(acc, q31), -shift))
    assert abs(int(gemmlowp_double(acc, q31, shift)) - exact) <= 1


def test_modes_differ_where_two_roundings_are_not_one():
    # 2^31 * 0.5 - a product just below a tie: 5 * 0.5 * 2^-1 = 1.25 + ties of the first rounding: 2.5 -> 3 -> 1.5 -> 2.
    assert int(gemmlowp_double(5, 2**30, -1)) == 2
    assert int(q31_half_away(5, 2**30, -1)) == 1
    assert int(gemmlowp_double(-5, 2**30, -1)) == -1  # -2.5 -> -2 (nudge), -1 exactly
    assert int(q31_half_away(-6, 2**30, -1)) == -2  # -1.5 away from zero


@given(st.lists(st.integers(-128, 127), min_size=2, max_size=12), st.floats(0.01, 0.4))
@settings(derandomize=True, max_examples=100)
def test_softmax_is_within_one_code_of_the_real_one(row, scale):
    x = np.array([row], dtype=np.int64)
    got = softmax_rows(x, *softmax_parameters(1.0, scale), "int8")
    real = np.exp((x - x.max()) * scale)
    expected = real / real.sum() * 256 - 128
    assert np.abs(np.clip(expected, -128, 127) - got).max() <= 1.5
