"""float32 arithmetic to the bit, as ONNX Runtime's kernels on x86-64 do it: fused multiply-add, rounding, quantising."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
INDEFINITE = -(2.0**31)  # what an x86 conversion makes of a number that no int32 holds


def fused_multiply_add(a: Any, b: Any, c: Any) -> Floats:
    """`a * b + c` of float32 values, rounded once to float32.

    The product is exact in float64, the sum may not be, and rounding it to float64 and then to float32 could round
    twice. So the sum is rounded to odd first: where it is inexact, the neighbour with an odd last bit is taken. An odd
    number of 53 bits is never a tie of 24 bits, and says on which side of one the exact sum lies.
    """
    a, b, c = (np.asarray(x, dtype=np.float64) for x in (a, b, c))
    with np.errstate(all="ignore"):  # infinities and what comes of them are values here
        product = a * b
        total = np.atleast_1d(product + c)
        # The rounding error of a float64 sum, exactly (Knuth's two-sum).
        of_c = total - product
        error = (product - (total - of_c)) + (c - of_c)
        bits = total.view(np.int64)
        even = (error != 0) & np.isfinite(error) & (bits & 1 == 0)
        outwards = (error > 0) == (total > 0)  # one step of the bits is one step of the magnitude
        odd = (bits + np.where(even, np.where(outwards, 1, -1), 0)).view(np.float64)
        return odd.astype(np.float32).reshape(np.broadcast_shapes(a.shape, b.shape, c.shape))


def to_int32(x: Floats) -> NDArray[np.int64]:
    """Rounded half to even; what int32 does not hold (no number, too large on either side) is -2^31, as on x86."""
    rounded = np.rint(x.astype(np.float64))
    return np.where(np.abs(rounded) < -INDEFINITE, rounded, INDEFINITE).astype(np.int64)


def quantized(x: Floats, scale: Any, zero_point: Any, low: int, high: int) -> Floats:
    """`rint(x / scale)` limited to low .. high around the zero point; what is no number becomes low.

    Limited before it is rounded, as ONNX Runtime does, so that infinities and large quotients saturate. The result
    holds integers; `x` and the parameters are float32 and broadcast.
    """
    zero = np.asarray(zero_point, dtype=np.float32)
    with np.errstate(all="ignore"):
        q = np.atleast_1d(x / scale)
        lowest = np.float32(low) - zero
        np.clip(q, lowest, np.float32(high) - zero, out=q)
        if np.isnan(q.sum()):  # a limited sum is finite unless something in it is no number
            np.copyto(q, lowest, where=np.isnan(q))
        np.rint(q, out=q)
        q += zero
        return q.reshape(np.shape(x))
