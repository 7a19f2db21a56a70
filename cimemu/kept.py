"""What a run makes of a network and a chip before its first image, kept with the network for the next run.

A second run of the same network on the same chip finds its plan, its cells with what the engines have prepared, its task
graphs and, where nothing depends on values, its times. Cells are used again only while every array that they were made of is
equal to what it was.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.schema import Arch
from cimemu.compute.forward import Emulator
from cimemu.layer.macro_layer import MacroLayer
from cimemu.mapping.place import make_plan
from cimemu.mapping.plan import Plan
from cimemu.tally import Costs
from cimemu.timing.simulate import Simulation
from cimemu.timing.timeline import Timeline
from cimemu.workload.network import Network

MOST_WEIGHTS = 1 << 24  # of a network whose cells stay in memory for as long as it does


@dataclass(eq=False)
class Prepared:
    """A network on a chip. Whoever uses it has taken it off the network (`take`) and gives it back (`give`)."""

    network: Network
    arch: Arch
    _plan: Plan | None = None
    _emulator: Emulator | None = None
    _arrays: list[tuple[NDArray[Any], bytes]] = field(default_factory=list)  # of the emulator, and what they held
    _simulation: Simulation | None = None
    _timeline: tuple[str, Timeline] | None = None
    _costs: Costs | None = None

    @property
    def plan(self) -> Plan:
        """The network's plan on the chip. Raises MappingError."""
        if self._plan is None:
            self._plan = make_plan(self.network, self.arch)
        return self._plan

    @property
    def costs(self) -> Costs:
        """Prices and areas of the chip. Raises ArchError."""
        if self._costs is None:
            self._costs = Costs.of(self.plan.arch)
        return self._costs

    def emulator(self, planned: bool, **how: Any) -> Emulator:
        """The network in ideal cells, as after writing them; `how` are the emulator's path, threads and budget."""
        plan = self.plan if planned else None
        kept = self._emulator
        if kept is not None and kept.planned == planned and all(a.tobytes() == was for a, was in self._arrays):
            kept.path, kept.threads, kept.budget_bytes = how["path"], how["threads"], how["budget_bytes"]
            kept.forget_inputs()
            return kept
        self._emulator = None
        made = Emulator(self.network, self.arch.macro, plan=plan, **how)
        layers = [layer for layer in self.network.layers if isinstance(layer, MacroLayer)]
        if sum(layer.weight.size for layer in layers) <= MOST_WEIGHTS:
            self._arrays = [(array, array.tobytes()) for layer in layers for array in _arrays_in(layer)]
            self._emulator = made
        return made

    def simulation(self, written: Mapping[Any, Any], images: int) -> Simulation:
        """The plan's task graphs; those of cells that took several write pulses (`written`) are not kept."""
        kept = self._simulation
        if kept is not None and not written and (kept.images == images or not self.plan.cut):
            return kept
        made = Simulation(self.plan, written, images)
        if not written:
            self._simulation, self._timeline = made, None
        return made

    def timeline(self, simulation: Simulation, images: int, detail: str, **options: Any) -> Timeline:
        """The times of so many images, which depend on no values; found again where they are asked for again."""
        kept = self._timeline
        if kept is not None and simulation is self._simulation and kept[0] == detail and kept[1].images == images:
            if options["progress"] is not None:
                options["progress"](images * self.plan.phases, images * self.plan.phases)
            return _copied(kept[1])
        made = simulation.run(images, detail=detail, **options)
        if simulation is self._simulation:
            self._timeline = detail, _copied(made)
        return made


def take(network: Network, arch: Arch) -> Prepared:
    """What is kept of the network, or nothing yet; nobody else finds it until it is given back."""
    kept: Prepared | None = network.kept.pop("run", None)
    return kept if kept is not None and (kept.arch is arch or kept.arch == arch) else Prepared(network, arch)


def give(prepared: Prepared) -> None:
    """Keep it for the next run."""
    prepared.network.kept["run"] = prepared


def _arrays_in(part: Any) -> Iterator[NDArray[Any]]:
    """The arrays among the fields of a layer and of the records in it."""
    if isinstance(part, np.ndarray):
        yield part
    elif isinstance(part, tuple | list):
        for one in part:
            yield from _arrays_in(one)
    elif isinstance(part, Mapping):
        yield from _arrays_in(list(part.values()))
    elif is_dataclass(part):
        for one in fields(part):
            yield from _arrays_in(getattr(part, one.name))


def _copied(timeline: Timeline) -> Timeline:
    """The same with arrays of its own."""
    given = {one.name: getattr(timeline, one.name) for one in fields(timeline)}
    own: dict[str, Any] = {name: value.copy() for name, value in given.items() if isinstance(value, np.ndarray)}
    return replace(timeline, **own)
