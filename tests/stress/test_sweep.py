import csv
import json

import h5py
import numpy as np
import pytest

import cimemu
from cimemu.cli import main
from cimemu.errors import ArchError
from cimemu.stress.grid import key_values


def test_lists_of_values_are_yaml_split_at_commas_outside_brackets():
    assert key_values(["macro.adc.bits=4,5", "macro.adc.lsb=1e-3,[[1, 2]]"]) == [
        ("macro.adc.bits", [4, 5]),
        ("macro.adc.lsb", [1e-3, [[1, 2]]]),
    ]
    for wrong in ("macro.rows", "=3", "a=", "a=[1"):
        with pytest.raises(ArchError):
            key_values([wrong])
    with pytest.raises(ArchError, match="given twice"):
        key_values(["a=1", "a=2"])


@pytest.mark.slow
def test_a_sweep_has_the_figures_of_single_runs_and_its_pareto_set(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["sweep", "rram_128", "digits", "--images", "8", "--vary", "macro.adc.bits=5,16"]
    arguments += ["--vary", "macro.rows=64,128", "--out", "s.h5", "--csv", "s.csv", "--plot", "s.png", "--json"]
    assert main([*arguments, "--workers", "2"]) == 0
    found = json.loads(capsys.readouterr().out)["points"]
    assert len(found) == 4
    work = cimemu.load_workload("digits")
    images, labels = work.inputs(8)
    for row in found:
        if row["macro.adc.bits"] == 16:
            assert "macro.adc.linear.bits = 16" in row["error"] or "bits = 16" in row["error"]
            assert row["accuracy"] is None
            continue
        chip = cimemu.load_arch("rram_128", {key: row[key] for key in ("macro.adc.bits", "macro.rows")})
        network = cimemu.quantize(cimemu.load_network(work.network), chip, calibration=work.calibration())
        result = cimemu.run(chip, network, images, labels)
        assert row["accuracy"] == result.accuracy
        assert row["cycles"] == result.cycles
        assert row["energy_uj"] == result.energy_uj
    assert any(row["pareto"] for row in found)
    with open("s.csv") as file:
        assert len(list(csv.DictReader(file))) == 4
    with open("s.png", "rb") as picture:
        assert picture.read(4) == b"\x89PNG"
    with h5py.File("s.h5") as file:
        assert file.attrs["kind"] == "sweep"
        assert bool(file.attrs["complete"])
        assert np.nanmax(file["points/accuracy"][()]) == max(row["accuracy"] or 0 for row in found)
    assert main(arguments) == 2
    assert "s.h5: exists already" in capsys.readouterr().err
