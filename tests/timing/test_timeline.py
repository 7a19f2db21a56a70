"""Timelines computed by hand: who works when, cycle for cycle."""

import itertools

import nets
import numpy as np
import pytest

import cimemu
from cimemu.arch.schema import Arch
from cimemu.errors import MappingError
from cimemu.events import Cause, Kind
from cimemu.layer.base import TensorType
from cimemu.mapping.place import make_plan
from cimemu.timing.simulate import Simulation

SMALL = {
    "name": "small",
    "source": "made up, so that a person can follow every cycle",
    "clock_ns": 1.0,
    "chip": {
        "tiles": 1,
        "interconnect": {"kind": "bus", "bits_per_cycle": 8, "hop_cycles": 0},
        "global_buffer": {"size_kib": 64, "read_bits_per_cycle": 8, "write_bits_per_cycle": 8, "ports": 1},
        "digital": {"lanes": 1, "startup_cycles": 0},
        "offchip": {"bits_per_cycle": 8, "latency_cycles": 0},
    },
    "tile": {
        "macros": 1,
        "input_buffer": {"size_kib": 1, "read_bits_per_cycle": 8, "write_bits_per_cycle": 8},
        "output_buffer": {"size_kib": 1, "read_bits_per_cycle": 8, "write_bits_per_cycle": 8},
        "adder_lanes": 1,
    },
    "macro": {
        "rows": 4,
        "columns": 8,
        "columns_per_adc": 8,
        "weight": {"bits": 2, "encoding": "twos_complement"},
        "input": {"bits": 2},
        "adc": {"model": "linear", "circuit": "flash", "bits": 3},
    },
}


def small(**overrides):
    tree = {**SMALL, **{k: v for k, v in overrides.items() if "__" not in k}}
    for dotted, value in overrides.items():
        if "__" in dotted:
            first, *path, last = dotted.split("__")
            tree[first] = node = dict(tree[first])
            for key in path:
                node[key] = node = dict(node.get(key, {}))
            node[last] = value
    return Arch.model_validate(tree)


def two_positions():
    layer = nets.matrix_layer("fc", "x", "y", 2, 4, 1, stage=nets.requantize(2))
    return nets.network("two", [layer], {"x": TensorType((2, 4), "uint8")}, ["y"])


def rows(simulation, images=1, **options):
    """(unit, kind, image, start, end) of every event, by start."""
    found = []
    names = list(simulation.units)

    def sink(events):
        for i in range(len(events["op"])):
            unit = int(events["unit"][i])
            name = names[unit] if unit < len(names) else "adc"
            found.append(
                (
                    name,
                    Kind(int(events["kind"][i])).name,
                    int(events["image"][i]),
                    int(events["start"][i]),
                    int(events["end"][i]),
                )
            )

    timeline = simulation.run(images, sink=sink, **options)
    return sorted(found, key=lambda row: (row[3], row[0])), timeline


# One layer, [2 positions, K = 4] x [4, 1]. Bus, ports and memory carry 8 bits a cycle; a row of input is 4 x 8 bits.
# Macro operation: G = 1, I = 2; drive = 1 + 1; 2 columns used by one flash converter: convert = 2 x 1;
# 2 x (2 + 2) + 1 = 9 cycles. Output: 4 x 2^2 x 2^2 = 64 -> 8 bits, one cycle on the bus. Digital: 3 operations a row.
BY_HAND = [
    ("offchip", "OFFCHIP", 0, 0, 4),  # row 0 of the image comes in: 32 bits
    ("global_buffer/port0", "BUFFER", 0, 4, 8),  # and is written
    ("offchip", "OFFCHIP", 0, 4, 8),  # row 1
    (
        "global_buffer/port0",
        "BUFFER",
        0,
        8,
        12,
    ),  # row 1 written: asked for at 8, as the read of row 0, but before it
    ("global_buffer/port0", "BUFFER", 0, 12, 16),  # row 0 read
    ("bus", "MOVE", 0, 16, 20),  # row 0 to the tile
    ("global_buffer/port0", "BUFFER", 0, 16, 20),  # row 1 read
    ("bus", "MOVE", 0, 20, 24),
    ("tile0/load", "LOAD", 0, 20, 21),  # 4 inputs x 2 bits
    ("tile0/macro0", "MACRO", 0, 21, 30),
    ("tile0/load", "LOAD", 0, 24, 25),  # the second register set is free
    ("tile0/adder", "PSUM", 0, 30, 31),
    ("tile0/macro0", "MACRO", 0, 30, 39),
    ("bus", "MOVE", 0, 31, 32),  # position 0 is output row 0: 8 bits
    ("digital", "DIGITAL", 0, 32, 35),
    ("global_buffer/port0", "BUFFER", 0, 35, 36),
    ("global_buffer/port0", "BUFFER", 0, 36, 37),  # the network's output is read again
    ("offchip", "OFFCHIP", 0, 37, 38),  # and leaves
    ("tile0/adder", "PSUM", 0, 39, 40),
    ("bus", "MOVE", 0, 40, 41),
    ("digital", "DIGITAL", 0, 41, 44),
    ("global_buffer/port0", "BUFFER", 0, 44, 45),
    ("global_buffer/port0", "BUFFER", 0, 45, 46),
    ("offchip", "OFFCHIP", 0, 46, 47),
]


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
def test_one_layer_runs_as_computed_by_hand(engine):
    found, timeline = rows(Simulation(make_plan(two_positions(), small())), engine=engine)
    assert found == BY_HAND
    assert timeline.cycles == 47
    macro = timeline.units.index("tile0/macro0")
    # The macro: 20 cycles while its LOAD waited for the bus, one while it loaded; 8 after its last operation.
    assert timeline.busy[macro] == 18
    assert timeline.stalls[macro, Cause.BUS] == 20
    assert timeline.stalls[macro, Cause.BUFFER] == 1
    assert timeline.stalls[macro, Cause.DONE] == 8
    # The load port: 16 cycles while the MOVE of row 0 waited for the buffer's port, 4 while it moved; 3 of the second
    # move after its own load; 22 after its last.
    load = timeline.units.index("tile0/load")
    assert timeline.stalls[load, Cause.BUFFER] == 16
    assert timeline.stalls[load, Cause.BUS] == 4 + 3
    assert timeline.stalls[load, Cause.DONE] == 22


def test_the_second_image_of_a_layer_by_layer_chip_starts_when_the_first_has_left():
    found, timeline = rows(Simulation(make_plan(two_positions(), small())), images=2)
    second = [(name, kind, image - 1, start - 47, end - 47) for name, kind, image, start, end in found if image == 1]
    assert second == BY_HAND
    assert timeline.cycles == 94
    assert timeline.image_cycles == 47


def test_a_pipelined_chip_loads_the_second_image_while_the_first_is_computed():
    found, timeline = rows(Simulation(make_plan(two_positions(), small(schedule="pipelined"))), images=2)
    loads = [row for row in found if row[1] == "OFFCHIP" and row[2] == 1]
    assert loads[0][3] == 8  # right behind the first image's two rows
    macros = [row[3:] for row in found if row[1] == "MACRO"]
    # The macro never waits once it has begun: 4 operations of 9 cycles.
    assert macros == [(21, 30), (30, 39), (39, 48), (48, 57)]
    # The last result: PSUM 57-58, bus 58-59, digital 59-62, buffer 62-63 and 63-64, off-chip 64-65.
    assert timeline.cycles == 65


def test_steps_of_an_operation_without_overlap_are_laid_end_to_end():
    found, timeline = rows(Simulation(make_plan(two_positions(), small())), detail="cycles")
    steps = [row for row in found if row[1] in ("DRIVE", "CONVERT", "SHIFT_ADD") and row[3] < 30]
    assert steps == [
        ("tile0/macro0", "DRIVE", 0, 21, 23),
        ("adc", "CONVERT", 0, 23, 24),
        ("adc", "CONVERT", 0, 24, 25),
        ("tile0/macro0", "DRIVE", 0, 25, 27),
        ("adc", "CONVERT", 0, 27, 28),
        ("adc", "CONVERT", 0, 28, 29),
        ("tile0/macro0", "SHIFT_ADD", 0, 29, 30),
    ]
    assert timeline.cycles == 47


def test_with_overlap_the_next_slice_is_driven_while_this_one_is_converted():
    # drive + (G*I - 1) * max(drive, convert) + convert + shift-add = 2 + 1 * max(2, 2) + 2 + 1 = 7
    arch = small(macro__timing__overlap=True)
    found, _ = rows(Simulation(make_plan(two_positions(), arch)), detail="cycles")
    steps = [row for row in found if row[1] in ("DRIVE", "CONVERT", "SHIFT_ADD") and row[3] < 28]
    assert sorted(steps, key=lambda r: (r[3], r[1])) == [
        ("tile0/macro0", "DRIVE", 0, 21, 23),
        ("adc", "CONVERT", 0, 23, 24),
        ("tile0/macro0", "DRIVE", 0, 23, 25),
        ("adc", "CONVERT", 0, 24, 25),
        ("adc", "CONVERT", 0, 25, 26),
        ("adc", "CONVERT", 0, 26, 27),
        ("tile0/macro0", "SHIFT_ADD", 0, 27, 28),
    ]


def test_a_skipped_slice_takes_its_skip_cycles_and_no_conversion():
    # Position 0: inputs 1, 0, 0, 0: slice 1 is all zero: (2 + 2) + 1 + 1 = 6. Position 1: inputs 2: slice 0 is zero: 6.
    arch = small(macro__timing__skip_zero_slices=True)
    image = np.array([[[1, 0, 0, 0], [2, 0, 0, 0]]], dtype=np.uint8)
    run = cimemu.run(arch, two_positions(), image)
    steps = {"ops": run, "cycles": cimemu.run(arch, two_positions(), image, detail="cycles")}
    assert run.conversions == 2 * 2  # two positions, one driven slice each, two columns
    # Row 1 is loaded at 25, behind MACRO [21, 27): 27 + 6 = 33, then 1 + 1 + 3 + 1 + 1 + 1 as by hand.
    assert run.cycles == 41
    assert steps["cycles"].cycles == 41


def test_a_tile_buffer_that_holds_one_row_makes_the_second_row_wait():
    # A row takes 32 bits = 1/256 KiB: the buffer holds one. Row 1 moves when LOAD 0 is over, at 21.
    arch = small(tile__input_buffer__size_kib=1 / 256)
    found, _ = rows(Simulation(make_plan(two_positions(), arch)))
    assert [row[3:] for row in found if row[0] == "bus"][:2] == [(16, 20), (21, 25)]


def test_a_buffer_too_small_for_a_window_names_the_remedy():
    with pytest.raises(MappingError, match=r"tile.input_buffer.size_kib = 0.001, its window needs 0.003906"):
        Simulation(make_plan(two_positions(), small(tile__input_buffer__size_kib=0.001)))


def test_a_mesh_packet_crosses_every_link_by_itself():
    # Tile 3 of a 2 x 2 mesh lies at (1, 1): hub > 0.0 > 1.0 > 1.1 inward, 1.1 > 0.1 > 0.0 > hub outward (X first).
    arch = small(
        chip__tiles=4,
        chip__interconnect={"kind": "mesh", "bits_per_cycle": 8, "hop_cycles": 1},
        mapping={"share_macros": False},
    )
    layers = [
        nets.matrix_layer(f"fc{i}", "x" if i == 0 else f"t{i}", f"t{i + 1}", 1, 4, 4, stage=nets.requantize(2), seed=i)
        for i in range(4)
    ]
    net = nets.network("four", layers, {"x": TensorType((1, 4), "uint8")}, ["t4"])
    simulation = Simulation(make_plan(net, arch))
    links = [name for name in simulation.units if name.startswith("link")]
    assert "link/1.0>1.1" in links
    found, _ = rows(simulation)
    last = [row for row in found if row[0] in ("link/hub>0.0", "link/0.0>1.0", "link/1.0>1.1")][-3:]
    # 32 bits at 8 a cycle and one cycle of router latency: 5 cycles a link, stored and forwarded.
    assert [end - start for _, _, _, start, end in last] == [5, 5, 5]
    assert [b[3] - a[3] for a, b in itertools.pairwise(last)] == [5, 5]


def test_reprogramming_writes_row_by_row_and_is_charged():
    # Two layers of one macro each on a chip of one macro: two phases. 4 rows x 10 cycles; weights 4 x 1 x 2 cells x 1
    # bit = 8 bits: one cycle off-chip before.
    layers = [
        nets.matrix_layer("fc0", "x", "a", 1, 4, 4, stage=nets.requantize(2)),
        nets.matrix_layer("fc1", "a", "y", 1, 4, 1, stage=nets.requantize(2), seed=1),
    ]
    net = nets.network("phases", layers, {"x": TensorType((1, 4), "uint8")}, ["y"])
    with pytest.raises(MappingError, match="allow_reprogram"):
        make_plan(net, small())
    arch = small(allow_reprogram=True, programming={"row_write_cycles": 10, "endurance_writes": 1000})
    plan = make_plan(net, arch)
    found, timeline = rows(Simulation(plan), images=2)
    writes = [row for row in found if row[1] == "PROGRAM"]
    assert plan.phases == 2
    # 4 rows x 8 columns = 32 bits: 4 cycles off-chip, then 40 cycles of writing.
    assert writes[0] == ("tile0/macro0", "PROGRAM", -1, 4, 44)
    assert timeline.programming_cycles == 44 + 41  # the second: 8 bits, 1 + 40
    run = cimemu.run(arch, net, np.zeros((2, 1, 4), dtype=np.uint8))
    assert run.plan.writes_per_cell == 2
