"""The whole state of the chip between two images, as arrays that can be copied, compared and moved in time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.events import Cause
from cimemu.timing.graph import Template
from cimemu.timing.kernels.engine import (
    AFTER,
    BASE,
    BUSY,
    FREE,
    HEAD,
    LAST_END,
    LAYERS,
    LEFT,
    NEVER,
    NOW,
    OFF,
    OPERATIONS,
    PENDING,
    READY,
    ROOM,
    RUNNING,
    WAITING,
    WAKE,
    WHY,
    WOKEN,
)
from cimemu.timing.timeline import Ledger

Ints = NDArray[np.int64]
ROWS = 1 << 14  # of tasks that are compared at once: what is made of them stays in the cache


@dataclass(eq=False)
class ChipState:
    """What the engine knows at one moment; the meaning of columns stands in `cimemu.timing.kernels.engine`."""

    tasks: Ints  # [images on the chip, tasks, 6]
    units: Ints  # [units, 12]
    images: Ints  # [images on the chip, 2 + layers]
    queue: Ints  # [places, 2] a ring of waiting tasks for every unit
    heap: Ints  # [units + 1, 2]
    touched: Ints  # [units]
    control: Ints  # [5]
    stalls: Ints  # [units, causes]
    layer_stalls: Ints  # [layers, causes]

    @classmethod
    def new(cls, template: Template, images: int, begin: int, ledger: Ledger) -> "ChipState":
        """An idle chip at cycle `begin`, with room for the images that are on it together and the one behind them."""
        window = min(template.in_flight, images) + 1
        used = np.bincount(template.unit[template.unit >= 0], minlength=len(ledger.busy))
        units = np.zeros((len(ledger.busy), 12), dtype=np.int64)
        units[:, AFTER], units[:, WAKE], units[:, OFF] = ledger.after, ledger.wake, ledger.off
        units[:, FREE], units[:, BUSY], units[:, OPERATIONS] = ledger.free, ledger.busy, ledger.operations
        units[:, RUNNING] = -1
        units[:, ROOM] = np.maximum(1, used * window)
        units[:, BASE] = np.cumsum(units[:, ROOM]) - units[:, ROOM]
        state = cls(
            tasks=np.zeros((window, template.tasks, 6), dtype=np.int64),
            units=units,
            images=np.zeros((window, LAYERS + len(ledger.layer_stalls)), dtype=np.int64),
            queue=np.zeros((int(units[:, ROOM].sum()), 2), dtype=np.int64),
            heap=np.zeros((len(units) + 1, 2), dtype=np.int64),
            touched=np.zeros(len(units), dtype=np.int64),
            control=np.array([begin, 0, 0, images, window], dtype=np.int64),
            stalls=ledger.stalls.copy(),
            layer_stalls=ledger.layer_stalls.copy(),
        )
        for image in range(min(window, images)):
            state.clear(image, template)
        return state

    @property
    def chip(self) -> tuple[Ints, Ints, Ints, Ints, Ints, Ints, Ints]:
        """As the kernels take it."""
        return self.tasks, self.units, self.images, self.queue, self.heap, self.touched, self.control

    @property
    def window(self) -> int:
        """Images that there is room for."""
        return len(self.tasks)

    @property
    def now(self) -> int:
        """The present cycle."""
        return int(self.control[NOW])

    @property
    def nbytes(self) -> int:
        """Bytes of a copy, nearly."""
        return self.tasks.nbytes + self.queue.nbytes

    def clear(self, image: int, template: Template) -> None:
        """Make room for `image`, which is not admitted yet (the gate is one more wait of those that wait for nothing
        else of their own image; the rest cannot begin before these)."""
        slot = image % self.window
        tasks = self.tasks[slot]
        tasks[:, PENDING] = np.maximum(template.waits_here, 1)
        if image > 0:
            tasks[:, PENDING] += template.waits_before
        tasks[:, WHY] = 17 * int(Cause.DATA)
        tasks[:, WOKEN] = 0
        tasks[:, READY:] = -1
        self.images[slot, LEFT], self.images[slot, LAST_END] = template.tasks, -1
        self.images[slot, LAYERS:] = NEVER

    def copy(self) -> "ChipState":
        """A copy that the engine does not change."""
        return ChipState(*(getattr(self, name).copy() for name in self.__dataclass_fields__))

    def mark(self, used: NDArray[np.int32], image: int) -> int:
        """What the `used` units are at, seen from now and from `image`: equal where states are, but not only there."""
        units = self.units[used]
        running = np.where(units[:, RUNNING] < 0, -1, units[:, RUNNING] - (image << 32))
        return hash(b"".join(part.tobytes() for part in (units[:, FREE] - self.now, running, units[:, WAITING])))

    def waiting(self, unit: int) -> Ints:
        """[tasks that wait for `unit`, in order, 2]: ready cycle and key of the task."""
        base, head, count, room = (int(self.units[unit, column]) for column in (BASE, HEAD, WAITING, ROOM))
        return self.queue[base + (head + np.arange(count)) % room]

    def repeat(self, before: "ChipState", times: int, period: int) -> None:
        """Go on `times` x what happened since `before`, `period` images ago."""
        shift, images = times * (self.now - before.now), times * period
        used = self.units[:, OPERATIONS] > before.units[:, OPERATIONS]
        keys = images << 32
        for mine, old in (
            (self.units[:, BUSY], before.units[:, BUSY]),
            (self.units[:, OPERATIONS], before.units[:, OPERATIONS]),
            (self.units[:, OFF], before.units[:, OFF]),
            (self.stalls, before.stalls),
            (self.layer_stalls, before.layer_stalls),
        ):
            mine += times * (mine - old)
        self.units[used, FREE] += shift
        self.units[self.units[:, RUNNING] >= 0, RUNNING] += keys
        self.control[NOW] += shift
        self.heap[:, 0] += shift
        self.queue += np.array([shift, keys])
        for cycles in (self.tasks[:, :, READY:], self.images[:, LAST_END:]):
            cycles[(cycles >= 0) & (cycles < NEVER)] += shift
        self.tasks[:] = np.roll(self.tasks, images % self.window, axis=0)
        self.images[:] = np.roll(self.images, images % self.window, axis=0)

    def settle(self, ledger: Ledger) -> None:
        """Write the sums into the ledger."""
        ledger.free[:], ledger.busy[:] = self.units[:, FREE], self.units[:, BUSY]
        ledger.operations[:], ledger.stalls[:] = self.units[:, OPERATIONS], self.stalls
        ledger.layer_stalls[:], ledger.off[:] = self.layer_stalls, self.units[:, OFF]


def is_shifted(before: Ints, after: Ints, first: int, shift: int) -> bool:
    """Whether `after` is `before`, with `shift` added to the cycles, which stand in column `first` and those behind it;
    negative ones and NEVER stand for no cycle."""
    for begin in range(0, len(before), ROWS):
        rows = slice(begin, begin + ROWS)
        cycles = before[rows, first:]
        moved = np.where((cycles >= 0) & (cycles < NEVER), cycles + shift, cycles)
        if not np.array_equal(after[rows, :first], before[rows, :first]) or not np.array_equal(
            after[rows, first:], moved
        ):
            return False
    return True


def is_repeat(before: ChipState, after: ChipState, template: Template, period: int) -> bool:
    """Whether `after` is `before`, `period` images later: the same tasks wait, run and are done, every cycle shifted.

    All that the engine's next steps depend on is compared; only sums of the past are not.
    """
    shift, window = after.now - before.now, before.window
    keys = period << 32
    used = np.unique(template.unit[template.unit >= 0])
    a, b = before.units[used], after.units[used]
    running = np.where(a[:, RUNNING] < 0, -1, a[:, RUNNING] + keys)
    if not (np.array_equal(b[:, RUNNING], running) and np.array_equal(b[:, WAITING], a[:, WAITING])):
        return False
    if not np.array_equal(b[:, FREE], a[:, FREE] + shift):
        return False
    for unit in used[a[:, WAITING] > 0]:
        if not np.array_equal(after.waiting(unit), before.waiting(unit) + np.array([shift, keys])):
            return False
    for slot in range(window):
        later = (slot + period) % window
        if not is_shifted(before.images[slot : slot + 1], after.images[later : later + 1], LAST_END, shift):
            return False
        if not is_shifted(before.tasks[slot], after.tasks[later], READY, shift):
            return False
    touched = [set(state.touched[: int(state.control[2])].tolist()) for state in (before, after)]
    return touched[0] == touched[1]
