"""Published macros: what is held out lies as near as aimed at, and the figures come from events and prices."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import cimemu
from cimemu.cli import main
from cimemu.cost.scaling import delay_factor
from cimemu.errors import ArchError
from cimemu.events import Counter
from cimemu.tally import COMPONENTS, count_prices
from cimemu.validate import MACROS, validate
from cimemu.validate.measure import fill_network, measure, random_integers


@pytest.fixture(scope="module")
def rows():
    return validate()


@pytest.mark.parametrize("macro", sorted(MACROS))
def test_held_out_figures_are_as_near_as_aimed_at_and_calibrated_ones_nearer(rows, macro):
    preset = next(iter(MACROS[macro]())).macro
    mine = [row for row in rows if row.macro == preset]
    assert {row.use for row in mine} == {"calibrated", "held out"}
    for row in mine:
        if row.use == "calibrated":
            assert abs(row.error) < 0.02, row
        elif row.limit is None:
            assert row.note, f"a figure without an aim says why: {row}"
        else:
            assert row.within, row


def test_figures_of_prices_have_an_interval_and_others_none(rows):
    for row in rows:
        priced = row.unit.split("/")[0] in ("pJ", "fJ", "mW", "mm2", "um2") or "/W" in row.unit or "/mm2" in row.unit
        priced |= "share" in row.quantity
        assert (row.low is not None) == priced, row
        if row.low is not None:
            assert row.low < row.emulated < row.high, row
            assert row.inside == (row.low <= row.published <= row.high)
    calibrated = [row for row in rows if row.use == "calibrated" and row.inside is not None]
    assert all(row.inside for row in calibrated)


def test_the_page_of_published_macros_shows_what_is_emulated(rows):
    path = Path(__file__).parent.parent / "arch/figures/validation.csv"
    found = {(row.macro.partition("_")[0], row.quantity, row.condition, row.unit): row for row in rows}
    with path.open(newline="", encoding="utf-8") as file:
        shown = list(csv.DictReader(file))
    assert {line["macro"].lower() for line in shown} == {row.macro.partition("_")[0] for row in rows}
    for line in shown:
        row = found[line["macro"].lower(), line["figure"], line["condition"], line["unit"]]
        assert float(line["published"]) == pytest.approx(row.published, rel=6e-4), line
        assert float(line["emulated"]) == pytest.approx(row.emulated, rel=6e-4), line
        assert float(line["error, %"]) == pytest.approx(100 * row.error, abs=0.06), line
        assert (line["note"] == "calibrated") == (row.use == "calibrated"), line


def test_the_summary_of_the_page_counts_what_is_emulated(rows):
    path = Path(__file__).parent.parent / "arch/figures/validation_summary.csv"
    with path.open(newline="", encoding="utf-8") as file:
        *shown, total = list(csv.DictReader(file))
    energies, rates = ("pJ", "fJ/MAC", "TOPS/W", "mW", "pJ/MAC"), ("TOPS", "GOPS")
    for line in shown:
        mine = [r for r in rows if r.macro.startswith(line["macro"].lower()) and r.use == "held out"]
        energy, rate = ([r for r in mine if r.unit in units] for units in (energies, rates))
        numbers = [len(energy), sum(abs(r.error) <= 0.15 for r in energy), sum(bool(r.inside) for r in energy)]
        numbers += [len(rate), sum(abs(r.error) <= 0.05 for r in rate)]
        counted = [value for key, value in line.items() if "error" not in key and key != "macro"]
        assert [int(value) for value in counted] == numbers, line["macro"]
        for key, found in (("largest energy error, %", energy), ("largest throughput error, %", rate)):
            worst = max((100 * abs(r.error) for r in found), default=None)
            assert line[key] == "" if worst is None else float(line[key]) == pytest.approx(worst, abs=0.06)
    for key in total:
        if "error" not in key and key != "macro":
            assert int(total[key]) == sum(int(line[key]) for line in shown)


def test_exact_figures_of_isaac_are_exact(rows):
    found = {row.quantity: row.emulated for row in rows if row.macro == "isaac_isca_2016"}
    assert found["conversions of an array, 16-bit product"] == 2048
    assert found["read cycle"] == 100.0
    assert found["cycles of an array, 16-bit product"] == 2 * cimemu.op_cycles(
        cimemu.load_arch("isaac_isca_2016").macro, 128, 128
    )


def test_sinangils_energy_follows_the_output_code_by_counted_events_alone():
    arch = cimemu.load_arch("sinangil_jssc_2021", {"chip.tiles": 1})
    prices, quanta = count_prices(arch)
    weights = random_integers(-8, 7, (64, 16), 1)
    energies = []
    for code in range(16):
        inputs = np.full((24, 64), code)
        found = measure(arch, weights, inputs)
        counts = cimemu.run(arch, fill_network(weights, 24), inputs[None].astype(np.uint8)).counts[0, 0]
        for part, counter in (
            ("adc", Counter.CONVERSIONS),
            ("wordline", Counter.WORDLINE_PULSES),
            ("cell_level", Counter.CELL_LEVEL_PULSES),
        ):
            assert found.energy(part)[0] == pytest.approx(int(counts[counter]) * prices[part] / quanta / 24)
        energies.append(found.energy("adc", "wordline", "cell_level")[0])
    assert np.all(np.diff(energies) > 0)


def test_the_steady_state_is_the_operation_where_nothing_else_is_in_the_way():
    arch = cimemu.load_arch("wang_vlsi_2022", {"chip.tiles": 1})
    found = measure(arch, random_integers(-128, 127, (512, 16), 3), random_integers(0, 255, (32, 512), 4))
    cycles = cimemu.op_cycles(arch.macro, 512, 16)
    assert cycles == 8 * 12
    assert found.ns == pytest.approx(cycles * arch.clock_ns)
    assert found.macro_cycles == cycles
    assert found.conversions == 8 * 16
    assert set(found.energy_pj) == set(COMPONENTS)


def test_a_slower_supply_is_slower():
    assert delay_factor(0.8, 0.8) == 1
    assert delay_factor(0.8, 1.0) < 1 < delay_factor(0.8, 0.7)
    with pytest.raises(ValueError, match=r"supply 0.3 V, must be above the threshold of 0.3 V"):
        delay_factor(0.8, 0.3)


def test_the_table_is_printed_and_unknown_macros_are_named(capsys):
    assert main(["validate", "isaac"]) == 0
    out = capsys.readouterr().out
    assert "calibrated" in out
    assert "held out, within 5 %" in out
    assert main(["validate", "isaac", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {row["use"] for row in data["rows"]} == {"calibrated", "held out"}
    with pytest.raises(ArchError, match=r"macro 'jai': not known, choose of jia, sinangil"):
        validate(["jai"])
    assert main(["validate", "jai"]) == 2
