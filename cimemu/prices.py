"""The resolved cost table of a chip: a row a component, every number with its source."""

from dataclasses import asdict, dataclass
from typing import Any

from cimemu.arch.schema import Arch
from cimemu.cost.basis import QUANTITIES
from cimemu.tally import CHARGED, chip_area, counts_per_event, event_prices
from cimemu.uncertainty import interval, multipliers, spreads


@dataclass(frozen=True)
class PriceRow:
    """One component: what an event costs, what its instances occupy and leak, and where the numbers come from."""

    component: str
    event: str  # the counters that its energy multiplies
    energy_pj: float  # one event, calibrated
    instances: int  # on the whole chip
    area_um2: float  # one instance, calibrated; the whole chip's where it has no instances
    leakage_uw: float  # one instance
    energy_scale: float
    area_scale: float
    estimator: str  # "" where the numbers are given in the file
    source: str
    energy_low_pj: float  # 90 % interval of one event's energy
    energy_high_pj: float
    area_low_um2: float
    area_high_um2: float
    leakage_low_uw: float
    leakage_high_uw: float
    basis: str  # what the energy rests on
    interval: str  # "given" in the file or by the estimator, or "by basis"


def cost_table(arch: Arch) -> list[PriceRow]:
    """Every component of `arch` (a chip from `load_arch`), in the order of the tally.

    Energies are in pJ for one event, areas in um2 and leakage in uW for one instance; `source` says where the numbers
    come from, and `low` and `high` are the ends of their 90 % intervals. Raises ArchError where an estimator has no answer.

    >>> import cimemu
    >>> row = cimemu.cost_table(cimemu.load_arch("rram_128"))[0]
    >>> row.component, row.energy_pj, row.area_um2, row.instances
    ('adc', 1.42, 845.0, 8192)
    """
    prices, parts = event_prices(arch), counts_per_event(arch)
    area, leakage, instances = chip_area(arch)
    sure = spreads(arch.model_dump(mode="json", include={"costs": True, "macro": {"adc": True}}), tuple(CHARGED))
    rows = []
    for column, name in enumerate(CHARGED):
        part: Any = getattr(arch.costs, name)
        count = int(instances[column])
        each_um2, each_uw = float(area[column]) / max(1, count), float(leakage[column]) / max(1, count)
        energy, space, leak = (sure[quantity][column] for quantity in QUANTITIES)
        rows.append(
            PriceRow(
                component=name,
                event=" + ".join(counter.name.lower() for counter in CHARGED[name])
                + (f" / {parts[name]}" if parts[name] > 1 else ""),
                energy_pj=prices[name],
                instances=count,
                area_um2=each_um2,
                leakage_uw=each_uw,
                energy_scale=part.energy_scale,
                area_scale=part.area_scale,
                estimator="" if part.estimator is None else part.estimator.model,
                source="; ".join(text for text in (part.source.strip(), part.estimate) if text),
                energy_low_pj=prices[name] * energy.low,
                energy_high_pj=prices[name] * energy.high,
                area_low_um2=each_um2 * space.low,
                area_high_um2=each_um2 * space.high,
                leakage_low_uw=each_uw * leak.low,
                leakage_high_uw=each_uw * leak.high,
                basis=energy.basis,
                interval="given" if energy.given else "by basis",
            )
        )
    return rows


def cost_data(arch: Arch) -> dict[str, Any]:
    """The table as one object: what `cimemu cost --json` prints."""
    technology = arch.costs.technology
    area, leakage, _ = chip_area(arch)
    tree = arch.model_dump(mode="json", include={"costs": True, "macro": {"adc": True}})
    factors = multipliers(spreads(tree, tuple(CHARGED)))
    areas, leaks = interval((factors.area * area).sum(axis=1)), interval((factors.leakage * leakage).sum(axis=1))
    return {
        "arch": arch.name,
        "node_nm": None if technology is None else technology.node_nm,
        "voltage_v": None if technology is None else technology.voltage_v,
        "area_mm2": float(area.sum()) / 1e6,
        "area_mm2_low": areas.low / 1e6,
        "area_mm2_high": areas.high / 1e6,
        "leakage_uw": float(leakage.sum()),
        "leakage_uw_low": leaks.low,
        "leakage_uw_high": leaks.high,
        "components": [asdict(row) for row in cost_table(arch)],
    }
