"""`cimemu.size`: the chip on which a network reaches a rate of images: copies of its layers, macros, tiles, area, power."""

from dataclasses import dataclass, field, replace
from math import floor
from typing import Any

import numpy as np

from cimemu import bounds
from cimemu.arch.load import load_arch
from cimemu.arch.schema import AUTO, MOST_MACROS, MOST_TILES, Arch
from cimemu.emulate import run
from cimemu.facts import Facts, Shown
from cimemu.given_images import images_in
from cimemu.mapping.place import make_plan
from cimemu.mapping.plan import Plan
from cimemu.tally import OF_MACROS, Tally
from cimemu.timing.rate import LIFTS, Stage, image_period, slowest, timed_images
from cimemu.timing.simulate import Simulation
from cimemu.workload.network import Network

MOST_COPIES = 2**16
TRIES = 12  # chips that are simulated, at most
POINTS = 8  # chips looked at where none lets the rate through
CLOSER = 1.01  # a chip that is larger and not quicker by this factor is no way on
MOST_RATE = 1e12


@dataclass(frozen=True, eq=False, repr=False)
class SizedChip(Shown):
    """What `cimemu.size` returns: the smallest chip found that reaches the rate, or, where none does, the quickest found."""

    wanted: float  # images/s
    reached: bool
    images_per_s: float
    image_cycles: float
    latency_us: float  # of the first image
    tiles: int
    macros: int
    copies: dict[str, int]  # by layer on macros
    area_mm2: float
    power_mw: float  # at the rate that the chip reaches
    leakage_mw: float  # of it
    energy_uj: float  # an image
    slowest: str  # the unit that works longest for an image
    slowest_images_per_s: float  # what it lets through
    limit: str  # what holds the rate back, and what would lift it
    settings: dict[str, Any]  # keys of the chip
    plan: Plan = field(repr=False)

    def _facts(self) -> Facts:
        verdict = "reaches" if self.reached else "cannot reach"
        return f"SizedChip: {verdict} {self.wanted:g} images/s", [
            ("rate", f"{self.images_per_s:,.1f} images/s, {self.latency_us:,.1f} us an image"),
            ("chip", f"{self.macros:,} macros, {self.tiles:,} tiles, {self.area_mm2:.4g} mm2, {self.power_mw:.4g} mW"),
            ("limit", self.limit),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {name: value for name, value in vars(self).items() if name != "plan"}


@dataclass(frozen=True, eq=False)
class _Try:
    """One chip: as many tiles, the layers' copies on what is left over, and what bounds it."""

    plan: Plan
    simulation: Simulation
    stage: Stage
    period: float = 0.0  # cycles an image, where it was simulated
    latency: int = 0


def size(arch: Arch, network: Network, inputs: Any, images_per_second: float) -> SizedChip:
    """The smallest chip found of `arch`'s tiles on which `network` (quantised: see `cimemu.quantize`) reaches a rate of images.

    Busy layers get copies until the slowest unit lets the rate through, and the chip is then simulated. With `schedule:
    layer_by_layer` one image is on the chip at a time. Where copies do not help any more, `limit` says what does, and the
    quickest chip found is returned. Energy is that of `inputs`. Raises MappingError, ArchError, WorkloadError or CimemuError.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128", {"schedule": "pipelined"})
    >>> network = cimemu.load_network(workload.network)
    >>> quantized = cimemu.quantize(network, arch, workload.calibration())
    >>> sized = cimemu.size(arch, quantized, workload.inputs(2)[0], 100_000)
    >>> sized.reached, sized.macros, sized.copies["conv1"]
    (True, 40, 5)
    """
    bounds.real("images_per_second", images_per_second, 1e-6, MOST_RATE)
    base = load_arch(arch, {"chip.tiles": AUTO, "mapping.max_replicas": MOST_COPIES})
    least = make_plan(network, load_arch(base, {"mapping.max_replicas": 1}))
    wanted = 1e9 / arch.clock_ns / images_per_second
    chips = _Chips(network, base, least.arch.tiles)
    aim, best, low = wanted, None, least.arch.tiles - 1
    for _ in range(TRIES):
        chip = _timed(chips.smallest(aim))
        quicker = best is None or chip.period * CLOSER < best.period
        best = chip if best is None or chip.period < best.period else best
        if chip.period <= wanted or not quicker or chip.stage.cycles > aim:
            break
        low = max(low, chip.plan.arch.tiles)
        aim = min(aim, chip.stage.cycles) * wanted / chip.period / CLOSER
    assert best is not None
    if best.period <= wanted:
        best = _smaller(chips, best, max(low, chips.smallest(wanted).plan.arch.tiles - 1), wanted)
    limit = _limit(best, None if best.period <= wanted else chips.in_the_way)
    return _told(best, limit, (network, inputs), images_per_second)


def _smaller(chips: "_Chips", good: _Try, low: int, wanted: float) -> _Try:
    """The smallest chip above `low` tiles, which are too few, that comes up to what `good` does."""
    for _ in range(TRIES):
        if low + 1 >= good.plan.arch.tiles:
            break
        middle = _timed(chips.of((low + good.plan.arch.tiles) // 2))
        if middle.period <= wanted:
            good = middle
        else:
            low = middle.plan.arch.tiles
    return good


class _Chips:
    """Chips of a network by their tiles, not simulated: a layer has copies where macros are left over, the slowest first."""

    def __init__(self, network: Network, base: Arch, least: int) -> None:
        self.network, self.base, self.least = network, base, least
        self.made: dict[int, _Try] = {}
        self.in_the_way: Stage | None = None  # the slowest unit of a chip on which more copies are no way on

    def of(self, tiles: int) -> _Try:
        """The chip of so many tiles."""
        if tiles not in self.made:
            plan = make_plan(self.network, load_arch(self.base, {"chip.tiles": tiles}))
            simulation = Simulation(plan)
            self.made[tiles] = _Try(plan, simulation, slowest(simulation))
        return self.made[tiles]

    def smallest(self, aim: float) -> _Try:
        """The smallest chip whose slowest unit takes at most `aim` cycles for an image; where there is none, the quickest."""
        low, high = 0, self.least
        while self.of(high).stage.cycles > aim:
            low, more = high, _more_tiles(self.of(high), aim)
            if more <= high:
                self.in_the_way = self.of(high).stage
                return self._quickest(high)
            high = more
        while low + 1 < high and low >= self.least:
            middle = (low + high) // 2
            low, high = (low, middle) if self.of(middle).stage.cycles <= aim else (middle, high)
        return self.of(high)

    def _quickest(self, most: int) -> _Try:
        """The one whose slowest unit takes least, of chips of up to `most` tiles, each larger by the same factor."""
        factor = (most / self.least) ** (1 / POINTS)
        some = {round(self.least * factor**point) for point in range(POINTS + 1)}
        return min(map(self.of, sorted(some)), key=lambda chip: (chip.stage.cycles, chip.plan.arch.tiles))


def _more_tiles(chip: _Try, aim: float) -> int:
    """Tiles on which every layer has the copies that `aim` cycles an image ask for; as many as now where no copy helps."""
    if chip.stage.cycles <= aim or not chip.stage.has_copies:
        return chip.plan.arch.tiles
    plan, needed = chip.plan, 0
    taken = {p.macro for p in plan.placed if p.replica == 0}
    for layer in plan.layers:
        if layer.geometry is None or layer.written:
            continue
        busy = layer.geometry.positions * max(block.op_cycles for block in layer.blocks)
        copies = min(layer.geometry.positions, -(-busy // max(1, floor(aim))))
        needed += (copies - 1) * len(layer.blocks)
    tiles = -(-(len(taken) + needed) // plan.arch.tile.macros)
    grown = max(tiles, plan.arch.tiles + 1 + plan.arch.tiles // 50)
    return min(grown, MOST_TILES, MOST_MACROS // plan.arch.tile.macros)


def _timed(chip: _Try) -> _Try:
    return _Try(chip.plan, chip.simulation, chip.stage, *image_period(chip.simulation))


def _told(chip: _Try, limit: str, work: tuple[Network, Any], rate: float) -> SizedChip:
    """The chip's figures, energy of the inputs as they run on it."""
    (network, inputs), arch = work, chip.plan.arch
    copies = {layer.name: layer.replicas for layer in chip.plan.layers if layer.on_macros}
    settings = {"chip.tiles": arch.tiles, "mapping.max_replicas": max(copies.values(), default=1)}
    result = run(arch, network, inputs)
    assert result.tally is not None
    tally, count = result.tally, images_in(inputs)
    leakage_mw = (float(np.sum(tally.leakage_uw)) - _saved_uw(chip, tally)) / 1e3
    events_pj = float(tally.energy_pj[:-1].sum()) / count
    found = 1e9 / arch.clock_ns / chip.period
    power_mw = events_pj * found * 1e-9 + leakage_mw
    return SizedChip(
        wanted=float(rate),
        reached=chip.period <= 1e9 / arch.clock_ns / rate,
        images_per_s=found,
        image_cycles=chip.period,
        latency_us=chip.latency * arch.clock_ns / 1000,
        tiles=arch.tiles,
        macros=len({p.macro for p in chip.plan.placed}),
        copies=copies,
        area_mm2=float(np.sum(tally.area_um2)) / 1e6,
        power_mw=power_mw,
        leakage_mw=leakage_mw,
        energy_uj=power_mw / found * 1e3,
        slowest=str(chip.stage),
        slowest_images_per_s=1e9 / arch.clock_ns / max(1, chip.stage.cycles),
        limit=limit,
        settings=settings,
        plan=chip.plan,
    )


def _saved_uw(chip: _Try, tally: Tally) -> float:
    """What gates save of the leakage at the chip's rate."""
    arch = chip.plan.arch
    if arch.power.gating is None:
        return 0.0
    timeline = timed_images(chip.simulation)
    of_macros = float(np.sum([uw for name, uw in zip(tally.components, tally.leakage_uw) if name in OF_MACROS]))
    return of_macros * arch.power.gating.saved * timeline.gated_cycles / (timeline.cycles * arch.macros)


def _limit(chip: _Try, in_the_way: Stage | None) -> str:
    """What holds the rate back, and what would lift it, as far as this chip tells; `in_the_way` of one with more copies."""
    arch, stage = chip.plan.arch, chip.stage
    per_s = 1e9 / arch.clock_ns
    if chip.period <= 1.05 * stage.cycles:
        held = stage if in_the_way is None or not stage.has_copies else in_the_way
        part = held.unit.split("/")[0]
        if part in LIFTS:
            with_more = "" if held is stage else "with more copies "
            takes = f"{with_more}{held} works {held.cycles:,} cycles for an image"
            return f"{takes}, and all copies share it; a larger {LIFTS[part]} lifts it"
        return f"{stage} works {stage.cycles:,} cycles for an image; more copies (more tiles) lift it"
    bound = f"the slowest unit, {stage}, would let {per_s / max(1, stage.cycles):,.1f} images/s through"
    if chip.plan.phases > 1:
        return f"the network is written in {chip.plan.phases} phases; a chip of more tiles holds it as a whole"
    if arch.schedule == "layer_by_layer":
        return f"one image at a time is on the chip; {bound}: schedule=pipelined lets layers overlap"
    wide = _with_whole_tensors(chip)
    if wide.period * 1.02 < chip.period:
        kib = wide.plan.arch.chip.global_buffer.size_kib
        return (
            f"rows wait for room in the global buffer; chip.global_buffer.size_kib={kib:g} gives "
            f"{per_s / wide.period:,.1f} images/s, and {bound}"
        )
    return f"rows wait for each other; {bound}"


def _with_whole_tensors(chip: _Try) -> _Try:
    """The same chip with a global buffer for all tensors of all images on it."""
    arch = chip.plan.arch
    bits = sum(kind.bits for layer in chip.plan.layers for kind in (*layer.output_types, *layer.input_types))
    kib = -(-bits * 8 // 8192)
    wide = arch.chip.global_buffer.model_copy(update={"size_kib": float(max(kib, arch.chip.global_buffer.size_kib))})
    whole = arch.model_copy(update={"chip": arch.chip.model_copy(update={"global_buffer": wide})})
    plan = replace(chip.plan, arch=whole)
    simulation = Simulation(plan)
    return _timed(_Try(plan, simulation, slowest(simulation)))
