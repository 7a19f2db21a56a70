"""A macro measured as a lab would: a layer that fills it, run for a while, and what one more input vector takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.load import load_arch
from cimemu.arch.schema import Arch
from cimemu.emulate import RunResult, run
from cimemu.layer.base import TensorType
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.requantize import Fp32HalfEven
from cimemu.tally import COMPONENTS, chip_area
from cimemu.uncertainty import multipliers, spreads
from cimemu.workload.network import Network

VECTORS = 48
PRICED: Any = {"costs": True, "macro": {"adc": True}}  # what of an arch says how sure its prices are
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """What one more input vector takes in the steady state, and areas of the chip."""

    macs: int
    ns: float
    macro_cycles: float  # busy cycles of one macro
    conversions: float
    energy_pj: Mapping[str, float]  # by component, leakage included
    area_um2: Mapping[str, float]  # by component, the whole chip
    drawn_pj: Mapping[str, Vector]  # the same, and behind it in every draw of the prices [1 + draws]
    drawn_um2: Mapping[str, Vector]

    def energy(self, *components: str) -> Vector:
        """pJ of the named components, and in every draw of the prices: what a `Row` takes."""
        made: Vector = np.sum([self.drawn_pj[name] for name in components], axis=0)
        return made

    def area(self, *components: str) -> Vector:
        """um2 of the named components, and in every draw."""
        made: Vector = np.sum([self.drawn_um2[name] for name in components], axis=0)
        return made

    @property
    def tops(self) -> float:
        """10^12 operations a second; a multiply-accumulate is two."""
        return 2 * self.macs / self.ns / 1000

    def tops_per_w(self, *components: str) -> Vector:
        """Efficiency with the energy of the named components alone, and in every draw."""
        return 2 * self.macs / self.energy(*components)


def fill_network(weights: NDArray[np.int64], vectors: int) -> Network:
    """A network of one matrix product: `vectors` input vectors times `weights` [K, N]."""
    rows, outputs = weights.shape
    layer = MacroLayer(
        name="fill",
        inputs=("x",),
        outputs=("y",),
        geometry=Geometry(rows, vectors, 1, outputs, vectors, 1),
        weight=weights.T.astype(np.int16).reshape(outputs, rows, 1, 1),
        weight_zero_point=np.zeros(outputs, dtype=np.int64),
        input_zero_point=0,
        input_dtype="uint8",
        bias=np.zeros(outputs, dtype=np.int64),
        stage=Fp32HalfEven(
            multiplier=np.array([2.0**-16], dtype=np.float32), zero_point=128, low=0, high=255, dtype="uint8"
        ),
        output_type=TensorType((vectors, outputs), "uint8"),
        layout="rows",
    )
    return Network(
        name="fill",
        layers=(layer,),
        constants={},
        inputs=("x",),
        outputs=("y",),
        types={"x": TensorType((vectors, rows), "uint8"), "y": layer.output_type},
    )


def measure(arch: Arch, weights: NDArray[np.int64], inputs: NDArray[np.int64]) -> Measured:
    """Run `inputs` [vectors, K] times `weights` [K, N] on `arch`, and half of them: the difference is the steady state.

    Both runs are `cimemu.run`; counts, prices and cycles are theirs. Raises CimemuError as it does.
    """
    half = len(inputs) // 2
    long, short = (
        run(arch, fill_network(weights, count), inputs[None, :count].astype(np.uint8)) for count in (len(inputs), half)
    )
    more = len(inputs) - half
    events, leaked = ((_energy(long)[row] - _energy(short)[row]) / more for row in (0, 1))
    areas, _, _ = chip_area(arch)
    factors = multipliers(spreads(arch.model_dump(mode="json", include=PRICED), COMPONENTS))
    known = {
        kind: np.r_[np.ones((1, len(COMPONENTS))), getattr(factors, kind)] for kind in ("energy", "leakage", "area")
    }
    drawn_pj, drawn_um2 = known["energy"] * events + known["leakage"] * leaked, known["area"] * areas
    assert long.cycles is not None
    assert short.cycles is not None
    return Measured(
        macs=weights.size,
        ns=(long.cycles - short.cycles) / more * arch.clock_ns,
        macro_cycles=(_macro_busy(long) - _macro_busy(short)) / more,
        conversions=(long.conversions - short.conversions) / more,
        energy_pj=dict(zip(COMPONENTS, (events + leaked).tolist())),
        area_um2=dict(zip(COMPONENTS, areas.tolist())),
        drawn_pj=dict(zip(COMPONENTS, drawn_pj.T)),
        drawn_um2=dict(zip(COMPONENTS, drawn_um2.T)),
    )


def full_macro(arch: Arch) -> RunResult:
    """One macro of a chip of one tile, full of random weights, at `VECTORS` random input vectors. Raises CimemuError."""
    chip = load_arch(arch, {"chip.tiles": 1})
    macro = chip.macro
    one_bit = macro.weight.bits == 1
    side = 1 if one_bit else 2 ** (macro.weight.bits - 1) - 1
    most = 2 ** (macro.input.bits - int(macro.input.signed)) - 1
    weights = random_integers(-side, side, (macro.rows, macro.outputs), 1)
    if one_bit:
        weights = np.where(weights < 0, -1, 1)
    inputs = random_integers(0, min(most, 255), (VECTORS, macro.rows), 2)
    return run(chip, fill_network(weights, VECTORS), inputs[None].astype(np.uint8))


def _energy(result: RunResult) -> Vector:
    """pJ of events and of leakage by component [2, components]."""
    assert result.tally is not None
    pj = result.tally.energy_pj
    return np.stack([pj[:-1].sum(axis=0), pj[-1]])


def _macro_busy(result: RunResult) -> int:
    """Busy cycles of the busiest macro."""
    timeline = result.timeline
    assert timeline is not None
    return max(int(busy) for name, busy in zip(timeline.units, timeline.busy) if "/macro" in name)


def random_integers(low: int, high: int, shape: tuple[int, int], seed: int) -> NDArray[np.int64]:
    """Uniform integers low .. high, the same for a seed."""
    return np.random.default_rng(seed).integers(low, high + 1, shape)
