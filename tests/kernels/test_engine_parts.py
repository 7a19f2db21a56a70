"""The event engine's small kernels against plain Python; the whole engine meets the SimPy model in tests/timing."""

import heapq

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cimemu.timing.kernels import engine

common = settings(deadline=None, derandomize=True, max_examples=60)


@common
@given(st.lists(st.one_of(st.none(), st.integers(0, 6)), max_size=40))
def test_the_heap_gives_units_in_the_order_of_their_cycles(actions):
    heap, control = np.zeros((41, 2), dtype=np.int64), np.zeros(5, dtype=np.int64)
    plain = []
    for unit, when in enumerate([*actions, *[None] * len(actions)]):
        if when is not None:
            engine.push(heap, control, when, unit)
            heapq.heappush(plain, (when, unit))
        elif plain:
            first = int(heap[0, 0])
            taken = (first, int(engine.pop(heap, control)))
            assert first == plain[0][0]
            plain.remove(taken)
            heapq.heapify(plain)
        assert control[engine.HEAPED] == len(plain)
    assert not plain


@common
@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 2), st.integers(0, 9))), max_size=60))
def test_a_unit_serves_by_ready_cycle_then_image_and_task(actions):
    """Entries come with ready cycles that never go back, as in time; the ring has room for eight."""
    units, queue = np.zeros((2, 9), dtype=np.int64), np.zeros((12, 2), dtype=np.int64)
    units[1, engine.BASE], units[1, engine.ROOM] = 4, 8
    plain, now = [], 0
    for number, action in enumerate([*actions, *[None] * len(actions)]):
        if action is not None and len(plain) < 8:
            now += action[0]
            key = (action[1] << 32) + number
            engine.enqueue(queue, units[1], now, key)
            plain = sorted([*plain, (now, key)])
        elif action is None and plain:
            assert int(engine.dequeue(queue, units[1])) == plain.pop(0)[1]
        assert units[1, engine.WAITING] == len(plain)
    assert not plain


WAIT = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 3), st.integers(0, 2))


@common
@given(st.lists(WAIT, min_size=1, max_size=8))
def test_of_waits_that_end_together_the_smallest_is_kept(waits):
    """A wait is (cycle, cause, since, earlier cause); the last cycle counts, then the smallest rest."""
    row = np.full(5, -1, dtype=np.int64)
    row[engine.PENDING], row[engine.WHY] = len(waits), 17 * engine.DATA
    for number, (when, why, since, earlier) in enumerate(waits):
        assert engine.keep_last(row, when, 16 * why + earlier, since) == (number == len(waits) - 1)
    last = max(wait[0] for wait in waits)
    _, why, since, earlier = min(wait for wait in waits if wait[0] == last)
    kept = [row[field] for field in (engine.PENDING, engine.WHY, engine.READY, engine.SINCE)]
    assert kept == [0, 16 * why + earlier, last, since]


def test_a_unit_is_looked_at_once_a_cycle():
    touched, units = np.zeros(3, dtype=np.int64), np.zeros((3, 9), dtype=np.int64)
    control = np.zeros(5, dtype=np.int64)
    for unit in (2, 0, 2):
        engine.touch(touched, units, control, unit)
    assert control[engine.TOUCHES] == 2
    assert touched[:2].tolist() == [2, 0]


@common
@given(*(st.integers(0, 30) for _ in range(4)), st.integers(0, 6), st.integers(0, 6))
def test_every_cycle_of_a_wait_is_charged_to_one_cause(gap, free, layer_ready, began, why, earlier_why):
    stalls = np.zeros(7, dtype=np.int64)
    engine.charge(gap, free, layer_ready, began, 16 * why + earlier_why, stalls)
    causes = []
    for cycle in range(free, free + gap):
        if cycle < layer_ready:
            causes.append(engine.DATA)  # the layer had nothing to do yet
        else:
            causes.append(earlier_why if cycle < began else why)  # its predecessor waited itself, or worked
    assert stalls.tolist() == [causes.count(cause) for cause in range(7)]


def test_a_wait_is_charged_cycle_by_cycle_by_hand():
    # Free at 10, begins at 20: the layer is ready at 13 (3 cycles of data), the predecessor waited until 15 (2), then worked.
    stalls = np.zeros(7, dtype=np.int64)
    engine.charge(10, 10, 13, 15, 16 * 1 + 2, stalls)
    assert stalls.tolist() == [0, 5, 2, 0, 0, 3, 0]
