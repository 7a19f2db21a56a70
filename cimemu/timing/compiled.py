"""Runs a template on the compiled engine, image by image; where the chip repeats itself, the repeats are copied."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.lanes.jit import interpreted, is_compiled
from cimemu.lanes.small import SPENT
from cimemu.timing.graph import Template
from cimemu.timing.kernels.engine import LAST_END, LEFT, NEVER, START, WOKEN, admit, advance
from cimemu.timing.state import ChipState, is_repeat
from cimemu.timing.timeline import Ledger, Times

Table = NDArray[np.int32] | None
STATE_BUDGET_BYTES = 256 << 20  # no steady state is looked for where a copy of the state would take more
# Compiling the engine takes as long as some 100,000 tasks in Python. It is compiled once a process has had half of these.
PAYS_FROM = 50_000


def run_compiled(
    template: Template, images: int, begin: int, table: Table, ledger: Ledger, *, repeat: bool = True
) -> Iterator[Times]:
    """Times of every image, in order; the first is admitted at cycle `begin`. An image is admitted when all those
    `in_flight` before it are done.

    Where nothing depends on data, the whole state of the chip is compared between admissions, once its units look as they
    did some images before. Where it is that of p images before, but for the cycle, everything repeats every p images for as
    long as images are admitted: those are copied instead of simulated. `repeat` False simulates every image.
    """
    if template.tasks == 0:
        return
    chip = _Engine(template, images, begin, table, ledger)
    search = repeat and table is None and chip.state.nbytes <= STATE_BUDGET_BYTES
    saved: ChipState | None = None
    mark, marks, look_from = 0, dict[int, int](), 0  # of `saved`; images by their marks; no state is copied before it
    history: list[Times] = []  # images since `saved`
    image = 0
    while image < images:
        times = chip.next_image(image)
        yield times
        image += 1
        left = images - 1 - template.in_flight - image  # of those behind the last admitted, which do not exist
        if not search or left < 1:
            continue
        now = chip.state.mark(chip.used, image)
        if saved is not None:
            history.append(times)
        period = len(history)
        if saved is not None and now == mark and is_repeat(saved, chip.state, template, period):
            repeats = left // period
            shift = chip.state.now - saved.now
            for number in range(repeats * period):
                first, later = history[number % period], (number // period + 1) * shift
                yield replace(first, image=image + number, done=first.done + later, later=later)
            chip.state.repeat(saved, repeats, period)
            image += repeats * period
            search = False
            saved = None
        elif image >= look_from and 0 < 2 * (image - marks.get(now, image)) <= left:
            # It looks as it did before, and would pay. Where it turns out to be another state, the next copy is made after as
            # many images again.
            saved, mark, history, look_from = chip.state.copy(), now, [], 2 * image
        marks[now] = image
    chip.state.settle(ledger)


class _Stepping:
    """The kernels of the engine: as Python runs them until compiling them pays, where they are not compiled already.

    All state lies in arrays, so that either may go on where the other stopped.
    """

    def __init__(self) -> None:
        self.tasks = 0  # that Python stepped over
        self.compiled = False

    def kernels(self, tasks: int) -> tuple[Any, Any]:
        """(admit, advance) for an image of so many tasks."""
        if not self.compiled:
            self.tasks += tasks
            paid = SPENT.at_once or self.tasks > PAYS_FROM
            self.compiled = paid or (is_compiled(admit) and is_compiled(advance))
        return (admit, advance) if self.compiled else self.python

    @cached_property
    def python(self) -> tuple[Any, Any]:
        """(admit, advance) as Python runs them."""
        return interpreted(admit), interpreted(advance)


STEPPING = _Stepping()


class _Engine:
    """The engine's arrays around the state: the graph, scratch space and the durations of data-dependent operations."""

    def __init__(self, template: Template, images: int, begin: int, table: Table, ledger: Ledger) -> None:
        self.template, self.images, self.table = template, images, table
        self.state = ChipState.new(template, images, begin, ledger)
        self.gated = bool((ledger.after < NEVER).any())
        nodes = np.zeros((template.tasks + 1, 5), dtype=np.int64)
        columns: tuple[NDArray[Any], ...] = (
            template.unit,
            template.layer,
            template.duration,
            template.first_edge[:-1],
            np.full(template.tasks, -1)
            if table is None
            else template.dynamic,  # no table: every duration is the whole one
        )
        for column, values in enumerate(columns):
            nodes[:-1, column] = values
        nodes[-1, 3] = template.first_edge[-1]
        edges = np.stack([template.successor, template.lag.astype(np.int32), template.cause.astype(np.int32)], axis=1)
        self.graph = (nodes, np.ascontiguousarray(edges))
        self.used = np.unique(template.unit[template.unit >= 0])
        self.roots = np.flatnonzero(template.waits_here == 0)
        self.stack = np.zeros((len(template.successor) + 1, 4), dtype=np.int64)
        self.durations = np.zeros((1, 1), dtype=np.int32) if table is None else table
        self.admitted = 0
        while self.admitted < min(template.in_flight, images):
            self._admit()

    def _admit(self) -> None:
        open_gate, _ = STEPPING.kernels(0)
        open_gate(self.admitted, self.roots, self.graph, self.state.chip, self.stack)
        self.admitted += 1

    def next_image(self, image: int) -> Times:
        """Go on until `image` is done; its place on the chip is the next one's."""
        state, template = self.state, self.template
        slot = image % state.window
        if state.images[slot, LEFT] > 0:
            _, go_on = STEPPING.kernels(template.tasks)
            done = go_on(image, self.durations, self.graph, state.chip, self.stack, state.stalls, state.layer_stalls)
            if not done:
                raise RuntimeError("the task graph cannot go on: tasks wait for each other")
        begun, cycles = state.tasks[slot, :, START].copy(), template.duration
        if self.table is not None:
            moving = template.dynamic >= 0
            cycles = cycles.copy()
            cycles[moving] = self.table[image, template.dynamic[moving]]
        woken = state.tasks[slot, :, WOKEN] != 0 if self.gated else None
        times = Times(
            image, begun, np.where(begun < 0, -1, begun + cycles), int(state.images[slot, LAST_END]), woken=woken
        )
        self.admitted = image + template.in_flight
        if self.admitted < self.images:
            state.clear(image + state.window, template)
            self._admit()
        return times
