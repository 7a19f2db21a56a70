"""Read noise prepared as tables of draws: one for every standard deviation of a matrix, where there are few."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.scratch import aligned
from cimemu.kernels.draw_tables import draw_table, most_steps, numbers_of_sigma
from cimemu.kernels.noise import normal_quantiles

MOST_TABLES = 64  # of a matrix: a table is made in a millisecond, and takes 1.3 KB of the cache
MOST_STEPS = 5  # of a bucket: from about ten on multiplying quantiles is as fast


def tables_of_draws(
    keys: NDArray[np.uint64], numbers: NDArray[np.int64], sigma: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]] | None:
    """(tables, rules) of `noise_by_tables` for keys and sigma [S, G, C] and numbers [S, C]; None where a draw needs its product."""
    found, places = np.unique(sigma, return_inverse=True)
    if len(found) > MOST_TABLES:
        return None
    tables, rules, start = [], [], 0
    for one in found.tolist():
        made = _table(one)
        if made is None:
            return None
        table, rule = made
        tables.append(table)
        rules.append((start, *rule))
        start += len(table)
    chosen = np.array(rules, dtype=np.int64)[places.reshape(sigma.shape)]
    shared = (keys[..., 1:] == keys[..., :-1]) & (numbers[:, None, 1:] >> 3 == numbers[:, None, :-1] >> 3)
    run = np.ones(sigma.shape, dtype=np.int64)
    for c in range(sigma.shape[2] - 2, -1, -1):
        run[..., c] += np.where(shared[..., c], run[..., c + 1], 0)
    chosen = np.concatenate([chosen, run[..., None]], axis=3)
    whole = aligned((start,), np.uint8)  # a register that crosses a line of the cache would take two loads
    np.concatenate(tables, out=whole)
    return whole, np.ascontiguousarray(chosen)


@lru_cache(maxsize=256)
def _table(sigma: int) -> tuple[NDArray[np.uint8], tuple[int, int, int]] | None:
    """(table, (steps of a fine bucket, of a wide one, how many w have numbers above 255)), or None where bytes do not hold them."""
    numbers: Any = numbers_of_sigma(sigma, normal_quantiles())
    if numbers is None:
        return None
    steps = most_steps(numbers)
    made = draw_table(numbers, steps) if max(steps) <= MOST_STEPS else None
    return None if made is None else (made[0], (*steps, made[1]))
