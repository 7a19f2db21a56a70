"""Calibrations compared on the same aging chips, and what keeps a chip exact: times, energy, bits, writes."""

import json

import numpy as np
import pytest

import cimemu
from cimemu.cli import main
from cimemu.engines.programmed import program
from cimemu.fitting.mapped import map_network
from cimemu.stress import stress, upkeep
from cimemu.stress.tables import stress_rows, telling


@pytest.fixture(scope="module")
def digits():
    work, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    return arch, cimemu.quantize(cimemu.load_network(work.network), arch, work.calibration()), *work.inputs(32)


DRIFT = "drift:seconds=0,86400,nu_sigma=0.01"


@pytest.fixture(scope="module")
def aged(digits):
    return stress(*digits, vary=[DRIFT, "calibration:what=none,factor,column,at=reference"], trials=2, seed=3)


def test_calibrations_are_schemes_on_the_same_chips(digits, aged):
    arch, network, images, labels = digits
    assert aged.schemes == ("none", "factor", "column")
    assert [row["scheme"] for row in aged.paired] == ["factor"] * 2 + ["column"] * 2
    for point, vary in enumerate(aged.vary):
        for trial in range(2):
            alone = cimemu.run(arch, network, images, labels, detail=None, vary=vary, seed=3, trial=trial)
            assert aged.accuracy[point, trial] == alone.accuracy
    plain = stress(*digits, vary=[DRIFT], trials=2, seed=3)
    assert np.array_equal(plain.accuracy, aged.accuracy[:2])  # what = none changes nothing
    assert plain.schemes == ("",)
    assert plain.upkeep == (None, None)
    none, factor, column = aged.columns["mean"].reshape(3, 2)
    assert none[1] < factor[1] <= column[1] <= none[0]


def test_the_multiplications_of_gains_are_in_the_energy_of_a_scheme(digits):
    found = stress(*digits, vary=["drift:seconds=60", "calibration:what=none,factor,column"], trials=1)
    energy = [found.ideal[name]["energy_uj_per_image"] for name in found.schemes]
    assert energy[0] < energy[1] < energy[2]


def test_calibrations_and_writings_until_a_time(digits):
    arch, network, *_ = digits
    for vary, calibrations, writings in (
        (["drift:seconds=86400", "calibration"], 1, 1),
        (["drift:seconds=86400", "calibration:every=3600"], 25, 1),
        (["drift:seconds=90000,refresh=43200"], 0, 3),
        (["drift:seconds=90000,refresh=43200", "calibration:every=20000"], 3 + 3 + 1, 3),
        (["drift:seconds=86399,refresh=43200", "calibration:every=3600"], 12 + 12, 2),
    ):
        found = upkeep(arch, network, vary)
        assert (found.calibrations, found.writings) == (calibrations, writings)
        assert found.wear == writings / 1e8
        assert found.total_uj == calibrations * found.calibration_uj + writings * found.writing_uj
        summary = map_network(network, arch).summary()
        assert (found.cells_written, found.writing_uj) == (summary["cell_writes"], summary["load_uj"])


def test_a_calibration_costs_what_its_vectors_cost(digits):
    """Time and energy rise with vectors and rounds as they should; bits are those of all gains."""
    arch, network, *_ = digits
    one = upkeep(arch, network, ["calibration:what=column,vectors=16,bits=10"])
    two = upkeep(arch, network, ["calibration:what=column,vectors=16,bits=10,at=reference,rounds=2"])
    assert two.calibration_us == 2 * one.calibration_us
    assert two.calibration_uj == pytest.approx(2 * one.calibration_uj, rel=1e-6)  # a total is rounded to quanta
    layers = [layer for layer in network.layers if layer.on_macros]
    columns = 0
    cycles = 0
    for layer in layers:
        g = layer.geometry
        made = program(np.zeros((g.rows_per_group, g.channels_out), dtype=int), arch.macro).matrix
        columns += len(made.layout.row_blocks) * made.seen_columns
    for layer in cimemu.make_plan(network, arch).layers:
        cycles += max((b.op_cycles for b in layer.blocks), default=0)
    assert one.gain_bits == columns * 15
    assert one.calibration_us <= 16 * cycles * len(layers) * arch.clock_ns / 1000
    assert one.calibration_us >= 16 * cycles * arch.clock_ns / 1000
    assert upkeep(arch, network, ["calibration:bits=10"]).gain_bits == 15 * len(layers)


def test_a_table_tells_points_by_what_differs(aged):
    assert telling(aged.vary)[1] == "drift:seconds=86400.0"  # the scheme is named by its calibration
    assert telling([("lognormal:sigma=0.1,per=cell",)]) == ["lognormal:sigma=0.1,per=cell"]
    alike = [("lognormal:sigma=0.1,per=cell", f"calibration:what={what}") for what in ("none", "factor")]
    assert telling(alike) == ["lognormal:sigma=0.1,per=cell"] * 2
    assert telling(alike[:1]) == ["lognormal:sigma=0.1,per=cell calibration:what=none"]
    assert [row["calibrations"] for row in stress_rows(aged)] == [0, 0, 1, 1, 1, 1]
    assert aged.upkeep[0].total_uj == aged.upkeep[0].writing_uj  # the first writing, which all have


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["stress", "rram_128", "digits", "--images", "8", "--trials", "2", "--vary", "drift:seconds=0,86400"]
    words += ["--calibrate", "chip:what=none,factor,at=reference,every=3600", "--plot", "s.png", "--out", "s.h5"]
    assert main([*words, "--csv", "s.csv"]) == 0
    said = capsys.readouterr().out
    assert "one calibration factor: " in said
    assert "worst chip again: cimemu run rram_128 digits --vary drift:" in said
    assert (tmp_path / "s.png").stat().st_size > 1000
    assert "upkeep_uj" in (tmp_path / "s.csv").read_text()
    assert main([*words, "--force", "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert [(p["scheme"], p["calibrations"]) for p in points] == [
        ("none", 0),
        ("none", 0),
        ("factor", 1),
        ("factor", 25),
    ]
    assert main([*words[:7], "--calibrate", "factor"]) != 0
    assert "must begin with chip" in capsys.readouterr().err
