"""The named rounding modes against their definitions, ties included."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimemu.layer.requantize import (
    Accumulator,
    FixedPoint,
    FloatOnce,
    Fp32HalfEven,
    Fp64HalfAway,
    RealBias,
    ToFloat,
    WideFixedPoint,
)
from cimemu.layer.rounding import (
    doubling_high_multiply,
    float64_half_away,
    gemmlowp_double,
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
def test_two_roundings_are_what_they_say(acc, q31, shift):
    exact = Fraction(acc * q31, 2 ** (31 - shift))
    assert int(gemmlowp_double(acc, q31, shift)) == int(rounding_shift(doubling_high_multiply(acc, q31), -shift))
    assert abs(int(gemmlowp_double(acc, q31, shift)) - exact) <= 1


@given(INT32, st.one_of(st.floats(1e-12, 1.0), st.integers(-31, 0).map(lambda n: 2.0**n)))
@settings(derandomize=True, max_examples=300)
def test_a_float64_product_is_rounded_half_away_from_zero(acc, multiplier):
    assert int(float64_half_away(acc, multiplier)) == half_away(Fraction(float(acc) * multiplier))


def test_modes_differ_where_two_roundings_are_not_one():
    # 2^31 * 0.5 - a product just below a tie: 5 * 0.5 * 2^-1 = 1.25 + ties of the first rounding: 2.5 -> 3 -> 1.5 -> 2.
    assert int(gemmlowp_double(5, 2**30, -1)) == 2
    assert int(float64_half_away(5, 0.25)) == 1
    assert int(gemmlowp_double(-5, 2**30, -1)) == -1  # -2.5 -> -2 (nudge), -1 exactly
    assert int(float64_half_away(-6, 0.25)) == -2  # -1.5 away from zero


@given(st.lists(st.integers(-128, 127), min_size=2, max_size=12), st.floats(0.01, 0.4))
@settings(derandomize=True, max_examples=100)
def test_softmax_is_within_one_code_of_the_real_one(row, scale):
    x = np.array([row], dtype=np.int64)
    got = softmax_rows(x, *softmax_parameters(1.0, scale), "int8")
    real = np.exp((x - x.max()) * scale)
    expected = real / real.sum() * 256 - 128
    assert np.abs(np.clip(expected, -128, 127) - got).max() <= 1.5


HALVES = np.array([-2.5, -1.75, -1.5, -0.75, -0.5, 0.0, 0.5, 0.75, 1.5, 1.75, 2.5])
NEAREST = [-2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2]  # ties to even
ONE = np.array([1 << 30], np.int64), np.array([1], np.int64)  # q31 and shift of the factor 1.0
STAGES = {
    "Accumulator": Accumulator(),
    "Fp32HalfEven": Fp32HalfEven(np.float32([1]), 0, -128, 127, "int8"),
    "FixedPoint": FixedPoint(*ONE, 0, -128, 127, "int8"),
    "WideFixedPoint": WideFixedPoint(*ONE, 0, -128, 127, "int8"),
    "Fp64HalfAway": Fp64HalfAway(np.ones(1), 0, -128, 127, "int8"),
    "RealBias": RealBias(np.ones(1), np.zeros(1, np.float32), np.float32(1), 0, -128, 127, "int8", False),
}


@pytest.mark.parametrize("name", STAGES)
def test_sums_that_are_no_integers_are_rounded_to_the_nearest_never_truncated(name):
    assert STAGES[name].apply(HALVES[:, None])[:, 0].tolist() == NEAREST


def test_every_output_stage_is_held_to_that_or_gives_floats():
    import cimemu.layer.requantize as stages

    known = {
        kind.__name__
        for kind in vars(stages).values()
        if isinstance(kind, type) and issubclass(kind, stages.OutputStage)
    }
    assert known == {"OutputStage", *STAGES, ToFloat.__name__, FloatOnce.__name__}


def test_a_fixed_point_multiplier_rounds_sums_that_are_no_integers_once():
    # 1.5 * 0.75 = 1.125 -> 1; rounded twice it would be 2 * 0.75 = 1.5 -> 2.
    stage = FixedPoint(np.array([3 << 29]), np.array([0]), 0, -128, 127, "int8")
    assert stage.apply(np.array([[1.5]]))[0, 0] == 1
