"""Quantised networks in files: one stressed instead of the workload's, several on the same chips."""

import json

import pytest

from cimemu.cli import main


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    for name in ("layer", "column"):
        words = ["quantize", "digits", "-o", str(folder / f"{name}.onnx"), "--scheme", name]
        assert main([*words, "--scheme-set", "weights.bits=4", "--scheme-set", "converter.bits=4"]) == 0
    return folder


def stress(*words: str) -> int:
    return main(["stress", "rram_128", "digits", "--trials", "2", "--images", "8", *words])


@pytest.mark.slow
def test_networks_are_compared_on_the_same_chips(files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--network", str(files / "layer.onnx"), "--network", str(files / "column.onnx")]
    capsys.readouterr()
    assert stress(*words, "--vary", "lognormal:sigma=0,0.1", "--json") == 0
    both = json.loads(capsys.readouterr().out)
    assert set(both["ideal"]) == {"layer", "column"}
    assert {(row["scheme"], row["against"]) for row in both["paired"]} == {("column", "layer")}
    assert stress(*words[2:], "--vary", "lognormal:sigma=0,0.1", "--json") == 0
    alone = json.loads(capsys.readouterr().out)
    one = [row["mean"] for row in both["points"] if row["scheme"] == "column"]
    assert [row["mean"] for row in alone["points"]] == one
    run = [
        "run",
        "rram_128",
        "digits",
        "--images",
        "8",
        "--no-trace",
        "--json",
        "--network",
        str(files / "column.onnx"),
    ]
    assert main(run) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == both["ideal"]["column"]["accuracy"]


@pytest.mark.slow
def test_the_worst_chip_names_its_network(files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert stress("--network", str(files / "layer.onnx"), "--vary", "lognormal:sigma=0.5") == 0
    again = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("worst chip again: "))
    assert f"--network {files / 'layer.onnx'} --vary lognormal:sigma=0.5" in again


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["layer.onnx", "layer.onnx"], "--network layer twice"),
        (["absent.onnx"], "absent.onnx"),
    ],
)
def test_mistakes_are_one_line(files, capsys, words, message):
    named = [part for name in words for part in ("--network", str(files / name))]
    assert stress(*named, "--vary", "lognormal:sigma=0.1") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_what_a_network_fixes_is_not_set(files, capsys):
    assert (
        stress("--network", str(files / "layer.onnx"), "--vary", "lognormal:sigma=0.1", "--set", "macro.weight.bits=8")
        == 2
    )
    assert "is fixed by the network" in capsys.readouterr().err
    words = [
        "--network",
        str(files / "layer.onnx"),
        "--network",
        str(files / "column.onnx"),
        "--calibrate-adc",
        "layer,column",
    ]
    assert stress(*words, "--vary", "lognormal:sigma=0.1") == 2
    assert "compare one or the other" in capsys.readouterr().err


def test_a_check_takes_a_file_too(files, capsys):
    pytest.importorskip("onnxruntime")
    words = ["check", "rram_128", "digits", "--images", "2", "--json", "--network", str(files / "layer.onnx")]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["differing"] == 0
    assert main([*words, "--set", "macro.input.bits=4"]) == 2
    assert "is fixed by the network" in capsys.readouterr().err
