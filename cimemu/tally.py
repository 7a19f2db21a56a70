"""Counted events times the arch's prices: energy by image, layer and component; area and leakage by component.

Energies are summed as integers, so that every way of summing gives the same total: attojoules, or the part of one that
makes all prices whole numbers (see `count_prices`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import lcm
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import IdealAdc
from cimemu.arch.schema import Arch
from cimemu.cost.price import Conversion, conversion_pj, converter_um2
from cimemu.cost.schema import Component
from cimemu.errors import ArchError
from cimemu.events import Counter
from cimemu.mapping.plan import Plan

MOST_AJ = 2**63 - 1  # so that no sum of an image leaves int64
ATTO_PER_PICO = 10**6
PRICE_ERROR = 1e-9  # what rounding may change of a price
PLACES = 24  # decimal places of an attojoule that a price may need: below, it is nothing

# Which counters each component's price multiplies.
CHARGED: dict[str, tuple[Counter, ...]] = {
    "adc": (Counter.CONVERSIONS,),
    "sample_hold": (Counter.CONVERSIONS,),
    "reference_switch": (Counter.REFERENCE_SWITCHES,),
    "wordline": (Counter.WORDLINE_PULSES,),
    "cell": (Counter.CELL_PULSES,),
    "cell_level": (Counter.CELL_LEVEL_PULSES,),
    "shift_add": (Counter.SHIFT_ADDS,),
    "correction_adder": (Counter.CORRECTION_ADDS,),
    "psum_adder": (Counter.PSUM_ADDS,),
    "input_register": (Counter.INPUT_BITS,),
    "output_register": (Counter.OUTPUT_BITS,),
    "tile_buffer": (Counter.BUFFER_READ_BITS, Counter.BUFFER_WRITE_BITS),
    "global_buffer": (Counter.GLOBAL_READ_BITS, Counter.GLOBAL_WRITE_BITS),
    "interconnect": (Counter.NOC_BIT_HOPS,),
    "digital": (Counter.DIGITAL_OPS,),
    "scale_multiplier": (Counter.SCALE_MULTIPLICATIONS,),
    "offchip": (Counter.OFFCHIP_READ_BITS, Counter.OFFCHIP_WRITE_BITS),
    "programming": (Counter.CELL_WRITES,),
    "wake_up": (Counter.WAKE_UPS,),
}
COMPONENTS = tuple(CHARGED)
LEAKAGE = "(leakage)"  # the row after the layers: leakage of the whole chip over the whole run
OF_MACROS = (  # components that every macro has as many of, and that are switched off with it
    "adc", "sample_hold", "wordline", "cell", "shift_add", "correction_adder", "input_register", "output_register",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Tally:
    """Energy in integers of 1 / `quanta_per_pj` pJ (`_quanta`), area in um2, leakage in uW."""

    rows: tuple[str, ...]  # layer names, then LEAKAGE
    components: tuple[str, ...]
    quanta_per_pj: int
    energy_quanta: NDArray[Any]  # [rows, components] Python integers
    image_quanta: NDArray[Any]  # [images, rows] integers; programming and leakage in equal shares
    area_um2: NDArray[np.float64]  # [components], the whole chip
    leakage_uw: NDArray[np.float64]  # [components], the whole chip
    instances: NDArray[np.int64]  # [components]

    @property
    def total_quanta(self) -> int:
        """Energy of the run."""
        return int(self.energy_quanta.sum())

    @property
    def total_pj(self) -> float:
        """Energy of the run."""
        return self.total_quanta / self.quanta_per_pj

    @property
    def energy_pj(self) -> NDArray[np.float64]:
        """Energy [rows, components]."""
        return (self.energy_quanta / self.quanta_per_pj).astype(np.float64)

    @property
    def image_pj(self) -> NDArray[np.float64]:
        """Energy [images, rows]."""
        return (self.image_quanta / self.quanta_per_pj).astype(np.float64)


def counts_per_event(arch: Arch) -> dict[str, int]:
    """How many of what the counters count are one event of the cost table, of every component."""
    macro = arch.macro
    several = {"wordline": macro.line_unit, "cell": macro.cell_unit, "cell_level": macro.cell_unit}
    return {name: several.get(name, 1) for name in COMPONENTS}


def count_prices(arch: Arch) -> tuple[dict[str, int], int]:
    """(energy of one count of every component, in quanta; quanta of a pJ): whole numbers. Raises ArchError.

    A quantum is an attojoule, or as many decimal places less as it takes for every price to be a whole number to
    `PRICE_ERROR`; where a DAC of several voltages is counted in squares, the part of that which one square is.
    """
    prices, parts = event_prices(arch), counts_per_event(arch)
    per_pj = next(
        (n for n in (ATTO_PER_PICO * 10**k for k in range(PLACES)) if _whole(prices, n)), ATTO_PER_PICO * 10**PLACES
    )
    shares = lcm(*parts.values())
    return {name: round(pj * per_pj) * (shares // parts[name]) for name, pj in prices.items()}, shares * per_pj


def _whole(prices: Mapping[str, float], per_pj: int) -> bool:
    """Whether rounding to 1 / `per_pj` pJ changes no price by more than `PRICE_ERROR` of it."""
    return all(abs(pj * per_pj - round(pj * per_pj)) <= PRICE_ERROR * pj * per_pj for pj in prices.values())


def event_prices(arch: Arch) -> dict[str, float]:
    """pJ of one event of every component; digital macros have no converters. Raises ArchError."""
    prices = {}
    for name in COMPONENTS:
        if name == "adc":
            price = _converter(arch, "energy")
        else:
            part: Component = getattr(arch.costs, name)
            price = part.energy_pj * part.energy_scale
        if name == "sample_hold":
            price = 0.0 if arch.macro.cell.kind == "digital" else price * arch.macro.samples
        if price * ATTO_PER_PICO > MOST_AJ:
            raise ArchError(f"costs.{name}: {price:g} pJ an event, must be <= {MOST_AJ / ATTO_PER_PICO:.3g}")
        prices[name] = float(price)
    return prices


@dataclass(frozen=True, eq=False)
class Costs:
    """Prices, areas and leakages of a chip, as `count_prices` and `chip_area` give them."""

    prices: Mapping[str, int]
    quanta_per_pj: int
    by_counter: NDArray[Any]  # [len(Counter), components] Python integers: quanta of one count
    area: NDArray[np.float64]
    leakage: NDArray[np.float64]
    instances: NDArray[np.int64]

    @classmethod
    def of(cls, arch: Arch) -> "Costs":
        """Those of `arch`. Raises ArchError."""
        prices, quanta_per_pj = count_prices(arch)
        by_counter = np.zeros((len(Counter), len(COMPONENTS)), dtype=object)
        for column, name in enumerate(COMPONENTS):
            by_counter[list(CHARGED[name]), column] = prices[name]
        return cls(prices, quanta_per_pj, by_counter, *chip_area(arch))

    def of_counts(self, counts: NDArray[np.int64]) -> NDArray[Any]:
        """Quanta [rows, components] of counts [rows, len(Counter)]; in int64 where no sum can leave it."""
        small = float(np.abs(counts).max(initial=0)) * float(self.by_counter.sum()) < 1 << 62
        kind: Any = np.int64 if small else object
        made: NDArray[Any] = counts.astype(kind) @ self.by_counter.astype(kind)
        return made


def tally_energy(
    arch: Arch,
    plan: Plan,
    activity: NDArray[np.int64],
    cycles: int,
    programming: NDArray[np.int64],
    costs: Costs | None = None,
    *,
    gated_cycles: int = 0,
) -> Tally:
    """Price `activity` [images, layers, len(Counter)] and `programming` [layers, len(Counter)] of a run of `cycles`.

    `costs` are the arch's, where they are known already; `gated_cycles` those that macros were off, all macros together."""
    images, layers = activity.shape[:2]
    costs = Costs.of(arch) if costs is None else costs
    quanta_per_pj = costs.quanta_per_pj
    energy = np.zeros((layers + 1, len(COMPONENTS)), dtype=object)
    energy[:layers] = costs.of_counts(activity.sum(axis=0) + programming)
    programmed = np.zeros(layers + 1, dtype=object)
    programmed[:layers] = costs.of_counts(programming).sum(axis=1)
    area, leakage, instances = costs.area, costs.leakage, costs.instances
    whole, saved = leaked_quanta(arch, dict(zip(COMPONENTS, leakage)), cycles, gated_cycles, quanta_per_pj)
    energy[layers] = [most - less for most, less in zip(whole, saved)]
    programmed[layers] = energy[layers].sum()
    taken_pj, most_pj = int(energy.sum()) / quanta_per_pj, MOST_AJ / ATTO_PER_PICO
    if taken_pj > most_pj:
        raise ArchError(
            f"costs: the run takes {taken_pj:.3g} pJ, must be <= {most_pj:.3g}; "
            "give smaller energies, leakages or fewer images"
        )
    kind: Any = np.int64 if quanta_per_pj == ATTO_PER_PICO else object  # parts of an attojoule outgrow 64 bits
    per_image = np.zeros((images, layers + 1), dtype=kind)
    for image in range(images):
        per_image[image, :layers] = costs.of_counts(activity[image]).sum(axis=1)
    for row, amount in enumerate(programmed):
        share = int(amount) // images
        per_image[:, row] += share
        per_image[-1, row] += int(amount) - share * images
    return Tally(
        rows=(*(layer.name for layer in plan.layers), LEAKAGE),
        components=COMPONENTS,
        quanta_per_pj=quanta_per_pj,
        energy_quanta=energy,
        image_quanta=per_image,
        area_um2=area,
        leakage_uw=leakage,
        instances=instances,
    )


def leaked_quanta(
    arch: Arch, leakage_uw: Mapping[str, float], cycles: int, gated_cycles: int, quanta_per_pj: int
) -> tuple[list[int], list[int]]:
    """What every component of `leakage_uw`, by name, leaks where nothing is switched off, and what of it gates save, in quanta.

    1 uW for 1 ns is 1 fJ = 1000 aJ. `gated_cycles` are those of all macros together that are off.
    """
    per_aj, gating = quanta_per_pj // ATTO_PER_PICO, arch.power.gating
    whole = [round(float(leak) * 1000 * cycles * arch.clock_ns) * per_aj for leak in leakage_uw.values()]
    if gating is None or not gated_cycles:
        return whole, [0] * len(whole)
    off = gating.saved * gated_cycles / arch.macros  # cycles of the whole chip that nothing is drawn in
    saved = [
        min(most, round(float(leak) * 1000 * off * arch.clock_ns) * per_aj) if name in OF_MACROS else 0
        for (name, leak), most in zip(leakage_uw.items(), whole)
    ]
    return whole, saved


def chip_area(arch: Arch) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Area in um2, leakage in uW and instances of every component, over the whole chip."""
    counts = _instances(arch)
    area, leakage = [], []
    for name in COMPONENTS:
        if name == "adc":
            each = _converter(arch, "area")
            leak = _converter(arch, "leakage") if arch.macro.cell.kind == "digital" else arch.costs.adc.leakage_uw
        else:
            part: Component = getattr(arch.costs, name)
            each, leak = part.area_um2 * part.area_scale, part.leakage_uw
        area.append(each * counts[name])
        leakage.append(leak * counts[name])
    return np.array(area), np.array(leakage), np.array([counts[name] for name in COMPONENTS], dtype=np.int64)


def _column_sum(arch: Arch, what: Literal["energy", "area", "leakage"]) -> float:
    """Of what adds up one digital column, and holds its sum between rows of registers."""
    costs = arch.costs.adc
    total = 0.0
    for part, times in ((costs.adder_tree, 1), (costs.pipeline_register, arch.macro.timing.pipeline_stages)):
        if part is not None:
            amount = {
                "energy": part.energy_pj * part.energy_scale,
                "area": part.area_um2 * part.area_scale,
                "leakage": part.leakage_uw,
            }[what]
            total += times * amount
    return total


def _converter(arch: Arch, what: Literal["energy", "area", "leakage"]) -> float:
    adc = arch.macro.adc
    if arch.macro.cell.kind == "digital":
        return _column_sum(arch, what)
    if isinstance(adc, IdealAdc):  # it has no price
        return 0.0
    if what == "leakage":
        return arch.costs.adc.leakage_uw
    if what == "area":
        return converter_um2(arch.costs.adc, adc.circuit, adc.bits)
    ns = adc.conversion_cycles() * arch.clock_ns
    one = Conversion(adc.circuit, adc.bits, ns, adc.conversion_steps(), arch.macro.samples)
    return conversion_pj(arch.costs.adc, one)


def _summed_columns(arch: Arch) -> int:
    """Digital columns with a price for what adds them up."""
    costs = arch.costs.adc
    priced = costs.adder_tree is not None or costs.pipeline_register is not None
    return arch.macro.columns * arch.macros if priced else 0


def _instances(arch: Arch) -> dict[str, int]:
    """How often each component stands on the chip; 0 where it has no instances of its own."""
    macro, macros = arch.macro, arch.macros
    before = "analog" in (macro.weight.combine, macro.weight.subtract)  # columns are combined before they are converted
    converted = macro.outputs * macro.conversions_per_output if before else macro.columns
    converters = -(-converted // macro.columns_per_adc)
    analog = macro.cell.kind != "digital"
    outputs = max(1, macro.outputs)
    width = (macro.rows * 2**macro.input.bits * (macro.largest_side + 1)).bit_length() + 1
    width = macro.accumulator_bits or width
    needs_sum = macro.needs_input_sums and macro.weight.correction == "digital"
    return {
        "adc": _summed_columns(arch) if not analog else 0 if isinstance(macro.adc, IdealAdc) else converters * macros,
        "sample_hold": macro.columns * (2 if macro.timing.overlap else 1) * macros if analog else 0,
        "reference_switch": 0,
        "wordline": (macro.rows + macro.repair.spare_rows) * macros,
        "cell": (macro.rows + macro.repair.spare_rows) * (macro.columns + macro.repair.spare_columns) * macros,
        "cell_level": 0,
        "shift_add": converters * macros,
        "correction_adder": macros if needs_sum else 0,
        "psum_adder": arch.tile.adder_lanes * arch.tiles,
        "input_register": 2 * macro.rows * macro.input.bits * macros,
        "output_register": 2 * outputs * width * macros,
        "tile_buffer": round((arch.tile.input_buffer.size_kib + arch.tile.output_buffer.size_kib) * arch.tiles),
        "global_buffer": round(arch.chip.global_buffer.size_kib),
        "interconnect": {"mesh": arch.tiles, "bus": 1}[arch.chip.interconnect.kind],
        "digital": arch.chip.digital.lanes,
        "scale_multiplier": 0,
        "offchip": 1,
        "programming": 0,
        "wake_up": 0,
    }
