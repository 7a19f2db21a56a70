"""Nothing is lost: cycles of every unit, energy however it is added up, bits on the interconnect."""

import chips
import h5py
import nets
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.events import Counter, Kind
from cimemu.report import report_data
from cimemu.tally import CHARGED
from cimemu.timing.flow import interconnect_flow
from cimemu.timing.simulate import Simulation
from cimemu.trace.schema import STALLS

FIRST = ("rram_128", "digital_cim", "sram_256")  # the others with -m slow
PRESETS = [pytest.param(name, marks=[pytest.mark.slow] * (name not in FIRST)) for name, *_ in cimemu.list_archs()]
SCHEDULES = ("layer_by_layer", "pipelined")


def images_for(arch, network, count=3):
    shape = (count, *network.types["x"].shape)
    return np.random.default_rng(count).integers(0, 2**arch.macro.input.bits, shape).astype(np.uint8)


def idle_by_unit(events, units, cycles):
    """Cycles in which no event of a unit runs, counted from the events alone."""
    idle = np.full(units, cycles, dtype=np.int64)
    for unit in range(units):
        mine = events["unit"] == unit
        order = np.argsort(events["start"][mine])
        start, end = events["start"][mine][order], events["end"][mine][order]
        assert (start[1:] >= end[:-1]).all(), "a unit works on two things at once"
        idle[unit] -= (end - start).sum()
    return idle


def conserved(path):
    """The laws on the numbers of a trace with all its events, recomputed here."""
    trace = cimemu.open_trace(path)
    checks = trace.table("check")
    assert checks["holds"].all(), checks
    units, layers, energy, events = trace.units, trace.layers, trace.energy, trace.events
    cycles = int(trace.attributes["cycles"])
    stalls = np.stack([units[name] for name in STALLS])
    assert (stalls >= 0).all()
    assert (units["busy_cycles"] + stalls.sum(axis=0) == cycles).all()
    # A macro whose steps are events of their own is held while its converter works: its idle time is checked in ops.
    held = np.array([f"{name}/adc" in set(units["name"]) for name in units["name"]])
    idle = idle_by_unit(events, len(units["name"]), cycles)
    assert np.array_equal(idle[~held], stalls.sum(axis=0)[~held])
    # Waits before a task of some layer are all waits but those after a unit's last task.
    done = stalls[STALLS.index("stall_done_cycles")].sum()
    if trace.attributes["detail"] == "ops":
        assert sum(layers[name].sum() for name in STALLS) == stalls.sum() - done
    total = trace.attributes["energy_pj"]
    counts = dict(zip(energy["counter"], energy["counts"].sum(axis=0)))
    prices = dict(zip(energy["component"], energy["price_pj"]))
    by_event = sum(
        float(prices[name]) * int(counts[counter.name.lower()]) for name in prices for counter in CHARGED[name]
    )
    leakage = energy["pj"][-1].sum()
    for way in (
        energy["pj"].sum(axis=0).sum(),
        layers["energy_pj"].sum() + leakage,
        energy["image_pj"].sum(),
        by_event + leakage,
    ):
        assert way == pytest.approx(total, rel=1e-12)
    summary = report_data(trace)["summary"]
    seconds = trace.attributes["latency_us"] / 1e6
    assert summary["tops"] == pytest.approx(2 * layers["macs"].sum() / seconds / 1e12)
    if summary["area_mm2"]:
        assert summary["tops_per_mm2"] == pytest.approx(summary["tops"] / (energy["area_um2"].sum() / 1e6))
    assert summary["image_latency_us"] * 1e3 <= cycles * trace.attributes["clock_ns"] + 1e-6


def routers(simulation, template):
    """{router: bits in - bits out} over the mesh's links of one image; the hub is one too."""
    names, balance = list(simulation.units), {}
    for task in np.flatnonzero(template.kind == Kind.MOVE):
        source, target = names[template.unit[task]].removeprefix("link/").split(">")
        bits = int(template.bits[task])
        balance[source] = balance.get(source, 0) - bits
        balance[target] = balance.get(target, 0) + bits
    return balance


def interconnect_conserves(simulation, plan):
    """Bits in = bits out, as many as tiles and hub store; on a mesh at every router."""
    for template in simulation.phases:
        into, out = interconnect_flow(template)
        assert into == out
        moved = template.counts[:, Counter.BUFFER_WRITE_BITS].sum()
        links = [n for n in simulation.units if n.startswith("link/")]
        hops = template.bits[template.kind == Kind.MOVE].sum()
        assert hops == template.counts[:, Counter.NOC_BIT_HOPS].sum()
        if not links:
            assert hops == into
            continue
        balance = routers(simulation, template)
        assert sum(balance.values()) == 0
        # A router gives to its tile, and takes from it, what the others do not account for.
        side = int(np.ceil(np.sqrt(plan.arch.chip.tiles)))
        used = {p.macro // plan.arch.tile.macros for p in plan.placed}
        for router, rest in balance.items():
            if router != "hub":
                x, y = map(int, router.split("."))
                assert rest == 0 or y * side + x in used
        assert moved > 0


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_conserves(name, schedule, tmp_path):
    arch = cimemu.load_arch(name, {"schedule": schedule})
    network = nets.residual_network(bits=arch.macro.input.bits)
    cimemu.run(arch, network, images_for(arch, network), trace=tmp_path / "x.h5")
    conserved(tmp_path / "x.h5")
    plan = cimemu.make_plan(network, arch)
    interconnect_conserves(Simulation(plan), plan)


@pytest.mark.parametrize("examples", [4, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("detail", ["ops", "cycles"])
def test_random_chips_conserve(detail, examples, tmp_path):
    @settings(deadline=None, derandomize=True, max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data):
        arch = data.draw(chips.chips())
        if arch.macro.adc.circuit != "sar" if arch.macro.adc.model == "linear" else True:
            arch = chips.priced(arch)
        network = data.draw(chips.networks(arch.macro.input.bits))
        simulation = chips.simulation_or_none(network, arch)
        assume(simulation is not None)
        images = images_for(arch, network, data.draw(st.integers(1, 12)))
        cimemu.run(arch, network, images, trace=tmp_path / "x.h5", overwrite=True, detail=detail)
        conserved(tmp_path / "x.h5")
        interconnect_conserves(simulation, simulation.plan)

    check()


def test_a_broken_law_is_seen(tmp_path):
    """The laws in the file are computed from its numbers, not written down as true."""
    arch = cimemu.load_arch("rram_128")
    network = nets.residual_network()
    run = cimemu.run(arch, network, images_for(arch, network), trace=tmp_path / "x.h5")
    from dataclasses import replace

    from cimemu.trace.write import _laws

    counts = run.counts.sum(axis=0)
    assert all(_laws(run.plan, run.timeline, run.tally, counts).values())
    wrong = replace(run.timeline, noc_bits=(1, 2), busy=run.timeline.busy + 1)
    energy = run.tally.energy_quanta.copy()
    energy[0, 0] += 1
    broken = _laws(run.plan, wrong, replace(run.tally, energy_quanta=energy), counts)
    assert list(broken.values()) == [False, True, False, False, False]
    with h5py.File(tmp_path / "x.h5") as file:
        assert list(file["check/name"].asstr()) == list(broken)
