"""Blocks on macros: cut, shared, replicated, in phases."""

import nets
import numpy as np
import pytest

import cimemu
from cimemu.layer.base import TensorType
from cimemu.mapping.layout import make_layout, make_units
from cimemu.mapping.place import make_plan
from cimemu.tally import COMPONENTS


def arch(**overrides):
    return cimemu.load_arch("rram_128", overrides)


def two_layers(rows=100, outputs=5):
    layers = [
        nets.matrix_layer("a", "x", "t", 4, rows, outputs, stage=nets.requantize()),
        nets.matrix_layer("b", "t", "y", 4, outputs, 3, stage=nets.requantize()),
    ]
    return nets.network("two", layers, {"x": TensorType((4, rows), "uint8")}, ["y"])


def test_dense_blocks_fill_the_rows_and_whole_kernels_keep_channels_together():
    macro = cimemu.load_arch("rram_128").macro
    assert make_layout(300, 20, macro).row_blocks == ((0, 128), (128, 256), (256, 300))
    assert make_layout(300, 20, macro).col_blocks == ((0, 16), (16, 20))
    whole = cimemu.load_arch("rram_128", {"macro.mapping.rows": "whole_kernels"}).macro
    # 128 // 9 = 14 channels of 9 rows = 126 rows
    assert make_layout(270, 20, whole, 9).row_blocks == ((0, 126), (126, 252), (252, 270))
    with pytest.raises(cimemu.MappingError, match="whole_kernels"):
        make_layout(500, 1, whole, 129)


def test_groups_share_a_macro_on_its_diagonal():
    macro = cimemu.load_arch("rram_128").macro
    # depthwise 3x3: min(128 // 9, 16 // 1) = 14 groups together
    units = make_units(32, 9, 1, macro)
    assert [unit.groups for unit in units] == [14, 14, 4]
    assert units[0].row_group.tolist() == [g for g in range(14) for _ in range(9)]
    separate = cimemu.load_arch("rram_128", {"macro.mapping.groups": "separate"}).macro
    assert [unit.groups for unit in make_units(32, 9, 1, separate)] == [1] * 32


def test_the_columns_of_a_macro_limit_the_groups_that_share_it():
    # 128 // 9 = 14 groups by rows; by outputs 128 columns // 8 = 16 of which a group takes 3, 8 and 16: 5, 2 and 1
    macro = cimemu.load_arch("rram_128").macro
    for outputs, together in ((3, 5), (8, 2), (16, 1)):
        units = make_units(12, 9, outputs, macro)
        full, rest = divmod(12, together)
        assert [unit.groups for unit in units] == [together] * full + [rest] * bool(rest)
        assert [unit.out_stop - unit.out_start for unit in units] == [unit.groups * outputs for unit in units]
    # a group that alone is wider than a macro still gets a unit: its columns are cut into column blocks
    assert [unit.groups for unit in make_units(2, 9, 17, macro)] == [1, 1]


def test_small_blocks_share_a_macro_on_a_converter_boundary():
    plan = make_plan(two_layers(), arch())
    # a: 5 outputs x 8 columns = 40, b starts at the next converter: column 40.
    assert [(p.macro, p.first_column) for p in plan.placed] == [(0, 0), (0, 40)]
    apart = make_plan(two_layers(), arch(**{"mapping.share_macros": False}))
    assert [(p.macro, p.first_column) for p in apart.placed] == [(0, 0), (1, 0)]
    assert plan.macros_used == 1
    # 100 x 40 + 5 x 24 of 128 x 128 cells
    assert plan.utilization == pytest.approx((100 * 40 + 5 * 24) / 128**2)


def test_busy_layers_are_replicated_where_macros_are_left():
    plan = make_plan(two_layers(), arch(**{"mapping.max_replicas": 3}))
    assert [layer.replicas for layer in plan.layers] == [3, 3]
    few = make_plan(two_layers(), arch(**{"mapping.max_replicas": 3, "chip.tiles": 1, "tile.macros": 2}))
    assert sum(layer.replicas for layer in few.layers) == 3


def test_replicas_change_no_value_and_make_a_pipeline_faster():
    network = nets.residual_network()
    images = np.random.default_rng(1).integers(0, 256, (2, 3, 5, 4)).astype(np.uint8)
    one = cimemu.run(arch(schedule="pipelined"), network, images)
    many = cimemu.run(arch(**{"schedule": "pipelined", "mapping.max_replicas": 4}), network, images)
    assert np.array_equal(one.outputs, many.outputs)
    assert many.cycles < one.cycles


def test_a_network_that_does_not_fit_names_the_remedies():
    small = {"chip.tiles": 1, "tile.macros": 1, "mapping.share_macros": False}
    with pytest.raises(cimemu.MappingError, match=r"needs 2 macros, .* has 1 .*allow_reprogram=true"):
        make_plan(two_layers(), arch(**small))
    with pytest.raises(
        cimemu.MappingError, match=r"needs 4 macros, .* has 1 .*chip.tiles >= 4, or allow_reprogram=true"
    ):
        make_plan(two_layers(rows=300), arch(**small))


def test_reprogramming_gives_the_same_values_and_reports_wear():
    network = nets.residual_network()
    images = np.random.default_rng(1).integers(0, 256, (2, 3, 5, 4)).astype(np.uint8)
    whole = cimemu.run(arch(), network, images)
    small = arch(**{"chip.tiles": 1, "tile.macros": 1, "mapping.share_macros": False, "allow_reprogram": True})
    parts = cimemu.run(small, network, images)
    assert np.array_equal(whole.outputs, parts.outputs)
    assert parts.plan.phases == 3
    assert parts.plan.writes_per_cell == 3
    assert parts.cycles > whole.cycles
    assert parts.tally.energy_pj[:, COMPONENTS.index("programming")].sum() > 0


def test_tight_packing_lets_blocks_of_one_layer_share_widest_first():
    layers = [nets.matrix_layer("a", "x", "y", 4, 200, 20, stage=nets.requantize())]
    network = nets.network("one", layers, {"x": TensorType((4, 200), "uint8")}, ["y"])
    # 2 row blocks x (16 + 4 outputs): 128, 32, 128, 32 columns
    spread = make_plan(network, arch())
    assert [p.macro for p in spread.placed] == [0, 1, 2, 3]
    tight = make_plan(network, arch(**{"mapping.packing": "tight"}))
    assert {(p.block, p.macro, p.first_column) for p in tight.placed} == {(0, 0, 0), (2, 1, 0), (1, 2, 0), (3, 2, 32)}
    assert tight.macros_used == 3
