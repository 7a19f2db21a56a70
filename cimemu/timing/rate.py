"""How often images can come: the busiest unit's bound, and what would lift it."""

from dataclasses import dataclass

import numpy as np

from cimemu.mapping.plan import Plan
from cimemu.timing.graph import Template
from cimemu.timing.simulate import Simulation
from cimemu.timing.storage import MAX_IN_FLIGHT
from cimemu.timing.timeline import Timeline

STEADY_IMAGES = 3 * MAX_IN_FLIGHT  # the first fill a pipelined chip, the last empty it
MOST_STEADY_IMAGES, STEADY_TASKS = 400, 4_000_000  # of a small network more are simulated, for a mean over many

LIFTS = {  # what makes a unit that all copies of layers share work less for an image
    "link": "chip.interconnect.bits_per_cycle",
    "bus": "chip.interconnect.bits_per_cycle",
    "digital": "chip.digital.lanes",
    "global_buffer": "chip.global_buffer.ports",
    "offchip": "chip.offchip.bits_per_cycle",
}


@dataclass(frozen=True)
class Stage:
    """The unit that works longest for an image."""

    unit: str
    cycles: int  # of an image
    layers: tuple[str, ...]  # that it works for

    @property
    def has_copies(self) -> bool:
        """Whether copies of its layers share its work; what all tiles share is there once."""
        return self.unit.startswith("tile")

    def __str__(self) -> str:
        shown = ", ".join(self.layers[:3]) + (" ..." if len(self.layers) > 3 else "")
        return f"{self.unit} ({shown})" if self.has_copies and self.layers else self.unit


def slowest(simulation: Simulation) -> Stage:
    """The unit that bounds how often images come, phases of the network one after the other."""
    busy = np.zeros(len(simulation.units), dtype=np.int64)
    for template in simulation.phases:
        used = template.unit >= 0
        busy += np.bincount(template.unit[used], weights=template.duration[used], minlength=len(busy)).astype(np.int64)
    unit = int(busy.argmax())
    return Stage(list(simulation.units)[unit], int(busy[unit]), _layers_on(simulation.plan, simulation.phases, unit))


def _layers_on(plan: Plan, phases: list[Template], unit: int) -> tuple[str, ...]:
    found = {int(number) for template in phases for number in np.unique(template.layer[template.unit == unit])}
    return tuple(plan.layers[number].name for number in sorted(found))


def images_to_time(simulation: Simulation) -> int:
    """How many images show how often they come."""
    tasks = max(1, sum(template.tasks for template in simulation.phases))
    return max(STEADY_IMAGES, min(MOST_STEADY_IMAGES, STEADY_TASKS // tasks))


def _overlaps(simulation: Simulation) -> bool:
    return simulation.plan.arch.schedule == "pipelined" and simulation.plan.phases == 1


def timed_images(simulation: Simulation) -> Timeline:
    """A run of as many images as show how often they come."""
    return simulation.run(images_to_time(simulation) if _overlaps(simulation) else 2)


def image_period(simulation: Simulation) -> tuple[float, int]:
    """(cycles between two images of a full chip, cycles of the first image): pipelined, never less than the slowest unit's."""
    timeline = timed_images(simulation)
    first = int(timeline.image_end[0] - timeline.image_start[0])
    if not _overlaps(simulation):
        return float(timeline.image_cycles), first
    return max(steady_cycles(timeline), float(slowest(simulation).cycles)), first


def steady_cycles(timeline: Timeline) -> float:
    """Cycles between the ends of two images while the chip is full; of few, or in phases, the run's cycles over its images."""
    ends = timeline.image_end
    if timeline.images < STEADY_IMAGES or timeline.programming_cycles:
        return timeline.cycles / timeline.images
    first, last = MAX_IN_FLIGHT, len(ends) - MAX_IN_FLIGHT
    return float(ends[last] - ends[first]) / (last - first)
