"""Layers larger than the chip: in phases of row and column blocks, with the values of a large chip."""

from dataclasses import replace
from pathlib import Path

import nets
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_conservation import conserved

import cimemu
from cimemu.cli import main
from cimemu.events import Counter
from cimemu.layer.base import TensorType
from cimemu.layer.requantize import Fp32HalfEven
from cimemu.mapping.parts import layer_parts
from cimemu.mapping.place import make_plan
from cimemu.timing.simulate import Simulation
from cimemu.timing.storage import place_tensors

TINY = {"chip.tiles": 1, "tile.macros": 1, "mapping.share_macros": False, "allow_reprogram": True}


def arch(**overrides):
    return cimemu.load_arch("rram_128", {"macro.adc": {"model": "linear", "bits": 6, "lsb": 2.0}, **overrides})


def product(rows=300, outputs=40, positions=4, seed=0):
    """Two products whose codes and sums are both outputs."""
    stage = Fp32HalfEven(np.array([6 / (rows + 20)], np.float32) / 20, 128, 0, 255, "uint8")
    layers = [
        nets.matrix_layer("a", "x", "t", positions, rows, outputs, stage=stage, weight_limit=9, seed=seed),
        nets.matrix_layer("b", "t", "y", positions, outputs, 3, weight_limit=9, seed=seed + 1),
    ]
    return nets.network("two", layers, {"x": TensorType((positions, rows), "uint8")}, ["t", "y"])


def equal(one, other):
    """Whether two runs gave the same outputs."""
    return all(np.array_equal(one.outputs[name], other.outputs[name]) for name in other.outputs)


def told_apart(run):
    """How many values the outputs take: a comparison of constants shows nothing."""
    return min(len(np.unique(array)) for array in run.outputs.values())


def inputs(network, count=3, seed=0, bits=8):
    shape = (count, *network.types["x"].shape)
    return np.random.default_rng(seed).integers(0, 2**bits, shape).astype(np.uint8)


def test_a_layer_of_nine_blocks_on_one_macro():
    """300 rows are 3 row blocks, 40 outputs of 16 a macro 3 column blocks: 9 phases, then one for the next layer."""
    network = product()
    plan = make_plan(network, arch(**TINY))
    first, second = plan.layers
    assert (first.phases, second.phases, plan.phases) == (range(9), range(9, 10), 10)
    order = [
        (p.phase, first.blocks[p.block].col_block, first.blocks[p.block].row_block) for p in plan.placed if not p.layer
    ]
    assert order == [(3 * c + r, c, r) for c in range(3) for r in range(3)]
    assert plan.writes_per_cell == 10
    parts = layer_parts(plan, first)
    assert [part.begun for part in parts.values()] == [16, 0, 0, 16, 0, 0, 8, 0, 0]
    assert [part.finished for part in parts.values()] == [0, 0, 16, 0, 0, 16, 0, 0, 8]
    assert [part.finished_before for part in parts.values()] == [0, 0, 0, 16, 16, 16, 32, 32, 32]
    # 128 rows of 255 x 255 need 24 bits and a sign; two carries of adding three
    width = 25 + 2
    assert [part.kept_bits for part in parts.values()] == [16 * width, 16 * width, 0] * 2 + [8 * width, 8 * width, 0]
    assert [part.read_bits for part in parts.values()] == [0, 16 * width, 16 * width] * 2 + [0, 8 * width, 8 * width]
    assert sum(part.share(1001, 40) for part in parts.values()) == 1001


def test_parts_of_one_phase_are_as_many_blocks_as_fit():
    plan = make_plan(product(), arch(**{**TINY, "tile.macros": 4}))
    first, second = plan.layers
    assert first.phases == range(3)
    assert second.phases == range(2, 3)  # beside the ninth block
    assert [sum(p.phase == number and p.layer == 0 for p in plan.placed) for number in range(3)] == [4, 4, 1]


def test_outputs_cycles_wear_and_counts_of_a_cut_layer(tmp_path):
    network, x = product(), None
    x = inputs(network)
    large = cimemu.run(arch(**{"chip.tiles": 64}), network, x, trace=tmp_path / "large.h5")
    small = cimemu.run(arch(**TINY), network, x, trace=tmp_path / "small.h5")
    assert equal(small, large)
    assert told_apart(large) > 20
    assert small.cycles > large.cycles
    assert small.timeline.image_cycles == small.cycles // 3
    for counter in (Counter.CONVERSIONS, Counter.DIGITAL_OPS):
        assert np.array_equal(large.counts[:, :, counter], small.counts[:, :, counter]), counter
    conserved(tmp_path / "small.h5")
    attributes = cimemu.open_trace(tmp_path / "small.h5").attributes
    assert attributes["writes_per_cell"] == 10
    assert attributes["lifetime_runs"] == small.plan.arch.programming.endurance_writes / 10
    assert cimemu.open_trace(tmp_path / "small.h5").layers["phase"].tolist() == [8, 9]


def test_sums_wait_in_the_global_buffer_and_off_chip_where_those_of_all_images_do_not_fit():
    network = product()
    positions, width = 4, 25 + 2
    waiting = positions * 16 * width  # of one image, while one column block is summed
    plan = make_plan(network, arch(**{**TINY, "chip.global_buffer.size_kib": waiting / 8192}))
    assert [place_tensors(plan, 1, images).sums_offchip for images in (1, 2)] == [frozenset(), {0}]
    roomy = make_plan(network, arch(**{**TINY, "chip.global_buffer.size_kib": 64}))
    assert place_tensors(roomy, 1, 50).sums_offchip == frozenset()
    inside, outside = (Simulation(plan, images=images).traffic_counts()[0] for images in (1, 2))
    parts = layer_parts(plan, plan.layers[0]).values()
    read, kept = (positions * sum(getattr(part, name) for part in parts) for name in ("read_bits", "kept_bits"))
    assert outside[Counter.OFFCHIP_READ_BITS] - inside[Counter.OFFCHIP_READ_BITS] == read
    assert inside[Counter.GLOBAL_READ_BITS] - outside[Counter.GLOBAL_READ_BITS] == read
    assert outside[Counter.OFFCHIP_WRITE_BITS] - inside[Counter.OFFCHIP_WRITE_BITS] == kept == read
    assert inside[Counter.GLOBAL_WRITE_BITS] - outside[Counter.GLOBAL_WRITE_BITS] == kept
    # Built for one number of images and run with another, it is built again.
    assert Simulation(plan, images=2).run(2).cycles == Simulation(plan).run(2).cycles


def test_the_message_counts_macros_as_the_mapper_places_them():
    network = product()
    for overrides in ({}, {"mapping.share_macros": False}, {"mapping.packing": "tight"}, {"tile.macros": 3}):
        fixed = {"chip.tiles": 1, "tile.macros": 1, **overrides}
        with pytest.raises(cimemu.MappingError) as caught:
            make_plan(network, arch(**fixed))
        tiles = int(str(caught.value).split("chip.tiles >= ")[1].split(",")[0])
        assert make_plan(network, arch(**{**fixed, "chip.tiles": tiles})).phases == 1
        with pytest.raises(cimemu.MappingError):
            make_plan(network, arch(**{**fixed, "chip.tiles": tiles - 1}))


def test_volatile_cells_need_no_permission():
    network = product()
    small = {"chip.tiles": 1, "tile.macros": 1}
    sram = {"macro.adc": "ideal", "macro.active_rows": 128}
    plan = make_plan(network, cimemu.load_arch("sram_256", {**small, **sram}))
    assert plan.phases > 1
    with pytest.raises(cimemu.MappingError, match="allow_reprogram=true"):
        make_plan(network, arch(**small))


def same_cycles(simulation, images, nonzero=None):
    one = simulation.run(images, nonzero=nonzero)
    for options in ({"engine": "simpy"}, {"detail": "cycles"}):
        other = simulation.run(images, nonzero=nonzero, **options)
        assert other.cycles == one.cycles, options
        assert np.array_equal(other.layer_cycles, one.layer_cycles), options


ENCODINGS = [
    {"encoding": "offset"},
    {"encoding": "offset", "correction": "reference_column"},
    {"encoding": "offset", "combine": "analog"},
    {"encoding": "twos_complement"},
    {"encoding": "differential"},
    {"encoding": "differential", "subtract": "analog"},
]


@st.composite
def small_chips(draw):
    """A chip that most layers of `layers` are larger than, and how many tiles it has."""
    columns = draw(st.sampled_from([32, 48]))
    return {
        "macro.rows": draw(st.sampled_from([16, 27])),
        "macro.columns": columns,
        "macro.active_rows": draw(st.sampled_from([5, 16])),
        "macro.columns_per_adc": draw(st.sampled_from([1, 8])),
        "macro.weight": {"bits": draw(st.integers(3, 5)), **draw(st.sampled_from(ENCODINGS))},
        "macro.input.bits": 8,
        "macro.input.dac_bits": draw(st.sampled_from([1, 2])),
        "macro.adc": draw(st.sampled_from([{"model": "ideal"}, {"model": "linear", "bits": 4, "lsb": 1.5, "zero": 1}])),
        "macro.timing.skip_zero_slices": draw(st.booleans()),
        "macro.timing.overlap": draw(st.booleans()),
        "mapping.share_macros": draw(st.booleans()),
        "mapping.packing": draw(st.sampled_from(["spread", "tight"])),
        "mapping.max_replicas": draw(st.sampled_from([1, 3])),
        "schedule": draw(st.sampled_from(["layer_by_layer", "pipelined"])),
        "chip.global_buffer.size_kib": draw(st.sampled_from([0.05, 0.5, 64])),
        "allow_reprogram": True,
        "tile.macros": draw(st.integers(1, 3)),
        "chip.tiles": draw(st.integers(1, 2)),
    }


@st.composite
def layers(draw):
    """A residual network of convolutions (grouped or not), or two products."""
    if draw(st.booleans()):
        return product(
            draw(st.integers(1, 70)), draw(st.integers(1, 20)), draw(st.integers(1, 3)), draw(st.integers(0, 9))
        )
    channels = draw(st.sampled_from([2, 5, 8]))
    network = nets.residual_network(
        height=draw(st.integers(1, 4)),
        width=draw(st.integers(1, 3)),
        channels=channels,
        kernel=draw(st.sampled_from([1, 3])),
        groups=draw(st.sampled_from([1, channels])),
        weight_limit=3,
    )
    return replace(network, outputs=("a", "b", "y"))


def compare_with_a_large_chip(overrides, network, images, path):
    if network.name == "two":
        overrides = {**overrides, "macro.weight": {**overrides["macro.weight"], "bits": 5}}
    chip = cimemu.load_arch("rram_128", overrides)
    large = cimemu.load_arch("rram_128", {**overrides, "chip.tiles": 400})
    x = inputs(network, images)
    small = cimemu.run(chip, network, x, trace=path, overwrite=True)
    whole = cimemu.run(large, network, x)
    assert whole.plan.phases == 1
    assert equal(small, whole)
    for counter in (Counter.CONVERSIONS, Counter.DIGITAL_OPS):
        assert np.array_equal(small.counts[:, :, counter], whole.counts[:, :, counter])
    conserved(path)
    nonzero = None
    if chip.macro.timing.skip_zero_slices:
        from cimemu.compute.forward import Emulator

        nonzero = Emulator(network, chip.macro).run([x]).nonzero
    same_cycles(Simulation(small.plan, images=images), images, nonzero)
    done = np.zeros(len(small.plan.layers), dtype=np.int64)
    for p in small.plan.placed:
        done[p.layer] += p.replica == 0
    assert done.tolist() == [len(layer.blocks) for layer in small.plan.layers]
    return small.plan.cut, told_apart(whole)


@pytest.mark.parametrize("examples", [8, pytest.param(120, marks=pytest.mark.slow)])
def test_random_layers_on_random_small_chips_give_what_a_large_chip_gives(tmp_path, examples):
    cut = []

    @settings(deadline=None, derandomize=True, max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(small_chips(), layers(), st.integers(1, 3))
    def check(overrides, network, images):
        cut.append(compare_with_a_large_chip(overrides, network, images, tmp_path / "x.h5"))

    check()
    assert sum(one for one, _ in cut) >= examples / 4
    assert sum(one and values > 2 for one, values in cut) >= examples / 6


@pytest.mark.parametrize("weight", ENCODINGS, ids=str)
def test_every_encoding_of_a_cut_layer(weight):
    lsb = 256.0 if weight.get("combine") == "analog" else 1.0
    zero = -64.0 if weight.get("subtract") == "analog" else 0.0
    for adc in ({"model": "ideal"}, {"model": "linear", "bits": 7, "lsb": lsb, "zero": zero}):
        overrides = {**TINY, "macro.weight": {"bits": 8, **weight}, "macro.adc": adc}
        network = product(rows=260, outputs=33, positions=2)
        x = inputs(network, 2)
        small = cimemu.run(arch(**overrides), network, x)
        assert small.plan.cut
        large = cimemu.run(arch(**{**overrides, "chip.tiles": 99}), network, x)
        assert equal(small, large)
        assert told_apart(large) > 5, adc


def test_report_fit_and_golden_take_a_cut_layer(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = [f"--set={key}" for key in ("chip.tiles=1", "tile.macros=1", "allow_reprogram=true")]
    assert main(["run", "rram_128", "digits", "--images", "3", *small, "--out", "cut.h5"]) == 0
    text = capsys.readouterr().out
    assert "12 writes a cell" in text
    assert "1 macros used" in text
    assert main(["report", "cut.h5", "--html", "cut.html"]) == 0
    assert main(["fit", "rram_128", "digits", *small, "--no-propose"]) == 0
    assert "in 12 phases" in capsys.readouterr().out
    for name, chip in (("cut", small), ("whole", [])):
        assert main(["golden", "rram_128", "digits", *chip, "--layer", "down", "--ops", "2", "--out", name]) == 0
    assert main(["golden", "verify", "cut", "whole"]) == 0
    same = {path.relative_to("cut") for path in Path("cut").rglob("*.hex")}
    assert len(same) > 20
    for path in same:
        assert (Path("cut") / path).read_bytes() == (Path("whole") / path).read_bytes()


def test_devices_of_a_cut_layer_are_the_macros_own():
    """A stuck cell is the macro's: on one macro every block meets the same ones, so that a large chip's outputs differ."""
    network = product()
    x = inputs(network, 2)
    stuck = ["stuck_at:sa0=0.05"]
    first, again, other = (cimemu.run(arch(**TINY), network, x, vary=stuck, seed=seed) for seed in (1, 1, 2))
    assert equal(first, again)
    assert not equal(first, other)
    assert not equal(first, cimemu.run(arch(**{**TINY, "chip.tiles": 64}), network, x, vary=stuck, seed=1))
