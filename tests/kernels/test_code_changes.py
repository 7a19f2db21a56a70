"""Changed codes of faulty cells against their definition."""

import numpy as np
import pytest

from cimemu.faults import kernels


@pytest.mark.parametrize("seed", range(8))
def test_code_changes_are_those_of_the_definition(seed):
    rng = np.random.default_rng(seed)
    points, groups, slices, columns, blocks, faults = 5, 3, 2, 2, 2, 6
    count = int(rng.integers(0, 6))
    words = rng.integers(0, 16, (points, 7)).astype(np.uint8)
    psums = rng.integers(-9, 40, (points, groups, slices, columns))
    thresholds = np.sort(rng.integers(-10, 45, (blocks, columns, count)), axis=2)
    values = rng.integers(-9, 9, (blocks, columns, count + 1))
    parts = np.array([(0, 3, 1), (2, 3, -4)])
    where = np.column_stack(
        [
            rng.integers(0, 7, faults),
            rng.integers(0, groups, faults),
            rng.integers(0, blocks, faults),
            rng.integers(-4, 5, (faults, columns)),
        ]
    )
    made = [np.zeros((faults, points, columns + 1), dtype=np.int64) for _ in range(2)]
    kernels.code_changes(words, psums, thresholds, values, parts, where, made[0])
    kernels.code_changes_naive(words, psums, thresholds, values, parts, where, made[1])
    assert np.array_equal(*made)
    assert made[0].any()
