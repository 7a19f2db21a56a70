"""What keeping a chip exact costs over its life: calibrations and rewritten cells, their time, energy, bits and wear."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cimemu.arch.schema import Arch
from cimemu.compute.forward import Emulator
from cimemu.engines.calibrate import calibration_of, check_calibrated, test_vectors
from cimemu.events import Counter
from cimemu.fitting.loading import weight_loading
from cimemu.mapping.place import make_plan
from cimemu.mapping.plan import LayerPlan, Plan
from cimemu.tally import tally_energy
from cimemu.variation.base import VariationBase
from cimemu.variation.calibration import Calibration
from cimemu.variation.compose import compose
from cimemu.variation.drift import Drift
from cimemu.variation.measured_drift import MeasuredDrift
from cimemu.workload.network import Network

Aging = Drift | MeasuredDrift
INTEGER_BITS = 5  # of a gain or an offset of magnitude 16 at most, with its sign


@dataclass(frozen=True)
class Upkeep:
    """What was spent on a chip until the time of its run; times and energies are of one calibration and one writing.

    A calibration is `vectors` inputs through every layer in every round, one layer behind the other; energy is what macros
    spend on them, with leakage. `gain_bits` hold its result, `expected_bits` what its columns should give. `wear` is the share
    of a cell's writes that the writings have used.
    """

    calibrations: int
    calibration_us: float
    calibration_uj: float
    gain_bits: int
    expected_bits: int
    writings: int
    writing_us: float
    writing_uj: float
    cells_written: int
    wear: float

    @property
    def total_uj(self) -> float:
        """Energy of all calibrations and writings."""
        return self.calibrations * self.calibration_uj + self.writings * self.writing_uj

    def lines(self, name: str = "") -> list[str]:
        """What one calibration (`name` tells it from others) and one writing cost, in words."""
        made = []
        if self.calibrations:
            made.append(
                f"one calibration{' ' * bool(name)}{name}: {self.calibration_us:,.4g} us and {self.calibration_uj:,.4g} uJ; "
                f"{self.gain_bits:,} bits of gains and offsets, {self.expected_bits:,} bits of expected sums"
            )
        if self.writings > 1:
            made.append(
                f"one writing of all cells: {self.writing_us:,.4g} us and {self.writing_uj:,.4g} uJ; {self.writings:,} of "
                f"them use {100 * self.wear:.3g} % of a cell's writes"
            )
        return made

    def row(self) -> dict[str, Any]:
        """The fields by name, and the total."""
        return {**asdict(self), "upkeep_uj": self.total_uj}


def keepers(models: Sequence[VariationBase]) -> tuple[VariationBase, ...]:
    """The models that say how a chip is kept, where something keeps it: drift and calibration."""
    found = tuple(model for model in models if model.stage == "calibration" or isinstance(model, Aging))
    kept = any(m.refresh is not None if isinstance(m, Aging) else not m.is_identity for m in found)
    return found if kept else ()


def upkeep(arch: Arch, network: Network, vary: Sequence[Any]) -> Upkeep:
    """What calibrations and writings of the models `vary` cost until their time, for a quantised network on `arch`.

    The first writing of the cells counts too. Raises CimemuError where the network does not fit the chip.
    """
    variations = compose(vary)
    chosen = calibration_of(variations)
    aging = [model for model in variations.models if isinstance(model, Aging)]
    drift = max(aging, key=lambda model: model.seconds, default=None)
    plan = make_plan(network, arch)
    loading = weight_loading(plan)
    writings = 1 if drift is None else drift.writings
    each = (0.0, 0.0, 0, 0) if chosen is None else _calibration(arch, network, plan, chosen)
    return Upkeep(
        0 if chosen is None else _calibrations(chosen, drift),
        *each,
        writings=writings,
        writing_us=sum(loading.phase_cycles) * arch.clock_ns / 1000,
        writing_uj=float(loading.layer_pj.sum()) / 1e6,
        cells_written=loading.cell_writes,
        wear=writings / arch.programming.endurance_writes,
    )


def _calibrations(chosen: Calibration, drift: Aging | None) -> int:
    """One before the run; at every multiple of `every` since a writing, that of the writing with it."""
    if chosen.every is None or drift is None:
        return 1
    last = 1 + int(drift.age // chosen.every)
    return last if drift.refresh is None else (drift.writings - 1) * -int(-drift.refresh // chosen.every) + last


def _calibration(arch: Arch, network: Network, plan: Plan, chosen: Calibration) -> tuple[float, float, int, int]:
    """(us, uJ, bits of gains and offsets, bits of what columns should give) of one calibration."""
    emulator = Emulator(network, arch.macro, plan=plan)
    activity = np.zeros((1, len(plan.layers), len(Counter)), dtype=np.int64)
    cycles = gains = expected = 0
    for layer in plan.layers:
        if layer.name not in emulator.matrices or layer.cells_of != layer.index:
            continue
        cycles += chosen.rounds * chosen.vectors * _operation(plan, layer)
        factors = 0
        for programmed in emulator.matrices[layer.name].programmed:
            matrix = programmed.matrix
            counts = programmed.run(test_vectors(matrix, chosen.vectors)).counts[0]
            activity[0, layer.index] += layer.replicas * chosen.rounds * counts
            columns = len(matrix.layout.row_blocks) * matrix.seen_columns
            factors += columns if chosen.what == "column" else 2 * -(-columns // arch.macro.columns_per_adc)
            check_calibrated(matrix, chosen)
            codes = 2 ** max(rule.bits for rule in matrix.references or ()) - 1
            most = codes * int(np.abs(matrix.slice_weights).sum()) * max(matrix.layout.groups_per_block)
            expected += chosen.vectors * columns * most.bit_length()
        gains += layer.replicas * (1 if chosen.what == "factor" else factors) * (chosen.bits + INTEGER_BITS)
    activity[:, :, Counter.SCALE_MULTIPLICATIONS] = 0
    spent = tally_energy(arch, plan, activity, cycles, np.zeros(activity.shape[1:], dtype=np.int64))
    return cycles * arch.clock_ns / 1000, spent.total_pj / 1e6, gains, expected


def _operation(plan: Plan, layer: LayerPlan) -> int:
    """Cycles of one input on all macros of a layer, each working through its blocks."""
    busy: dict[tuple[int, int], int] = {}
    for placed in plan.placed:
        if placed.layer == layer.index and placed.replica == 0:
            key = (placed.phase, placed.macro)
            busy[key] = busy.get(key, 0) + layer.blocks[placed.block].op_cycles
    return max(busy.values(), default=0)
