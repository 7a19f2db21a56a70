"""What a price rests on, and the 90 % interval that such prices get where none is given.

The factors are judgements, made once and for all chips: a price of basis `scaled` lies within a factor of 2 either way in
nine cases of ten. A price with an interval of its own (`energy_interval` and so on) does not use them.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

Basis = Literal[
    "measured", "calibrated", "stated", "physics", "simulated", "circuit", "scaled", "survey", "assumed", "unstated"
]
Quantity = Literal["energy", "area", "leakage"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)


@dataclass(frozen=True)
class Kind:
    """Factors of the 90 % interval either way, and how much of the logarithm's variance prices share."""

    what: str
    energy: float
    area: float
    leakage: float
    technology: float  # share of the variance that all prices of one node have in common
    family: float  # share that the converters, the memories ... have in common

    def factor(self, quantity: Quantity) -> float:
        """Of one quantity."""
        return {"energy": self.energy, "area": self.area, "leakage": self.leakage}[quantity]


KINDS: dict[Basis, Kind] = {
    "measured": Kind("measured on this macro", 1.15, 1.1, 1.5, 0.0, 0.2),
    "calibrated": Kind("set so that a known figure comes out", 1.3, 1.2, 2.0, 0.0, 0.2),
    "stated": Kind("a publication's figure, of another chip", 1.8, 1.5, 3.0, 0.1, 0.3),
    "physics": Kind("charge, conductance and voltage: the layout is not known", 1.8, 1.5, 3.0, 0.2, 0.4),
    "simulated": Kind("a simulator's figure, as CACTI's", 2.0, 1.6, 3.0, 0.2, 0.5),
    "circuit": Kind("parts of a circuit, counted", 2.0, 1.8, 3.0, 0.2, 0.5),
    "scaled": Kind("from another node or supply", 2.0, 1.8, 3.0, 0.4, 0.3),
    "survey": Kind("a regression on converters, of which published ones lie within 4", 4.0, 3.0, 4.0, 0.0, 0.6),
    "assumed": Kind("an assumption", 3.0, 2.0, 4.0, 0.1, 0.3),
    "unstated": Kind("no source given", 3.0, 2.0, 4.0, 0.1, 0.3),
}
OF_ESTIMATOR: dict[str, Basis] = {
    "library": "scaled",
    "sram": "simulated",
    "measured": "measured",
    "wire": "physics",
    "conductance": "physics",
    "capacitance": "physics",
    "resistive": "physics",
    "survey": "survey",
    "adder_tree": "circuit",
    "sar": "circuit",
    "flash": "circuit",
    "ramp": "circuit",
    "in_memory_ramp": "circuit",
    "imported": "simulated",
}
WORDS: tuple[tuple[str, Basis], ...] = (  # the first that a part of a source's text has
    ("assum", "assumed"),
    ("order of magnitude", "assumed"),
    ("calibrat", "calibrated"),
    ("measured", "measured"),
    ("scal", "scaled"),
    ("halved", "scaled"),
    ("cacti", "simulated"),
    ("c v", "physics"),
    ("v^2", "physics"),
)
OF_QUANTITY = {"area": re.compile(r"\barea"), "leakage": re.compile(r"\bleak"), "energy": re.compile(r"\benerg")}


def basis_of(price: dict[str, Any], quantity: Quantity) -> Basis:
    """What the `quantity` of a component of the cost table (as JSON has it) rests on.

    `basis` says it; else the estimator, if one was asked; else words of `source`, of which a part that names area, leakage
    or energy speaks of that alone. A scale other than 1 is a calibration.
    """
    said = price.get("basis")
    if said in KINDS:
        found: Basis = said
        return found
    scale = {"energy": "energy_scale", "area": "area_scale", "leakage": ""}[quantity]
    if price.get(scale, 1.0) != 1.0:
        return "calibrated"
    estimator = price.get("estimator")
    if isinstance(estimator, dict):
        return OF_ESTIMATOR.get(str(estimator.get("model")), "stated")
    return _of_words(str(price.get("source") or ""), quantity)


def _of_words(source: str, quantity: Quantity) -> Basis:
    """The widest basis that a part of the text which speaks of `quantity` names."""
    parts = [part for part in re.split(r"[;:,]|\. ", source.lower()) if part.strip()]
    if not parts:
        return "unstated"
    mine = [part for part in parts if OF_QUANTITY[quantity].search(part) or not _named(part)]
    named: list[Basis] = [next((basis for word, basis in WORDS if word in part), "stated") for part in mine]
    told = [basis for basis in named if basis != "stated"]
    if not told:
        return "stated"
    return max(told, key=lambda basis: KINDS[basis].factor(quantity))


def _named(part: str) -> bool:
    return any(pattern.search(part) for pattern in OF_QUANTITY.values())
