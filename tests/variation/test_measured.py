"""Cells drawn from a file of measured ones are a population like the file's, level by level."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from variation.populations import full, written

import cimemu
from cimemu.cli import main
from cimemu.variation.parse import make_variation

HERE = Path(__file__).parent
DATA = os.environ.get("CIMEMU_DATA")


def table(folder, rows, heading="target_level,measured_level"):
    path = folder / "cells.csv"
    path.write_text("\n".join([heading, *(f"{t},{m}" for t, m in rows)]) + "\n")
    return path


def test_resampled_cells_are_the_measured_ones_as_often_as_they_were_measured(tmp_path):
    rows = [(0, 0.0), (0, 0.5), (1, 0.75), (1, 1.0), (1, 1.5), (1, 1.5)]
    path = table(tmp_path, rows)
    for level in (0, 1):
        drawn = written([f"measured:file={path}"], full(level), top=1).ravel()
        values = np.array([m for t, m in rows if t == level])
        assert set(np.unique(drawn)) == set(values)
        counts = [int((drawn == value).sum()) for value in np.unique(values)]
        wanted = [len(drawn) * float((values == value).mean()) for value in np.unique(values)]
        assert stats.chisquare(counts, wanted).pvalue > 1e-3


def test_normal_cells_have_the_mean_and_the_spread_of_the_file(tmp_path):
    rng = np.random.default_rng(1)
    cells = 2.9 + 0.05 * rng.standard_normal(500)
    path = table(tmp_path, [(0, 0.0), *((3, value) for value in cells)])
    drawn = written([f"measured:file={path},draw=normal"], full(3), top=3).ravel()
    assert stats.kstest((drawn - cells.mean()) / cells.std(ddof=1), "norm").pvalue > 1e-3


def test_levels_lie_evenly_between_the_conductances_and_take_the_nearest_target(tmp_path):
    path = table(tmp_path, [(100, 110), (400, 385)], "Target_Value_uS,Measured_Conductance_uS")
    model = f"measured:file={path}"
    step = 100.0  # uS, of levels 0 .. 3 between the two targets
    for level, deviation in enumerate((10, 10, -15, -15)):
        assert written([model], full(level, 4, 4), top=3).ravel() == pytest.approx(level + deviation / step)
    other = written([f"{model},low=0,high=600"], full(1, 4, 4), top=3)  # level 1 is 200 uS, nearest to 100
    assert other.ravel() == pytest.approx(1 + 10 / 200)


@pytest.mark.skipif(not DATA, reason="needs CIMEMU_DATA")
def test_published_cells_are_drawn_as_they_were_read():
    """1,000 reads each of seven conductances of a published converter's cells (ReADC, MIT): Kolmogorov-Smirnov against the file."""
    path = Path(DATA) / "data/silicon/readc/f3_3d.csv"
    rows = np.loadtxt(path, delimiter=",", skiprows=1)[:, 1:]
    targets = np.unique(rows[:, 0])
    top = len(targets) - 1
    step = (targets[-1] - targets[0]) / top
    for level, target in enumerate(targets):
        drawn = written([f"measured:file={path}"], full(level), top=top).ravel()
        measured = rows[rows[:, 0] == target, 1]
        wanted = np.maximum(level + (measured - target) / step, 0)  # no level is below 0
        assert stats.ks_2samp(drawn, wanted).pvalue > 1e-3


def test_no_deviation_changes_nothing(tmp_path):
    path = table(tmp_path, [(0, 0), (1, 1)])
    assert make_variation(f"measured:file={path}").is_identity


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "must have target_UNIT and measured_UNIT"),
        ("target_uS,measured_mS\n1,2\n", "the same in"),
        ("target_ohm,measured_ohm\n1,2\n", "must be in one of level"),
        ("target_level,measured_level\n", "has no row of measurements"),
        ("target_level,measured_level\n1,x\n", "line 2: measured_level = 'x', must be a number"),
        ("target_level,measured_level\n1,-1\n", "negative, must be 0 or more"),
        ("target_uS,measured_uS\n5,6\n", "must be above low"),
        ("target_level,measured_level\n7,7.5\n", "is no level of the cell, must be in 0 .. 1"),
    ],
)
def test_a_wrong_file_is_one_line(text, message, tmp_path, capsys):
    path = tmp_path / "cells.csv"
    path.write_text(text)
    assert main(["run", "rram_128", "digits", "--images", "1", "--no-trace", "--vary", f"measured:file={path}"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_network_runs_on_measured_cells_on_every_path():
    workload = cimemu.load_workload("digits")
    x, labels = workload.inputs(2)
    arch = cimemu.load_arch("rram_128")
    network = cimemu.quantize(cimemu.load_network(workload.network), arch, calibration=workload.calibration())
    vary = [f"measured:file={HERE / 'measured.csv'}"]
    runs = [
        cimemu.run(arch, network, x, labels, detail=None, vary=vary, seed=1, path=path) for path in ("auto", "steps")
    ]
    assert runs[0].outputs.tobytes() == runs[1].outputs.tobytes()
    assert runs[0].outputs.tobytes() != cimemu.run(arch, network, x, labels, detail=None).outputs.tobytes()
