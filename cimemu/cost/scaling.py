"""Node and voltage scaling of CMOS energy and area: the tables of Stillmaker and Baas.

Source: A. Stillmaker, B. Baas, "Scaling equations for the accurate prediction of CMOS device performance from
180 nm to 7 nm", Integration 58 (2017) 74-81, doi 10.1016/j.vlsi.2017.02.002 (130 nm and below; the values as listed
in the MIT-licensed hwcomponents). Between two nodes the factors are linear in the node, as hwcomponents has them.
"""

from bisect import bisect_left
from collections.abc import Callable

NODES_NM = (7.0, 10.0, 14.0, 16.0, 20.0, 32.0, 45.0, 65.0, 90.0, 130.0)
# Energy of a node at supply V is a V^2 + b V + c, in the unit that all nodes share.
ENERGY: dict[float, tuple[float, float, float]] = {
    130.0: (7.171, -6.709, 2.904),
    90.0: (4.762, -4.781, 2.092),
    65.0: (3.755, -4.398, 1.975),
    45.0: (1.103, -0.362, 0.2767),
    32.0: (0.9559, -0.7823, 0.471),
    20.0: (0.373, -0.1582, 0.04104),
    16.0: (0.2958, -0.1241, 0.03024),
    14.0: (0.2363, -0.09675, 0.02239),
    10.0: (0.2068, -0.09311, 0.02375),
    7.0: (0.1776, -0.09097, 0.02447),
}
# Area of the same circuit, 130 nm = 1.
AREA: dict[float, float] = {
    130.0: 1.0,
    90.0: 0.44,
    65.0: 0.23,
    45.0: 0.16,
    32.0: 0.072,
    20.0: 0.033,
    16.0: 0.03,
    14.0: 0.027,
    10.0: 0.016,
    7.0: 0.0092,
}


def energy_factor(from_nm: float, to_nm: float, from_v: float, to_v: float) -> float:
    """What an energy at (`from_nm`, `from_v`) is multiplied by at (`to_nm`, `to_v`). ValueError outside 7 .. 130 nm."""
    return _energy(to_nm, to_v) / _energy(from_nm, from_v)


def area_factor(from_nm: float, to_nm: float) -> float:
    """What an area at `from_nm` is multiplied by at `to_nm`. ValueError outside 7 .. 130 nm."""
    return _between(to_nm, lambda node: AREA[node]) / _between(from_nm, lambda node: AREA[node])


def _energy(node_nm: float, voltage_v: float) -> float:
    def at(node: float) -> float:
        a, b, c = ENERGY[node]
        return a * voltage_v**2 + b * voltage_v + c

    return _between(node_nm, at)


def _between(node_nm: float, at: Callable[[float], float]) -> float:
    """`at(node)` of the node, linear between two listed ones."""
    if not NODES_NM[0] <= node_nm <= NODES_NM[-1]:
        raise ValueError(
            f"node {node_nm:g} nm, Stillmaker-Baas scaling has {NODES_NM[0]:g} .. {NODES_NM[-1]:g} nm; "
            "give the component's numbers directly"
        )
    above = bisect_left(NODES_NM, node_nm)
    high = NODES_NM[above]
    if high == node_nm:
        return float(at(high))
    low = NODES_NM[above - 1]
    share = (node_nm - low) / (high - low)
    return float((1 - share) * at(low) + share * at(high))


def delay_factor(from_v: float, to_v: float, *, threshold_v: float = 0.3, alpha: float = 1.3) -> float:
    """What a delay at supply `from_v` is multiplied by at `to_v`: the alpha-power law, delay ~ V / (V - Vt)^alpha.

    Source: T. Sakurai, A. R. Newton, JSSC 25(2) 1990; alpha = 1.3 as there for short channels. ValueError where a supply
    is not above the threshold.
    """
    if min(from_v, to_v) <= threshold_v:
        raise ValueError(f"supply {min(from_v, to_v):g} V, must be above the threshold of {threshold_v:g} V")
    made: float = (to_v / (to_v - threshold_v) ** alpha) / (from_v / (from_v - threshold_v) ** alpha)
    return made
