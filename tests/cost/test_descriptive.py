"""A converter's energy as data (a fixed part, a part by step, a table, static power) and energies as a table over supplies."""

from math import exp, log

import pytest

import cimemu
from cimemu.errors import CimemuError
from cimemu.tally import chip_area, event_prices

ADC = {"sar": lambda bits: bits, "flash": lambda bits: 2**bits - 1, "ramp": lambda bits: 2**bits - 1}


def price(name="adc", **changes):
    return event_prices(cimemu.load_arch("rram_128", changes))[name]


@pytest.mark.parametrize("circuit", ADC)
@pytest.mark.parametrize("bits", [4, 7])
def test_a_conversion_is_a_fixed_part_and_one_by_step(circuit, bits):
    found = price(
        **{
            "macro.adc.circuit": circuit,
            "macro.adc.bits": bits,
            "costs.adc": {"fixed_pj": 0.5, "step_pj": 0.25, "energy_scale": 2.0, "area_um2": 1.0},
        }
    )
    assert found == 2 * (0.5 + 0.25 * ADC[circuit](bits))


@pytest.mark.parametrize("circuit", ADC)
def test_static_power_is_drawn_as_long_as_a_conversion_takes(circuit):
    def at(**costs):
        changes = {"macro.adc.circuit": circuit, "macro.adc.bits": 4, "clock_ns": 2.0}
        return price(**changes, **{"costs.adc": {"energy_pj": 1.0, "area_um2": 1.0, **costs}})

    cycles = cimemu.load_arch(
        "rram_128", {"macro.adc.circuit": circuit, "macro.adc.bits": 4}
    ).macro.adc.conversion_cycles()
    assert at(static_uw=100.0) - at() == pytest.approx(100.0 * cycles * 2.0 / 1000)


@pytest.mark.parametrize("circuit", ADC)
def test_a_table_by_resolution_is_taken_for_any_circuit(circuit):
    table = [{"bits": 4, "energy_pj": 1.0, "area_um2": 10.0}, {"bits": 6, "energy_pj": 4.0, "area_um2": 90.0}]
    for bits, energy in ((4, 1.0), (5, 2.0), (6, 4.0)):
        changes = {"macro.adc.circuit": circuit, "macro.adc.bits": bits, "costs.adc": {"table": table}}
        assert price(**changes) == pytest.approx(energy)
    with pytest.raises(CimemuError, match=r"costs.adc.table has 4 .. 6"):
        price(**{"macro.adc.circuit": circuit, "macro.adc.bits": 7, "costs.adc": {"table": table}})


@pytest.mark.parametrize(
    "costs",
    [
        {"fixed_pj": 1.0, "energy_pj": 1.0},
        {"step_pj": 1.0, "estimator": {"model": "survey"}},
        {"step_pj": 1.0, "table": [{"bits": 4, "energy_pj": 1, "area_um2": 1}]},
        {"table": [{"bits": 4, "energy_pj": 1, "area_um2": 1}], "sar": [{"bits": 4, "energy_pj": 1, "area_um2": 1}]},
    ],
)
def test_a_conversion_has_one_price(costs):
    with pytest.raises(CimemuError, match="leave one of them out"):
        cimemu.load_arch("rram_128", {"costs.adc": costs})


def test_an_energy_is_read_off_a_table_over_supplies():
    points = [
        {"voltage_v": 0.6, "energy_pj": 1.0, "leakage_uw": 1.0},
        {"voltage_v": 1.0, "energy_pj": 9.0, "leakage_uw": 2.0},
    ]
    digital = {"estimator": {"model": "measured", "points": points}}

    def at(volt):
        return price("digital", **{"costs.technology": {"node_nm": 28, "voltage_v": volt}, "costs.digital": digital})

    assert (at(0.6), at(1.0)) == (1.0, 9.0)
    share = log(0.8 / 0.6) / log(1.0 / 0.6)
    assert at(0.8) == pytest.approx(exp(share * log(9)))
    with pytest.raises(CimemuError, match=r"measured voltage_v = 1.1, the table has 0.6 .. 1"):
        at(1.1)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        ({}, "give voltage_v of one measurement, or points"),
        (
            {"voltage_v": 1.0, "points": [{"voltage_v": 1.0, "energy_pj": 1.0}]},
            "give voltage_v of one measurement, or points",
        ),
        ({"points": [{"voltage_v": 1.0, "energy_pj": 1.0}]}, "two supplies at least"),
        ({"points": [{"voltage_v": 1.0, "energy_pj": 1.0}] * 2}, "two supplies at least"),
        ({"energy_pj": 1.0, "points": [{"voltage_v": v, "energy_pj": 1.0} for v in (1.0, 2.0)]}, "leave them out"),
    ],
)
def test_a_wrong_table_of_supplies_is_refused(estimator, message):
    changes = {"costs.technology": {"node_nm": 28, "voltage_v": 1.0}}
    with pytest.raises(CimemuError, match=message):
        cimemu.load_arch("rram_128", {**changes, "costs.digital": {"estimator": {"model": "measured", **estimator}}})


def test_a_step_is_a_cycle_of_the_phases_where_there_are_some():
    costs = {"fixed_pj": 1.0, "step_pj": 0.5, "area_um2": 1.0}
    for bits, steps in ((3, 7), (4, 15)):
        adc = {"model": "linear", "bits": bits, "phases": [1, 2, 4, 8, 16]}
        assert price(**{"macro.adc": adc, "costs.adc": costs}) == 1 + 0.5 * steps
        assert cimemu.load_arch("rram_128", {"macro.adc": adc}).macro.adc.conversion_cycles() == steps


@pytest.mark.parametrize(
    ("adc", "message"),
    [
        ({"bits": 4, "phases": [1, 2]}, "phases of 2 bits, must be at least of bits = 4"),
        ({"bits": 2, "phases": [1, 2], "cycles": 3}, "leave one of them out"),
        ({"bits": 2, "phases": [0, 0]}, "must be >= 0 and add up to"),
        ({"bits": 2, "phases": [2, -1]}, "must be >= 0 and add up to"),
    ],
)
def test_wrong_phases_are_refused(adc, message):
    with pytest.raises(CimemuError, match=message):
        cimemu.load_arch("rram_128", {"macro.adc": {"model": "linear", **adc}})


def test_samples_are_priced_for_each_bit_that_is_driven_by_itself():
    costs = {
        "costs.adc": {"energy_pj": 1.0, "area_um2": 1.0, "sample_pj": 0.25},
        "costs.sample_hold": {"energy_pj": 0.125},
    }
    for dac, samples in (("voltage", 1), ("pulse", 1), ("bits", 3)):
        chip = {**costs, "macro.input": {"bits": 6, "dac_bits": 3, "dac": dac}}
        assert price(**chip) == 1 + 0.25 * samples
        assert price("sample_hold", **chip) == 0.125 * samples


@pytest.mark.parametrize(
    ("inputs", "bits", "adders"),
    [(2, 1, 1), (4, 1, 2 + 2), (5, 1, 2 + 2 + 3), (128, 1, 247), (8, 8, 4 * 8 + 2 * 9 + 10)],
)
def test_an_adder_tree_is_counted_by_its_full_adders(inputs, bits, adders):
    tree = {"model": "adder_tree", "inputs": inputs, "bits": bits, "activity": 0.25}
    one = {"model": "library", "part": "adder", "bits": 32, "per_bit": True}
    technology = {"node_nm": 28, "voltage_v": 0.9}
    tree_chip, one_chip = (
        cimemu.load_arch(
            "digital_cim", {"costs.technology": technology, "costs.adc": {"adder_tree": {"estimator": given}}}
        )
        for given in (tree, one)
    )
    found, adder = event_prices(tree_chip)["adc"], event_prices(one_chip)["adc"]
    assert found == pytest.approx(adders * 0.25 * adder)
    area, bit = (chip_area(chip)[0][0] for chip in (tree_chip, one_chip))
    assert area == pytest.approx(adders * bit)


def test_rows_of_registers_are_priced_by_column_read():
    adc = {
        "adder_tree": {"energy_pj": 1.0, "area_um2": 10.0, "leakage_uw": 1.0},
        "pipeline_register": {"energy_pj": 0.125, "area_um2": 2.0},
    }
    for stages in (0, 3):
        chip = cimemu.load_arch("digital_cim", {"costs.adc": adc, "macro.timing.pipeline_stages": stages})
        assert event_prices(chip)["adc"] == 1 + 0.125 * stages
        area, leakage, instances = (found[0] for found in chip_area(chip))
        assert instances == chip.macros * chip.macro.columns
        assert (area, leakage) == (instances * (10 + 2 * stages), instances)
        assert cimemu.cost_table(chip)[0].energy_pj == 1 + 0.125 * stages
    assert event_prices(cimemu.load_arch("digital_cim"))["adc"] == 0
    with pytest.raises(CimemuError, match=r"costs.adc.adder_tree with macro.cell.kind = current: for digital cells"):
        cimemu.load_arch("rram_128", {"costs.adc.adder_tree": {"energy_pj": 1.0}})


CLOCKS = [{"voltage_v": 0.6, "clock_ns": 8.0}, {"voltage_v": 0.9, "clock_ns": 2.0}]


def clocked(**changes):
    given = {"clock_ns": 1.0, "costs.technology": {"node_nm": 28, "voltage_v": 0.6}}
    chip = cimemu.load_arch("rram_128", given).model_dump(mode="python", exclude_unset=True)
    del chip["clock_ns"]
    return cimemu.load_arch(cimemu.Arch.model_validate({**chip, "clock_points": CLOCKS}), changes)


def test_a_clock_is_read_off_a_table_over_supplies():
    assert clocked().clock_ns == 8.0
    assert clocked(**{"costs.technology.voltage_v": 0.9}).clock_ns == 2.0
    share = log(0.75 / 0.6) / log(0.9 / 0.6)
    half = clocked(**{"costs.technology.voltage_v": 0.75})
    assert half.clock_ns == pytest.approx(8 * exp(share * log(2 / 8)))
    again = cimemu.Arch.model_validate_json(half.model_dump_json())
    assert again == half
    assert cimemu.load_arch(half, {"costs.technology.voltage_v": 0.6}).clock_ns == 8.0
    assert cimemu.load_arch(half, {"clock_points": [], "clock_ns": 3.0}).clock_ns == 3.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"costs.technology.voltage_v": 0.5},
            r"clock_points: costs.technology.voltage_v = 0.5, the table has 0.6 .. 0.9",
        ),
        ({"clock_ns": 5.0}, r"clock_ns = 5 with clock_points, which say 8 at 0.6 V"),
        ({"clock_points": []}, "clock_ns: must be given, or clock_points"),
        ({"clock_points": CLOCKS[:1]}, "two supplies at least"),
        ({"clock_points": CLOCKS[:1] * 2}, "two supplies at least"),
        ({"costs.technology": None}, "clock_points: need the supply"),
    ],
)
def test_a_wrong_table_of_clocks_is_refused(changes, message):
    with pytest.raises(CimemuError, match=message):
        clocked(**changes)


def test_new_keys_are_in_a_dump_only_where_they_are_given():
    new = {"table", "fixed_pj", "step_pj", "static_uw", "sample_pj"}
    assert not new & set(cimemu.load_arch("rram_128").costs.adc.model_dump())
    text = cimemu.load_arch("rram_128").model_dump_json()
    assert not [
        k
        for k in ("clock_points", "driver", "guard_columns", "weight_bit_cycles", "phases", "pipeline_stages", "power")
        if f'"{k}"' in text
    ]
    for name in ("wang_vlsi_2022", "jia_jssc_2020", "isaac"):
        assert '"points"' not in cimemu.load_arch(name).model_dump_json()
    given = cimemu.load_arch("rram_128", {"costs.adc": {"fixed_pj": 1.0, "static_uw": 2.0, "area_um2": 3.0}})
    assert cimemu.Arch.model_validate_json(given.model_dump_json()) == given
