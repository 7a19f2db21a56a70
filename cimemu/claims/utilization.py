"""CIM-aware adaption's claim (arXiv 2510.14379): widths that fill macros of 256 word lines, and what loading then takes."""

from dataclasses import dataclass

from cimemu.arch.schema import Arch
from cimemu.fitting import fit
from cimemu.workload.network import Network


@dataclass(frozen=True)
class UtilizationRow:
    """A network on the chip."""

    widths: str
    budget: int  # macros it may take
    macros: int
    utilization: float  # of the cells of the macros it takes
    parameters: int
    compression: float  # share of the parameters taken away
    phases: int  # how often the chip is filled in a run
    load_us: float  # loading all weights once: at start where they fit at once, in every run where they do not
    reload_us: float  # of it in every run


def utilization_rows(arch: Arch, network: Network, *, budget: int | None = None, seed: int = 0) -> list[UtilizationRow]:
    """`network` (float) as it is and with widths for `budget` macros, on a chip of so many.

    Default budget: as many macros as it takes now. Raises MappingError where not even one layer fits.
    """
    per_tile = arch.tile.macros
    wanted = budget or fit(arch, network, propose=False).mapped.plan.macros_used
    chip = arch.model_copy(update={"chip": arch.chip.model_copy(update={"tiles": -(-wanted // per_tile)})})
    found = fit(chip, network, macros=wanted, seed=seed)
    assert found.proposal is not None
    rows = []
    for name, mapped in (("as trained", found.mapped), ("macro-aware", found.proposal.mapped)):
        whole = mapped.summary()
        load_us = whole["load_cycles"] * arch.clock_ns / 1000
        rows.append(
            UtilizationRow(
                widths=name,
                budget=wanted,
                macros=whole["macros"],
                utilization=whole["utilization"],
                parameters=whole["parameters"],
                compression=1 - whole["parameters"] / found.mapped.parameters,
                phases=whole["phases"],
                load_us=load_us,
                reload_us=load_us if whole["phases"] > 1 else 0.0,
            )
        )
    return rows
