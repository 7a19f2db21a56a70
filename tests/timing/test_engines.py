"""The compiled engine, SimPy, and SimPy with every step unfolded end every operation on the same cycle."""

import chips
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cimemu.compute.forward import Emulator
from cimemu.events import Kind

STEPS = (Kind.DRIVE, Kind.CONVERT, Kind.SHIFT_ADD, Kind.SKIP)
common = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def simulated(simulation, images, **options):
    events = []
    timeline = simulation.run(images, sink=events.append, **options)
    return {name: np.concatenate([e[name] for e in events]) for name in events[0]}, timeline


def operation_ends(events):
    """{(image, op): end}; steps count for the operation they belong to."""
    ends = {}
    for image, op, end in zip(events["image"].tolist(), events["op"].tolist(), events["end"].tolist()):
        ends[image, op] = max(end, ends.get((image, op), 0))
    return ends


def compare(data, images):
    arch = data.draw(chips.chips())
    network = data.draw(chips.networks(arch.macro.input.bits))
    simulation = chips.simulation_or_none(network, arch)
    assume(simulation is not None)
    nonzero = None
    if arch.macro.timing.skip_zero_slices:
        shape = (images, *network.types["x"].shape)
        inputs = np.random.default_rng(images).integers(0, 2**arch.macro.input.bits, shape).astype(np.uint8)
        nonzero = Emulator(network, arch.macro).run([inputs]).nonzero
    fast, timeline = simulated(simulation, images, nonzero=nonzero)
    slow, slow_timeline = simulated(simulation, images, nonzero=nonzero, engine="simpy")
    for name in fast:
        assert np.array_equal(fast[name], slow[name]), name
    for field in ("busy", "stalls", "operations", "layer_stalls", "layer_cycles", "image_start", "image_end"):
        assert np.array_equal(getattr(timeline, field), getattr(slow_timeline, field)), field
    steps, step_timeline = simulated(simulation, images, nonzero=nonzero, detail="cycles")
    assert timeline.cycles == slow_timeline.cycles == step_timeline.cycles
    unfolded = operation_ends(steps)
    for key, end in operation_ends(fast).items():
        assert unfolded.get(key, end) == end
    return fast, timeline, steps, step_timeline


@pytest.mark.parametrize("images", [1, 3])
def test_all_engines_agree_on_random_chips(images):
    @settings(common, max_examples=40)
    @given(st.data())
    def check(data):
        fast, timeline, steps, step_timeline = compare(data, images)
        for line in (timeline, step_timeline):
            assert (line.busy + line.stalls.sum(axis=1) == line.cycles).all()
            assert (line.stalls >= 0).all()
        for events in (fast, steps):
            order = np.lexsort((events["start"], events["unit"]))
            unit, start, end = (events[name][order] for name in ("unit", "start", "end"))
            same = unit[1:] == unit[:-1]
            assert (start[1:][same] >= end[:-1][same]).all(), "a unit works on two things at once"
            assert (end > start).all()
        assert timeline.cycles >= timeline.busy.max()

    check()


@pytest.mark.slow
def test_all_engines_agree_on_many_random_chips():
    @settings(common, max_examples=300)
    @given(st.data())
    def check(data):
        compare(data, data.draw(st.integers(1, 4)))

    check()


def test_repeated_images_are_those_that_would_have_been_simulated():
    @settings(common, max_examples=25)
    @given(st.data())
    def check(data):
        arch = data.draw(chips.chips())
        arch = arch.model_copy(
            update={
                "schedule": "layer_by_layer",
                "macro": arch.macro.model_copy(
                    update={"timing": arch.macro.timing.model_copy(update={"skip_zero_slices": False})}
                ),
            }
        )
        simulation = chips.simulation_or_none(data.draw(chips.networks(arch.macro.input.bits)), arch)
        assume(simulation is not None)
        fast, timeline = simulated(simulation, 5)
        slow, slow_timeline = simulated(simulation, 5, engine="simpy")
        for name in fast:
            assert np.array_equal(fast[name], slow[name]), name
        for field in ("busy", "stalls", "operations", "layer_stalls", "image_end"):
            assert np.array_equal(getattr(timeline, field), getattr(slow_timeline, field)), field

    check()
