"""Bit planes of any converter: tables are cut where digits no longer change, whatever they did before."""

import numpy as np
import pytest
from hypothesis import given
from twins import SEEDS, common

import cimemu
from cimemu.arch.macro import Macro
from cimemu.engines.planes.tables import _changes_until
from cimemu.engines.programmed import program
from cimemu.errors import CimemuError
from cimemu.lanes import broad
from cimemu.lanes.registers import AVAILABLE


@given(SEEDS)
@common
def test_no_digit_changes_behind_the_cut(seed):
    rng = np.random.default_rng(seed)
    tables = rng.integers(0, rng.integers(1, 4), (rng.integers(1, 4), rng.integers(1, 40)))
    tables[:, rng.integers(0, tables.shape[1]) :] = tables[:, -1:]
    cut = _changes_until(tables)
    assert (tables[:, cut:] == tables[:, -1:]).all()
    assert cut == 0 or (tables[:, cut - 1] != tables[:, -1]).any()


@pytest.mark.skipif(not broad.HAS_BROAD, reason="the processor has no AVX-512 with VBMI, VNNI and GFNI")
@pytest.mark.parametrize("rows", [70, 130, 300, 600, 1100, 2100, 5000])
@pytest.mark.parametrize("kind", ["whole", "real", "a few", "ascending"])
def test_levels_that_come_back_to_the_last_one(rows, kind):
    """Thresholds end at both ends of every table that registers hold, and sums go beyond."""
    rng = np.random.default_rng(rows)
    levels = {
        "whole": rng.integers(-9, 9, 8),
        "real": rng.choice([0.5, -3.25, 7], 8),
        "a few": rng.choice([4, 5], 8),
        "ascending": np.arange(8),
    }[kind]
    levels[[0, 3]] = levels[-1]
    for last in (30, 63, 64, 100, 127, 128, 200, 255, 256, 300, 500, 512, 900, 1024, 1800):
        macro = Macro.model_validate(
            {
                "rows": rows,
                "columns": 8,
                "weight": {"bits": 1, "encoding": "binary"},
                "input": {"bits": 8},
                "adc": {
                    "model": "nonlinear",
                    "bits": 3,
                    "thresholds": [*sorted(rng.integers(1, last, 6).tolist()), last],
                    "levels": levels.tolist(),
                },
            }
        )
        w = np.where(np.arange(rows)[:, None] < rows * np.array([1, 0.5, 0.1]), 1, -1)
        x = np.where(np.arange(rows) < rng.integers(0, rows + 1, (9, 1)), 255, 0) & rng.integers(0, 256, (9, rows))
        x[0] = 255
        x[1, 10:] = 0
        found = cimemu.mvm(x, w, macro, path="planes")
        assert found.y.tobytes() == cimemu.mvm(x, w, macro, path="steps").y.tobytes()
    x[2:] = 0
    assert cimemu.mvm(x, w, macro, path="planes").y.tobytes() == cimemu.mvm(x, w, macro, path="naive").y.tobytes()


@pytest.mark.skipif(not AVAILABLE, reason="the processor has no AVX2: the other kernels run")
@pytest.mark.parametrize("rows", [60, 127, 128, 255, 256, 600])
@pytest.mark.parametrize("inputs", [1, 3, 4, 7, 8])
def test_clamps_of_all_widths_without_broad_registers(rows, inputs, monkeypatch):
    """Sums from none to all rows, behind converters of one to ten bits: what planes serve they serve exactly."""
    monkeypatch.setattr(broad, "HAS_BROAD", False)
    x = np.where(np.arange(rows) < np.linspace(0, rows, 40).astype(int)[:, None], 2**inputs - 1, 0)
    w, served = np.where(np.arange(rows)[:, None] < rows * np.array([1, 0.5]), 1, -1), []
    for bits in range(1, 11):
        macro = Macro.model_validate(
            {
                "rows": rows,
                "columns": 8,
                "weight": {"bits": 1, "encoding": "binary"},
                "input": {"bits": inputs},
                "adc": {"model": "linear", "bits": bits},
            }
        )
        made = program(w, macro)
        try:
            found = made.run(x, path="planes")
        except CimemuError:
            continue
        served.append(bits)
        assert found.y.tobytes() == made.run(x, path="steps").y.tobytes()
    assert served[:7] == [1, 2, 3, 4, 5, 6, 7]
