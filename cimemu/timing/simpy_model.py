"""The meaning of time: SimPy processes, one a unit, that serve the tasks of a template.

A unit serves its waiting tasks by (ready cycle, image, task number), and chooses only after everything else that
happens in the same cycle has happened.
"""

from collections.abc import Generator, Iterator
from functools import partial
from heapq import heappop, heappush
from typing import Any

import numpy as np
import simpy

from cimemu.events import Cause
from cimemu.timing.compiled import Table
from cimemu.timing.graph import Template
from cimemu.timing.timeline import NEVER, Events, Ledger, Times
from cimemu.timing.unfold import Unfold

AFTER_ALL_ELSE = 2  # SimPy's own priorities are 0 (urgent) and 1 (normal)


Wait = tuple[int, int, int, int]


class _Last:
    """Stands in for the environment of events that happen in their cycle after everything else does.

    An event schedules itself by `event.env.schedule(event)`, at SimPy's normal priority; here, behind it.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self.schedule = partial(env.schedule, priority=AFTER_ALL_ELSE)


class _Image:
    """The waits of one image's tasks."""

    def __init__(self, env: simpy.Environment, template: Template, first: bool, begin: int) -> None:
        waits = template.waits_here + 1 + (0 if first else template.waits_before)
        self.pending: list[int] = waits.tolist()
        # Of the wait that ended last: when, why, since when the predecessor worked, and what that one waited for.
        self.wait: list[Wait] = [(-1, int(Cause.DATA), 0, int(Cause.DATA))] * template.tasks
        self.layer_ready: dict[int, int] = {}  # when the first task of a layer could begin
        self.start = np.full(template.tasks, -1, dtype=np.int64)
        self.end = np.full(template.tasks, -1, dtype=np.int64)
        self.woken = np.zeros(template.tasks, dtype=np.bool_)
        self.left = template.tasks
        self.last_end = begin
        self.done = env.event()
        self.rows: list[tuple[int, ...]] = []


class _Chip:
    def __init__(
        self, template: Template, images: int, begin: int, table: Table, ledger: Ledger, unfold: Unfold | None
    ) -> None:
        self.env = simpy.Environment(initial_time=begin)
        self.template, self.images, self.begin = template, images, begin
        self.table, self.ledger, self.unfold = table, ledger, unfold
        self.first_edge: list[int] = template.first_edge.tolist()
        self.edges = list(zip(template.successor.tolist(), template.lag.tolist(), template.cause.tolist()))
        self.unit: list[int] = template.unit.tolist()
        self.live: dict[int, _Image] = {}
        count = len(template.units)
        self.queues: list[list[tuple[int, int, int]]] = [[] for _ in range(count)]
        self.wake: list[simpy.Event | None] = [None] * count
        for number in sorted(set(self.unit) - {-1}):
            self.env.process(self.serve(number))

    def prepare(self, image: int) -> None:
        if image < self.images and image not in self.live:
            self.live[image] = _Image(self.env, self.template, image == 0, self.begin)

    def admit(self, image: int) -> None:
        """Let an image onto the chip; the one behind it begins to gather what it will wait for."""
        self.prepare(image)
        self.prepare(image + 1)
        for task in range(self.template.tasks):
            self.arrive(image, task, (int(self.env.now), int(Cause.DATA), int(self.env.now), int(Cause.DATA)))

    def arrive(self, image: int, task: int, wait: Wait) -> None:
        """One wait of a task ends now; of those that end together the smallest is kept."""
        state = self.live[image]
        kept = state.wait[task]
        if wait[0] > kept[0] or (wait[0] == kept[0] and wait[1:] < kept[1:]):
            state.wait[task] = wait
        state.pending[task] -= 1
        if state.pending[task]:
            return
        now = state.wait[task][0]
        unit = self.unit[task]
        if unit < 0:
            self.finish(image, task, state.wait[task][2], state.wait[task][3])
            return
        layer = int(self.template.layer[task])
        state.layer_ready[layer] = min(now, state.layer_ready.get(layer, now))
        heappush(self.queues[unit], (now, image, task))
        waiting = self.wake[unit]
        if waiting is not None:
            self.wake[unit] = None
            waiting.succeed()

    def finish(self, image: int, task: int, since: int, why: int) -> None:
        """A task that worked from `since`, after waiting for `why`, is over: tell its successors."""
        state, now = self.live[image], int(self.env.now)
        state.left -= 1
        was_last = state.left == 0  # a meeting point behind this task may count down further
        state.last_end = max(state.last_end, now)
        for successor, lag, cause in self.edges[self.first_edge[task] : self.first_edge[task + 1]]:
            if image + lag < self.images:
                self.arrive(image + lag, successor, (now, cause, since, why))
        if was_last:
            state.done.succeed()

    def note_wait(self, image: int, task: int, unit: int, begin: int) -> None:
        """Charge the cycles that a unit has waited, as `cimemu.timing.kernels.engine.charge` says."""
        free = int(self.ledger.free[unit])
        layer = int(self.template.layer[task])
        state = self.live[image]
        _, why, since, earlier = state.wait[task]
        for cycle_from, cycle_to, cause in (
            (free, state.layer_ready[layer], int(Cause.DATA)),
            (max(free, state.layer_ready[layer]), since, earlier),
            (max(free, state.layer_ready[layer], since), begin, why),
        ):
            cycles = max(0, min(begin, cycle_to) - min(begin, cycle_from))
            self.ledger.stalls[unit, cause] += cycles
            self.ledger.layer_stalls[layer, cause] += cycles

    def serve(self, unit: int) -> Generator[Any, Any, None]:
        """The process of one unit."""
        env, queue, books, template = self.env, self.queues[unit], self.ledger, self.template
        last = _Last(env)
        while True:
            if not queue:
                self.wake[unit] = env.event()
                yield self.wake[unit]
            yield simpy.Event(last).succeed()
            _, image, task = heappop(queue)
            state, begin = self.live[image], int(env.now)
            idle = begin - int(books.free[unit])
            if idle > 0:
                self.note_wait(image, task, unit, begin)
            if idle > books.after[unit]:
                books.off[unit] += idle - books.after[unit]
                state.woken[task] = True
                yield env.timeout(int(books.wake[unit]))
                books.busy[unit] += int(env.now) - begin
                begin = int(env.now)
            if self.unfold is not None and template.block[task] >= 0:
                yield from self.unfold.operate(env, image, task, state.rows)
            elif self.table is not None and template.dynamic[task] >= 0:
                yield env.timeout(int(self.table[image, template.dynamic[task]]))
            else:
                yield env.timeout(int(template.duration[task]))
            end = int(env.now)
            books.free[unit] = end
            books.busy[unit] += end - begin
            books.operations[unit] += 1
            state.start[task], state.end[task] = begin, end
            self.finish(image, task, begin, state.wait[task][1])


def run_simpy(
    template: Template, images: int, begin: int, table: Table, ledger: Ledger, unfold: Unfold | None = None
) -> Iterator[Times]:
    """Times of every image, in order; `unfold` makes every step of a macro operation an event."""
    if template.tasks == 0:
        return
    chip = _Chip(template, images, begin, table, ledger, unfold)
    in_flight = min(template.in_flight, images)
    gated = bool((ledger.after < NEVER).any())

    def gate() -> Generator[Any, Any, None]:
        for image in range(in_flight):
            chip.admit(image)
        for image in range(in_flight, images):
            yield chip.live[image - in_flight].done
            chip.admit(image)

    chip.env.process(gate())
    for image in range(images):
        chip.prepare(image)
        chip.env.run(until=chip.live[image].done)
        state = chip.live[image]
        if image >= in_flight:
            del chip.live[image - in_flight]
        steps = None if unfold is None else _events(state.rows)
        yield Times(image, state.start, state.end, state.last_end, steps, woken=state.woken if gated else None)


def _events(rows: list[tuple[int, ...]]) -> Events:
    columns = np.array(rows, dtype=np.int64).reshape(-1, 7)
    return dict(zip(("unit", "op", "kind", "layer", "image", "start", "end"), columns.T))
