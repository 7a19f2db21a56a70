"""Macros that are switched off while they are idle: what it does to the time and the energy of a run."""

import chips
import nets
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.events import Kind
from cimemu.mapping.place import make_plan
from cimemu.tally import OF_MACROS
from cimemu.timing.simulate import Simulation
from cimemu.trace.idle import idle_cost, off_by_window, worth_gating

GATES = "power.gating"
NETWORK = nets.residual_network()


def chip(after=20, wake=7, saved=0.75, **changes):
    """A preset with gates and a price for a wake-up."""
    gates = {"saved": saved, "after_cycles": after, "wake_cycles": wake}
    keys = {GATES: gates, "costs.wake_up.energy_pj": 2.5, "costs.wake_up.source": "drawn by a test", "chip.tiles": 2}
    return cimemu.load_arch("rram_128", keys | changes)


def images_for(arch, network, count):
    shape = (count, *network.types["x"].shape)
    return np.random.default_rng(count).integers(0, 2**arch.macro.input.bits, shape).astype(np.uint8)


def naive_gating(events, units, gating, macros, cycles):
    """(woken operations, cycles off) from the operations on macros alone, one cycle after the other."""
    woken, off = [], 0
    for unit, name in enumerate(units):
        if not chips.is_macro(name):
            continue
        macros -= 1
        works = np.zeros(cycles, dtype=bool)
        first = {}
        for kind, start, end in zip(
            *(events[key][events["unit"] == unit].tolist() for key in ("kind", "start", "end"))
        ):
            works[start:end] = True
            first[start] = kind
        idle = 0
        for cycle in range(cycles):
            if not works[cycle]:
                idle += 1
                off += idle > gating.after_cycles
                continue
            if idle > gating.after_cycles:
                woken.append(first[cycle])
            idle = 0
    return woken, off + macros * max(0, cycles - gating.after_cycles)


@pytest.mark.parametrize("schedule", ["layer_by_layer", "pipelined"])
@pytest.mark.parametrize(("after", "wake"), [(0, 1), (20, 7), (60, 2)])
def test_a_macro_is_woken_where_it_was_idle_longer_and_only_there(after, wake, schedule):
    arch, found = chip(after, wake, schedule=schedule), []
    timeline = Simulation(make_plan(NETWORK, arch)).run(3, sink=found.append)
    events = {key: np.concatenate([piece[key] for piece in found]) for key in found[0]}
    woken, off = naive_gating(events, timeline.units, arch.power.gating, arch.macros, timeline.cycles)
    assert len(woken) == int((events["kind"] == Kind.WAKE).sum()) == int(timeline.wake_ups.sum())
    assert set(woken) <= {Kind.WAKE}
    assert after > 50 or woken
    assert off == timeline.gated_cycles
    length = (events["end"] - events["start"])[events["kind"] == Kind.WAKE]
    assert set(length.tolist()) <= {wake}


def test_without_gating_nothing_is_woken_and_with_gates_that_never_close_nothing_changes():
    plain = cimemu.load_arch("rram_128", {"chip.tiles": 2})
    slow = chip(after=10**6)
    before, after = (cimemu.run(arch, NETWORK, images_for(arch, NETWORK, 2)) for arch in (plain, slow))
    assert before.timeline.gated_cycles == after.timeline.gated_cycles == 0
    assert before.timeline.wake_ups.sum() == after.timeline.wake_ups.sum() == 0
    assert before.cycles == after.cycles
    assert before.tally.total_quanta == after.tally.total_quanta


def test_the_energy_is_that_of_the_chip_without_gates_less_what_is_off_and_what_waking_takes():
    arch = chip(after=10, wake=4, saved=0.5)
    run = cimemu.run(arch, NETWORK, images_for(arch, NETWORK, 2))
    tally, timeline = run.tally, run.timeline
    leak = dict(zip(tally.components, tally.leakage_uw))
    spent = dict(zip(tally.components, tally.energy_pj[-1]))
    on = timeline.cycles - 0.5 * timeline.gated_cycles / arch.macros
    for name, uw in leak.items():
        expected = uw * 1e-3 * arch.clock_ns * (on if name in OF_MACROS else timeline.cycles)
        assert spent[name] == pytest.approx(expected, rel=1e-9)
    woken = tally.energy_pj[:-1, tally.components.index("wake_up")]
    assert woken.sum() == pytest.approx(2.5 * timeline.wake_ups.sum())
    assert woken.tolist() == pytest.approx((2.5 * timeline.wake_ups.sum(axis=0)).tolist())


@pytest.mark.parametrize("examples", [15, pytest.param(150, marks=pytest.mark.slow)])
def test_simpy_the_compiled_engine_and_steps_agree_on_random_gated_chips(examples):
    @settings(deadline=None, derandomize=True, max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data):
        arch = data.draw(chips.chips())
        timing = arch.macro.timing.model_copy(update={"skip_zero_slices": False})
        gates = data.draw(st.builds(chips.gates, st.just(1.0), st.integers(0, 40), st.integers(1, 9)))
        changed = {"power": {"gating": gates}, "macro": arch.macro.model_copy(update={"timing": timing}).model_dump()}
        arch = type(arch).model_validate(arch.model_dump() | changed)
        simulation = chips.simulation_or_none(data.draw(chips.networks(arch.macro.input.bits)), arch)
        assume(simulation is not None)
        images = data.draw(st.integers(1, 12))
        ways = {}
        for name, how in (
            ("simpy", {"engine": "simpy"}),
            ("compiled", {"engine": "compiled"}),
            ("every image", {"engine": "compiled", "repeat": False}),
            ("steps", {"detail": "cycles"}),
        ):
            timeline = simulation.run(images, **how)
            macro = [i for i, unit in enumerate(timeline.units) if chips.is_macro(unit)]
            ways[name] = (
                timeline.cycles,
                timeline.gated_cycles,
                timeline.wake_ups.tolist(),
                timeline.programming_wake_ups.tolist(),
                timeline.busy[macro].tolist(),
                timeline.stalls[macro].tolist(),
                timeline.image_end.tolist(),
            )
            assert (timeline.busy + timeline.stalls.sum(axis=1) == timeline.cycles).all()
        assert len(set(map(str, ways.values()))) == 1, ways

    check()


@pytest.mark.parametrize("detail", ["ops", "cycles"])
def test_windows_hold_the_cycles_in_which_macros_are_off(detail, tmp_path):
    arch = chip(after=15, wake=3)
    run = cimemu.run(arch, NETWORK, images_for(arch, NETWORK, 2), trace=tmp_path / "t.h5", detail=detail)
    trace = cimemu.open_trace(tmp_path / "t.h5")
    for width in (1, 37, run.cycles):
        off = off_by_window(trace, run.plan.arch, width, -(-run.cycles // width))
        assert int(off.sum()) == run.timeline.gated_cycles
        assert (off >= 0).all()
        assert (off <= arch.macros * width).all()


def test_the_report_says_what_gating_saves_and_what_it_would_save(tmp_path, capsys):
    from cimemu.cli import main

    plain, gated = cimemu.load_arch("rram_128", {"chip.tiles": 2}), chip(after=0, wake=1, saved=1.0)
    told = {}
    for name, arch in (("plain", plain), ("gated", gated)):
        path = tmp_path / f"{name}.h5"
        cimemu.run(arch, NETWORK, images_for(arch, NETWORK, 2), trace=path)
        told[name] = idle_cost(cimemu.open_trace(path))
        assert main(["report", str(path), "--power", "1us"]) == 0
        assert ("worth it where one takes less than" if name == "plain" else "wake-ups take") in capsys.readouterr().out
        assert main(["report", str(path)]) == 0
        out = capsys.readouterr().out
        assert "macros that do not work leak" in out
        assert ("without gating" in out) == (name == "gated")
    would = worth_gating(cimemu.open_trace(tmp_path / "plain.h5"), told["plain"])
    assert would["would_wake"] == told["gated"]["wake_ups"]
    assert told["gated"]["idle_share"] == pytest.approx(0, abs=1e-9)
    assert told["gated"]["saved_uj"] >= would["would_save_uj"] > 0  # macros that are waking lie still longer


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ({"saved": 0, "wake_cycles": 1}, "power.gating.saved = 0"),
        ({"saved": 1.5, "wake_cycles": 1}, "power.gating.saved = 1.5"),
        ({"saved": 0.5, "wake_cycles": 0}, "power.gating.wake_cycles = 0"),
        ({"saved": 0.5}, "power.gating.wake_cycles"),
        ({"saved": 0.5, "wake_cycles": 1, "after_cycles": -1}, "power.gating.after_cycles = -1"),
    ],
)
def test_gates_that_cannot_be_are_refused(gates, said):
    with pytest.raises(cimemu.ArchError, match=said):
        cimemu.load_arch("rram_128", {GATES: gates})


def test_a_trace_of_a_chip_without_gates_is_what_it_was(tmp_path):
    arch = cimemu.load_arch("rram_128", {"chip.tiles": 2})
    cimemu.run(arch, NETWORK, images_for(arch, NETWORK, 1), trace=tmp_path / "t.h5")
    trace = cimemu.open_trace(tmp_path / "t.h5")
    assert "power" not in trace.arch
    assert "wake_up" not in trace.arch["costs"]
    assert "gated_cycles" not in trace.attributes
    assert "off_cycles" not in trace.units


def test_generated_layers_refuse_gates_by_name(tmp_path, capsys):
    from cimemu.cli import main

    words = ["rtl", "rram_128", "--out", str(tmp_path / "rtl"), "--network", "digits", "--layers", "conv1"]
    assert main([*words, "--set", f"{GATES}={{saved: 0.5, wake_cycles: 2}}"]) == 2
    assert "power.gating is set, generated layers have no gates; leave it out" in capsys.readouterr().err


def test_a_chip_of_few_facts_has_a_price_of_waking():
    costs = cimemu.suggest_costs(28, rows=128, columns=128)
    assert costs["wake_up"]["basis"] == "assumed"
    assert costs["wake_up"]["energy_pj"] == pytest.approx(2 * 0.2 * 128 * 128 * 0.9**2 / 1000, rel=1e-3)
