"""A converter's energy as data (a fixed part, a part by step, a table, static power) and energies as a table over supplies."""

from math import exp, log

import pytest

import cimemu
from cimemu.errors import CimemuError
from cimemu.tally import event_prices

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


def test_new_keys_are_in_a_dump_only_where_they_are_given():
    assert not {"table", "fixed_pj", "step_pj", "static_uw"} & set(cimemu.load_arch("rram_128").costs.adc.model_dump())
    for name in ("wang_vlsi_2022", "jia_jssc_2020", "isaac"):
        assert '"points"' not in cimemu.load_arch(name).model_dump_json()
    given = cimemu.load_arch("rram_128", {"costs.adc": {"fixed_pj": 1.0, "static_uw": 2.0, "area_um2": 3.0}})
    assert cimemu.Arch.model_validate_json(given.model_dump_json()) == given
