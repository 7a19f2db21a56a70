"""Activations that are written into macros for every image: who waits for the writing, in every engine, and what it costs."""

from dataclasses import replace

import attention
import chips
import nets
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_conservation import PRESETS, conserved, images_for, interconnect_conserves
from test_engines import operation_ends, same, simulated
from test_timeline import rows, small

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.events import Counter, Kind
from cimemu.layer.base import TensorType
from cimemu.layer.written_product import Factor, WrittenProduct
from cimemu.timing.simulate import Simulation

common = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def drawn_chip(data):
    arch = attention.on_macros(data.draw(chips.chips()))
    network = data.draw(attention.attention_networks(arch.macro.input.bits))
    simulation = chips.simulation_or_none(network, arch)
    assume(simulation is not None)
    return arch, network, simulation


@pytest.mark.parametrize("examples", [12, pytest.param(200, marks=pytest.mark.slow)])
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


@pytest.mark.parametrize("examples", [3, pytest.param(12, marks=pytest.mark.slow)])
@pytest.mark.parametrize("detail", ["ops", "cycles"])
def test_random_chips_conserve_where_activations_are_written(detail, examples, tmp_path):
    @settings(common, max_examples=examples)
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


def test_a_product_by_hand():
    # a [2, 4] and b [4, 1] of 2-bit codes in bytes: rows of a are 32 bits, b is one row of 32. All paths are 8 bits wide. b comes
    # in from off-chip behind both rows of a (8 .. 12), into and out of the global buffer (20 .. 24), over the bus (28 .. 32), and
    # is written: 4 rows of 10 cycles.
    # An operation: 2 slices x (2 + 2 columns) + 1 = 9. Digital: 8 + 4 codes added up, 3 operations an output: 18, 9 a row.
    factors = [Factor(shape, False, 0, 3, 2) for shape in ((2, 4), (4, 1))]
    layer = WrittenProduct("p", ("a", "b"), ("y",), *factors, nets.requantize(2), TensorType((2, 1), "uint8"))
    inputs = {"a": TensorType((2, 4), "uint8"), "b": TensorType((4, 1), "uint8")}
    network = replace(attention.of_layers([layer], inputs, ["y"]), activations="macros")
    arch = attention.on_macros(small(programming={"row_write_cycles": 10, "nonvolatile": False}))
    plan = cimemu.make_plan(network, arch)
    found, timeline = rows(Simulation(plan), images=2)
    macro = [row[1:] for row in found if row[0] == "tile0/macro0"]
    assert macro == [
        ("PROGRAM", 0, 32, 72),
        ("MACRO", 0, 72, 81),
        ("MACRO", 0, 81, 90),
        ("PROGRAM", 1, 136, 176),
        ("MACRO", 1, 176, 185),
        ("MACRO", 1, 185, 194),
    ]
    assert [row[1:] for row in found if row[0] == "digital"][:2] == [("DIGITAL", 0, 83, 92), ("DIGITAL", 0, 92, 101)]
    assert timeline.cycles == 208
    assert timeline.programming_cycles == 0
    counts = Simulation(plan).traffic_counts()[0]
    assert counts[Counter.DIGITAL_OPS] == 18
    pulses = {0: np.array([[5], [1]])}  # image 0 takes 5 pulses in all, image 1 one
    assert [row[1:] for row in rows(Simulation(plan), images=2, pulses=pulses)[0] if row[1] == "PROGRAM"] == [
        ("PROGRAM", 0, 32, 82),
        ("PROGRAM", 1, 146, 156),
    ]


def test_a_pipelined_chip_writes_the_next_image_behind_the_last_operation():
    arch = attention.on_macros(small(schedule="pipelined", programming={"row_write_cycles": 10, "nonvolatile": False}))
    network = attention.attention_network(2, 1, 2, bits=2, own=False)
    plan = cimemu.make_plan(network, arch)
    found, _ = simulated(Simulation(plan), 3)
    writings_come_first(found, Simulation(plan))


def test_a_writing_that_no_table_holds_is_refused():
    arch = attention.on_macros(small(programming={"row_write_cycles": 10**9, "nonvolatile": False}))
    plan = cimemu.make_plan(attention.attention_network(2, 1, 2, bits=2, own=False), arch)
    pulses = {layer.index: np.full((1, len(layer.blocks)), 3) for layer in plan.layers if layer.written}
    with pytest.raises(cimemu.MappingError, match="writing an image takes 3000000000 cycles, must be <= 2147483647"):
        Simulation(plan).run(1, pulses=pulses)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_conserves_where_activations_are_written(name, tmp_path):
    keys = {"mapping.activations": "macros", "allow_reprogram": True, "schedule": "pipelined"}
    arch = cimemu.load_arch(name, keys)
    network = attention.attention_network(5, 2, 4, bits=min(8, arch.macro.input.bits))
    if arch.macro.weight.encoding == "binary":
        with pytest.raises(cimemu.MappingError, match=r"weight.encoding = binary"):
            cimemu.make_plan(network, arch)
        return
    cimemu.run(arch, network, images_for(arch, network), trace=tmp_path / "x.h5")
    conserved(tmp_path / "x.h5")
    plan = cimemu.make_plan(network, arch)
    interconnect_conserves(Simulation(plan), plan)
