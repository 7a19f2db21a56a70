"""Layers that share cells: one placement, one drawing of cells, and the counts of one layer of as many positions."""

from dataclasses import replace

import chips
import nets
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_conservation import PRESETS, conserved, interconnect_conserves

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.events import Counter
from cimemu.layer.base import TensorType
from cimemu.layer.shape import Concat, Split
from cimemu.macro.sites import planned_sites
from cimemu.mapping.shared import cells_of, earlier_positions
from cimemu.timing.simulate import Simulation
from cimemu.variation.parse import make_variations

common = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
CELLS = [Counter.CELL_PULSES, Counter.CELL_LEVEL_PULSES, Counter.WORDLINE_PULSES, Counter.CONVERSIONS]


def parted(steps=3, rows=20, outputs=6, shares="R", seed=0, bits=8):
    """`steps` products of one matrix, each of a row of x, joined again."""
    layers = [
        replace(
            nets.matrix_layer(f"m{t}", f"x{t}", f"y{t}", 1, rows, outputs, weight_limit=1, seed=seed), shares=shares
        )
        for t in range(steps)
    ]
    split = Split("split", ("x",), tuple(f"x{t}" for t in range(steps)), 1, (1,) * steps)
    join = Concat("join", tuple(f"y{t}" for t in range(steps)), ("y",), 1)
    return nets.network("parted", [split, *layers, join], {"x": TensorType((steps, rows), "uint8")}, ("y",))


def whole(steps=3, rows=20, outputs=6, seed=0):
    """The same as one layer."""
    layer = nets.matrix_layer("m0", "x", "y", steps, rows, outputs, weight_limit=1, seed=seed)
    return nets.network("whole", [layer], {"x": TensorType((steps, rows), "uint8")}, ("y",))


def images(network, count=4, bits=8, seed=1):
    shape = (count, *network.types["x"].shape)
    return np.random.default_rng(seed).integers(0, 2**bits, shape).astype(np.uint8)


def test_the_first_layer_owns_the_cells():
    network = parted()
    assert cells_of(network.layers) == {"m0": "m0", "m1": "m0", "m2": "m0"}
    assert earlier_positions(network.layers) == {"m0": 0, "m1": 1, "m2": 2}
    apart = parted(shares="")
    assert cells_of(apart.layers) == {name: name for name in ("m0", "m1", "m2")}


def test_other_weights_take_a_matrix_apart():
    layers = list(parted().layers)
    layers[2] = replace(layers[2], weight=-layers[2].weight)
    assert cells_of(layers) == {"m0": "m0", "m1": "m1", "m2": "m0"}


def test_one_placement_serves_all():
    arch = cimemu.load_arch("rram_128", {"mapping.max_replicas": 4})
    plan, one = cimemu.make_plan(parted(), arch), cimemu.make_plan(whole(1), arch)
    assert plan.placed == tuple(replace(p, layer=1) for p in one.placed)
    assert [layer.cells_of for layer in plan.layers] == [-1, 1, 1, 1, -1]
    assert len({tuple(map(str, sites)) for sites in planned_sites(plan).values()}) == 1
    assert plan.macros_used < cimemu.make_plan(parted(shares=""), arch).macros_used


@pytest.mark.parametrize("preset", ["rram_128", "digital_cim"])
@pytest.mark.parametrize("active", [20, 8])
def test_steps_count_what_positions_of_one_layer_count(preset, active):
    """Among them the bits of digital cells that change from one step to the next."""
    macro = cimemu.load_arch(preset, {"macro.active_rows": active}).macro
    x = images(whole(), bits=macro.input.bits)
    one, many = Emulator(whole(), macro).run([x]), Emulator(parted(), macro).run([x])
    assert np.array_equal(one.tensors["y"], many.tensors["y"])
    assert np.array_equal(one.counts[:, 0, CELLS], many.counts[:, 1:4, CELLS].sum(axis=1))


@pytest.mark.parametrize(
    "models",
    [
        ("lognormal:sigma=0.1",),
        ("thermal:amplifier=0.3",),
        ("lognormal:sigma=0.1", "telegraph:amplitude=0.5", "thermal"),
    ],
)
def test_drawn_cells_and_reads_are_those_of_one_layer(models):
    arch = cimemu.load_arch("rram_128", {"chip.tiles": 4})
    results = []
    for network in (whole(), parted()):
        vary = list(make_variations(models))
        emulator = Emulator(network, arch.macro, plan=cimemu.make_plan(network, arch))
        emulator.program(cimemu.make_plan(network, arch), vary, seed=3)
        results.append(emulator.run([images(network)]).tensors["y"])
    assert np.array_equal(*results)


@pytest.mark.parametrize("schedule", ["layer_by_layer", "pipelined"])
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_conserves(name, schedule, tmp_path):
    arch = cimemu.load_arch(name, {"schedule": schedule})
    network = parted(5)
    run = cimemu.run(arch, network, images(network, 3, arch.macro.input.bits), trace=tmp_path / "x.h5")
    conserved(tmp_path / "x.h5")
    simulation = Simulation(run.plan)
    interconnect_conserves(simulation, run.plan)
    ops = run.counts.sum(axis=0)[:, Counter.MACRO_OPS]
    assert ops[1:6].tolist() == [3 * len(run.plan.layers[1].blocks)] * 5  # an operation a step, image and block


def test_engines_agree_on_random_chips():
    @settings(common, max_examples=20)
    @given(st.data())
    def check(data):
        arch = data.draw(chips.chips())
        network = parted(data.draw(st.integers(2, 4)), data.draw(st.sampled_from([5, 40])), 5)
        simulation = chips.simulation_or_none(network, arch)
        assume(simulation is not None)
        nonzero = None
        if arch.macro.timing.skip_zero_slices:
            nonzero = Emulator(network, arch.macro).run([images(network, 4, arch.macro.input.bits)]).nonzero
        lines = [simulation.run(4, engine=engine, nonzero=nonzero) for engine in ("compiled", "simpy")]
        for field in ("busy", "stalls", "operations", "layer_cycles", "image_start", "image_end"):
            assert np.array_equal(*(getattr(line, field) for line in lines)), field
        assert simulation.run(4, detail="cycles", nonzero=nonzero).cycles == lines[0].cycles

    check()


def test_steps_of_images_take_turns_where_the_chip_is_pipelined():
    arch = cimemu.load_arch("rram_128", {"schedule": "pipelined"})
    network = parted(4)
    events = []
    Simulation(cimemu.make_plan(network, arch)).run(3, sink=events.append)
    table = {name: np.concatenate([e[name] for e in events]) for name in events[0]}
    chosen = table["kind"] == cimemu.events.Kind.MACRO
    order = np.argsort(table["start"][chosen])
    image, layer = table["image"][chosen][order], table["layer"][chosen][order]
    assert list(zip(image.tolist(), layer.tolist())) == [(b, 1 + t) for b in range(3) for t in range(4)]


def test_phases_write_shared_cells_anew():
    """Two matrices that do not fit together: the steps behind the change use cells that were written again."""
    first, second = parted(3, 20, 6), parted(3, 20, 6, seed=5)
    layers = [first.layers[0]]
    for t in range(3):
        layers += [first.layers[1 + t]]
    for t in range(3):
        layers += [replace(second.layers[1 + t], name=f"n{t}", outputs=(f"z{t}",), shares="S")]
    layers.append(replace(first.layers[1], name="m3", inputs=("x0",), outputs=("w",)))
    join = Concat("join", tuple([f"y{t}" for t in range(3)] + [f"z{t}" for t in range(3)] + ["w"]), ("y",), 1)
    network = nets.network("phases", [*layers, join], {"x": first.types["x"]}, ("y",))
    arch = cimemu.load_arch(
        "rram_128", {"chip.tiles": 1, "tile.macros": 1, "allow_reprogram": True, "mapping.share_macros": False}
    )
    plan = cimemu.make_plan(network, arch)
    assert plan.phases == 3
    assert [(p.layer, p.phase) for p in plan.placed] == [(1, 0), (4, 1), (7, 2)]
    big = cimemu.run(cimemu.load_arch("rram_128"), network, images(network)).outputs
    small = cimemu.run(arch, network, images(network))
    assert np.array_equal(big, small.outputs)
    assert small.timeline.programming_cycles > 0
