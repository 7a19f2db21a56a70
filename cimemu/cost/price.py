"""What a cost table says about one converter: energy of a conversion, area of an instance."""

from dataclasses import dataclass
from math import exp, log
from typing import Literal

from cimemu.cost.schema import AdcCost, AdcRow
from cimemu.errors import ArchError

FEMTO_TO_PICO = 1e-3


@dataclass(frozen=True)
class Conversion:
    """What is priced: a converter of `bits`, its steps and its time, and how often its column was sampled before."""

    circuit: str
    bits: int
    ns: float
    steps: int
    samples: int = 1


def conversion_pj(cost: AdcCost, one: Conversion) -> float:
    """Energy of one conversion. ArchError where the table has no such converter."""
    besides = (cost.static_uw or 0.0) * one.ns * FEMTO_TO_PICO + (cost.sample_pj or 0.0) * one.samples
    return cost.energy_scale * (_own_pj(cost, one) + besides)


def _own_pj(cost: AdcCost, one: Conversion) -> float:
    """The same without what is drawn all the time, and what samples take."""
    if cost.energy_pj is not None:
        return cost.energy_pj
    if cost.by_step:
        return (cost.fixed_pj or 0.0) + one.steps * (cost.step_pj or 0.0)
    if cost.table:
        return _from_table(cost, "table", one.bits, "energy_pj")
    if one.circuit == "sar":
        return _from_table(cost, "sar", one.bits, "energy_pj")
    # Flash: every comparator decides once. Ramp: one comparator a column looks at every step of the ramp.
    made: float = one.steps * cost.comparator.energy_pj * cost.comparator.energy_scale
    return made


def converter_um2(cost: AdcCost, circuit: str, bits: int) -> float:
    """Area of one converter. ArchError where the table has no such converter."""
    if cost.area_um2 is not None:
        return cost.area_scale * cost.area_um2
    if cost.table:
        return cost.area_scale * _from_table(cost, "table", bits, "area_um2")
    if circuit == "sar":
        return cost.area_scale * _from_table(cost, "sar", bits, "area_um2")
    comparators: int = {"flash": 2**bits - 1, "ramp": 1}[circuit]
    return cost.area_scale * comparators * cost.comparator.area_um2 * cost.comparator.area_scale


def _from_table(cost: AdcCost, table: Literal["sar", "table"], bits: int, field: str) -> float:
    """A row by resolution, log-linear between rows and, where the table allows it, outside them."""
    rows = sorted(getattr(cost, table), key=lambda row: row.bits)
    if not rows:
        return 0.0
    for row in rows:
        if row.bits == bits:
            return float(getattr(row, field))
    if not rows[0].bits < bits < rows[-1].bits and (not cost.extrapolate or len(rows) < 2):
        raise ArchError(
            f"macro.adc.bits = {bits}, costs.adc.{table} has {rows[0].bits} .. {rows[-1].bits}; "
            "add a row, or set costs.adc.extrapolate=true"
        )
    above = next((i for i, row in enumerate(rows) if row.bits > bits), len(rows) - 1)
    above = max(1, above)
    return _log_line(rows[above - 1], rows[above], bits, field)


def _log_line(low: AdcRow, high: AdcRow, bits: int, field: str) -> float:
    a, b = float(getattr(low, field)), float(getattr(high, field))
    share = (bits - low.bits) / (high.bits - low.bits)
    if a <= 0 or b <= 0:
        return a + share * (b - a)
    return exp(log(a) + share * (log(b) - log(a)))
