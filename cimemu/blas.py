"""Products of integers by BLAS: in floats that hold every partial sum exactly."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def kind_for(bound: int) -> type:
    """The narrowest type in which sums of integers up to `bound` are exact in any order: float32, float64 or int64."""
    return np.float32 if bound < 1 << 24 else np.float64 if bound < 1 << 53 else np.int64


def product(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """`a @ b` of integers in a type of `kind_for`.

    No such product can meet what is no number. Some kernels of BLAS raise the processor's flag for it nevertheless, by
    places of a register that no operand fills (numpy issue 24067 is one such case), and NumPy would warn; so the flags
    are not read here. A cast of the result to integers reads its own.
    """
    with np.errstate(all="ignore"):
        made: NDArray[Any] = a @ b
    return made
