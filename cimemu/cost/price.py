"""What a cost table says about one converter: energy of a conversion, area of an instance."""

from math import exp, log

from cimemu.cost.schema import AdcCost, AdcRow
from cimemu.errors import ArchError


def conversion_pj(cost: AdcCost, circuit: str, bits: int) -> float:
    """Energy of one conversion. ArchError where the table has no such converter."""
    if cost.energy_pj is not None:
        return cost.energy_scale * cost.energy_pj
    if circuit == "sar":
        return cost.energy_scale * _from_table(cost, bits, "energy_pj")
    # Flash: every comparator decides once. Ramp: one comparator a column looks at every step of the ramp.
    decisions = {"flash": 2**bits - 1, "ramp": 2**bits - 1}[circuit]
    made: float = cost.energy_scale * decisions * cost.comparator.energy_pj * cost.comparator.energy_scale
    return made


def converter_um2(cost: AdcCost, circuit: str, bits: int) -> float:
    """Area of one converter. ArchError where the table has no such converter."""
    if cost.area_um2 is not None:
        return cost.area_scale * cost.area_um2
    if circuit == "sar":
        return cost.area_scale * _from_table(cost, bits, "area_um2")
    comparators: int = {"flash": 2**bits - 1, "ramp": 1}[circuit]
    return cost.area_scale * comparators * cost.comparator.area_um2 * cost.comparator.area_scale


def _from_table(cost: AdcCost, bits: int, field: str) -> float:
    """A SAR row by resolution, log-linear between rows and, where the table allows it, outside them."""
    rows = sorted(cost.sar, key=lambda row: row.bits)
    if not rows:
        return 0.0
    for row in rows:
        if row.bits == bits:
            return float(getattr(row, field))
    if not rows[0].bits < bits < rows[-1].bits and (not cost.extrapolate or len(rows) < 2):
        raise ArchError(
            f"macro.adc.bits = {bits}, costs.adc.sar has {rows[0].bits} .. {rows[-1].bits}; "
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
