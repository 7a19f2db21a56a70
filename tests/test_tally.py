"""Energy is counted events times prices, and every way of summing gives the same total."""

import chips
import nets
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.cost.price import Conversion, conversion_pj, converter_um2
from cimemu.cost.schema import AdcCost
from cimemu.errors import ArchError
from cimemu.events import Counter
from cimemu.tally import (
    CHARGED,
    COMPONENTS,
    MOST_AJ,
    chip_area,
    count_prices,
    event_prices,
    tally_energy,
)

PRICED = {
    "macro": {
        "rows": 4,
        "columns": 8,
        "columns_per_adc": 8,
        "weight": {"bits": 2, "encoding": "twos_complement"},
        "input": {"bits": 2},
        "adc": {"model": "linear", "circuit": "flash", "bits": 3},
    },
    "costs": {
        "adc": {"comparator": {"energy_pj": 1.0, "area_um2": 2.0}},
        "wordline": {"energy_pj": 10.0},
        "cell": {"energy_pj": 0.001},
        "cell_level": {"energy_pj": 0.1},
        "shift_add": {"energy_pj": 0.5},
        "digital": {"energy_pj": 3.0},
        "interconnect": {"energy_pj": 0.25},
        "global_buffer": {"energy_pj": 0.01, "leakage_uw": 2.0},
        "offchip": {"energy_pj": 7.0},
    },
}


def priced(**macro):
    tree = {**PRICED, "macro": {**PRICED["macro"], **macro}}
    return cimemu.Arch.model_validate(
        {
            "name": "priced",
            "source": "made up",
            "clock_ns": 2.0,
            "chip": {"tiles": 1, "interconnect": {"kind": "bus"}},
            **tree,
        }
    )


def one_position():
    layer = nets.matrix_layer("fc", "x", "y", 1, 4, 1, stage=nets.requantize(2))
    weight = np.array([1, 0, -1, -2], dtype=np.int16).reshape(1, 4, 1, 1)
    from dataclasses import replace

    layer = replace(layer, weight=weight)
    return nets.network("one", [layer], {"x": cimemu_type((1, 4))}, ["y"])


def cimemu_type(shape):
    from cimemu.layer.base import TensorType

    return TensorType(shape, "uint8")


def test_the_energy_of_one_operation_is_what_a_hand_counts():
    # Inputs 3, 1, 0, 2: slice 0 raises rows 0, 1; slice 1 raises rows 0, 3: 4 wordline pulses.
    # Cells (two's complement bits, LSB first): 1 -> 1 0, 0 -> 0 0, -1 -> 1 1, -2 -> 0 1; two columns.
    # Raised cells: 4 pulses x 2 columns = 8. Level pulses: slice 0: rows 0, 1: (1 + 0) + (0 + 0) = 1;
    # slice 1: rows 0, 3: (1 + 0) + (0 + 1) = 2; together 3. Conversions: 2 slices x 2 columns = 4.
    run = cimemu.run(priced(), one_position(), np.array([[[3, 1, 0, 2]]], dtype=np.uint8))
    energy = dict(zip(COMPONENTS, run.tally.energy_pj[0]))
    assert energy["adc"] == 4 * 7 * 1.0  # flash: 7 comparisons each
    assert energy["wordline"] == 4 * 10.0
    assert energy["cell"] == 8 * 0.001
    assert energy["cell_level"] == pytest.approx(3 * 0.1)
    assert energy["shift_add"] == 4 * 0.5
    assert energy["digital"] == 3 * 3.0  # zero point, bias, requantisation of one element
    # In: 4 x 8 bits off-chip, written, read, over the bus; out: 8 accumulator bits over the bus, 8 bits of result
    # written, read, off-chip.
    assert energy["interconnect"] == (32 + 8) * 0.25
    assert energy["global_buffer"] == pytest.approx((32 + 32 + 8 + 8) * 0.01)
    assert energy["offchip"] == (32 + 8) * 7.0
    # Leakage: 1024 KiB x 2 uW x cycles x 2 ns = 4096 fJ a cycle.
    assert run.tally.energy_pj[1, COMPONENTS.index("global_buffer")] == pytest.approx(run.cycles * 4.096)


def test_a_digital_macro_has_column_reads_and_no_conversion_energy():
    arch = priced(adc={"model": "ideal"}, cell={"kind": "digital"})
    run = cimemu.run(arch, one_position(), np.array([[[3, 1, 0, 2]]], dtype=np.uint8))
    assert run.conversions == 4
    assert run.adc_conversions == 0
    assert run.tally.energy_pj[:, COMPONENTS.index("adc")].sum() == 0


@settings(deadline=None, derandomize=True, max_examples=20, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_images_layers_components_and_events_sum_to_the_same_total(data):
    arch = data.draw(chips.chips())
    arch = arch.model_copy(update={"costs": priced().costs})
    network = data.draw(chips.networks(arch.macro.input.bits))
    assume(chips.simulation_or_none(network, arch) is not None)
    images = (
        np.random.default_rng(7).integers(0, 2**arch.macro.input.bits, (3, *network.types["x"].shape)).astype(np.uint8)
    )
    if arch.macro.adc.model == "linear" and arch.macro.adc.circuit == "sar":
        arch = arch.model_copy(update={"costs": cimemu.load_arch("rram_128").costs})
    run = cimemu.run(arch, network, images)
    tally, (prices, quanta) = run.tally, count_prices(arch)
    assert quanta == tally.quanta_per_pj
    assert int(tally.image_quanta.astype(object).sum()) == tally.total_quanta == int(tally.energy_quanta.sum())
    by_event = sum(
        int(run.counts[:, :, counter].sum()) * prices[name] for name in COMPONENTS for counter in CHARGED[name]
    )
    leakage = int(tally.energy_quanta[-1].sum())
    programmed = int(tally.energy_quanta[:-1].sum()) - by_event
    if run.plan.phases == 1:
        assert programmed == 0
    assert by_event + leakage + programmed == tally.total_quanta
    assert run.counts[:, :, Counter.DIGITAL_OPS].min() > 0, "no operator is free"


@pytest.mark.parametrize("price", [4e-7, 4.96e-6, 1 / 3, 1e-13, 12345.678901])
def test_a_price_is_not_rounded_to_attojoules(price):
    arch = cimemu.load_arch(priced(), {"costs.shift_add.energy_pj": price})
    run = cimemu.run(arch, one_position(), np.array([[[3, 1, 0, 2]]], dtype=np.uint8))
    assert run.tally.energy_pj[0, COMPONENTS.index("shift_add")] == pytest.approx(4 * price, rel=2e-9)
    whole = run.tally.energy_quanta
    assert int(run.tally.image_quanta.astype(object).sum()) == int(whole.sum()) == run.tally.total_quanta


def test_attojoules_suffice_for_prices_of_a_table():
    assert count_prices(cimemu.load_arch("rram_128"))[1] == 10**6
    # Squares of 2-bit slices are ninths of a full voltage.
    assert count_prices(cimemu.load_arch("rram_128", {"macro.input.dac_bits": 2}))[1] == 9 * 10**6


def test_a_sar_table_is_log_linear_inside_and_refuses_outside():
    cost = AdcCost.model_validate(
        {"sar": [{"bits": 4, "energy_pj": 1, "area_um2": 100}, {"bits": 6, "energy_pj": 4, "area_um2": 400}]}
    )
    assert conversion_pj(cost, Conversion("sar", 5, 1.0, 5)) == pytest.approx(2.0)
    assert converter_um2(cost, "sar", 5) == pytest.approx(200.0)
    with pytest.raises(ArchError, match=r"macro.adc.bits = 7, costs.adc.sar has 4 .. 6"):
        conversion_pj(cost, Conversion("sar", 7, 1.0, 7))
    wider = cost.model_copy(update={"extrapolate": True})
    assert conversion_pj(wider, Conversion("sar", 8, 1.0, 8)) == pytest.approx(16.0)
    assert conversion_pj(wider, Conversion("sar", 2, 1.0, 2)) == pytest.approx(0.25)


def test_area_counts_instances_and_ping_pong_doubles_the_sample_and_holds():
    arch = cimemu.load_arch("rram_128")
    _, _, once = chip_area(arch)
    _, _, twice = chip_area(cimemu.load_arch("rram_128", {"macro.timing.overlap": True}))
    where = COMPONENTS.index("sample_hold")
    assert once[where] == 128 * 512
    assert twice[where] == 2 * once[where]
    assert once[COMPONENTS.index("adc")] == 16 * 512


def instances(arch):
    return dict(zip(COMPONENTS, chip_area(arch)[2].tolist()))


def test_every_component_is_counted_by_hand():
    """4 x 8 cells, 8 columns a converter, 2-bit weights and inputs, 1 macro of 4 a tile by default, 1 tile."""
    arch = priced(timing={"overlap": True})
    macros = arch.tile.macros * arch.chip.tiles
    assert instances(arch) == {
        "adc": macros,
        "sample_hold": 8 * 2 * macros,
        "reference_switch": 0,
        "wordline": 4 * macros,
        "cell": 32 * macros,
        "cell_level": 0,
        "shift_add": macros,
        "correction_adder": 0,
        "psum_adder": arch.tile.adder_lanes,
        "input_register": 2 * 4 * 2 * macros,
        # 4 rows x 2^2 inputs x (3 + 1) = 64 takes seven bits, and one for the sign; 8 columns hold 4 outputs of 2.
        "output_register": 2 * 4 * 8 * macros,
        "tile_buffer": round(arch.tile.input_buffer.size_kib + arch.tile.output_buffer.size_kib),
        "global_buffer": round(arch.chip.global_buffer.size_kib),
        "interconnect": 1,
        "digital": arch.chip.digital.lanes,
        "scale_multiplier": 0,
        "offchip": 1,
        "programming": 0,
        "wake_up": 0,
    }
    assert arch.macro.largest_side == 3


def test_components_that_depend_on_the_macro_are_counted_by_hand():
    one = instances(priced())
    macros = one["adc"]
    assert one["sample_hold"] == 8 * macros
    digital = instances(priced(adc={"model": "ideal"}, cell={"kind": "digital"}))
    assert (digital["adc"], digital["sample_hold"]) == (0, 0)
    given = instances(priced(accumulator_bits=19))
    assert given["output_register"] == 2 * 4 * 19 * macros
    three = instances(priced(columns_per_adc=3))
    assert three["adc"] == three["shift_add"] == 3 * macros
    offset = priced(weight={"bits": 2, "encoding": "offset"})
    assert instances(offset)["correction_adder"] == (macros if offset.macro.weight.correction == "digital" else 0)


def test_area_and_leakage_are_those_of_one_times_how_many_there_are():
    arch = cimemu.load_arch(
        priced(),
        {
            "costs.wordline": {"area_um2": 1.5, "leakage_uw": 0.25},
            "costs.digital": {"area_um2": 7.0, "leakage_uw": 3.0},
        },
    )
    area, leakage, counts = (dict(zip(COMPONENTS, figures)) for figures in chip_area(arch))
    assert counts["wordline"] > 4
    assert area["wordline"] == 1.5 * counts["wordline"]
    assert leakage["wordline"] == 0.25 * counts["wordline"]
    assert (area["digital"], leakage["digital"]) == (7.0 * counts["digital"], 3.0 * counts["digital"])
    assert area["adc"] == 7 * 2.0 * counts["adc"]  # a flash converter of 3 bits has seven comparators


def test_quanta_are_attojoules_unless_a_price_needs_finer_ones():
    free = cimemu.load_arch(priced(), {"costs.offchip.energy_pj": 0.0})
    prices, per_pj = count_prices(free)
    assert per_pj == 10**6
    assert prices["offchip"] == 0
    assert prices["wordline"] == 10 * 10**6
    assert prices["cell"] == 1000
    for price, digits in ((1e-6, 6), (1e-7, 7), (2.5e-7, 8), (3e-9, 9)):
        prices, per_pj = count_prices(cimemu.load_arch(priced(), {"costs.offchip.energy_pj": price}))
        assert per_pj == 10**digits
        assert prices["offchip"] == round(price * 10**digits)
        assert prices["wordline"] == 10 * 10**digits
    squares = cimemu.load_arch("rram_128", {"macro.input.dac_bits": 2})
    prices, per_pj = count_prices(squares)
    assert per_pj == 9 * 10**6
    assert prices["offchip"] == round(squares.costs.offchip.energy_pj * squares.costs.offchip.energy_scale * 10**6) * 9
    assert prices["wordline"] == round(squares.costs.wordline.energy_pj * squares.costs.wordline.energy_scale * 10**6)


@pytest.mark.parametrize("finer", [{}, {"costs.offchip.energy_pj": 1e-7}])
def test_energies_of_many_layers_and_images_have_a_row_a_layer_and_one_for_leakage(finer):
    network = nets.residual_network()
    arch = cimemu.load_arch("rram_128", finer)
    images = np.random.default_rng(3).integers(0, 256, (3, 3, 5, 4)).astype(np.uint8)
    tally = cimemu.run(arch, network, images).tally
    layers = len(network.layers)
    assert tally.rows[-1] == "(leakage)"
    assert tally.energy_quanta.shape == (layers + 1, len(COMPONENTS))
    assert tally.image_quanta.shape == (3, layers + 1)
    assert tally.energy_pj == pytest.approx(tally.energy_quanta.astype(float) / tally.quanta_per_pj)
    assert tally.image_pj == pytest.approx(tally.image_quanta.astype(float) / tally.quanta_per_pj)
    assert tally.total_pj == tally.total_quanta / tally.quanta_per_pj
    assert tally.image_quanta.astype(object).sum(axis=0).tolist() == tally.energy_quanta.sum(axis=1).tolist()


def test_programming_is_counted_once_a_run_and_shared_by_its_images():
    """Activity of two images, and programming: energies are sums of both times the prices."""
    arch = priced()
    plan = cimemu.make_plan(one_position(), arch)
    activity = np.zeros((2, 1, len(Counter)), dtype=np.int64)
    programming = np.zeros((1, len(Counter)), dtype=np.int64)
    counter = CHARGED["offchip"][0]
    activity[0, 0, counter], activity[1, 0, counter], programming[0, counter] = 5, 11, 4
    tally = tally_energy(arch, plan, activity, 0, programming)
    assert tally.energy_pj[0, COMPONENTS.index("offchip")] == (5 + 11 + 4) * 7.0
    assert tally.energy_pj.sum() == 20 * 7.0
    assert tally.image_pj[:, 0].tolist() == [(5 + 2) * 7.0, (11 + 2) * 7.0]


def test_leakage_is_power_times_time():
    """1024 KiB x 2 uW for 3 cycles of 2 ns: 12,288 fJ, in attojoules and in finer quanta."""
    for finer, per_pj in (({}, 10**6), ({"costs.offchip.energy_pj": 1e-7}, 10**7)):
        arch = cimemu.load_arch(priced(), finer)
        plan = cimemu.make_plan(one_position(), arch)
        nothing = np.zeros((1, 1, len(Counter)), dtype=np.int64)
        tally = tally_energy(arch, plan, nothing, 3, nothing[0])
        assert tally.quanta_per_pj == per_pj
        assert tally.total_quanta == 12288 * per_pj // 1000
        assert tally.energy_pj[1, COMPONENTS.index("global_buffer")] == 12.288


def test_a_run_of_too_much_energy_says_how_much_and_what_is_the_most():
    """2^63 - 1 attojoules are 9.22e12 pJ; a price of 7 pJ reaches them after 1.3e12 events."""
    arch = priced()
    plan = cimemu.make_plan(one_position(), arch)
    activity = np.zeros((1, 1, len(Counter)), dtype=np.int64)
    counter = CHARGED["offchip"][0]
    nothing = np.zeros_like(activity[0])
    most = MOST_AJ // (7 * 10**6)
    activity[0, 0, counter] = most
    assert tally_energy(arch, plan, activity, 0, nothing).total_quanta == most * 7 * 10**6
    activity[0, 0, counter] = 2 * most
    with pytest.raises(
        ArchError, match=r"^costs: the run takes 1.84e\+13 pJ, must be <= 9.22e\+12; give smaller energies"
    ):
        tally_energy(arch, plan, activity, 0, nothing)
    finer = cimemu.load_arch(arch, {"costs.offchip.energy_pj": 7.0000001})
    with pytest.raises(
        ArchError, match=r"^costs: the run takes 1.84e\+13 pJ, must be <= 9.22e\+12; give smaller energies"
    ):
        tally_energy(finer, plan, activity, 0, nothing)
    assert MOST_AJ == 2**63 - 1


def test_an_event_of_too_much_energy_names_its_price():
    with pytest.raises(ArchError, match=r"costs.offchip: 1e\+13 pJ an event, must be <= 9.22e\+12"):
        count_prices(cimemu.load_arch(priced(), {"costs.offchip.energy_pj": 1e13}))
    prices = event_prices(priced())
    assert prices["adc"] == 7.0
    assert prices["offchip"] == 7.0
    assert prices["digital"] == 3.0
