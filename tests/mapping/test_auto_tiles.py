"""`chip.tiles: auto` is the chip on which the network just lies as a whole."""

import json

import chips
import h5py
import nets
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.errors import ArchError, MappingError

common = settings(deadline=None, derandomize=True, max_examples=40, suppress_health_check=list(HealthCheck))


def placed(plan):
    return [(p.layer, p.block, p.macro, p.first_column) for p in plan.placed if p.replica == 0]


@common
@given(st.data())
def test_auto_is_the_least_number_of_tiles_on_which_the_mapper_places_as_on_an_endless_chip(data):
    arch = data.draw(chips.chips())
    network = data.draw(chips.networks(arch.macro.input.bits))
    try:
        endless = cimemu.make_plan(network, arch.with_tiles(500))
    except MappingError:
        assume(False)
    auto = cimemu.load_arch(arch, {"chip.tiles": "auto"})
    plan = cimemu.make_plan(network, auto)
    assert placed(plan) == placed(endless)
    assert plan.phases == 1
    taken = 1 + max(p.macro for p in endless.placed if p.replica == 0)
    assert plan.arch.tiles == -(-taken // arch.tile.macros)


def test_a_run_keeps_the_number_in_its_trace_and_is_the_run_of_that_number(tmp_path):
    network = nets.residual_network()
    x = np.random.default_rng(0).integers(0, 256, (2, *network.types["x"].shape)).astype(np.uint8)
    auto = cimemu.run(cimemu.load_arch("rram_128", {"chip.tiles": "auto"}), network, x, trace=tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        tiles = json.loads(file.attrs["arch_json"])["chip"]["tiles"]
    assert tiles == auto.plan.arch.tiles == -(-auto.macros // 8)
    told = cimemu.run(cimemu.load_arch("rram_128", {"chip.tiles": tiles}), network, x)
    assert (auto.cycles, auto.energy_uj, auto.latency_us) == (told.cycles, told.energy_uj, told.latency_us)
    assert float(auto.tally.area_um2.sum()) == float(told.tally.area_um2.sum())
    assert np.array_equal(auto.outputs, told.outputs)


@pytest.mark.parametrize("value", [0, -1, 1.5, "x", "1", 65537, [1], {"a": 1}, "Auto"])
def test_what_is_neither_a_number_of_tiles_nor_auto_is_refused(value):
    with pytest.raises(ArchError, match=r"chip\.tiles.* must be 1 \.\. 65536, or auto"):
        cimemu.load_arch("rram_128", {"chip.tiles": value})


def test_what_needs_a_number_without_a_network_says_so():
    with pytest.raises(ArchError, match=r"chip\.tiles = auto, only a network decides.*--set chip\.tiles=N"):
        cimemu.cost_table(cimemu.load_arch("rram_128", {"chip.tiles": "auto"}))


def test_a_network_for_which_no_chip_is_large_enough_is_refused():
    arch = cimemu.load_arch("rram_128", {"chip.tiles": "auto", "tile.macros": 65536})
    with pytest.raises(ArchError, match=r"3 tiles of 65536 macros, must be"):
        arch.with_tiles(3)
