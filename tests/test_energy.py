"""Energy by physics: what is driven, what changes - by hand, against the definition, and however the work is cut."""

from itertools import product

import chips
import nets
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.engines.programmed import program
from cimemu.events import Counter
from cimemu.layer.macro_layer import MacroLayer
from cimemu.macro.naive import Given, mvm_naive
from cimemu.macro.read_noise import Reads
from cimemu.tally import COMPONENTS

KINDS = ("current", "charge", "digital")
PRICES = {
    "wordline": {"energy_pj": 1.0},
    "cell": {"energy_pj": 0.001},
    "cell_level": {"energy_pj": 0.1},
    "adc": {"energy_pj": 0.25},
    "shift_add": {"energy_pj": 0.5},
}


def macro_of(kind="digital", **changes):
    tree = {
        "rows": 4,
        "columns": 4,
        "columns_per_adc": 1,
        "cell": {"kind": kind},
        "weight": {"bits": 1, "encoding": "binary"},
        "input": {"bits": 2},
    }
    return cimemu.Macro.model_validate({**tree, **changes})


def drawn(x, w, macro):
    """(wordlines, cells, levels of cells) counted for one image."""
    counts = cimemu.mvm(np.array(x), np.array(w), macro).counts[0]
    return tuple(int(counts[c]) for c in (Counter.WORDLINE_PULSES, Counter.CELL_PULSES, Counter.CELL_LEVEL_PULSES))


@pytest.mark.parametrize("kind", ["current", "charge"])
def test_a_voltage_dac_draws_with_the_square_of_what_it_drives_and_falls_back(kind):
    # 4-bit inputs in 2-bit slices, low first: 11 = 3 2 -> 9 + 4 = 13; 5 = 1 1 -> 2. Twice the same position: twice that.
    macro = macro_of(kind, input={"bits": 4, "dac_bits": 2}, rows=2)
    assert macro.line_unit == macro.cell_unit == 9
    assert drawn([[11, 5]], [[1], [-1]], macro) == (15, 15, 13)  # the second cell holds level 0
    assert drawn([[11, 5]] * 2, [[1], [-1]], macro) == (30, 30, 26)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_wordline_at_full_scale_costs_c_v_squared_however_many_steps_the_dac_has(bits):
    top = 2**bits - 1
    for value in {top, top // 2, 1, 0}:
        spent = component_pj({"macro.input": {"bits": bits, "dac_bits": bits}}, np.full((1, 1, 16), value, np.uint8))
        assert spent["wordline"] == pytest.approx(16 * (value / top) ** 2 * 1.0, rel=1e-12)
        # 16 rows, 8 columns of outputs, one cell of two at level 1 in binary weights of alternating sign
        assert spent["cell"] == pytest.approx(16 * 8 * (value / top) ** 2 * 0.001, rel=1e-12)
        assert spent["cell_level"] == pytest.approx(16 * 4 * (value / top) ** 2 * 0.1, rel=1e-12)


def test_a_pulse_dac_costs_c_v_squared_a_pulse():
    pulses = {"macro.input": {"bits": 4, "dac_bits": 4, "dac": "pulse"}}
    spent = component_pj(pulses, np.full((1, 1, 16), 11, np.uint8))
    assert spent["wordline"] == pytest.approx(16 * 11)
    assert spent["cell"] == pytest.approx(16 * 8 * 11 * 0.001)


@pytest.mark.parametrize("kind", ["current", "digital"])
def test_bits_that_are_weighed_in_analog_are_a_pulse_each(kind):
    # 11 = 1 1 0 1 from the low bit, 5 = 1 0 1 0: 3 + 2 pulses on wordlines, whatever the slices are
    for bits in (4, 2):
        macro = macro_of(kind, input={"bits": 4, "dac_bits": bits, "dac": "bits"}, rows=2)
        assert macro.line_unit == macro.cell_unit == 1
        lines, cells, levels = drawn([[11, 5]], [[1], [-1]], macro)
        assert lines == 5
        # digital cells: 0 1 1 0 1 changes three times, 0 1 0 1 0 four; the second cell holds level 0
        assert (cells, levels) == ((5, 3) if kind == "current" else (7, 3))


@pytest.mark.parametrize(("dac", "dac_bits", "changes"), [("voltage", 1, 4), ("bits", 2, 4), ("voltage", 2, 3)])
def test_a_driver_that_holds_is_charged_for_bits_that_change(dac, dac_bits, changes):
    # 2-bit inputs 2, 1 from the low bit: 0 1 | 1 0 changes twice a bit; 3, 3 stays. As slices of two bits: 10, 01: 1 + 2.
    macro = macro_of("current", input={"bits": 2, "dac_bits": dac_bits, "dac": dac, "driver": "holds"}, rows=2)
    lines, cells, _ = drawn([[2, 3], [1, 3]], [[1], [-1]], macro)
    first = {1: 2, 2: 3 if dac == "voltage" else 2}[dac_bits]
    last = {1: 1, 2: 2 if dac == "voltage" else 1}[dac_bits]
    assert (first, last) == ((3, 2) if dac == "voltage" and dac_bits == 2 else (2, 1))
    assert lines == first + last
    assert (
        cells == {"voltage": {1: 6, 2: 23}[dac_bits], "bits": 6}[dac]
    )  # cells are charged as by a driver that returns
    returning = macro_of("current", input={"bits": 2, "dac_bits": dac_bits, "dac": dac}, rows=2)
    assert drawn([[2, 3], [1, 3]], [[1], [-1]], returning)[1] == cells


def test_pulses_do_not_hold():
    with pytest.raises(cimemu.ArchError, match="driver holds with dac pulse"):
        macro_of(input={"bits": 2, "dac": "pulse", "driver": "holds"})


def test_guard_columns_have_inputs_that_change_and_no_products():
    # 8 columns: two outputs of 2 bits and 2 guard columns; three rows whose input changes once
    plain = macro_of(rows=4, columns=8, weight={"bits": 2, "encoding": "twos_complement"}, input={"bits": 1})
    guarded = macro_of(
        rows=4, columns=8, weight={"bits": 2, "encoding": "twos_complement", "guard_columns": 2}, input={"bits": 1}
    )
    assert (plain.outputs, guarded.outputs, guarded.output_width) == (4, 2, 4)
    x, w = [[1, 1, 0, 1]], [[1, 1], [-1, 1], [1, 1], [0, 1]]
    lines, cells, levels = drawn(x, w, guarded)
    assert (lines, cells) == (3, 3 * 8)
    assert drawn(x, w, plain) == (lines, 3 * 4, levels)
    assert np.array_equal(
        cimemu.mvm(np.array(x), np.array(w), plain).y, cimemu.mvm(np.array(x), np.array(w), guarded).y
    )
    with pytest.raises(cimemu.ArchError, match=r"guard_columns = 2 with cell.kind current"):
        macro_of("current", weight={"bits": 2, "encoding": "twos_complement", "guard_columns": 2})
    with pytest.raises(cimemu.ArchError, match=r"columns = 8, one output needs 9 \(weight.guard_columns, weight.bits"):
        macro_of(columns=8, weight={"bits": 2, "encoding": "twos_complement", "guard_columns": 7})


def component_pj(overrides, x, kind="current"):
    """pJ by component of a product of 16 rows and 8 binary outputs whose weights alternate."""
    tree = {
        "name": "priced",
        "source": "made up",
        "clock_ns": 1.0,
        "chip": {"tiles": 1},
        "macro": {
            "rows": 16,
            "columns": 8,
            "cell": {"kind": kind},
            "weight": {"bits": 1, "encoding": "binary"},
            "input": {"bits": 8},
        },
        "costs": PRICES,
    }
    arch = cimemu.load_arch(cimemu.Arch.model_validate(tree), overrides)
    layer = nets.matrix_layer("fc", "x", "y", x.shape[1], 16, 8, stage=nets.requantize(8))
    layer = nets_replace(layer, weight=np.resize([1, -1], (8, 16, 1, 1)).astype(np.int16))
    network = nets.network("one", [layer], {"x": nets.TensorType(x.shape[1:], "uint8")}, ["y"])
    run = cimemu.run(arch, network, x)
    return dict(zip(COMPONENTS, run.tally.energy_pj[:-1].sum(axis=0)))


def nets_replace(layer, **changes):
    from dataclasses import replace

    return replace(layer, **changes)


def test_digital_cells_change_with_the_bits_of_their_inputs():
    # One row, one cell of level 1, 2-bit inputs bit by bit, low first. 3: 0 -> 1 1, one change. 1: 1 0, two.
    # 3 after 1: 1 0 | 1 1, three. 3 3 3: one. 3 0 3: 1 1 | 0 0 | 1 1, three. The end is not followed by anything.
    macro = macro_of(rows=1, active_rows=1)
    for x, changes in (
        ([3], 1),
        ([1], 2),
        ([2], 1),
        ([0], 0),
        ([1, 3], 3),
        ([3, 3, 3], 1),
        ([3, 0, 3], 3),
        ([2, 1], 2),
    ):
        column = [[v] for v in x]
        assert drawn(column, [[1]], macro)[1:] == (changes, changes)
        assert drawn(column, [[-1]], macro)[1:] == (changes, 0)  # the cell holds 0: its product never changes


def test_rows_of_another_group_have_products_of_zero():
    # Two rows in groups of one, all inputs 3: the first row's cell rises and falls in each position (2 x 2), the second's
    # too, but nothing follows its last slice (2 x 2 - 1).
    one = macro_of(rows=2, active_rows=1)
    assert drawn([[3, 3]] * 2, [[1], [1]], one)[2] == 4 + 3
    # Raised together both rise once.
    assert drawn([[3, 3]] * 2, [[1], [1]], macro_of(rows=2, active_rows=2))[2] == 2
    # In two row blocks (a macro each) the rows know nothing of each other.
    assert drawn([[3, 3]] * 2, [[1], [1]], macro_of(rows=1, active_rows=1))[2] == 2
    skipping = {"timing": {"skip_zero_slices": True}}
    # Skipped slices have products 0 like driven ones of zeros.
    for x, size in product(([[3, 0], [0, 3]], [[0, 0], [3, 1]], [[1, 2], [2, 1]]), (1, 2)):
        plain = macro_of(rows=2, active_rows=size)
        assert drawn(x, [[1], [1]], plain) == drawn(x, [[1], [1]], macro_of(rows=2, active_rows=size, **skipping))


def test_bits_of_products_of_several_bits():
    # 2-bit slices x 2-bit cells: w = 2 is stored as 2 + 8 = 10 = 2 2 (low slice first); x = 7 is 3 1 (low first).
    # Products 6 (110), then 2 (010): 2 changes, then 1, in both columns: 6. Input bits: 11, 01: 2 + 1, in 2 columns: 6.
    macro = macro_of(cell={"kind": "digital", "bits": 2}, weight={"bits": 4}, input={"bits": 4, "dac_bits": 2})
    assert drawn([[7]], [[2]], macro)[1:] == (6, 6)
    # w = 7: 15 = 3 3. Products 9 (1001), 3 (0011): 2, then 2 changes, in both columns: 8.
    assert drawn([[7]], [[7]], macro)[1:] == (6, 8)
    # Pulses: 3 and 1, each up and down: 8 changes of a line, in 2 columns; two bits each of the products: 32.
    pulses = macro_of(
        cell={"kind": "digital", "bits": 2}, weight={"bits": 4}, input={"bits": 4, "dac_bits": 2, "dac": "pulse"}
    )
    assert drawn([[7]], [[7]], pulses)[1:] == (16, 32)


def test_an_image_begins_with_zeros_and_steady_inputs_cost_once():
    full = np.full((1, 5, 16), 255, np.uint8)
    one, five = (component_pj({}, full[:, :n], "digital")["cell_level"] for n in (1, 5))
    assert one == five == pytest.approx(16 * 4 * 0.1)
    images = component_pj({}, np.repeat(full, 3, axis=0), "digital")["cell_level"]
    assert images == pytest.approx(3 * one)
    turns = full.copy()
    turns[:, 1::2] = 0  # up, down, up, down, up
    assert component_pj({}, turns, "digital")["cell_level"] == pytest.approx(5 * one)


def chip_of(data):
    """A random chip with any kind of cells and DAC."""
    arch = data.draw(chips.chips())
    macro, kind = arch.macro, data.draw(st.sampled_from(KINDS))
    several = macro.weight.encoding != "twos_complement" and data.draw(st.booleans())
    dac = data.draw(st.sampled_from(["voltage", "pulse", "bits"]))
    driver = "returns" if dac == "pulse" else data.draw(st.sampled_from(["returns", "holds"]))
    update = {
        "cell": macro.cell.model_copy(update={"kind": kind, "bits": 2 if several else 1}),
        "input": macro.input.model_copy(update={"dac": dac, "driver": driver}),
    }
    if kind == "digital" and macro.columns > 4 * macro.columns_per_output and data.draw(st.booleans()):
        update["weight"] = macro.weight.model_copy(update={"guard_columns": data.draw(st.integers(1, 3))})
    if kind == "digital":
        update["adc"] = cimemu.adc.IdealAdc(model="ideal")
    priced = cimemu.load_arch(arch, {"costs": PRICES})
    return priced.model_copy(update={"macro": macro.model_copy(update=update)})


def images_for(arch, network, count, sparse):
    rng = np.random.default_rng(count)
    x = rng.integers(0, 2**arch.macro.input.bits, (count, *network.types["x"].shape)).astype(np.uint8)
    return x * (rng.random(x.shape) < 0.3) if sparse else x


def by_definition(emulator, plan, images):
    """{layer index: (wordlines, cells, levels) by image} counted step by step on Python integers."""
    wanted = frozenset(layer.inputs[0] for layer in emulator.macro_layers)
    tensors = {**emulator.run([images], keep=wanted).tensors, "x": images}
    found = {}
    for index, layer in enumerate(emulator.network.layers):
        if not isinstance(layer, MacroLayer):
            continue
        matrix, replicas = emulator.matrices[layer.name], plan.layers[index].replicas
        counts = np.zeros((len(images), 3), dtype=np.int64)
        for unit, x in zip(matrix.programmed, matrix.vectors(tensors[layer.inputs[0]])):
            m = unit.matrix
            for image, mine in enumerate(x.reshape(len(images), -1, x.shape[1])):
                for r in range(replicas):
                    part = mine[r::replicas]
                    groups = {"row_group": m.row_group, "out_group": m.out_group}
                    slow = mvm_naive(part, Given(m.weights, m.macro, m.layout, **groups), Reads(positions=len(part)))
                    digital = m.macro.cell.kind == "digital"
                    counts[image] += (
                        slow.drawn,
                        slow.input_changes if digital else counts_of_cells(part, m),
                        slow.product_changes if digital else slow.level_drawn,
                    )
        found[index] = counts
    return found


def counts_of_cells(x, matrix):
    """What every slice draws from the cells on its row, times the used columns."""
    macro = matrix.macro
    bits, total = macro.input.dac_bits, 0
    for value in x.ravel():
        for i in range(macro.input_slices):
            piece = (int(value) >> (i * bits)) % 2**bits
            total += {"pulse": piece, "voltage": piece**2, "bits": piece.bit_count()}[macro.input.dac]
    return total * matrix.layout.outputs * macro.columns_per_output


def sweep(examples, check):
    """Run `check(data)` on that many random chips and networks."""
    settings(
        deadline=None,
        derandomize=True,
        max_examples=examples,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )(given(st.data())(check))()


def count_and_compare(data):
    arch = chip_of(data)
    network = data.draw(chips.networks(arch.macro.input.bits))
    assume(chips.simulation_or_none(network, arch) is not None)
    images = images_for(arch, network, 2, data.draw(st.booleans()))
    run = cimemu.run(arch, network, images)
    compare(network, run, images)


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize(("active", "groups", "dac_bits"), [(16, 1, 1), (4, 1, 2), (16, 3, 2), (4, 3, 1)])
def test_digital_convolutions_change_as_the_definition_says(replicas, active, groups, dac_bits):
    """Rows of several positions, strides, padding, groups raised one after another or together, replicas in turn."""
    tree = {
        "name": "digital",
        "source": "made up",
        "clock_ns": 1.0,
        "chip": {"tiles": 8},
        "tile": {"macros": 4},
        "macro": {
            "rows": 16,
            "columns": 12,
            "active_rows": active,
            "columns_per_adc": 1,
            "cell": {"kind": "digital", "bits": 2},
            "weight": {"bits": 4},
            "input": {"bits": 4, "dac_bits": dac_bits},
            "adc": {"model": "ideal"},
        },
        "mapping": {"max_replicas": replicas},
        "costs": PRICES,
    }
    arch = cimemu.Arch.model_validate(tree)
    network = nets.residual_network(height=6, width=7, groups=groups, stride=2, bits=4, weight_limit=7)
    images = images_for(arch, network, 2, False)
    run = cimemu.run(arch, network, images)
    assert max(layer.replicas for layer in run.plan.layers) == replicas
    compare(network, run, images)


def compare(network, run, images):
    """The counts of a run are those of the definition."""
    for index, counts in by_definition(Emulator(network, run.plan.arch.macro), run.plan, images).items():
        mine = run.counts[:, index, [Counter.WORDLINE_PULSES, Counter.CELL_PULSES, Counter.CELL_LEVEL_PULSES]]
        assert np.array_equal(mine, counts), (network.layers[index].name, run.plan.layers[index].replicas)


def test_varied_replicas_count_the_bits_of_their_own_cells():
    """Stuck cells hold another bit: every replica's products change as its own cells say."""
    arch = cimemu.load_arch("digital_cim", {"mapping.max_replicas": 2, "macro.input.bits": 4})
    network = nets.residual_network(bits=4)
    images = images_for(arch, network, 2, False)
    plain = cimemu.run(arch, network, images)
    stuck = cimemu.run(arch, network, images, vary=["stuck_at:sa0=0.2"], seed=1)
    assert max(layer.replicas for layer in plain.plan.layers) == 2
    cells = [Counter.CELL_PULSES, Counter.CELL_LEVEL_PULSES]
    first = [layer.on_macros for layer in plain.plan.layers].index(True)  # whose inputs are the images'
    ideal, varied = plain.counts[:, first][:, cells].sum(axis=0), stuck.counts[:, first][:, cells].sum(axis=0)
    assert varied[0] == ideal[0]
    assert 0.6 * ideal[1] < varied[1] < 0.95 * ideal[1]


WHERE_TENSORS_LIVE = (  # a pipelined chip holds rows in flight, where the other holds whole tensors
    Counter.GLOBAL_READ_BITS, Counter.GLOBAL_WRITE_BITS, Counter.OFFCHIP_READ_BITS, Counter.OFFCHIP_WRITE_BITS,
    Counter.NOC_BIT_HOPS, Counter.BUFFER_READ_BITS, Counter.BUFFER_WRITE_BITS,
)  # fmt: skip


def timeless(counts):
    """Counts without wake-ups of gated macros, which go with time."""
    kept = counts.copy()
    kept[:, :, Counter.WAKE_UPS] = 0
    return kept


def of_events(run):
    """Energy by layer and component without leakage and wake-ups, which go with time."""
    return np.delete(run.tally.energy_quanta[:-1], COMPONENTS.index("wake_up"), axis=1)


def cut_in_every_way(data):
    arch = chip_of(data)
    network = data.draw(chips.networks(arch.macro.input.bits))
    assume(chips.simulation_or_none(network, arch) is not None)
    count = data.draw(st.integers(2, 5))
    images = images_for(arch, network, count, data.draw(st.booleans()))
    whole = cimemu.run(arch, network, images)
    for options in (
        {"batch": 1},
        {"batch": 3, "threads": 2},
        {"threads": 3, "budget_bytes": 1},
        {"path": "serial"},
        {"path": "serial", "threads": 2, "budget_bytes": 500},
        {"detail": "cycles"},
    ):
        other = cimemu.run(arch, network, images, **options)
        assert np.array_equal(other.counts, whole.counts), options
        assert np.array_equal(other.tally.energy_quanta, whole.tally.energy_quanta), options
        assert np.array_equal(other.tally.image_quanta, whole.tally.image_quanta), options
    order = np.random.default_rng(count).permutation(count)
    turned = cimemu.run(arch, network, images[order])
    assert np.array_equal(timeless(turned.counts), timeless(whole.counts)[order])
    assert np.array_equal(of_events(turned), of_events(whole))
    for change in ({"schedule": "layer_by_layer"}, {"schedule": "pipelined"}):
        scheduled = cimemu.run(cimemu.load_arch(arch, change), network, images)
        drawn = [counter for counter in Counter if counter not in WHERE_TENSORS_LIVE and counter != Counter.WAKE_UPS]
        assert np.array_equal(scheduled.counts[:, :, drawn], whole.counts[:, :, drawn])


def test_counts_of_whole_networks_are_those_of_the_definition():
    sweep(8, count_and_compare)


def test_energy_does_not_depend_on_how_the_work_is_cut():
    sweep(5, cut_in_every_way)


@pytest.mark.long
@pytest.mark.slow
def test_counts_of_many_networks_are_those_of_the_definition():
    sweep(80, count_and_compare)


@pytest.mark.long
@pytest.mark.slow
def test_energy_of_many_chips_does_not_depend_on_how_the_work_is_cut():
    sweep(50, cut_in_every_way)


def test_placement_does_not_change_what_digital_cells_draw():
    network = nets.residual_network(bits=8)
    x = np.random.default_rng(1).integers(0, 256, (2, *network.types["x"].shape)).astype(np.uint8)
    found = [
        cimemu.run(
            cimemu.load_arch("digital_cim", {"mapping.share_macros": share, "mapping.packing": packing}), network, x
        )
        for share, packing in ((False, "spread"), (True, "spread"), (True, "tight"))
    ]
    assert len({run.macros for run in found}) > 1
    cells = (Counter.CELL_PULSES, Counter.CELL_LEVEL_PULSES)
    assert found[0].counts[:, :, cells].sum() > 0
    for run in found[1:]:
        assert np.array_equal(run.counts[:, :, cells], found[0].counts[:, :, cells])


def test_writing_a_chip_anew_does_not_change_what_digital_cells_draw():
    network = nets.residual_network(bits=4)
    x = np.random.default_rng(1).integers(0, 16, (3, *network.types["x"].shape)).astype(np.uint8)
    chip = {
        "macro.rows": 16,
        "macro.columns": 24,
        "macro.input.bits": 4,
        "tile.macros": 1,
        "mapping.share_macros": False,
    }
    cells = (Counter.CELL_PULSES, Counter.CELL_LEVEL_PULSES, Counter.WORDLINE_PULSES)
    large, *smaller = (
        cimemu.run(cimemu.load_arch("digital_cim", {**chip, "chip.tiles": tiles}), network, x) for tiles in (64, 4, 1)
    )
    assert large.plan.phases == 1
    for small in smaller:  # one macro alone is smaller than a layer
        assert small.plan.phases > 1
        assert np.array_equal(small.counts[:, :, cells], large.counts[:, :, cells])


def test_changes_of_many_wordlines_are_counted_in_parts(monkeypatch):
    macro = macro_of(rows=64, active_rows=16, cell={"kind": "digital", "bits": 2}, weight={"bits": 4})
    rng = np.random.default_rng(2)
    x, w = rng.integers(0, 4, (12, 100)), rng.integers(-8, 8, (100, 3))
    whole = program(w, macro).run(x, images=3).counts
    monkeypatch.setattr("cimemu.macro.toggles.STRIP_BYTES", 12 * 8 * 7)
    assert np.array_equal(program(w, macro).run(x, images=3).counts, whole)
