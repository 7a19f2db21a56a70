"""Rows in flight: no tensor ever has more rows in the global buffer than it has room for, and the chip always goes on."""

from contextlib import contextmanager

import chips
import nets
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.mapping.place import make_plan
from cimemu.timing.feeds import Feeds
from cimemu.timing.flow import interconnect_flow
from cimemu.timing.graph import GraphBuilder
from cimemu.timing.rings import Ring, shared_out
from cimemu.timing.simulate import Simulation
from cimemu.timing.storage import place_tensors

common = settings(deadline=None, derandomize=True, max_examples=60, suppress_health_check=list(HealthCheck))


@contextmanager
def seen_feeds():
    """The feeds of every task graph that is built meanwhile."""
    found, original = [], Feeds.reserve
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Feeds, "reserve", lambda self: (found.append(self), original(self))[1])
        yield found


def pipelined(arch):
    return cimemu.load_arch(arch, {"schedule": "pipelined"})


def rows_in_buffer(feeds, producer, times):
    """[(cycle in, cycle out)] of every row of every image: from the first task that needs its room to the last that has done
    with it; worked out anew from the events, by images alone."""
    spans = []
    for start, end in times:
        rows = len(feeds.written[producer])
        into, out = np.full(rows, np.iinfo(np.int64).max), np.zeros(rows, dtype=np.int64)
        for row, task in ((r, t) for rs, ts in feeds.entering[producer] for r, t in zip(rs, ts)):
            into[row] = min(into[row], start[task])
        for entry in feeds.leaving.get(producer, ()):
            pairs = zip(*entry) if isinstance(entry, tuple) else ((r, t) for r in range(rows) for t in entry)
            for row, task in pairs:
                out[row] = max(out[row], end[task])
        spans += [(int(a), int(max(a, b))) for a, b in zip(into, out)]
    return spans


def most_at_once(spans):
    marks = sorted([(a, 1) for a, b in spans if b > a] + [(b, -1) for a, b in spans if b > a])
    most = now = 0
    for _, step in marks:
        now += step
        most = max(most, now)
    return most


def times_of(simulation, images):
    """(start, end) of all tasks of each image."""
    from cimemu.timing.compiled import run_compiled
    from cimemu.timing.timeline import Ledger

    ledger = Ledger.new(len(simulation.units), len(simulation.plan.layers))
    return [(t.start, t.end) for t in run_compiled(simulation.phases[0], images, 0, None, ledger)]


def test_no_tensor_has_more_rows_in_the_buffer_than_its_ring_and_all_rings_fit():
    tried = []

    @common
    @given(st.data())
    def check(data):
        arch = pipelined(data.draw(chips.chips()))
        network = data.draw(chips.networks(arch.macro.input.bits))
        with seen_feeds() as found:
            simulation = chips.simulation_or_none(network, arch)
        assume(simulation is not None and simulation.plan.phases == 1)
        feeds = found[0]
        storage = feeds.storage
        images = data.draw(st.integers(1, 6))
        times = times_of(simulation, images)
        assert len(times) == images  # it never comes to a halt
        bits = 0
        for producer, ring in storage.rings.items():
            held = storage.held.get(producer, ring.rows * storage.in_flight)
            bits += held * ring.row_bits
            assert ring.fewest <= held or producer not in storage.held
            assert most_at_once(rows_in_buffer(feeds, producer, times)) <= held
        assert bits <= arch.chip.global_buffer.size_kib * 8192
        into, out = interconnect_flow(simulation.phases[0])
        assert into == out
        tried.append(len(storage.held))

    check()
    assert sum(map(bool, tried)) >= 15, "hardly any ring: the test shows nothing"


def chain_of(height, layers=4):
    members = [
        nets.conv_layer(f"c{i}", f"t{i}" if i else "x", f"t{i + 1}", height, 4, 2, 2, kernel=3, seed=i)
        for i in range(layers)
    ]
    return nets.network("chain", members, {"x": cimemu_type((2, height, 4))}, [f"t{layers}"])


def cimemu_type(shape):
    from cimemu.layer.base import TensorType

    return TensorType(shape, "uint8")


@pytest.mark.parametrize("height", [4, 9, 40])
def test_a_chain_of_kernels_of_three_rows_needs_three_rows_between_its_layers_however_high_the_image_is(height):
    arch = cimemu.load_arch("rram_128", {"schedule": "pipelined"})
    storage = place_tensors(make_plan(chain_of(height), arch), 0)
    fewest = {producer: ring.fewest for producer, ring in storage.rings.items()}
    assert fewest == {-1: 3, 0: 3, 1: 3, 2: 3, 3: 1}


def test_a_layer_that_needs_all_rows_has_all_of_them():
    arch = cimemu.load_arch("rram_128", {"schedule": "pipelined"})
    plan = make_plan(nets.residual_network(height=9), arch)
    storage = place_tensors(plan, 0)
    mean = next(layer for layer in plan.layers if "Average" in layer.op)
    assert storage.rings[mean.inputs[0]].fewest == storage.rings[mean.inputs[0]].rows == 9


def image_cycles(network, **changes):
    arch = cimemu.load_arch("rram_128", {"schedule": "pipelined", **changes})
    timeline = Simulation(make_plan(network, arch)).run(40)
    late = timeline.image_end[20:]
    return int(late[-1] - late[0]) / (len(late) - 1), int(timeline.busy.max()) / 40, timeline


def test_a_buffer_of_a_few_rows_lets_images_overlap():
    """All tensors of an image together are 5 times the buffer; images came one after the other here."""
    network = chain_of(40)
    whole = sum(ring.rows * ring.row_bits for ring in rings(network).values())
    small = {"chip.global_buffer.size_kib": whole / 5 / 8192}
    period, busiest, timeline = image_cycles(network, **small)
    latency = int(timeline.image_end[0] - timeline.image_start[0])
    assert period < 0.95 * latency
    assert period == pytest.approx(busiest, rel=0.02)
    assert timeline.image_start[1] < timeline.image_end[0]


@pytest.mark.parametrize("kind", ["mesh", "bus"])
def test_what_goes_into_the_interconnect_comes_out_where_packets_wait_for_room(kind):
    network = chain_of(40)
    whole = sum(ring.rows * ring.row_bits for ring in rings(network).values())
    arch = {"chip.global_buffer.size_kib": whole / 5 / 8192, "chip.interconnect.kind": kind, "schedule": "pipelined"}
    template = Simulation(make_plan(network, cimemu.load_arch("rram_128", arch))).phases[0]
    into, out = interconnect_flow(template)
    assert into == out > 0


def rings(network):
    arch = cimemu.load_arch("rram_128", {"schedule": "pipelined"})
    return place_tensors(make_plan(network, arch), 0).rings


@common
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 30), st.integers(1, 50)), max_size=6),
    st.integers(0, 20_000),
)
def test_room_is_shared_out_whole(sizes, more):
    made = {i: Ring(fewest, fewest + extra, bits) for i, (fewest, extra, bits) in enumerate(sizes)}
    capacity = more + sum(ring.fewest * ring.row_bits for ring in made.values())
    held = shared_out(made, capacity, 8)
    assert set(held) <= set(made)
    taken = sum(held.get(i, 8 * ring.rows) * ring.row_bits for i, ring in made.items())
    assert taken <= capacity
    assert all(made[i].fewest <= rows <= made[i].rows for i, rows in held.items())
    if len(held) < len(made):
        assert all(held[i] == made[i].rows for i in held)
    assert shared_out(made, 8 * sum(r.rows * r.row_bits for r in made.values()), 8) == {}


def test_an_edge_waits_for_the_right_image():
    """Five rows in a ring of three: rows 3 and 4 wait for rows 0 and 1 of the same image, 0 .. 2 for 2 .. 4 of the one before."""
    graph = GraphBuilder(1)
    feeds = Feeds(cimemu.load_arch("rram_128"), graph, None, frozenset())
    into, out = graph.meet(0, 5), graph.meet(0, 5)
    feeds._replace(into, np.arange(5) - 3, 5, (np.arange(5), out))
    found = {(int(a), int(b), lag) for tasks, on, _, lag in graph.edges for a, b in zip(tasks, on)}
    assert found == {(3, 5, 0), (4, 6, 0), (0, 7, 1), (1, 8, 1), (2, 9, 1)}
