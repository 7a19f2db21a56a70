"""`cimemu.limits`: what holds the rate of images back, and the rate that each way to lift it gives, simulated one by one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cimemu.arch.load import load_arch
from cimemu.arch.schema import MOST_TILES, Arch
from cimemu.errors import CimemuError
from cimemu.facts import Facts, Shown
from cimemu.mapping.place import make_plan
from cimemu.mapping.plan import Plan
from cimemu.timing.rate import Stage, image_period, slowest
from cimemu.timing.simulate import Simulation
from cimemu.workload.network import Network

WORTH = 1.02  # a change is told where the rate grows by this factor
COPIES = (2, 4, 8)
DOUBLED = {  # keys that are doubled, and what of the chip they widen
    "chip.interconnect.bits_per_cycle": "the interconnect's links",
    "chip.digital.lanes": "the digital unit",
    "chip.global_buffer.ports": "ports of the global buffer",
    "chip.offchip.bits_per_cycle": "off-chip memory",
    "tile.adder_lanes": "adders of tiles",
    "tile.input_buffer.read_bits_per_cycle": "reads of tiles' input buffers",
}
BUFFERS = {  # sizes, which are grown until the rate grows no more
    "chip.global_buffer.size_kib": "room in the global buffer",
    "tile.input_buffer.size_kib": "room in tiles' input buffers",
    "tile.output_buffer.size_kib": "room in tiles' output buffers",
}
LARGEST = 6  # doublings of a buffer


@dataclass(frozen=True)
class Lift:
    """One change of the chip, and what it gives; no `settings`: the chip as it is."""

    what: str  # what the change makes wider
    settings: Mapping[str, Any]
    images_per_s: float
    times: float  # so many times the rate of the chip as it is
    latency_us: float  # of an image that comes to an empty chip
    slowest: str  # the unit that works longest for an image then
    slowest_images_per_s: float  # what it lets through

    def row(self) -> dict[str, Any]:
        """As a table shows it."""
        change = " ".join(
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in self.settings.items()
        )
        return {
            "change": change or "none",
            "lifts": self.what,
            "images/s": self.images_per_s,
            "times": self.times,
            "us an image": self.latency_us,
            "slowest unit": self.slowest,
            "which allows": self.slowest_images_per_s,
        }


@dataclass(frozen=True, eq=False, repr=False)
class Limits(Shown):
    """What `cimemu.limits` returns: the chip as it is, and changes that lift its rate, the best first."""

    now: Lift
    lifts: tuple[Lift, ...]

    def rows(self) -> list[dict[str, Any]]:
        """A row for the chip as it is, and one for every change."""
        return [one.row() for one in (self.now, *self.lifts)]

    def _facts(self) -> Facts:
        best = [("lifted by", f"{one.row()['change']}: {one.images_per_s:,.1f} images/s") for one in self.lifts[:1]]
        return f"Limits: {self.now.images_per_s:,.1f} images/s", [
            ("slowest", f"{self.now.slowest}, allows {self.now.slowest_images_per_s:,.1f} images/s"),
            *(best or [("lifted by", "no single change")]),
        ]


def limits(arch: Arch, network: Network) -> Limits:
    """What holds back how often images of `network` (quantised: see `cimemu.quantize`) come on `arch`: every way to lift it
    is tried alone, by simulating the changed chip, and told where it gives 2 % more.

    Tried are pipelining, copies of slow layers, the double of each width, and larger buffers: the least of 2, 4 .. 64 times the
    size that gives nearly all there is. Operations skip nothing here. Raises MappingError, ArchError or WorkloadError.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128", {"schedule": "pipelined"})
    >>> network = cimemu.load_network(workload.network)
    >>> quantized = cimemu.quantize(network, arch, workload.calibration())
    >>> found = cimemu.limits(arch, quantized)
    >>> found.now.slowest, dict(found.lifts[0].settings)
    ('tile0/macro0 (stem)', {'mapping.max_replicas': 8})
    """
    plan = make_plan(network, arch)
    now = _lift("", {}, plan, None)
    tried = [*_placed(network, plan.arch, now), *_widened(plan, now), *_buffers(plan, now)]
    found = sorted((one for one in tried if one.times >= WORTH), key=lambda one: -one.times)
    return Limits(now, tuple(found))


def _lift(what: str, settings: Mapping[str, Any], plan: Plan, now: Lift | None) -> Lift:
    simulation = Simulation(plan)
    stage: Stage = slowest(simulation)
    period, latency = image_period(simulation)
    per_s, clock_ns = 1e9 / plan.arch.clock_ns / period, plan.arch.clock_ns
    return Lift(
        what=what,
        settings=dict(settings),
        images_per_s=per_s,
        times=1.0 if now is None else per_s / now.images_per_s,
        latency_us=latency * clock_ns / 1000,
        slowest=str(stage),
        slowest_images_per_s=1e9 / clock_ns / max(1, stage.cycles),
    )


def _placed(network: Network, arch: Arch, now: Lift) -> Iterator[Lift]:
    """Changes by which the network is placed anew, or ordered otherwise."""
    if arch.schedule == "layer_by_layer":
        yield from _tried("layers that overlap", {"schedule": "pipelined"}, network, arch, now)
    copies: list[Lift] = []
    for number in (n for n in COPIES if n > arch.mapping.max_replicas):
        copies += _tried("slow layers, by copies on idle macros", {"mapping.max_replicas": number}, network, arch, now)
    if copies:
        most = max(one.times for one in copies)
        yield next(one for one in copies if one.times * WORTH >= most)
    if arch.tiles * 2 <= MOST_TILES:
        more = {"chip.tiles": 2 * arch.tiles, "mapping.max_replicas": max(COPIES[-1], 2 * arch.mapping.max_replicas)}
        larger = [*_tried("slow layers, by copies on twice the tiles", more, network, arch, now)]
        yield from (one for one in larger if one.times > WORTH * max([1.0, *(copy.times for copy in copies)]))


def _tried(what: str, settings: Mapping[str, Any], network: Network, arch: Arch, now: Lift) -> Iterator[Lift]:
    """The change, where the chip may have it."""
    try:
        yield _lift(what, settings, make_plan(network, load_arch(arch, settings)), now)
    except CimemuError:
        return


def _changed(plan: Plan, settings: Mapping[str, Any]) -> Plan | None:
    """The same places on a chip that is changed elsewhere; None where the chip may not be so."""
    try:
        return replace(plan, arch=load_arch(plan.arch, settings))
    except CimemuError:
        return None


def _value(arch: Arch, key: str) -> Any:
    found: Any = arch
    for name in key.split("."):
        found = getattr(found, name)
    return found


def _widened(plan: Plan, now: Lift) -> Iterator[Lift]:
    for key, what in DOUBLED.items():
        settings = {key: 2 * _value(plan.arch, key)}
        changed = _changed(plan, settings)
        if changed is not None:
            yield _lift(what, settings, changed, now)


def _buffers(plan: Plan, now: Lift) -> Iterator[Lift]:
    """The least size that gives nearly what the largest one does."""
    for key, what in BUFFERS.items():
        size = float(_value(plan.arch, key))

        def grown(doublings: int, key: str = key, what: str = what, size: float = size) -> Lift | None:
            settings = {key: size * 2.0**doublings}
            changed = _changed(plan, settings)
            return None if changed is None else _lift(what, settings, changed, now)

        most = grown(LARGEST)
        if most is None or most.times < WORTH:
            continue
        low, high, best = 0, LARGEST, most
        while low + 1 < high:
            middle = (low + high) // 2
            one = grown(middle)
            if one is not None and one.times * WORTH >= most.times:
                high, best = middle, one
            else:
                low = middle
        yield best
