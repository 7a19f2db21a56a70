"""What a simulation gives: when every operation ran, what every unit did and why it waited."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.events import Cause, Counter

Ints = NDArray[np.int64]
NEVER = 1 << 62  # no cycle
Events = dict[str, NDArray[np.integer]]  # unit, op, kind, layer, image, start, end: columns of a piece of the trace


@dataclass(frozen=True, eq=False)
class Times:
    """One image: start and end cycle of every task (-1: a meeting point), its last cycle, and steps of operations.

    A repeated image has the cycles of an earlier one, `later` than it; they are added where they are asked for.
    """

    image: int
    first_start: NDArray[np.int64]
    first_end: NDArray[np.int64]
    done: int
    steps: Events | None = None  # detail cycles: what macro operations unfold into
    later: int = 0
    woken: NDArray[np.bool_] | None = None  # of every task: its unit was off, and is switched on before it starts

    @property
    def start(self) -> NDArray[np.int64]:
        """Of every task."""
        return _moved(self.first_start, self.later)

    @property
    def end(self) -> NDArray[np.int64]:
        """Of every task."""
        return _moved(self.first_end, self.later)


def _moved(cycles: NDArray[np.int64], later: int) -> NDArray[np.int64]:
    return np.where(cycles < 0, cycles, cycles + later) if later else cycles


Sink = Callable[[Events], bool | None]  # takes the events of an image; False: none of this or later images are wanted


@dataclass(frozen=True, eq=False)
class Timeline:
    """Cycles of a whole run. `busy + stalls.sum(axis=1) == cycles` for every unit."""

    cycles: int
    images: int
    detail: str
    units: tuple[str, ...]
    busy: NDArray[np.int64]  # [units]
    stalls: NDArray[np.int64]  # [units, len(Cause)]
    operations: NDArray[np.int64]  # [units] tasks served
    layer_stalls: NDArray[np.int64]  # [layers, len(Cause)] of all units before a task of the layer
    layer_cycles: NDArray[np.int64]  # [layers] first start to last end, summed over images
    image_start: NDArray[np.int64]  # [images] first start
    image_end: NDArray[np.int64]  # [images] last end
    programming_cycles: int
    image_cycles: int  # between the ends of two images, rounded down; in phases the run's cycles over its images
    noc_bits: tuple[int, int]  # into the interconnect and out of it, all images
    wake_ups: NDArray[np.int64]  # [images, layers] gated macros that were switched on again
    programming_wake_ups: NDArray[np.int64]  # [layers] the same to write weights during the run
    off: NDArray[np.int64]  # [units] cycles that each macro was off; zeros without gating
    gated_cycles: int  # of all macros of the chip, those that never work too


@dataclass
class Ledger:
    """Sums that the engines keep while they run, by unit and layer."""

    busy: NDArray[np.int64]
    stalls: NDArray[np.int64]
    operations: NDArray[np.int64]
    layer_stalls: NDArray[np.int64]
    free: NDArray[np.int64]  # when each unit was free last
    after: NDArray[np.int64]  # idle cycles after which each unit is off, NEVER: it never is
    wake: NDArray[np.int64]  # cycles to switch it on again
    off: NDArray[np.int64]  # cycles that it was off, up to the last time it was woken

    @classmethod
    def new(cls, units: int, layers: int) -> "Ledger":
        """All zero, no unit is ever switched off."""
        causes = len(Cause)
        return cls(
            np.zeros(units, dtype=np.int64),
            np.zeros((units, causes), dtype=np.int64),
            np.zeros(units, dtype=np.int64),
            np.zeros((layers, causes), dtype=np.int64),
            np.zeros(units, dtype=np.int64),
            np.full(units, NEVER, dtype=np.int64),
            np.zeros(units, dtype=np.int64),
            np.zeros(units, dtype=np.int64),
        )

    def switch_off(self, units: Sequence[int], after: int, wake: int) -> None:
        """Have `units` be off when they were idle for more than `after` cycles, and take `wake` cycles to be on again."""
        self.after[list(units)], self.wake[list(units)] = after, wake


def with_wake_ups(activity: Ints, programming: Ints, timeline: Timeline) -> tuple[Ints, Ints]:
    """Counts [images, layers, len(Counter)] and those of programming [layers, len(Counter)], with the macros that were woken."""
    activity, programming = activity.copy(), programming.copy()
    activity[:, :, Counter.WAKE_UPS] = timeline.wake_ups
    programming[:, Counter.WAKE_UPS] = timeline.programming_wake_ups
    return activity, programming
