"""Sigmoid and tanh as ONNX Runtime computes them on x86-64 with FMA3: a quotient of two polynomials in float32.

The coefficients are those of Eigen's and ONNX Runtime's approximations; every step is a fused multiply-add, so the
results are ONNX Runtime's to the last bit. They are up to four units in the last place from the true function, which
is why a table of an exact sigmoid differs from ONNX Runtime's integer operator once in some 250,000 entries.
"""

from collections.abc import Sequence

import numpy as np

from cimemu.layer.float32 import Floats, fused_multiply_add

# Highest power first; odd powers above, even powers below the fraction bar.
LOGISTIC = (
    (4.37031012579801e-11, 1.15627324459942e-07, 6.08574864600143e-05, 8.51377133304701e-03, 2.48287947061529e-01),
    (
        6.10247389755681e-13, 5.76102136993427e-09, 6.29106785017040e-06, 1.70198817374094e-03, 1.16817656904453e-01,
        9.93151921023180e-01,
    ),
)  # fmt: skip
LOGISTIC_LIMIT = 18.0
TANH = (
    (
        -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
        1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
    ),
    (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03),
)  # fmt: skip
TANH_LIMIT = 9.0


def logistic(x: Floats) -> Floats:
    """1 / (1 + exp(-x)) of float32 values."""
    made: Floats = np.maximum(_quotient(x, LOGISTIC, LOGISTIC_LIMIT) + np.float32(0.5), np.float32(0))
    return made


def tanh(x: Floats) -> Floats:
    """The hyperbolic tangent of float32 values."""
    return _quotient(x, TANH, TANH_LIMIT)


def _quotient(x: Floats, polynomials: tuple[Sequence[float], Sequence[float]], limit: float) -> Floats:
    limited = np.clip(x, np.float32(-limit), np.float32(limit))
    square = limited * limited
    above, below = (_horner(square, coefficients) for coefficients in polynomials)
    return np.asarray(limited * above / below)


def _horner(square: Floats, coefficients: Sequence[float]) -> Floats:
    value = np.full(square.shape, coefficients[0], np.float32)
    for coefficient in coefficients[1:]:
        value = fused_multiply_add(value, square, np.float32(coefficient))
    return value
