"""The 90 % interval of every price of a cost table, and what prices have in common.

A cost table is read as JSON has it (an architecture's, or that in a trace), so that a trace can be judged without the plug-ins
that priced it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cimemu.cost.basis import KINDS, QUANTITIES, Basis, Quantity, basis_of

LEVEL = 0.90
FAMILIES = {  # what components of a chip are alike: an error in one family is mostly the same for all of it
    "converter": ("adc", "sample_hold", "reference_switch"),
    "array": ("wordline", "cell", "cell_level", "programming"),
    "logic": ("shift_add", "correction_adder", "psum_adder", "digital", "scale_multiplier", "wake_up"),
    "register": ("input_register", "output_register"),
    "memory": ("tile_buffer", "global_buffer"),
    "link": ("interconnect", "offchip"),
}
FAMILY_OF = {name: family for family, names in FAMILIES.items() for name in names}
COMPARED = ("flash", "ramp")  # circuits that a table without an energy of their own prices by the comparison


@dataclass(frozen=True)
class Spread:
    """One quantity of one component: its 90 % interval as factors of the price, and what it rests on."""

    component: str
    quantity: Quantity
    low: float
    high: float
    basis: Basis
    given: bool  # the interval is the file's own
    family: str
    node_nm: float | None
    identity: str  # prices of one identity are wrong together, on different chips too

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares of the logarithm's variance: of the node, of the family, of this price alone."""
        kind = KINDS[self.basis]
        return kind.technology, kind.family, 1 - kind.technology - kind.family


def spreads(arch: Mapping[str, Any], components: Sequence[str]) -> dict[Quantity, list[Spread]]:
    """Of every quantity, the spread of each of `components` in order. `arch` is an architecture as JSON has it."""
    costs = _mapping(arch.get("costs"))
    technology = _mapping(costs.get("technology"))
    node = technology.get("node_nm")
    node_nm = float(node) if isinstance(node, int | float) else None
    circuit = str(_mapping(_mapping(arch.get("macro")).get("adc")).get("circuit", ""))
    return {
        quantity: [_spread(name, _price(costs, name, circuit, quantity), quantity, node_nm) for name in components]
        for quantity in QUANTITIES
    }


def _price(costs: Mapping[str, Any], name: str, circuit: str, quantity: Quantity) -> dict[str, Any]:
    """The component whose source a price has: a converter that is priced by its comparisons has the comparator's."""
    price = _mapping(costs.get(name))
    if name != "adc" or quantity == "leakage" or circuit not in COMPARED or price.get("estimator") is not None:
        return price
    number = {"energy": "energy_pj", "area": "area_um2"}[quantity]
    own = (number, f"{quantity}_interval", *(("fixed_pj", "step_pj") if quantity == "energy" else ()))
    if any(price.get(name) is not None for name in own) or price.get("table"):
        return price
    return _mapping(price.get("comparator"))


def _spread(name: str, price: dict[str, Any], quantity: Quantity, node_nm: float | None) -> Spread:
    basis = basis_of(price, quantity)
    given = _given(price.get(f"{quantity}_interval"))
    factor = KINDS[basis].factor(quantity)
    low, high = (1 / factor, factor) if given is None else given
    told = (_mapping(price.get("estimator")).get("model", ""), price.get("source", ""))
    return Spread(
        component=name,
        quantity=quantity,
        low=low,
        high=high,
        basis=basis,
        given=given is not None,
        family=FAMILY_OF.get(name, name),
        node_nm=node_nm,
        identity="; ".join((name, basis, *map(str, told))),
    )


def _given(value: Any) -> tuple[float, float] | None:
    """The pair [low, high] of factors that is given; a damaged trace may hold anything."""
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(isinstance(v, int | float) for v in value):
        return None
    return (float(value[0]), float(value[1])) if 0 < value[0] <= 1 <= value[1] else None


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
