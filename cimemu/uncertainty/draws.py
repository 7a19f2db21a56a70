"""Prices drawn together: factors of every price, in draws that are the same for every chip, run and machine.

The logarithm of a price's factor is normal on either side of 0, so that its median is 1 and its 90 % interval the price's own.
Behind it stand three normal numbers: one of the node, one of the family, one of the price itself. Each is drawn by the name of
what it belongs to, as every quantile once in an order of its own (Latin hypercube).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cimemu.cost.basis import Quantity
from cimemu.uncertainty.prices import LEVEL, Spread

DRAWS = 4096
SEED = "cimemu 90 % intervals, 1"
REACH = NormalDist().inv_cdf((1 + LEVEL) / 2)  # normal numbers of 90 % lie within this
Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Multipliers:
    """Factors [draw, component] of energies, areas and leakages."""

    energy: Vector
    area: Vector
    leakage: Vector


def multipliers(found: Mapping[Quantity, Sequence[Spread]]) -> Multipliers:
    """Factors of every price in every draw."""
    made = {quantity: np.stack([factors(one) for one in found[quantity]], axis=1) for quantity in found}
    return Multipliers(energy=made["energy"], area=made["area"], leakage=made["leakage"])


def factors(spread: Spread) -> Vector:
    """Factors of one price [draw]."""
    names = (
        f"{spread.quantity}/node {spread.node_nm}",
        f"{spread.quantity}/family {spread.family}",
        f"{spread.quantity}/price {spread.identity}",
    )
    normal = sum(share**0.5 * _normal(name) for share, name in zip(spread.shares, names))
    side = np.where(np.asarray(normal) < 0, np.log(1 / spread.low), np.log(spread.high))
    made: Vector = np.exp(side * normal / REACH)
    return made


@lru_cache(maxsize=512)
def _normal(name: str) -> Vector:
    """Every quantile of the normal distribution once, in the order that belongs to `name`."""
    key = int.from_bytes(hashlib.sha256(f"{SEED}/{name}".encode()).digest()[:16], "little")
    order = np.random.Generator(np.random.Philox(key=key)).permutation(DRAWS)
    return _quantiles()[order]


@lru_cache(maxsize=1)
def _quantiles() -> Vector:
    normal = NormalDist()
    return np.array([normal.inv_cdf((i + 0.5) / DRAWS) for i in range(DRAWS)])
