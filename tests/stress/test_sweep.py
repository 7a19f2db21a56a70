import csv
import json

import h5py
import numpy as np
import pytest
import yaml

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
    assert main([*arguments, "--workers", "2"]) == 4  # two points are no chips
    said = capsys.readouterr()
    assert "2 of 4 points failed" in said.err
    found = json.loads(said.out)["points"]
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


@pytest.fixture
def unlabelled(tmp_path):
    """A workload of the digits without their labels, given as a network and a file of images."""
    work = cimemu.load_workload("digits")
    images, _ = work.inputs(4)
    np.savez(tmp_path / "x.npz", images=images)
    tree = yaml.safe_load(
        (work.path / "workload.yaml" if work.path.is_dir() else work.path).read_text(encoding="utf-8")
    )
    tree |= {"network": str(work.network), "inputs": {"file": str(tmp_path / "x.npz"), "labels": None}}
    tree["calibration"] = dict(tree["inputs"])
    (tmp_path / "workload.yaml").write_text(yaml.safe_dump(tree))
    return tmp_path / "workload.yaml"


def test_a_table_is_parquet_by_its_suffix_and_a_pareto_set_without_accuracy_says_so(
    unlabelled, tmp_path, monkeypatch, capsys
):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    words = ["sweep", "rram_128", str(unlabelled), "--vary", "macro.adc.bits=6,7", "--table", "t.parquet"]
    assert main(words) == 0
    assert "there are no labels, so accuracy does not count" in " ".join(capsys.readouterr().out.split())
    frame = pandas.read_parquet("t.parquet")
    assert list(frame["macro.adc.bits"]) == [6, 7]
    assert (frame["energy_uj"] > 0).all()


def test_parquet_without_its_packages_is_refused_before_anything_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cimemu.stress.tables.find_spec", lambda name: None)
    assert main(["sweep", "rram_128", "digits", "--vary", "macro.adc.bits=6", "--table", "t.parquet"]) == 2
    assert "Parquet needs pandas and pyarrow" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_tiles_that_a_network_decides_upon_are_a_column(tmp_path):
    from cimemu.prepare import load_recipe
    from cimemu.stress import sweep
    from cimemu.stress.tables import sweep_rows

    work = cimemu.load_workload("digits")
    recipe, (inputs, _) = load_recipe(work), work.inputs(1)
    vary = {"macro.columns": [64, 128]}
    for tiles in ("auto", 16):
        found = sweep(cimemu.load_arch("rram_128", {"chip.tiles": tiles}), recipe, inputs, vary=vary)
        needed = [cimemu.make_plan(recipe.for_arch(chip), chip).arch.tiles for chip in found.chips]
        assert found.columns["tiles"].tolist() == needed
        assert ["tiles" in row for row in sweep_rows(found)] == [tiles == "auto"] * 2
