"""The pieces that timing is built of, by hand: task arrays, rows of the digital unit, rows of a buffer, its limits."""

from dataclasses import replace

import nets
import numpy as np
import pytest
from test_timeline import small

import cimemu
import cimemu.timing.simulate as simulate
from cimemu.errors import MappingError
from cimemu.events import Cause, Counter, Kind
from cimemu.layer.base import TensorType
from cimemu.mapping.cycles import op_cycles, pipeline_cycles
from cimemu.mapping.layout import accumulator_width
from cimemu.mapping.place import make_plan
from cimemu.timing.build import phase_template
from cimemu.timing.digital_tasks import digital_layer
from cimemu.timing.graph import NO_UNIT, GraphBuilder, _joined
from cimemu.timing.storage import buffer_rows, place_tensors


def graph():
    builder = GraphBuilder(layers=2)
    adder = builder.unit("adder")
    work = builder.add(Kind.DIGITAL, adder, np.array([0, 3, 7]), 1, 3, position=np.array([4, 5, 6]), block=2)
    point = builder.meet(0, 2)
    builder.wait(work, point[:1], Cause.DATA)
    builder.wait(point[1:], work, Cause.BUFFER, lag=1)
    return builder.build(in_flight=5, dynamic=True)


def test_a_task_with_a_unit_takes_a_cycle_at_least_and_a_meeting_point_none():
    template = graph()
    assert template.unit.tolist() == [0, 0, 0, NO_UNIT, NO_UNIT]
    assert template.duration.tolist() == [1, 3, 7, 0, 0]
    assert template.position.tolist() == [4, 5, 6, -1, -1]
    assert template.block.tolist() == [2, 2, 2, -1, -1]
    assert template.layer.tolist() == [1, 1, 1, 0, 0]
    assert template.dynamic.tolist() == [0, 1, 2, -1, -1]
    assert template.in_flight == 5


def test_edges_are_kept_by_source_with_cause_and_lag():
    template = graph()
    assert template.first_edge.tolist() == [0, 1, 2, 3, 6, 6]
    assert template.successor.tolist() == [4, 4, 4, 0, 1, 2]
    assert template.lag.tolist() == [1, 1, 1, 0, 0, 0]
    assert template.cause.tolist() == [Cause.BUFFER] * 3 + [Cause.DATA] * 3
    assert template.waits_here.tolist() == [1, 1, 1, 0, 0]
    assert template.waits_before.tolist() == [0, 0, 0, 0, 3]


def test_parts_are_joined_each_as_long_as_said():
    none = np.zeros(0, dtype=np.int64)
    assert _joined([7, np.array([1, 2, 3]), np.array([9])], [2, 3, 4]).tolist() == [7, 7, 1, 2, 3, 9, 9, 9, 9]
    assert _joined([none, 5], [0, 1]).tolist() == [5]
    assert _joined([], []).tolist() == []


def two_outputs(shapes):
    """The plan of a layer on the digital unit (a residual sum) whose outputs are said to have these shapes."""
    network = nets.residual_network()
    plan = make_plan(network, cimemu.load_arch("rram_128"))
    layer = next(layer for layer in plan.layers if layer.name == "add")
    return replace(layer, output_types=tuple(TensorType(shape, "uint8") for shape in shapes)), plan


@pytest.mark.parametrize(
    ("shapes", "rows"), [([(4, 5, 4)], 5), ([(4, 5, 4), (2, 5, 9)], 5), ([(4, 5, 4), (4, 6, 4)], 1)]
)
def test_the_digital_unit_makes_a_task_of_each_row_where_outputs_have_as_many(shapes, rows):
    layer, _ = two_outputs(shapes)
    feeds, done = _Feeds(), []
    feeds.store = lambda layer, rows, is_output: done.append(rows) or np.arange(rows)
    digital_layer(feeds, replace(layer, inputs=(), input_types=(), table_bits=0), False)
    assert done == [rows]
    assert feeds.graph.size == rows


class _Feeds:
    """What `digital_layer` asks of the memory of a chip, for a layer without inputs."""

    barrier = None

    def __init__(self):
        self.entering = {}
        self.graph = GraphBuilder(layers=8)
        self.arch = cimemu.load_arch("rram_128")


@pytest.mark.parametrize(
    ("bits", "kib", "sharers", "rows"),
    [(1, 1, 1, 8192), (0, 1, 1, 8192), (2, 1, 1, 4096), (3, 1, 1, 2730), (8, 1, 3, 341), (8192, 1, 1, 1), (1, 0.5, 2, 2048)],
)  # fmt: skip
def test_rows_of_a_buffer_are_whole_rows_of_a_whole_share(bits, kib, sharers, rows):
    layer = make_plan(nets.residual_network(), cimemu.load_arch("rram_128")).layers[0]
    assert buffer_rows(layer, "input_buffer", bits, kib, sharers, rows) == rows
    if bits:
        needed = (rows + 1) * bits * sharers / 8192
        with pytest.raises(MappingError, match=rf"tile.input_buffer.size_kib = {kib:g}, its window needs {needed:.4g}"):
            buffer_rows(layer, "input_buffer", bits, kib, sharers, rows + 1)


def one_row():
    layer = nets.matrix_layer("fc", "x", "y", 1, 4, 1, stage=nets.requantize(2))
    return nets.network("one", [layer], {"x": TensorType((1, 4), "uint8")}, ["y"])


@pytest.mark.parametrize("off", [-1, 0, 1])
def test_the_longest_operation_is_two_to_the_31_less_one(monkeypatch, off):
    """Operations of the whole macro that take one cycle less than the limit, just as many, and one more."""
    assert simulate.LONGEST_OPERATION == 2**31 - 1
    assert isinstance(simulate.LONGEST_OPERATION, int)
    arch = small()
    whole = op_cycles(arch.macro, arch.macro.rows, arch.macro.columns)
    monkeypatch.setattr(simulate, "LONGEST_OPERATION", whole + off)
    plan = make_plan(one_row(), arch)
    if off >= 0:
        assert simulate.Simulation(plan).run(1).cycles > whole
        return
    with pytest.raises(
        MappingError, match=f"an operation of the whole macro takes {whole} cycles, must be <= {whole - 1};"
    ):
        simulate.Simulation(plan)


def test_more_cycles_than_can_be_counted_are_refused_before_the_first():
    plan = make_plan(one_row(), small())
    simulation = simulate.Simulation(plan)
    each = sum(int(phase.duration.sum()) for phase in simulation.phases)
    most = simulate.MOST_CYCLE // each
    with pytest.raises(
        MappingError, match=rf"^{most + 1} images take more than {simulate.MOST_CYCLE} cycles, run fewer"
    ):
        simulation.run(most + 1)


def test_images_of_programming_belong_to_no_image_and_the_first_image_is_one():
    """Reprogramming before every phase is no part of an image's time; image 0 is."""
    arch = small(chip__tiles=1, tile__macros=1, mapping={"share_macros": False}, allow_reprogram=True)
    first = nets.matrix_layer("a", "x", "h", 2, 4, 4, stage=nets.requantize(2))
    second = nets.matrix_layer("b", "h", "y", 2, 4, 2, stage=nets.requantize(2))
    network = nets.network("chain", [first, second], {"x": TensorType((2, 4), "uint8")}, ["y"])
    timeline = simulate.Simulation(make_plan(network, arch)).run(2)
    whole = simulate.Simulation(make_plan(network, small(tile__macros=2))).run(2)
    assert (timeline.layer_cycles > 0).all()
    assert timeline.programming_cycles > 0
    # Of two images each, the spans of the layers alone are the same with and without the writing between them.
    assert timeline.layer_cycles.tolist() == whole.layer_cycles.tolist()


def test_a_pipelined_chip_takes_an_image_before_the_last_one_is_done():
    """`together`: rows are handed on one by one; layer by layer, the first row of a layer waits for the last before it."""
    network = nets.residual_network()
    for schedule, in_flight in (("layer_by_layer", 1), ("pipelined", 8)):
        arch = cimemu.load_arch("rram_128", {"schedule": schedule})
        template = phase_template(make_plan(network, arch), 0, {}, 1)
        assert template.in_flight == in_flight


def tile_traffic(network, **changes):
    """(bits read from tile buffers, bits written to them) for the first layer and one image, and the layer's plan."""
    plan = make_plan(network, cimemu.load_arch("rram_128", changes))
    counts = phase_template(plan, 0, {}, 1).counts[0]
    return int(counts[Counter.BUFFER_READ_BITS]), int(counts[Counter.BUFFER_WRITE_BITS]), plan


def rows_of_300(positions=4, outputs=5):
    layer = nets.matrix_layer("fc", "x", "y", positions, 300, outputs, stage=nets.requantize())
    return nets.network("one", [layer], {"x": TensorType((positions, 300), "uint8")}, ["y"])


@pytest.mark.parametrize(("macros", "tiles"), [(8, 1), (2, 2), (1, 3)])
def test_tile_buffers_carry_each_row_once_and_the_sums_of_each_tile(macros, tiles):
    """Each position: 300 inputs of 8 bits are written and read; each tile's sums of 5 outputs are written and read."""
    read, written, plan = tile_traffic(rows_of_300(), **{"tile.macros": macros})
    width = accumulator_width(plan.arch.macro, plan.layers[0].layouts[0], 0)
    assert read == written == 4 * (300 * 8 + tiles * 5 * width)


@pytest.mark.parametrize(("channels", "brought"), [(3, 3), (14, 14), (20, 15 + 6), (28, 15 + 14), (29, 15 + 15 + 1)])
def test_a_tile_is_brought_the_channels_that_its_rows_need(channels, brought):
    """One macro of 128 rows a tile and kernels of 9 rows: 20 channels are rows 0 to 127 (channels 0 to 14, the last in
    part) and 128 to 179 (channels 14 to 19). Each of 20 positions loads its rows; each of 5 rows of 4 pixels comes once."""
    layer = nets.conv_layer("c", "x", "y", 5, 4, channels, 3)
    network = nets.network("one", [layer], {"x": TensorType((channels, 5, 4), "uint8")}, ["y"])
    read, written, plan = tile_traffic(network, **{"tile.macros": 1})
    layout = plan.layers[0].layouts[0]
    tiles = len(layout.row_blocks)
    width = max(accumulator_width(plan.arch.macro, layout, i) for i in range(tiles))
    assert read == 20 * (channels * 9 * 8 + tiles * 3 * width)
    assert written == brought * 5 * 4 * 8 + 20 * tiles * 3 * width


def test_copies_of_a_layer_share_its_positions():
    read, written, plan = tile_traffic(rows_of_300(7), **{"mapping.max_replicas": 3, "tile.macros": 3, "chip.tiles": 3})
    assert plan.layers[0].replicas == 3
    width = accumulator_width(plan.arch.macro, plan.layers[0].layouts[0], 0)
    assert read == written == 7 * (300 * 8 + 5 * width)


def test_a_tensor_made_in_an_earlier_phase_is_off_chip_and_one_of_this_phase_is_not():
    first = nets.matrix_layer("a", "x", "h", 2, 4, 4, stage=nets.requantize(2))
    second = nets.matrix_layer("b", "h", "y", 2, 4, 2, stage=nets.requantize(2))
    network = nets.network("chain", [first, second], {"x": TensorType((2, 4), "uint8")}, ["y"])
    apart = small(chip__tiles=1, tile__macros=1, mapping={"share_macros": False}, allow_reprogram=True)
    assert [set(place_tensors(make_plan(network, apart), phase).offchip) for phase in (0, 1)] == [{0}, {0}]
    assert set(place_tensors(make_plan(network, small(tile__macros=2)), 0).offchip) == set()


def test_operations_are_numbered_through_phases_and_the_writing_between_them():
    """Every task has one number in the whole run: those of a phase's writing come before those of the phase."""
    first = nets.matrix_layer("a", "x", "h", 2, 4, 4, stage=nets.requantize(2))
    second = nets.matrix_layer("b", "h", "y", 2, 4, 2, stage=nets.requantize(2))
    network = nets.network("chain", [first, second], {"x": TensorType((2, 4), "uint8")}, ["y"])
    arch = small(chip__tiles=1, tile__macros=1, mapping={"share_macros": False}, allow_reprogram=True)
    simulation = simulate.Simulation(make_plan(network, arch))
    seen = []
    simulation.run(2, sink=lambda events: seen.append((int(events["image"][0]), events["op"])))
    templates = [t for pair in zip(simulation.programming, simulation.phases) for t in pair if t is not None]
    begin = np.cumsum([0, *(t.tasks for t in templates)])
    where = [int(np.searchsorted(begin, ops[0], side="right")) - 1 for _, ops in seen]
    assert [image for image, _ in seen] == [-1, 0, 1] * 2
    assert where == [0, 1, 1, 2, 3, 3]
    for (_, ops), number in zip(seen, where):
        assert begin[number] <= ops.min() and ops.max() < begin[number + 1]  # noqa: PT018


@pytest.mark.parametrize("schedule", ["layer_by_layer", "pipelined"])
def test_every_input_of_a_network_is_brought_in_from_off_chip_once(schedule):
    """The second of two inputs once came in for nothing, as if it were the first; read twice, an input comes in once."""
    kinds = {"x": TensorType((3, 1, 4), "uint8"), "z": TensorType((1, 1, 9), "uint8")}
    layers = [
        nets.matrix_layer("a", "x", "ya", 1, 12, 2),
        nets.matrix_layer("b", "z", "yb", 1, 9, 2),
        nets.matrix_layer("c", "x", "yc", 1, 12, 2),
    ]
    network = nets.network("two", layers, kinds, ["ya", "yb", "yc"])
    simulation = simulate.Simulation(make_plan(network, cimemu.load_arch("rram_128", {"schedule": schedule})))
    assert [layer.inputs for layer in simulation.plan.layers] == [(-1,), (-2,), (-1,)]
    read = simulation.traffic_counts()[:, Counter.OFFCHIP_READ_BITS]
    assert read.tolist() == [12 * 8, 9 * 8, 0]
    runs = [simulation.run(2, engine=engine) for engine in ("compiled", "simpy")]
    assert runs[0].cycles == runs[1].cycles


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
@pytest.mark.parametrize("stages", [1, 3, 40])
def test_pipeline_registers_make_results_later_and_operations_no_rarer(engine, stages):
    wide = {"size_kib": 64, "read_bits_per_cycle": 1024, "write_bits_per_cycle": 1024}
    arch = small(
        chip__interconnect__bits_per_cycle=1024,
        chip__global_buffer={**wide, "ports": 2},
        chip__digital={"lanes": 64, "startup_cycles": 0},
        chip__offchip={"bits_per_cycle": 1024, "latency_cycles": 0},
        tile={"macros": 1, "input_buffer": wide, "output_buffer": wide, "adder_lanes": 64},
        macro__cell={"kind": "digital"},
        macro__adc="ideal",
    )
    later = cimemu.load_arch(arch, {"macro.timing.pipeline_stages": stages})
    layer = nets.matrix_layer("fc", "x", "y", 60, 4, 4, stage=nets.requantize(2))
    network = nets.network("sixty", [layer], {"x": TensorType((60, 4), "uint8")}, ["y"])
    step = pipeline_cycles(cimemu.load_arch(arch, {"macro.timing.pipeline_stages": 1}).macro, 8)
    assert step == 2 + 8  # two cycles of driving, eight columns read by one converter
    without, among = (
        simulate.Simulation(make_plan(network, chip)).run(1, engine=engine).cycles for chip in (arch, later)
    )
    assert among - without == stages * step
    with pytest.raises(cimemu.ArchError, match=r"pipeline_stages = 2 with cell.kind current"):
        cimemu.load_arch("rram_128", {"macro.timing.pipeline_stages": 2})
