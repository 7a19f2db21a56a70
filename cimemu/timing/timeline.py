"""What a simulation gives: when every operation ran, what every unit did and why it waited."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.events import Cause

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


@dataclass
class Ledger:
    """Sums that the engines keep while they run, by unit and layer."""

    busy: NDArray[np.int64]
    stalls: NDArray[np.int64]
    operations: NDArray[np.int64]
    layer_stalls: NDArray[np.int64]
    free: NDArray[np.int64]  # when each unit was free last

    @classmethod
    def new(cls, units: int, layers: int) -> "Ledger":
        """All zero."""
        causes = len(Cause)
        return cls(
            np.zeros(units, dtype=np.int64),
            np.zeros((units, causes), dtype=np.int64),
            np.zeros(units, dtype=np.int64),
            np.zeros((layers, causes), dtype=np.int64),
            np.zeros(units, dtype=np.int64),
        )

    def grow(self, units: int) -> None:
        """Make room for `units` units (a later phase may use more)."""
        more = units - len(self.busy)
        if more > 0:
            self.busy = np.concatenate([self.busy, np.zeros(more, dtype=np.int64)])
            self.stalls = np.concatenate([self.stalls, np.zeros((more, len(Cause)), dtype=np.int64)])
            self.operations = np.concatenate([self.operations, np.zeros(more, dtype=np.int64)])
            self.free = np.concatenate([self.free, np.zeros(more, dtype=np.int64)])
