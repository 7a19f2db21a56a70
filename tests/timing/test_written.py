"""Activations that are written into macros for every image: who waits for the writing, in every engine, and what it costs."""

import attention
import chips
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_conservation import conserved, images_for, interconnect_conserves
from test_engines import operation_ends, same, simulated

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.events import Counter, Kind

common = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def drawn_chip(data):
    arch = attention.on_macros(data.draw(chips.chips()))
    network = data.draw(attention.attention_networks(arch.macro.input.bits))
    simulation = chips.simulation_or_none(network, arch)
    assume(simulation is not None)
    return arch, network, simulation


@pytest.mark.parametrize("examples", [25, pytest.param(200, marks=pytest.mark.slow)])
def test_all_engines_agree_where_activations_are_written(examples):
    @settings(common, max_examples=examples)
    @given(st.data())
    def check(data):
        arch, network, simulation = drawn_chip(data)
        images = data.draw(st.integers(1, 4))
        options = {}
        if arch.macro.timing.skip_zero_slices:
            options["nonzero"] = Emulator(network, arch.macro).run([images_for(arch, network, images)]).nonzero
        if data.draw(st.booleans()):
            rng = np.random.default_rng(images)
            written = [layer for layer in simulation.plan.layers if layer.written]
            options["pulses"] = {one.index: rng.integers(1, 40, (images, len(one.blocks))) for one in written}
        fast = simulated(simulation, images, **options)
        same(fast, simulated(simulation, images, engine="simpy", **options))
        steps, timeline = simulated(simulation, images, detail="cycles", **options)
        assert timeline.cycles == fast[1].cycles
        unfolded = operation_ends(steps)
        assert all(unfolded.get(key, end) == end for key, end in operation_ends(fast[0]).items())
        writings_come_first(fast[0], simulation)

    check()


def writings_come_first(events, simulation):
    """On every macro an image's writings end before its operations of the same product begin, and begin behind those of the
    image before."""
    plan, kinds = simulation.plan, events["kind"]
    for layer in (layer for layer in plan.layers if layer.written):
        mine = events["layer"] == layer.index
        for unit in np.unique(events["unit"][mine & (kinds == Kind.PROGRAM)]):
            here = mine & (events["unit"] == unit)
            before = -1
            for image in np.unique(events["image"][here]):
                of_image = here & (events["image"] == image)
                writes, works = of_image & (kinds == Kind.PROGRAM), of_image & (kinds == Kind.MACRO)
                if len(layer.blocks) == len({p.macro for p in plan.placed if p.layer == layer.index}):
                    assert events["end"][writes].max() <= events["start"][works].min()
                    assert before <= events["start"][writes].min()
                before = events["end"][works].max()


@pytest.mark.parametrize("detail", ["ops", "cycles"])
def test_random_chips_conserve_where_activations_are_written(detail, tmp_path):
    @settings(common, max_examples=12)
    @given(st.data())
    def check(data):
        arch, network, simulation = drawn_chip(data)
        arch = arch.model_copy(update={"costs": cimemu.load_arch("rram_128").costs})
        images = images_for(arch, network, data.draw(st.integers(1, 5)))
        path = tmp_path / "x.h5"
        run = cimemu.run(arch, network, images, trace=path, overwrite=True, detail=detail)
        conserved(path)
        interconnect_conserves(simulation, simulation.plan)
        cells = {layer.index: sum(b.cells for b in layer.blocks) for layer in run.plan.layers if layer.written}
        for layer, number in cells.items():
            assert (run.counts[:, layer, Counter.CELL_WRITES] == number).all()
        assert cimemu.open_trace(path).attributes["writes_per_cell"] >= len(images)

    check()
