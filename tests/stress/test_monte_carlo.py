import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import cimemu
from cimemu.cli import main
from cimemu.errors import ArchError, CimemuError
from cimemu.stress import stress
from stress.test_trials import kept

VARY = ["lognormal:sigma=0,0.2", "stuck_at:sa0=0,0.01"]  # ideal cells, stuck ones, spread ones, both


@pytest.fixture(scope="module")
def digits():
    work, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128", {"macro.adc.bits": 6})
    images, labels = work.inputs(12)
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration())
    return arch, network, images, labels


@pytest.fixture(scope="module")
def four_points(digits):
    arch, network, images, labels = digits
    return stress(arch, network, images, labels, vary=VARY, trials=2, seed=5)


@pytest.mark.slow
def test_a_trial_is_what_run_gives_with_its_seed_and_trial(digits, four_points):
    arch, network, images, labels = digits
    found = four_points
    assert found.accuracy.shape == (4, 2)
    for point, vary in enumerate(found.vary):
        for trial in range(2):
            one = cimemu.run(arch, network, images, labels, detail=None, vary=vary, seed=5, trial=trial)
            assert found.accuracy[point, trial] == one.accuracy
    assert np.array_equal(found.columns["mean"], found.accuracy.mean(axis=1))
    assert (found.own_error[2] > found.own_error[0]).all()  # a larger spread moves every layer further
    assert found.columns["breaks_first"][3] == found.layers[found.own_error[3].argmax()]


def test_ideal_cells_give_no_error_and_the_networks_own_accuracy(four_points):
    assert not four_points.own_error[0].any()
    assert not four_points.layer_error[0].any()
    assert (four_points.accuracy[0] == four_points.ideal[""]["accuracy"]).all()
    assert four_points.columns["method"][0] == "wilson"


@pytest.mark.slow
def test_schemes_are_compared_on_the_same_chips(digits):
    arch, network, images, labels = digits
    found = stress(arch, {"a": network, "b": network}, images, labels, vary=["lognormal:sigma=0.3"], trials=2)
    assert np.array_equal(found.accuracy[0], found.accuracy[1])
    assert found.paired[0]["difference"] == found.paired[0]["low"] == found.paired[0]["high"] == 0


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Arguments of a small run, and the bytes of its undisturbed file."""
    out = tmp_path_factory.mktemp("whole") / "whole.h5"
    arguments = ["stress", "rram_128", "digits", "--images", "4", "--trials", "3", "--seed", "3"]
    arguments += ["--vary", "lognormal:sigma=0.1,0.3", "--vary", "stuck_at:sa0=0.01"]
    assert main([*arguments, "--out", str(out), "--json"]) == 0
    return arguments, out.read_bytes()


@pytest.mark.slow
def test_two_workers_give_the_same_bytes(command, tmp_path):
    arguments, whole = command
    assert main([*arguments, "--out", str(tmp_path / "b.h5"), "--workers", "2", "--json"]) == 0
    assert (tmp_path / "b.h5").read_bytes() == whole


@pytest.mark.long
@pytest.mark.slow
def test_a_killed_client_goes_on_with_resume_to_the_same_bytes(command, tmp_path, capsys):
    arguments, _ = command
    arguments = ["20" if before == "--trials" else word for before, word in zip(["", *arguments], arguments)]
    assert main([*arguments, "--out", str(tmp_path / "whole.h5"), "--json"]) == 0
    whole = (tmp_path / "whole.h5").read_bytes()
    capsys.readouterr()
    out, partial = tmp_path / "c.h5", tmp_path / "c.h5.partial"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    client = subprocess.Popen([sys.executable, "-m", "cimemu", *arguments, "--out", str(out)], env=environment)
    deadline = time.monotonic() + 120
    while kept(partial) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(client.pid, signal.SIGKILL)
    client.wait()
    assert not out.exists()
    assert 4 <= kept(partial) < 40
    other = [*arguments[:8], "9", *arguments[9:]]
    assert main([*other, "--resume", str(partial)]) == 2
    assert "was made with seed = 3, now 9" in capsys.readouterr().err
    assert main([*arguments, "--resume", str(partial), "--json"]) == 0
    assert out.read_bytes() == whole
    assert not partial.exists()


@pytest.mark.slow
def test_the_file_has_trials_points_and_layers(command, tmp_path):
    (tmp_path / "w.h5").write_bytes(command[1])
    with h5py.File(tmp_path / "w.h5") as file:
        assert file.attrs["kind"] == "stress"
        accuracy = file["trials/accuracy"][()]
        assert accuracy.shape == (2, 3)
        assert np.allclose(file["points/mean"][()], accuracy.mean(axis=1))
        assert file["points/own_error"].shape == (2, len(file["layers/name"]))
        assert (file["trials/correct"][()] / 4 == accuracy).all()
    assert main(["report", str(tmp_path / "w.h5")]) == 0


@pytest.mark.slow
def test_tables_plots_and_the_command_that_shows_the_worst_chip_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["stress", "rram_128", "digits", "--images", "4", "--trials", "2", "--vary", "lognormal:sigma=0.2,0.4"]
    assert main([*arguments, "--csv", "s.csv", "--plot", "s.svg"]) == 0
    text = capsys.readouterr().out
    again = text.split("worst chip again: ")[1].splitlines()[0]
    worst = min(float(row["worst"]) for row in csv.DictReader(Path("s.csv").read_text().splitlines()))
    assert main([*again.split()[1:], "--images", "4", "--no-trace", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == worst
    assert "<svg" in Path("s.svg").read_text()


NARROW = {"vary": ["lognormal:sigma=0.02,0.25"], "trials": 12, "width": 0.12, "least_trials": 3}


@pytest.mark.slow
def test_a_point_stops_when_its_interval_is_narrow(digits):
    arch, network, images, labels = digits
    found = stress(arch, network, images, labels, **NARROW, workers=2)
    narrow = found.columns["trials"] < 12
    assert narrow.any()
    assert (found.columns["high"] - found.columns["low"])[narrow].max() <= 0.12


@pytest.mark.long
@pytest.mark.slow
def test_a_point_stops_at_the_same_trial_whoever_is_faster(digits, tmp_path):
    arch, network, images, labels = digits
    one = stress(arch, network, images, labels, **NARROW, out=tmp_path / "a.h5")
    two = stress(arch, network, images, labels, **NARROW, out=tmp_path / "b.h5", workers=2)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert np.array_equal(one.columns["trials"], two.columns["trials"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"vary": ["lognormal:sigma=0.1"], "trials": 0}, "trials = 0, must be >= 1"),
        ({"vary": [], "trials": 1}, "nothing to vary"),
        ({"vary": ["lognormal:sigma=0.1"], "trials": 1, "width": 2.0}, "width = 2.0, must be between"),
        ({"vary": ["lognormall:sigma=0.1"], "trials": 1}, "did you mean lognormal"),
        ({"vary": ["lognormal:sigma=-1"], "trials": 1}, "sigma"),
        ({"vary": ["lognormal:sigma=0.1"], "trials": 1, "workers": 0}, "workers = 0, must be >= 1"),
    ],
)
def test_a_wrong_wish_says_value_and_rule(digits, options, words):
    arch, network, images, labels = digits
    with pytest.raises((CimemuError, ArchError), match=words):
        stress(arch, network, images, labels, **options)
