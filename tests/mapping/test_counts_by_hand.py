"""What the mapper counts, by hand: cells, columns, sums that wait, spans, widths, free macros."""

import itertools

import nets
import numpy as np
import pytest

import cimemu
from cimemu.layer.base import TensorType
from cimemu.mapping.cycles import convert_cycles, drive_cycles, op_cycles, op_cycles_unfolded
from cimemu.mapping.grouped import grouped_view
from cimemu.mapping.layout import Layout, Unit, accumulator_width, make_layout, make_units
from cimemu.mapping.parts import Part, layer_parts
from cimemu.mapping.place import macros_needed, make_plan


def arch(**overrides):
    return cimemu.load_arch("rram_128", overrides)


def product(rows, outputs, positions=4, layers=1):
    """`layers` products side by side, each of `rows` inputs and `outputs` outputs."""
    made = [
        nets.matrix_layer(f"p{n}", "x", f"y{n}", positions, rows, outputs, stage=nets.requantize(), seed=n)
        for n in range(layers)
    ]
    return nets.network("p", made, {"x": TensorType((positions, rows), "uint8")}, [f"y{n}" for n in range(layers)])


DIFFERENTIAL = {"macro.weight.encoding": "differential", "macro.weight.bits": 4}


@pytest.mark.parametrize(
    ("changes", "outputs", "converted", "physical"),
    [({}, 5, 8, 8), ({"macro.weight.bits": 4}, 5, 4, 4), (DIFFERENTIAL, 5, None, None)],
)
def test_blocks_count_their_columns_and_cells(changes, outputs, converted, physical):
    chip = arch(**changes)
    converted = chip.macro.conversions_per_output if converted is None else converted
    physical = chip.macro.columns_per_output if physical is None else physical
    assert physical > 1
    assert converted > 1
    for block in make_plan(product(300, outputs), chip).layers[0].blocks:
        assert (block.outputs, block.columns_used, block.physical_columns) == (
            outputs,
            outputs * converted,
            outputs * physical,
        )
        assert block.cells == block.rows_used * outputs * physical
        assert all(type(n) is int for n in (block.cells, block.columns_used, block.physical_columns, block.op_cycles))
        assert block.op_cycles == op_cycles(chip.macro, block.rows_used, block.columns_used)


def test_utilization_is_cells_of_all_macros_that_are_used():
    chip = arch(**{"mapping.share_macros": False})
    plan = make_plan(product(300, 5), chip)  # 128 + 128 + 44 rows of 5 outputs of 8 cells on three macros
    assert plan.macros_used == 3
    assert plan.utilization == pytest.approx(300 * 40 / (3 * 128 * 128))
    assert plan.macro_cells[0, :4].tolist() == [128 * 40, 128 * 40, 44 * 40, 0]


@pytest.mark.parametrize("layers", [1, 2, 3, 4, 5])
def test_the_macros_needed_are_those_of_the_largest_number_and_one(layers):
    chip = arch(**{"mapping.share_macros": False})
    assert macros_needed(make_plan(product(100, 5, layers=layers), chip).layers, chip) == layers
    # 5 outputs take 40 columns: three layers share a macro of 128.
    shared = arch()
    assert macros_needed(make_plan(product(100, 5, layers=layers), shared).layers, shared) == -(-layers // 3)


@pytest.mark.parametrize(
    ("macros", "copies"), [(3, [1]), (5, [1]), (6, [2]), (8, [2]), (9, [3]), (11, [3]), (12, [4]), (99, [4])]
)
def test_copies_are_placed_behind_what_is_placed(macros, copies):
    chip = arch(**{"mapping.max_replicas": 9, "chip.tiles": 1, "tile.macros": macros})
    plan = make_plan(product(300, 5), chip)  # three macros a copy, four positions
    assert [layer.replicas for layer in plan.layers] == copies
    assert sorted(p.macro for p in plan.placed) == list(range(3 * copies[0]))
    assert {(p.block, p.replica): p.macro for p in plan.placed} == {
        (block, replica): 3 * replica + block for block in range(3) for replica in range(copies[0])
    }


def test_columns_of_layers_that_share_a_macro_begin_at_a_converter():
    """Converters of 8 columns and outputs of 4: 3 outputs take 12 columns, and the next layer begins at 16."""
    chip = arch(**{"macro.weight.bits": 4})
    plan = make_plan(product(100, 3, layers=9), chip)
    assert [(p.macro, p.first_column) for p in plan.placed] == [(0, 16 * n) for n in range(8)] + [(1, 0)]


@pytest.mark.parametrize(("outputs", "shared"), [(14, True), (15, True), (16, False)])
def test_a_block_that_leaves_no_converter_free_shares_nothing(outputs, shared):
    """128 columns, 8 a converter and an output: with 15 outputs one converter is left, which a single output fills."""
    first = nets.matrix_layer("a", "x", "t", 1, 100, outputs, stage=nets.requantize())
    second = nets.matrix_layer("b", "x", "y", 1, 100, 1, stage=nets.requantize())
    network = nets.network("two", [first, second], {"x": TensorType((1, 100), "uint8")}, ["t", "y"])
    assert make_plan(network, arch()).macros_used == (1 if shared else 2)


@pytest.mark.parametrize(
    ("bits", "rows", "width"), [(8, 128, 8), (8, 100, 8), (1, 3, 8), (3, 5, 8), (8, 1, 2), (4, 77, 3)]
)
def test_an_accumulator_holds_the_largest_sum_of_its_cells(bits, rows, width):
    """Largest sum: rows x (2^bits) x (largest side + 1), a bit more for the sign."""
    macro = arch(**{"macro.input.bits": bits, "macro.weight.bits": width}).macro
    side = macro.largest_side
    layout = make_layout(rows, 1, macro)
    assert accumulator_width(macro, layout, 0) == (rows * 2**bits * (side + 1)).bit_length() + 1
    given = macro.model_copy(update={"accumulator_bits": 21})
    assert accumulator_width(given, layout, 0) == 21


def cut_plan(rows, outputs, macros=1, **more):
    chip = arch(
        **{"chip.tiles": 1, "tile.macros": macros, "allow_reprogram": True, "mapping.share_macros": False, **more}
    )
    plan = make_plan(product(rows, outputs), chip)
    return plan, layer_parts(plan, plan.layers[0])


def test_sums_that_wait_have_the_bits_of_the_widest_accumulator_and_of_the_carries():
    """Three row blocks by two column blocks (16 and 4 outputs) on one macro: six phases. Adding three sums takes two bits."""
    plan, parts = cut_plan(300, 20)
    macro = plan.arch.macro
    bits = (128 * 2**macro.input.bits * (macro.largest_side + 1)).bit_length() + 1 + 2
    found = [(p.begun, p.finished, p.finished_before, p.read_bits, p.kept_bits, p.held_bits) for p in parts.values()]
    wide, thin = 16 * bits, 4 * bits
    assert found == [
        (16, 0, 0, 0, wide, wide),
        (0, 0, 0, wide, wide, wide),
        (0, 16, 0, wide, 0, wide),
        (4, 0, 16, 0, thin, thin),
        (0, 0, 16, thin, thin, thin),
        (0, 4, 16, thin, 0, thin),
    ]


def test_sums_of_two_row_blocks_take_one_carry_and_of_one_none():
    for rows, carry in ((200, 1), (500, 2), (513, 3)):
        plan, parts = cut_plan(rows, 16)
        macro = plan.arch.macro
        bits = (128 * 2**macro.input.bits * (macro.largest_side + 1)).bit_length() + 1 + carry
        assert parts[0].kept_bits == 16 * bits


def test_units_of_a_cut_layer_have_bits_of_their_own():
    """Depthwise: 14 channels in a unit, and 4 in the last; all are whole, so nothing waits."""
    layer = nets.conv_layer("dw", "x", "y", 5, 5, 32, 32, groups=32)
    network = nets.network("dw", [layer], {"x": TensorType((32, 5, 5), "uint8")}, ["y"])
    chip = arch(**{"chip.tiles": 1, "tile.macros": 1, "allow_reprogram": True, "mapping.share_macros": False})
    plan = make_plan(network, chip)
    parts = layer_parts(plan, plan.layers[0])
    assert [(p.begun, p.finished, p.read_bits, p.kept_bits) for p in parts.values()] == [(14, 14, 0, 0)] * 2 + [
        (4, 4, 0, 0)
    ]


@pytest.mark.parametrize("total", [0, 1, 7, 1000, 1001])
@pytest.mark.parametrize("finished", [(3, 4, 5), (1, 1, 1), (0, 12, 0), (5, 0, 2)])
def test_shares_of_all_phases_add_up(total, finished):
    outputs = sum(finished)
    before = [0, *itertools.accumulate(finished)]
    shares = [Part(0, n, before[k], 0, 0, 0).share(total, outputs) for k, n in enumerate(finished)]
    assert sum(shares) == total
    assert shares == [total * before[k + 1] // outputs - total * before[k] // outputs for k in range(3)]


def test_the_phases_of_digital_layers_are_those_of_what_they_read():
    """Layer by layer on one macro: the sum of two products runs in the phase of the later, and the pool behind it too."""
    network = nets.residual_network()
    chip = arch(**{"chip.tiles": 1, "tile.macros": 1, "mapping.share_macros": False, "allow_reprogram": True})
    plan = make_plan(network, chip)
    phase = {layer.name: layer.phase for layer in plan.layers}
    order = [layer.name for layer in plan.layers if layer.on_macros]
    assert [phase[name] for name in order] == list(range(len(order)))
    for layer in plan.layers:
        if not layer.on_macros:
            assert layer.phase == max(plan.layers[i].phase for i in layer.inputs if i >= 0)


@pytest.mark.parametrize(("rows", "raised"), [(128, 128), (300, 128), (300, 48), (127, 13), (5, 4)])
def test_groups_are_runs_of_raised_rows_inside_a_block(rows, raised):
    layout = Layout(rows, 1, tuple((r, min(r + 128, rows)) for r in range(0, rows, 128)), ((0, 1),), raised)
    spans = layout.group_spans
    assert [row for _, first, stop in spans for row in range(first, stop)] == list(range(rows))
    assert max(stop - first for _, first, stop in spans) <= raised
    assert all(first // 128 == (stop - 1) // 128 == block for block, first, stop in spans)
    assert layout.groups == len(spans) == sum(layout.groups_per_block)


@pytest.mark.parametrize(
    ("channels", "most", "sizes"),
    [(10, 14, [10]), (20, 14, [10, 10]), (31, 14, [11, 10, 10]), (50, 14, [13, 13, 12, 12])],
)
def test_even_spans_differ_by_one_channel_at_most(channels, most, sizes):
    macro = arch(**{"macro.mapping.rows": "grouped"}).macro
    assert macro.rows // 9 == most
    blocks = make_layout(channels * 9, 4, macro, 9).row_blocks
    assert [(stop - first) // 9 for first, stop in blocks] == sizes
    assert blocks[0][0] == 0
    assert blocks[-1][1] == channels * 9


def test_whole_kernels_fill_as_many_rows_as_hold_them():
    macro = arch(**{"macro.mapping.rows": "whole_kernels"}).macro
    assert make_layout(25 * 6, 1, macro, 25).row_blocks == ((0, 125), (125, 150))
    assert make_layout(128 * 2, 1, macro, 128).row_blocks == ((0, 128), (128, 256))


def test_units_say_which_rows_and_outputs_are_theirs():
    units = make_units(32, 9, 1, arch().macro)
    assert [(u.row_start, u.row_stop, u.out_start, u.out_stop) for u in units] == [
        (0, 126, 0, 14),
        (126, 252, 14, 28),
        (252, 288, 28, 32),
    ]
    assert Unit(0, 9, 0, 1).groups == 1
    assert Unit(0, 18, 0, 2, out_group=np.array([0, 1])).groups == 2
    assert Unit(0, 27, 0, 3, out_group=np.array([0, 1, 2])).groups == 3


@pytest.mark.parametrize(
    ("changes", "drive"),
    [
        ({"macro.input.dac": "voltage", "macro.input.dac_bits": 4}, 3 + 2),
        ({"macro.input.dac": "pulse", "macro.input.dac_bits": 1}, 3 + 2),
        ({"macro.input.dac": "pulse", "macro.input.dac_bits": 2}, 3 * 3 + 2),
        ({"macro.input.dac": "pulse", "macro.input.dac_bits": 4}, 15 * 3 + 2),
    ],
)
def test_driving_takes_a_pulse_for_every_level(changes, drive):
    macro = arch(**{"macro.timing.wordline_cycles": 3, "macro.timing.sample_cycles": 2, **changes}).macro
    assert drive_cycles(macro) == drive


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("rows", [1, 16, 17, 100, 128])
@pytest.mark.parametrize("columns", [1, 7, 8, 9, 128])
def test_cycles_of_an_operation_step_by_step(overlap, rows, columns):
    macro = arch(
        **{
            "macro.active_rows": 16,
            "macro.timing.overlap": overlap,
            "macro.timing.wordline_cycles": 5,
            "macro.timing.sample_cycles": 2,
            "macro.timing.shift_add_cycles": 3,
        }
    ).macro
    convert = min(8, columns) * macro.adc.conversion_cycles()
    assert convert_cycles(macro, columns) == convert
    steps = -(-rows // 16) * macro.input_slices
    driven = converted = 0  # when the last step was driven, and converted
    for _ in range(steps):
        driven = (driven if overlap else converted) + 7
        converted = max(driven, converted) + convert
        driven = converted - convert  # the sample is held from here on, and the next step may be driven
    assert op_cycles(macro, rows, columns) == converted + 3
    assert op_cycles_unfolded(macro, rows, columns) == converted + 3


def test_what_is_no_weight_has_no_grouped_view():
    macro = arch(**{"macro.mapping.rows": "grouped"}).macro
    for wrong in (np.zeros((0, 4, 3, 3)), np.zeros(4), np.array([["a", "b"]])):
        with pytest.raises(cimemu.MappingError, match=r"^weight: .*, must be numbers \[outputs, channels"):
            grouped_view(wrong, macro)
    view = grouped_view(np.arange(2 * 31 * 9).reshape(2, 31, 3, 3), macro)
    assert view.channels.shape == (3, 11)
    assert view.weight.shape == (6, 11, 3, 3)
