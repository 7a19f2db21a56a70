"""Edges of timing: sums that cross tiles, a tensor that just fits, an operation of no cycles."""

import nets
import numpy as np
import pytest
from test_timeline import small

import cimemu
from cimemu.layer.base import TensorType
from cimemu.mapping.place import make_plan
from cimemu.timing.durations import duration_table
from cimemu.timing.simulate import Simulation
from cimemu.timing.storage import place_tensors


def product(positions, rows, outputs=1):
    layer = nets.matrix_layer("fc", "x", "y", positions, rows, outputs, stage=nets.requantize(2))
    return nets.network("one", [layer], {"x": TensorType((positions, rows), "uint8")}, ["y"])


def busy(arch, network, name):
    timeline = Simulation(make_plan(network, arch)).run(1)
    return int(timeline.busy[list(timeline.units).index(name)])


@pytest.mark.parametrize("positions", [1, 3])
@pytest.mark.parametrize("outputs", [1, 4])
def test_sums_that_cross_tiles_are_added_by_the_digital_unit(positions, outputs):
    """12 rows on macros of 4: three row blocks. In one tile its accumulator adds them up; on three tiles the digital
    unit takes two sums more of every output, one operation each on its one lane."""
    network = product(positions, 12, outputs)
    together = small(tile__macros=3)
    apart = small(chip__tiles=3, tile__macros=1)
    own = make_plan(network, together).layers[0].digital_ops
    assert own % positions == 0
    assert busy(together, network, "digital") == own
    assert busy(apart, network, "digital") == own + 2 * outputs * positions
    two = small(chip__tiles=2, tile__macros=2)  # two blocks in the first tile, one in the second
    assert busy(two, network, "digital") == own + outputs * positions


def test_two_column_blocks_on_two_tiles_are_no_sums_to_add():
    network = product(2, 4, 8)  # four outputs a macro
    arch = small(chip__tiles=2)
    assert busy(arch, network, "digital") == make_plan(network, arch).layers[0].digital_ops


def chain():
    first = nets.matrix_layer("a", "x", "h", 2, 4, 4, stage=nets.requantize(2))
    second = nets.matrix_layer("b", "h", "y", 2, 4, 2, stage=nets.requantize(2))
    return nets.network("chain", [first, second], {"x": TensorType((2, 4), "uint8")}, ["y"])


@pytest.mark.parametrize(("spare", "offchip"), [(0, set()), (1, set()), (-1, {0})])
def test_tensors_that_just_fill_the_global_buffer_stay_on_chip(spare, offchip):
    """The input and the hidden tensor, 64 bits each, live together while the first layer runs: 128 bits suffice, 127 do
    not, and of two equal tensors the later goes."""
    kib = (128 + spare) / 8192
    arch = small(tile__macros=2, chip__global_buffer__size_kib=kib)
    plan = make_plan(chain(), arch)
    storage = place_tensors(plan, 0)
    assert set(storage.offchip) == offchip
    assert -1 not in storage.offchip


@pytest.mark.parametrize(
    ("bits", "offchip", "held"),
    [
        (47, {-1, 0}, {1: 2}),  # not even a row of each
        (48, {0}, {-1: 1, 1: 1}),
        (79, {0}, {-1: 1, 1: 1}),
        (80, set(), {-1: 1, 0: 1, 1: 1}),
        (159, set(), {-1: 1, 0: 1, 1: 1}),
        (160, set(), {-1: 2, 0: 2, 1: 2}),
        (160 + 7 * 32 - 1, set(), {-1: 2, 0: 2, 1: 2}),
        (160 + 7 * 32, set(), {-1: 2, 0: 2}),  # the output of all eight images
        (160 + 7 * (32 + 64), set(), {0: 2}),
        (8 * 160, set(), {}),
    ],
)
def test_as_many_rows_are_in_flight_as_just_fit(bits, offchip, held):
    """Two rows each: of the input and the hidden tensor 32 bits, of the output 16. A row needs one row of the layer before."""
    arch = small(tile__macros=2, schedule="pipelined", chip__global_buffer__size_kib=bits / 8192)
    storage = place_tensors(make_plan(chain(), arch), 0)
    assert (set(storage.offchip), dict(storage.held), storage.in_flight) == (offchip, held, 8)


NOTHING = {
    "macro.timing.skip_zero_slices": True,
    "macro.timing.skip_cycles": 0,
    "macro.timing.shift_add_cycles": 0,
}


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("detail", ["ops", "cycles"])
def test_an_operation_whose_slices_are_all_skipped_takes_a_cycle(overlap, detail):
    """One position of zeros, one of a single slice: 1 cycle, then drive 2 + 1 round of 2 columns of 1 cycle each."""
    arch = cimemu.load_arch(small(), {**NOTHING, "macro.timing.overlap": overlap})
    network = product(2, 4)
    run = cimemu.run(arch, network, np.array([[[0] * 4, [1] * 4]], dtype=np.uint8), detail=detail)
    macro = list(run.timeline.units).index("tile0/macro0")
    zeros = cimemu.run(arch, network, np.zeros((1, 2, 4), dtype=np.uint8), detail=detail)
    full = cimemu.run(arch, network, np.ones((1, 2, 4), dtype=np.uint8), detail=detail)
    assert int(zeros.timeline.busy[macro]) == 2
    assert int(run.timeline.busy[macro]) == 1 + 4
    assert int(full.timeline.busy[macro]) == 2 * 4
    other = cimemu.run(
        arch, network, np.zeros((1, 2, 4), dtype=np.uint8), detail="cycles" if detail == "ops" else "ops"
    )
    assert other.cycles == zeros.cycles


def test_durations_of_skipped_operations_are_at_least_one_cycle():
    arch = cimemu.load_arch(small(), NOTHING)
    plan = make_plan(product(3, 4), arch)
    template = Simulation(plan).phases[0]
    nonzero = {0: [np.array([[[False, False]], [[True, False]], [[True, True]]])]}
    assert duration_table(plan, template, nonzero, 1).tolist() == [[1, 4, 8]]
