"""How kernels are compared with their naive twins."""

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

SEEDS = st.integers(0, 2**32 - 1)
common = settings(deadline=None, derandomize=True, max_examples=16, suppress_health_check=list(HealthCheck))


def both(kernel_call, naive_call, *outputs):
    """Run both on their own copies of `outputs`; they must leave the same."""
    fast, slow = [o.copy() for o in outputs], [o.copy() for o in outputs]
    kernel_call(*fast)
    naive_call(*slow)
    for a, b in zip(fast, slow):
        assert np.array_equal(a, b)
