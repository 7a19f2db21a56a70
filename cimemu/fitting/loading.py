"""What it takes to write a plan's weights into its macros: cycles and energy, by the run's own model of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.mapping.plan import Plan
from cimemu.tally import CHARGED, count_prices
from cimemu.timing.build import programming_template
from cimemu.timing.compiled import run_compiled
from cimemu.timing.timeline import Ledger


@dataclass(frozen=True, eq=False)
class Loading:
    """Writing every phase's weights once."""

    phase_cycles: tuple[int, ...]
    layer_cycles: NDArray[np.int64]  # [layers] from the first fetch to the last write, waits for off-chip included
    layer_pj: NDArray[np.float64]  # [layers] cells written and bits brought in
    cell_writes: int


def weight_loading(plan: Plan) -> Loading:
    """Weights from off-chip into the macros: what a run charges where it reprograms, and a first programming costs."""
    prices, quanta_per_pj = count_prices(plan.arch)
    units: dict[str, int] = {}
    cycles = np.zeros(len(plan.layers), dtype=np.int64)
    energy = np.zeros(len(plan.layers), dtype=np.float64)
    phases = []
    writes = 0
    for phase in range(plan.phases):
        template = programming_template(plan, phase, units)
        ledger = Ledger.new(len(units), len(plan.layers))
        for times in run_compiled(template, 1, 0, None, ledger):
            for index in np.unique(template.layer):
                own = (template.layer == index) & (template.unit >= 0)
                cycles[index] += int(times.end[own].max()) - int(times.start[own].min())
            phases.append(times.done)
        for name, counters in CHARGED.items():
            for counter in counters:
                energy += template.counts[:, counter] * (prices[name] / quanta_per_pj)
        held = [plan.layers[p.layer] for p in plan.by_phase[phase]]
        writes += sum(layer.blocks[p.block].cells for layer, p in zip(held, plan.by_phase[phase]) if not layer.written)
    return Loading(tuple(phases), cycles, energy, writes)
