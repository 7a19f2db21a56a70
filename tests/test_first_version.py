"""Files of the first version still load: chips and workloads as it shipped them, traces and a network as it wrote them."""

import json
import shutil

import h5py
import numpy as np
import pytest
import yaml
from pages import ROOT

import cimemu
from cimemu.cli import main

FIRST = ROOT / "tests/first"
ARCHS = sorted((FIRST / "arch").glob("*.yaml"))
WORKLOADS = sorted((FIRST / "workloads").glob("*.yaml"))


def test_files_were_kept():
    assert len(ARCHS) == 11
    assert len(WORKLOADS) == 11


@pytest.mark.parametrize("path", ARCHS, ids=lambda path: path.stem)
def test_a_chip_loads_with_every_value_that_it_names(path):
    arch = cimemu.load_arch(path).model_dump()
    given = yaml.safe_load(path.read_text(encoding="utf-8"))

    def named(tree, where):
        for key, value in tree.items():
            if isinstance(value, dict):
                yield from named(value, (*where, key))
            else:
                yield (*where, key), value

    for keys, value in named({k: v for k, v in given.items() if k != "costs"}, ()):
        found = arch
        for key in keys:
            found = found[key]
        shorthand = isinstance(found, dict) and found.get("model") == value  # adc: ideal
        assert found == value or shorthand or list(found) == value, keys


@pytest.mark.parametrize("path", WORKLOADS, ids=lambda path: path.stem)
def test_a_workload_loads(path, tmp_path):
    shutil.copy(path, tmp_path / "workload.yaml")
    assert cimemu.load_workload(tmp_path / "workload.yaml").manifest.name


@pytest.mark.parametrize("name", ["trace", "stress", "sweep"])
def test_what_it_wrote_is_read_and_reported(name, capsys):
    assert main(["report", str(FIRST / f"{name}.h5"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["summary"]["cycles"] == 105283 if name == "trace" else len(told["points"]) == 2


def test_its_trace_goes_into_every_view(tmp_path, capsys):
    trace = FIRST / "trace.h5"
    assert main(["report", str(trace), "--html", str(tmp_path / "t.html")]) == 0
    assert main(["diff", str(trace), str(trace), "--html", str(tmp_path / "d.html")]) == 0
    for kind in ("perfetto", "csv"):
        assert main(["export", str(trace), "--format", kind, "--out", str(tmp_path / f"t.{kind}")]) == 0


def test_the_same_run_gives_the_same_figures_today(tmp_path):
    out = tmp_path / "now.h5"
    assert main(["run", "rram_128", "digits", "--images", "1", "--out", str(out), "--json"]) == 0
    before, now = cimemu.open_trace(FIRST / "trace.h5"), cimemu.open_trace(out)
    for key in ("cycles", "macs", "conversions", "macros", "utilization"):
        assert before.attributes[key] == now.attributes[key], key
    assert before.attributes["energy_pj"] == pytest.approx(now.attributes["energy_pj"], rel=1e-9)
    for name, values in before.table("outputs").items():
        assert np.array_equal(values, now.table("outputs")[name]), name
    assert np.array_equal(np.sort(before.events["end"]), np.sort(now.events["end"]))


def test_its_integer_network_runs_and_gives_the_same(tmp_path, capsys):
    line = ["run", "rram_128", "digits", "--images", "5", "--no-trace", "--json"]
    assert main([*line, "--network", str(FIRST / "digits_int8.onnx")]) == 0
    theirs = json.loads(capsys.readouterr().out)
    assert main(line) == 0
    ours = json.loads(capsys.readouterr().out)
    assert {k: theirs[k] for k in ("cycles", "accuracy", "energy_uj")} == {
        k: ours[k] for k in ("cycles", "accuracy", "energy_uj")
    }


def test_a_trace_of_another_schema_is_one_line(tmp_path, capsys):
    shutil.copy(FIRST / "trace.h5", tmp_path / "new.h5")
    with h5py.File(tmp_path / "new.h5", "a") as file:
        file.attrs["schema_version"] = 99
    assert main(["report", str(tmp_path / "new.h5")]) == 2
    said = capsys.readouterr().err
    assert "schema_version = 99" in said
    assert said.count("\n") == 1
