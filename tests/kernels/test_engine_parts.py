"""The event engine's small kernels against plain Python; the whole engine meets the SimPy model in tests/timing."""

import heapq

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cimemu.kernels import engine

common = settings(deadline=None, derandomize=True, max_examples=60)
ENTRY = st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(0, 5))


@common
@given(ENTRY, ENTRY)
def test_entries_are_served_by_ready_cycle_then_image_then_task(a, b):
    heap = np.array([a, b], dtype=np.int64)
    assert engine.before(heap, 0, 1) == (a < b)


@common
@given(st.lists(st.one_of(st.none(), ENTRY), max_size=40))
def test_the_heap_gives_its_entries_in_the_order_of_a_sorted_queue(actions):
    heap, state, out = (
        np.zeros((41, 3), dtype=np.int64),
        np.zeros(2, dtype=np.int64),
        np.zeros(3, dtype=np.int64),
    )
    plain = []
    for action in [*actions, *[None] * len(actions)]:
        if action is not None:
            engine.push(heap, state, *action)
            heapq.heappush(plain, action)
        elif plain:
            engine.pop(heap, state, out)
            assert tuple(out.tolist()) == heapq.heappop(plain)
        assert state[0] == len(plain)
    assert not plain


@common
@given(*(st.integers(0, 30) for _ in range(4)), st.integers(0, 6), st.integers(0, 6))
def test_every_cycle_of_a_wait_is_charged_to_one_cause(gap, free, layer_ready, began, why, earlier_why):
    stalls = np.zeros(7, dtype=np.int64)
    engine.charge(gap, free, layer_ready, began, why, earlier_why, stalls)
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
    engine.charge(10, 10, 13, 15, 1, 2, stalls)
    assert stalls.tolist() == [0, 5, 2, 0, 0, 3, 0]
