"""Every single-bit fault, by what it changes alone, is the full run of a chip with that one cell written so."""

import csv
import json

import drawn_macros
import h5py
import nets
import numpy as np
import pytest

import cimemu
from cimemu.cli import main
from cimemu.errors import CimemuError
from cimemu.faults import every_fault, write_faulty_chip
from cimemu.faults.report import grouped_rows, summary, table
from faults.full import compare, places

CHIP = {"macro.rows": 20, "macro.columns": 32, "macro.active_rows": 8, "chip.tiles": 40}
CASES = {
    "integer codes": {"macro.adc": {"model": "linear", "bits": 5}},
    "real levels": {"macro.adc": {"model": "linear", "bits": 5, "lsb": 1.5}},
    "a table of real levels": {
        "macro.adc": {"model": "nonlinear", "bits": 2, "thresholds": [0.5, 2, 4.5], "levels": [0, 1.5, 3, 6]}
    },
    "a table of integers": {
        "macro.adc": {"model": "nonlinear", "bits": 2, "thresholds": [0.5, 2, 4.5], "levels": [0, 1, 3, 6]},
        "macro.timing.skip_zero_slices": True,
    },
    "ideal converters": {"macro.adc": "ideal"},
    "two bits a cell, two a slice": {
        "macro.cell.bits": 2, "macro.input.dac_bits": 2, "macro.input.dac": "pulse", "macro.weight.encoding": "differential",
    },
}  # fmt: skip
EVERY = [
    pytest.param(case, replicas, marks=() if replicas == 3 and case == "real levels" else pytest.mark.slow)
    for case in CASES
    for replicas in (1, 3)
]


@pytest.mark.parametrize(("case", "replicas"), EVERY)
def test_faults_are_full_runs(case, replicas, tmp_path):
    network = nets.residual_network(groups=1 if replicas == 1 else 3)
    arch = cimemu.load_arch("rram_128", {**CHIP, **CASES[case], "mapping.max_replicas": replicas})
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 5, 4)).astype(np.uint8)
    result = every_fault(arch, network, images, outputs=True)
    which = np.concatenate([result.worst(20), np.random.default_rng(1).choice(len(result.sites), 20, replace=False)])
    assert compare(arch, network, images, result, which, tmp_path) > 5


def tried(number_of, folder):
    """How many architectures drawn over every key were compared, of so many."""
    draws, compared = drawn_macros.Draws(5, drawn_macros.NOT_IN_VECTORS), 0
    for number in range(number_of):
        drawn = draws.draw(number)
        draws.accepted(drawn)  # what is refused too: so that it does not come again and again
        arch = cimemu.load_arch("rram_128", {"chip.tiles": 64})
        arch = arch.model_copy(update={"macro": cimemu.Macro.model_validate(drawn.tree)})
        try:
            result = every_fault(arch, drawn.network, drawn.x, outputs=True)
        except CimemuError:
            continue
        which = np.random.default_rng(number).choice(len(result.sites), min(6, len(result.sites)), replace=False)
        try:
            compare(arch, drawn.network, drawn.x, result, which, folder / str(number))
        except CimemuError:  # a chip file's cells are no integers to an ideal converter: not with accumulator_bits
            assert arch.macro.accumulator_bits is not None
            continue
        compared += 1
    return compared


def test_faults_on_architectures_drawn_over_every_key(tmp_path):
    assert tried(20, tmp_path) >= 3


@pytest.mark.slow
def test_faults_on_many_architectures_drawn_over_every_key(tmp_path):
    assert tried(150, tmp_path) >= 30


@pytest.fixture(scope="module")
def digits():
    work, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    return arch, cimemu.quantize(cimemu.load_network(work.network), arch, work.calibration()), *work.inputs(6)


def test_a_sample_replays_by_its_seed_and_by_its_sites(digits):
    first, again, other = (every_fault(*digits, cells=40, seed=seed) for seed in (3, 3, 4))
    assert places(first.sites, range(40)) == places(again.sites, range(40)) != places(other.sites, range(40))
    order = first.worst(40)
    named = every_fault(*digits, cells=places(first.sites, order))
    for name, values in first.counts.items():
        assert np.array_equal(values, again.counts[name])
        assert np.array_equal(values[order], named.counts[name])


def test_the_shares_add_up(digits):
    result = every_fault(*digits, cells=60, seed=1)
    told = summary(result)
    assert told["faults"] == 60
    assert told["of"] == 109056
    assert told["low"] <= told["harmful"] <= told["high"]
    for by in ("layer", "steps"):
        rows = grouped_rows(result, by)
        assert sum(row["faults"] for row in rows) == 60
        assert sum(round(row["harmful"] * row["faults"]) for row in rows) == (result.counts["harmful"] > 0).sum()
    columns = table(result)
    assert (columns["changed"] >= columns["reached"]).all()
    assert (columns["reached"] >= columns["harmful"]).all()


@pytest.mark.slow
@pytest.mark.long
def test_all_faults_of_digits_and_four_hundred_full_runs(digits, tmp_path):
    arch, network, images, labels = digits
    result = every_fault(arch, network, images, labels)
    assert len(result.sites) == 109056
    random = np.random.default_rng(0).choice(len(result.sites), 300, replace=False)
    which = np.concatenate([result.worst(100), random])
    again = every_fault(arch, network, images, labels, cells=places(result.sites, which), outputs=True)
    for name, values in result.counts.items():
        assert np.array_equal(values[which], again.counts[name])
    assert compare(arch, network, images, again, np.arange(400), tmp_path) > 100


def test_the_command_writes_what_python_gives(digits, tmp_path, capsys):
    words = ["faults", "rram_128", "digits", "--images", "6", "--cells", "30", "--seed", "2"]
    assert main([*words, "--out", str(tmp_path / "f.csv"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert main([*words, "--out", str(tmp_path / "f.h5")]) == 0
    assert "faults change a prediction" in capsys.readouterr().out.replace("\n", " ")
    columns = table(every_fault(*digits, cells=30, seed=2))
    with open(tmp_path / "f.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with h5py.File(tmp_path / "f.h5") as file:
        for name, values in columns.items():
            assert [row[name] for row in rows] == [str(v) for v in values]
            stored = file[name].asstr()[...] if name == "layer" else file[name][...]
            assert np.array_equal(stored, values)
            assert file[name].attrs["meaning"]
    site = told["worst"][0]["site"]
    assert (
        main(
            [
                "faults",
                "rram_128",
                "digits",
                "--images",
                "6",
                "--site",
                site,
                "--chip",
                str(tmp_path / "c.h5"),
                "--json",
            ]
        )
        == 0
    )
    again = json.loads(capsys.readouterr().out)
    assert again["worst"] == told["worst"][:1]
    arch, network, images, _ = digits
    place = tuple(map(int, site.split(":")))
    full = cimemu.run(arch, network, images, vary=[{"model": "chip", "file": str(tmp_path / "c.h5")}])
    known = every_fault(arch, network, images, cells=[place], outputs=True)
    assert full.outputs.tobytes() == known.outputs[network.outputs[0]][0].tobytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cells", "none"], "--cells none: must be all, or a number"),
        (["--cells", "0"], "--cells 0: must be all, or a number"),
        (["--cells", "999999999"], "has 109056 single-bit faults"),
        (["--site", "1:2"], "must be MACRO:WRITE:ROW:COLUMN:BIT"),
        (["--site", "999:0:0:0:0"], "holds no bit of a weight"),
        (["--site", "0:0:0:0:0", "--cells", "3"], "leave out --cells"),
        (["--chip", "c.h5"], "takes one --site"),
        (["--out", "f.txt"], "written as .csv or .h5"),
        (["--set", "macro.weight.column_flipping=true"], "column_flipping"),
        (["--set", "macro.weight.correction=reference_column"], "reference_column"),
        (["--set", "macro.accumulator_bits=9"], "accumulator"),
    ],
)
def test_mistakes_are_one_line(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["faults", "rram_128", "digits", "--images", "2", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_a_faulty_chip_has_its_cell_on_the_chip(digits, tmp_path):
    arch, network, *_ = digits
    for site, said in [((0, 0, 0, 0, 1), "bit 1"), ((0, 0, 999, 0, 0), "no cell"), ((99, 0, 0, 0, 0), "no cell")]:
        with pytest.raises(CimemuError, match=said):
            write_faulty_chip(tmp_path / "x.h5", arch, network, site, overwrite=True)
