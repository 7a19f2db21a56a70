"""Kernels of stuck cells against their naive twins."""

import numpy as np
import pytest

from cimemu.faults import kernels
from cimemu.kernels import cells


@pytest.mark.parametrize("low", [0, 1 << 28])
def test_stuck_cells_are_found_where_they_are_drawn(low):
    given = (
        np.uint64(12345),
        (3, 20, 40),
        np.uint64(low),
        np.uint64(low + (1 << 29)),
        np.empty((1, 33), dtype=np.uint64),
    )
    fast, slow = np.full((2, 20 * 33, 3), -1, dtype=np.int64)
    count = cells.find_stuck(*given, fast)
    assert count == cells.find_stuck_naive(*given, slow)
    assert np.array_equal(fast, slow)
    assert 40 < count < 200


@pytest.mark.parametrize("kind", [np.uint8, np.int16])
def test_some_products_are_products(kind):
    rng = np.random.default_rng(2)
    x = rng.integers(0 if kind == np.uint8 else -500, 255, (5, 7, 40)).astype(kind)
    weights, images = rng.integers(-300, 300, (3, 40)), np.array([4, 0, 2])
    fast, slow = np.zeros((2, 3, 7, 3), dtype=np.int64)
    kernels.some_products(x, images, weights, fast)
    kernels.some_products_naive(x, images, weights, slow)
    assert np.array_equal(fast, slow)
