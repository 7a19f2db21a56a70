"""Repeated images: found, not looked for where they cannot pay, and not built where nobody wants their events."""

import nets
import numpy as np
import pytest

import cimemu
from cimemu.timing import compiled
from cimemu.timing.kernels.engine import NEVER
from cimemu.timing.simulate import Simulation
from cimemu.timing.state import ROWS, is_shifted


def simulation_of(schedule):
    arch = cimemu.load_arch("rram_128", {"schedule": schedule})
    return Simulation(cimemu.make_plan(nets.residual_network(), arch))


@pytest.mark.parametrize("schedule", ["layer_by_layer", "pipelined"])
def test_many_images_are_copied_and_few_are_not(monkeypatch, schedule):
    simulation, simulated, copied = simulation_of(schedule), [], []
    step, copy = compiled._Engine.next_image, compiled.ChipState.copy
    monkeypatch.setattr(
        compiled._Engine, "next_image", lambda self, image: simulated.append(image) or step(self, image)
    )
    monkeypatch.setattr(compiled.ChipState, "copy", lambda self: copied.append(self.now) or copy(self))
    alone = simulation.phases[0].in_flight + 3  # the images at the end are simulated whatever comes
    few = simulation.run(alone)
    assert not copied
    assert simulated == list(range(alone))
    simulated.clear()
    many = simulation.run(1000)
    assert copied
    assert len(simulated) < 200
    every = simulation.run(1000, repeat=False)
    for name in ("busy", "stalls", "operations", "layer_stalls", "layer_cycles", "image_start", "image_end"):
        assert np.array_equal(getattr(many, name), getattr(every, name)), name
    assert many.cycles == every.cycles > few.cycles


def test_events_that_nobody_wants_are_not_made():
    simulation, seen = simulation_of("pipelined"), []
    whole = []
    simulation.run(60, sink=whole.append)

    def sink(events):
        seen.append(events)
        return int(events["image"][0]) < 3

    timeline = simulation.run(60, sink=sink)
    assert [int(events["image"][0]) for events in seen] == [0, 1, 2, 3]
    assert timeline.cycles == simulation.run(60).cycles
    for mine, theirs in zip(seen, whole):
        for name in theirs:
            assert np.array_equal(mine[name], theirs[name]), name


@pytest.mark.parametrize("rows", [1, 5, ROWS + 1])
@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("shift", [0, 1000])
def test_a_state_is_another_one_later_where_every_cycle_is_and_nothing_else_differs(rows, first, shift):
    rng = np.random.default_rng(rows + first)
    before = rng.choice(np.array([-1, 0, 3, 77, NEVER]), (rows, 3)).astype(np.int64)
    after = np.array(
        [[v + shift if c >= first and 0 <= v < NEVER else v for c, v in enumerate(r)] for r in before.tolist()]
    )
    assert is_shifted(before, after, first, shift)
    for spoiled in range(3):
        other = after.copy()
        other[rng.integers(rows), spoiled] += 1
        assert not is_shifted(before, other, first, shift)


def test_python_steps_until_compiling_pays_and_the_cycles_stay(monkeypatch):
    simulation, asked = simulation_of("pipelined"), []
    monkeypatch.setattr(compiled, "is_compiled", lambda kernel: asked.append(kernel) or False)
    told = compiled._Stepping()
    monkeypatch.setattr(compiled, "STEPPING", told)
    monkeypatch.setattr(compiled.SPENT, "at_once", False)
    monkeypatch.setattr(compiled, "PAYS_FROM", 10 * simulation.phases[0].tasks)
    some = simulation.run(30, repeat=False)
    assert told.compiled
    assert asked
    again = simulation.run(30, repeat=False)
    assert np.array_equal(some.image_end, again.image_end)
    assert np.array_equal(some.stalls, again.stalls)
