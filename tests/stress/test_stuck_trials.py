"""Trials of chips of which nothing but cells are stuck leave the records of full runs."""

import nets
import numpy as np
import pytest

import cimemu
from cimemu.stress import trial
from cimemu.stress.settings import settings
from cimemu.stress.trial import Point, StressTask

CHIP = {"macro.rows": 20, "macro.columns": 32, "macro.active_rows": 8, "chip.tiles": 40}


@pytest.mark.parametrize("chip", [{}, {"macro.adc": {"model": "linear", "bits": 5}}, {"mapping.max_replicas": 3}])
@pytest.mark.parametrize("error_images", [2, 6])
def test_records_are_those_of_full_runs(chip, error_images, monkeypatch):
    network, arch = nets.residual_network(), cimemu.load_arch("rram_128", {**CHIP, **chip})
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 5, 4)).astype(np.uint8)
    labels = np.arange(6) % 2
    points = tuple(Point(0, (), models) for models in settings(arch, ["stuck_at:sa0=0.0005,0.02,sa1=0.001"]))
    task = StressTask(arch, (network,), points, images, labels, 3, error_images)
    quick = [task.run(job) for job in range(12)]
    assert task._benches.popitem()[1].stuck is not None
    monkeypatch.setattr(trial, "why_not", lambda *_: "asked for")
    full = [task.run(job) for job in range(12)]
    assert task._benches.popitem()[1].stuck is None
    for one, other in zip(quick, full):
        for name in one:
            assert np.array_equal(one[name], other[name])
    assert any(np.any(record["own_error"]) for record in full)
    assert any(np.any(record["own_error"] != record["layer_error"]) for record in full)
