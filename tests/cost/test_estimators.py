"""Estimators against published values, and their refusals in one line."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.cost.scaling import area_factor, energy_factor
from cimemu.cost.survey import survey_area_um2, survey_energy_pj
from cimemu.cost.tables import log_log
from cimemu.errors import ArchError
from cimemu.events import Counter
from cimemu.prices import cost_data

# hwcomponents-adc 1.0.21 on Python 3.12: (bits, node, rate) -> pJ a conversion, um2.
SURVEY = [
    (4, 22, 1e8, 0.457, 1828), (8, 22, 1e9, 0.847, 3334), (10, 22, 1e9, 6.894, 6242), (8, 28, 1e8, 1.333, 3200),
    (9, 28, 5e8, 2.311, 5046), (6, 65, 1e8, 4.036, 10289), (10, 65, 1e9, 52.85, 33668),
]  # fmt: skip


@pytest.mark.parametrize(("bits", "node", "rate", "energy", "area"), SURVEY)
def test_the_survey_regression_gives_what_the_plug_in_gives(bits, node, rate, energy, area):
    found = survey_energy_pj(bits, rate, node)
    assert found == pytest.approx(energy, rel=2e-3)
    assert survey_area_um2(found, rate, node) == pytest.approx(area, rel=1e-3)


@settings(deadline=None, derandomize=True)
@given(st.integers(4, 13), st.floats(5, 170), st.floats(1e5, 5e9))
def test_a_converter_never_gets_cheaper_with_bits_rate_or_node(bits, node, rate):
    energy = survey_energy_pj(bits, rate, node)
    assert survey_energy_pj(bits + 1, rate, node) >= energy
    assert survey_energy_pj(bits, 1.1 * rate, node) >= energy
    assert survey_energy_pj(bits, rate, 1.05 * node) > energy
    assert survey_area_um2(energy, 1.1 * rate, node) > survey_area_um2(energy, rate, node) > 0


def test_stillmaker_baas_scales_aladdins_adder_as_hwcomponents_does():
    # 0.0525 pJ at 40 nm: hwcomponents-library 1.0.58 gives 0.0178, 0.0310 and 0.0750 pJ at 22, 28 and 65 nm.
    for node, energy in ((22, 0.0178), (28, 0.0310), (65, 0.0750)):
        assert 0.0525 * energy_factor(40, node, 0.8, 0.8) == pytest.approx(energy, rel=5e-3)
    assert area_factor(65, 65) == energy_factor(65, 65, 1.1, 1.1) == 1
    assert area_factor(90, 45) == pytest.approx(0.16 / 0.44)
    with pytest.raises(ValueError, match=r"node 180 nm, Stillmaker-Baas scaling has 7 .. 130 nm"):
        energy_factor(180, 65, 1, 1)


def test_tables_are_straight_in_log_log_and_refuse_outside():
    points = [(2.0, 1.0), (8.0, 16.0)]
    assert log_log(4.0, points, False, "size") == pytest.approx(4.0)
    with pytest.raises(ValueError, match=r"size = 16, the table has 2 .. 8; .* extrapolate: true"):
        log_log(16.0, points, False, "size")
    assert log_log(16.0, points, True, "size") == pytest.approx(64.0)


def chip(costs, **over):
    macro = {
        "rows": 8, "columns": 8, "columns_per_adc": 8, "weight": {"bits": 8}, "input": {"bits": 8},
        "adc": {"model": "linear", "circuit": "sar", "bits": 8},
    }  # fmt: skip
    macro.update(over)
    return {"name": "c", "source": "made up", "clock_ns": 1.0, "macro": macro, "costs": costs}


TECHNOLOGY = {"node_nm": 28, "voltage_v": 0.9}


def load(tmp_path, costs, **over):
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(chip(costs, **over)))
    return cimemu.load_arch(path)


def test_an_estimator_fills_in_what_is_not_given_and_overrides_ask_it_again(tmp_path):
    costs = {
        "technology": TECHNOLOGY,
        "adc": {"estimator": {"model": "survey"}, "area_um2": 7.0, "energy_scale": 2.0},
        "shift_add": {"estimator": {"model": "library", "part": "shift_add", "bits": 16}, "source": "mine"},
    }
    arch = load(tmp_path, costs)
    # 8 cycles of 1 ns a conversion: 125 MS/s.
    assert arch.costs.adc.energy_pj == pytest.approx(survey_energy_pj(8, 1.25e8, 28))
    assert arch.costs.adc.area_um2 == 7.0
    assert arch.costs.shift_add.energy_pj == pytest.approx(0.021 * energy_factor(32, 28, 0.9, 0.9))
    assert "ISAAC" in arch.costs.shift_add.estimate
    wider = cimemu.load_arch(arch, {"macro.adc.bits": 10})
    assert wider.costs.adc.energy_pj == pytest.approx(survey_energy_pj(10, 1e8, 28))
    assert wider.costs.adc.area_um2 == 7.0
    assert cimemu.load_arch(wider).costs.shift_add == arch.costs.shift_add
    data = {row["component"]: row for row in cost_data(arch)["components"]}
    assert data["adc"]["energy_pj"] == pytest.approx(2 * survey_energy_pj(8, 1.25e8, 28), abs=1e-6)
    assert data["shift_add"]["source"].startswith("mine; ISAAC")


def test_the_array_is_charged_by_the_level_stored_and_the_voltage_or_pulses_applied(tmp_path):
    conductance = {"model": "conductance", "on_us": 30.0, "off_us": 3.0, "read_v": 0.2, "pulse_ns": 10}
    costs = {
        "technology": TECHNOLOGY,
        "cell": {"estimator": conductance},
        "cell_level": {"estimator": conductance},
        "wordline": {"estimator": {"model": "wire", "length_um": 10, "gate_ff": 0.1}},
    }
    arch = load(tmp_path, costs, cell={"bits": 2})
    assert arch.costs.cell.energy_pj == pytest.approx(3.0 * 0.04 * 10 * 1e-3)
    assert arch.costs.cell_level.energy_pj == pytest.approx(27.0 / 3 * 0.04 * 10 * 1e-3)
    assert arch.costs.wordline.energy_pj == pytest.approx((10 * 0.2 + 8 * 0.1) * 0.81e-3)
    # A 2-bit DAC that drives voltages: an event is a cell at the full read voltage, counts are squares of x / 3.
    voltage = load(tmp_path, costs, cell={"bits": 2}, input={"bits": 8, "dac_bits": 2})
    assert voltage.costs.cell.energy_pj == pytest.approx(arch.costs.cell.energy_pj)
    pulses = load(tmp_path, costs, cell={"bits": 2}, input={"bits": 8, "dac_bits": 2, "dac": "pulse"})
    assert pulses.costs.cell.energy_pj == arch.costs.cell.energy_pj


@pytest.mark.parametrize(("dac", "share"), [("voltage", 1), ("pulse", 3)])
def test_a_resistor_draws_v_squared_t_over_r_at_the_full_voltage_and_shares_the_time_among_pulses(tmp_path, dac, share):
    costs = {"technology": TECHNOLOGY, "wordline": {"estimator": {"model": "resistive", "kohm": 5, "time_ns": 10}}}
    arch = load(tmp_path, costs, input={"bits": 8, "dac_bits": 2, "dac": dac})
    assert arch.costs.wordline.energy_pj == pytest.approx(0.81 * 10 / 5 / share)


@pytest.mark.parametrize(("dac", "drawn"), [("voltage", 3 * (1 + 4 + 9)), ("pulse", 3 * (1 + 2 + 3))])
def test_cell_counts_go_with_the_square_of_a_voltage_and_the_number_of_pulses(dac, drawn):
    macro = cimemu.Macro.model_validate(
        {"rows": 4, "columns": 1, "weight": {"bits": 1, "encoding": "binary"}, "input": {"bits": 2, "dac_bits": 2, "dac": dac}}
    )  # fmt: skip
    counts = cimemu.mvm(np.array([[0, 1, 2, 3]] * 3), np.ones((4, 1), dtype=np.int64), macro).counts[0]
    assert counts[Counter.CELL_PULSES] == counts[Counter.CELL_LEVEL_PULSES] == counts[Counter.WORDLINE_PULSES] == drawn
    assert macro.line_unit == macro.cell_unit == (9 if dac == "voltage" else 1)  # counts of a line at the full voltage


def test_explicit_converters_count_their_parts(tmp_path):
    comparator = {"energy_pj": 0.01, "area_um2": 10.0}

    def converter(model, circuit, bits=4, **extra):
        costs = {"technology": TECHNOLOGY, "adc": {"estimator": {"model": model, **extra}, "comparator": comparator}}
        adc = load(tmp_path, costs, adc={"model": "linear", "circuit": circuit, "bits": bits}).costs.adc
        return adc.energy_pj, adc.area_um2

    flash, flash_area = converter("flash", "flash")
    assert flash > 15 * 0.01
    assert flash_area > 150
    sar, _ = converter("sar", "sar", unit_ff=2.0)
    # Liu et al.: 2^(4-3) + 2^(4-4) + 2^(4-5) = 3.5 unit capacitors are charged in the mean of 4 bits.
    assert sar > 3.5 * 2.0 * 0.81e-3 + 4 * 0.01
    assert sar < 3.5 * 2.0 * 0.81e-3 + 4 * (0.01 + 2 * 0.009)
    ramp, _ = converter("ramp", "ramp", shared_columns=8)
    assert ramp > 0.15
    cells, area = converter("in_memory_ramp", "ramp", cell_pj=0.001, cell_um2=2.0, shared_columns=8)
    # A linear converter turns on one cell a step: 15 cells, on for 15 + 14 + ... + 1 = 120 steps.
    none, bare = converter("in_memory_ramp", "ramp", shared_columns=8)
    assert cells - none == pytest.approx(120 * 0.001 / 8)
    assert area - bare == pytest.approx(15 * 2.0 / 8)
    with pytest.raises(
        ArchError, match=r"costs.adc.estimator.model = flash with macro.adc.circuit = sar, needs circuit flash"
    ):
        converter("flash", "sar")


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ({"adc": {"estimator": {"model": "survey"}}}, r"costs.technology.node_nm"),
        ({"cell": {"estimator": {"model": "wire", "length_um": 1}}}, r"costs.cell.estimator needs the supply"),
        (
            {"technology": TECHNOLOGY, "adc": {"estimator": {"model": "survey", "enob": 3}}},
            r"survey: bits = 3, the regression has 4 .. 14; set extrapolate: true",
        ),
        (
            {"technology": TECHNOLOGY, "psum_adder": {"estimator": {"model": "library", "part": "adder", "bits": 64}}},
            r"costs.psum_adder.estimator: adder \(aladdin\): bits = 64, the table has 8 .. 32",
        ),
        (
            {"technology": TECHNOLOGY, "psum_adder": {"estimator": {"model": "library", "part": "ader", "bits": 8}}},
            r"part = 'ader' : no such part; known: adder \(aladdin\)",
        ),
        (
            {"technology": TECHNOLOGY, "tile_buffer": {"estimator": {"model": "sram", "size_kib": 512}}},
            r"sram size_kib = 512, the table has 1 .. 256",
        ),
        (
            {"technology": {"node_nm": 7, "voltage_v": 0.8}, "tile_buffer": {"estimator": {"model": "sram", "size_kib": 64}}},
            r"sram node_nm = 7, the table has 22 .. 90",
        ),
        ({"tile_buffer": {"estimator": {"model": "sramm", "size_kib": 64}}}, r"must have model: one of library, adder_tree, sram"),
        ({"cell": {"estimator": {"model": "imported", "file": "no.json", "name": "x"}}}, r"no.json: no such file, name a table"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(tmp_path, costs, message):
    with pytest.raises(ArchError, match=message) as error:
        load(tmp_path, costs)
    assert "\n" not in str(error.value)


def test_the_sram_grid_is_interpolated_between_nodes_sizes_and_ports(tmp_path):
    def bit(size, port, node):
        part = {"estimator": {"model": "sram", "size_kib": size, "port_bits": port}}
        costs = {"technology": {"node_nm": node, "voltage_v": 0.9}, "tile_buffer": part}
        return load(tmp_path, costs).costs.tile_buffer

    # CACTI 7: 64 KiB, 256-bit port, 22 nm: 13.62 pJ read, 14.35 pJ written.
    assert bit(64, 256, 22).energy_pj == pytest.approx((13.62 + 14.35) / 2 / 256)
    assert bit(64, 256, 22).area_um2 == pytest.approx(65020 / 64)
    assert bit(64, 256, 22).energy_pj < bit(64, 256, 28).energy_pj < bit(64, 256, 32).energy_pj
    assert bit(16, 128, 45).energy_pj < bit(32, 128, 45).energy_pj < bit(64, 128, 45).energy_pj
