"""float32 to the bit: the fused multiply-add against exact fractions, x86 conversions, limited quotients."""

from fractions import Fraction

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cimemu.layer.float32 import fused_multiply_add, quantized, to_int32
from cimemu.layer.q_arith import one_in_span

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def nearest(value):
    """A Fraction as float32, ties to even, by integers alone."""
    if value == 0:
        return 0.0
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    unit = Fraction(2) ** (max(exponent, -126) - 23)
    steps, rest = divmod(size, unit)
    steps += rest * 2 > unit or (rest * 2 == unit and steps % 2)
    return float(steps * unit) * (1 if value > 0 else -1)


@given(FLOATS, FLOATS, FLOATS)
@example(1 + 2**-12, 1 + 2**-12, 2.0**-60)  # float64 alone rounds these twice: a tie of 24 bits, just above it
@example(1 + 2**-12, 1 + 2**-12, -(2.0**-60))
@example(255.0, float(np.float32(1 / 3)), 2.0**-40)
@example(2.0**-149, 0.5, 2.0**-149)
@example(-(2.0**-100), 2.0**-49, 0.0)
@settings(derandomize=True, max_examples=200)
def test_a_fused_multiply_add_rounds_the_exact_sum_once(a, b, c):
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    right = nearest(exact)
    got = fused_multiply_add(np.float32(a), np.float32(b), np.float32(c))
    assert got.dtype == np.float32
    assert got.shape == ()
    if abs(right) > float(np.finfo(np.float32).max):
        assert np.isinf(got)
        assert np.sign(got) == np.sign(right)
    else:
        assert float(got) == right


def test_float64_alone_rounds_some_sums_twice():
    a = c = np.float32(1 + 2**-12)
    tiny = np.float32(2.0**-60)
    twice = np.float32(np.float64(a) * np.float64(c) + np.float64(tiny))
    assert fused_multiply_add(a, c, tiny) == np.nextafter(twice, np.float32(2))


def test_infinities_and_no_numbers_pass_through():
    inf, nan = np.float32(np.inf), np.float32(np.nan)
    assert fused_multiply_add(inf, 1, 1) == inf
    assert np.isnan(fused_multiply_add(inf, 0, 1))
    assert np.isnan(fused_multiply_add(1, 1, nan))
    assert fused_multiply_add(np.zeros((2, 1), np.float32), np.ones(3, np.float32), inf).shape == (2, 3)


def test_conversions_to_int32_are_those_of_x86():
    x = np.array([0.5, 1.5, -2.5, 2.0**31, -(2.0**31), np.inf, -np.inf, np.nan, 2147483520], np.float32)
    assert to_int32(x).tolist() == [0, 2, -2, *[-(2**31)] * 5, 2147483520]


def test_quotients_saturate_around_the_zero_point():
    x = np.array([-np.inf, -1e30, -0.5, 0.5, 1.5, 1e30, np.inf, np.nan], np.float32)
    assert quantized(x, np.float32(1), 3, 0, 255).tolist() == [0, 0, 3, 3, 5, 255, 255, 0]
    assert quantized(x, np.float32(0), 3, -128, 127).tolist() == [-128, -128, -128, 127, 127, 127, 127, -128]


def test_one_value_beside_a_span():
    assert one_in_span((5, 8, 1, 1), (5, 8, 3, 3))
    assert one_in_span((5, 1, 1), (5, 4, 1))
    assert one_in_span((), (5, 4))
    assert not one_in_span((5, 8, 3, 3), (5, 8, 1, 1))
    assert not one_in_span((5, 1, 3, 3), (5, 8, 3, 3))
    assert not one_in_span((5, 8, 1, 1), (5, 8, 1, 1))
    assert not one_in_span((5, 1), (5, 1))  # one element an image, whatever the number of images
    assert not one_in_span((1, 1), (1, 1))
