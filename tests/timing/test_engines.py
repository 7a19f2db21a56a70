"""The compiled engine, SimPy, and SimPy with every step unfolded end every operation on the same cycle."""

import os
from contextlib import contextmanager

import chips
import nets
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.events import Kind
from cimemu.lanes.jit import interpreted
from cimemu.timing import compiled
from cimemu.timing.compiled import _Engine
from cimemu.timing.kernels.engine import FREE, NOW, RUNNING, WAITING, admit, advance
from cimemu.timing.simulate import Simulation
from cimemu.timing.state import ChipState, is_repeat
from cimemu.timing.timeline import Ledger

STEPS = (Kind.DRIVE, Kind.CONVERT, Kind.SHIFT_ADD, Kind.SKIP)
needs_data = pytest.mark.skipif("CIMEMU_DATA" not in os.environ, reason="CIMEMU_DATA names no folder of networks")
common = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def simulated(simulation, images, **options):
    events = []
    timeline = simulation.run(images, sink=events.append, **options)
    return {name: np.concatenate([e[name] for e in events]) for name in events[0]}, timeline


@contextmanager
def stepping(way):
    """All tasks by the `compiled` engine or by its kernels as `python` runs them."""
    given = admit, advance
    kernels = given if way == "compiled" else tuple(map(interpreted, given))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled.STEPPING, "kernels", lambda tasks: kernels)
        yield


def operation_ends(events):
    """{(image, op): end}; steps count for the operation they belong to, waking before it does not."""
    ends = {}
    working = events["kind"] != Kind.WAKE
    for image, op, end in zip(*(events[name][working].tolist() for name in ("image", "op", "end"))):
        ends[image, op] = max(end, ends.get((image, op), 0))
    return ends


def compare(data, images):
    arch = data.draw(chips.chips())
    stages = data.draw(st.sampled_from([0, 0, 1, 2, 7]))
    if stages:
        timing = arch.macro.timing.model_copy(update={"pipeline_stages": stages})
        arch = arch.model_copy(update={"macro": arch.macro.model_copy(update={"timing": timing})})
    network = data.draw(chips.networks(arch.macro.input.bits))
    simulation = chips.simulation_or_none(network, arch)
    assume(simulation is not None)
    nonzero = None
    if arch.macro.timing.skip_zero_slices:
        shape = (images, *network.types["x"].shape)
        inputs = np.random.default_rng(images).integers(0, 2**arch.macro.input.bits, shape).astype(np.uint8)
        nonzero = Emulator(network, arch.macro).run([inputs]).nonzero
    with stepping("compiled"):
        fast, timeline = simulated(simulation, images, nonzero=nonzero)
    with stepping("python"):
        plain, plain_timeline = simulated(simulation, images, nonzero=nonzero)
    slow, slow_timeline = simulated(simulation, images, nonzero=nonzero, engine="simpy")
    for name in fast:
        assert np.array_equal(fast[name], slow[name]), name
        assert np.array_equal(plain[name], slow[name]), name
    assert plain_timeline.cycles == timeline.cycles
    for field in ("busy", "stalls", "operations", "layer_stalls", "layer_cycles", "image_start", "image_end"):
        assert np.array_equal(getattr(timeline, field), getattr(slow_timeline, field)), field
        assert np.array_equal(getattr(plain_timeline, field), getattr(slow_timeline, field)), field
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


def test_a_macro_that_skips_takes_its_whole_time_where_no_driven_steps_are_given():
    """A compiled engine once read past the end of a table that was not there."""
    tried = []

    @settings(common, max_examples=30)
    @given(st.data())
    def check(data):
        arch = data.draw(chips.chips())
        timing = arch.macro.timing.model_copy(update={"skip_zero_slices": True})
        arch = arch.model_copy(update={"macro": arch.macro.model_copy(update={"timing": timing})})
        network = data.draw(chips.networks(arch.macro.input.bits))
        skipping = chips.simulation_or_none(network, arch)
        never = chips.simulation_or_none(network, without_skipping(arch))
        assume(skipping is not None and never is not None)
        tried.append(arch)
        for engine in ("compiled", "simpy"):
            same(simulated(skipping, 3, engine=engine), simulated(never, 3, engine="compiled"))

    check()
    assert len(tried) >= 10


@pytest.mark.slow
def test_all_engines_agree_on_many_random_chips():
    @settings(common, max_examples=300)
    @given(st.data())
    def check(data):
        compare(data, data.draw(st.integers(1, 4)))

    check()


SUMS = ("busy", "stalls", "operations", "layer_stalls", "layer_cycles", "image_start", "image_end")


def same(fast, slow):
    """Two (events, timeline) are equal in every operation and every sum."""
    for name in fast[0]:
        assert np.array_equal(fast[0][name], slow[0][name]), name
    for field in SUMS:
        assert np.array_equal(getattr(fast[1], field), getattr(slow[1], field)), field
    assert fast[1].cycles == slow[1].cycles


def without_skipping(arch):
    timing = arch.macro.timing.model_copy(update={"skip_zero_slices": False})
    return arch.model_copy(update={"macro": arch.macro.model_copy(update={"timing": timing})})


def copied_images(monkeypatch):
    """A list that gets how many images each run has copied instead of simulated."""
    counts, original = [], ChipState.repeat
    monkeypatch.setattr(ChipState, "repeat", lambda *a: (counts.append(a[2] * a[3]), original(*a))[1])
    return counts


def test_repeated_images_are_those_that_would_have_been_simulated(monkeypatch):
    copied, runs = copied_images(monkeypatch), []

    @settings(common, max_examples=30)
    @given(st.data())
    def check(data):
        arch = without_skipping(data.draw(chips.chips()))
        simulation = chips.simulation_or_none(data.draw(chips.networks(arch.macro.input.bits)), arch)
        assume(simulation is not None)
        images = data.draw(st.integers(1, 60))
        runs.append(images)
        every = simulated(simulation, images, repeat=False)
        same(simulated(simulation, images), every)
        if images <= 20:
            same(every, simulated(simulation, images, engine="simpy"))

    check()
    assert sum(copied) > sum(runs) / 3, "hardly anything was found to repeat: the test shows nothing"


@pytest.mark.parametrize("schedule", ["layer_by_layer", "pipelined"])
def test_a_thousand_images_cost_little_more_than_the_first(schedule, monkeypatch):
    arch = cimemu.load_arch("rram_128", {"schedule": schedule})
    simulation = Simulation(cimemu.make_plan(nets.residual_network(), arch))
    copied = copied_images(monkeypatch)
    fast = simulated(simulation, 1000)
    assert sum(copied) > 900
    same(fast, simulated(simulation, 1000, repeat=False))


def test_a_state_with_another_history_is_no_repeat():
    arch = cimemu.load_arch("rram_128", {"schedule": "pipelined"})
    template = Simulation(cimemu.make_plan(nets.residual_network(), arch)).phases[0]
    engine = _Engine(template, 60, 0, None, Ledger.new(len(template.units), 9))
    for image in range(40):
        engine.next_image(image)
    before = engine.state.copy()
    engine.next_image(40)
    after = engine.state
    assert is_repeat(before, after, template, 1)
    assert not is_repeat(before, after, template, 2)
    rng = np.random.default_rng(0)
    used = np.unique(template.unit[template.unit >= 0])
    for spoil in range(40):
        other = after.copy()
        if spoil % 4 == 0:
            other.tasks[tuple(rng.integers(n) for n in other.tasks.shape)] += 1
        elif spoil % 4 == 1:
            other.units[rng.choice(used), rng.choice([FREE, RUNNING, WAITING])] += 1
        elif spoil % 4 == 2:
            other.images[rng.integers(len(other.images)), rng.integers(2)] += 1
        else:
            other.control[NOW] += 1
        assert not is_repeat(before, other, template, 1), spoil


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("schedule", ["pipelined", "layer_by_layer"])
def test_resnet20_runs_as_in_simpy(resnet20, schedule):
    """Three images, every operation: 59,540 a network."""
    arch = cimemu.load_arch("rram_128", {"schedule": schedule})
    simulation = Simulation(cimemu.make_plan(resnet20, arch))
    fast = simulated(simulation, 3)
    assert len(fast[0]["op"]) > 150_000
    same(fast, simulated(simulation, 3, engine="simpy"))


@needs_data
@pytest.mark.slow
def test_a_hundred_resnet20_images_repeat_as_they_are_simulated(resnet20):
    simulation = Simulation(cimemu.make_plan(resnet20, cimemu.load_arch("rram_128", {"schedule": "pipelined"})))
    same(simulated(simulation, 100), simulated(simulation, 100, repeat=False))


@pytest.fixture(scope="module")
def resnet20():
    work = cimemu.load_workload("cifar10_resnet20")
    arch = cimemu.load_arch("rram_128")
    return cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration()[:4])
