"""Runs a template on the compiled engine, image by image."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cimemu.kernels.engine import admit, prepare, serve
from cimemu.timing.graph import Template
from cimemu.timing.timeline import Ledger, Times

Table = NDArray[np.int32] | None


def run_compiled(template: Template, images: int, begin: int, table: Table, ledger: Ledger) -> Iterator[Times]:
    """Times of every image, in order; the first is admitted at cycle `begin`.

    Where images do not overlap and nothing depends on data, the third image and those after it repeat the second,
    shifted: the state of the chip at their admission is the same.
    """
    if template.tasks == 0:
        return
    repeats = images > 2 and template.in_flight == 1 and table is None
    last = None
    before = ledger.copy()
    for times in _each_image(template, 2 if repeats else images, begin, table, ledger):
        yield times
        if last is None:
            before = ledger.copy()
        period = 0 if last is None else times.done - last.done
        last = times
    if not repeats or last is None:
        return
    for number in range(2, images):
        shift = (number - 1) * period
        yield Times(number, _shifted(last.start, shift), _shifted(last.end, shift), last.done + shift)
    ledger.repeat(before, images - 2, period)


def _shifted(cycles: NDArray[np.int64], shift: int) -> NDArray[np.int64]:
    return np.where(cycles < 0, cycles, cycles + shift)


def _each_image(template: Template, images: int, begin: int, table: Table, ledger: Ledger) -> Iterator[Times]:
    """The engine itself. An image is admitted when all those `in_flight` before it are done."""
    tasks, window = template.tasks, min(template.in_flight, images) + 1
    pending = np.zeros((window, tasks), dtype=np.int32)
    ready, cause, began, earlier, start = (np.zeros((window, tasks), dtype=np.int64) for _ in range(5))
    left, last_end = np.zeros(window, dtype=np.int64), np.zeros(window, dtype=np.int64)
    layer_ready = np.zeros((window, len(ledger.layer_stalls)), dtype=np.int64)
    graph = (
        template.unit,
        template.layer,
        template.first_edge,
        template.successor,
        template.lag,
        template.cause,
    )
    waits = (template.waits_here, template.waits_before)
    slots = (pending, ready, cause, began, earlier, left, last_end, layer_ready)
    books = (ledger.free, ledger.busy, ledger.stalls, ledger.operations, ledger.layer_stalls)
    heap = np.zeros((tasks * window + 1, 3), dtype=np.int64)
    state = np.array([0, images], dtype=np.int64)
    stack = np.zeros((len(template.successor) + 3, 6), dtype=np.int64)
    durations = np.zeros((1, 1), dtype=np.int32) if table is None else table

    def ready_slot(image: int) -> None:
        if image < images:
            prepare(image % window, image == 0, graph, waits, slots, start)

    for image in range(window):
        ready_slot(image)
    admitted = min(window - 1, images)
    for image in range(admitted):
        admit(image, begin, graph, slots, heap, state, stack)
    finished: set[int] = set()
    when = begin
    for image in range(images):
        slot = image % window
        while image not in finished:
            number = -1
            if state[0] > 0:
                number = int(
                    serve(
                        template.duration,
                        template.dynamic,
                        durations,
                        graph,
                        slots,
                        start,
                        heap,
                        state,
                        stack,
                        books,
                    )
                )
            if number < 0:
                raise RuntimeError("the task graph cannot go on: tasks wait for each other")
            finished.add(number)
        begun, cycles = start[slot].copy(), template.duration
        if table is not None:
            moving = template.dynamic >= 0
            cycles = cycles.copy()
            cycles[moving] = table[image, template.dynamic[moving]]
        done = int(last_end[slot])
        when = max(when, done)
        if admitted < images:
            ready_slot(image + window)
            admit(admitted, when, graph, slots, heap, state, stack)
            admitted += 1
        yield Times(image, begun, np.where(begun < 0, -1, begun + cycles), done)
