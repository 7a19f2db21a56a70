"""`cimemu adapt --macros`: both forms from the command line, and one line for every mistake."""

import csv
import shutil
from pathlib import Path

import pytest
from morph_nets import tiny_resnet

import cimemu
from cimemu.cli import main
from cimemu.exporter import save_onnx

CONFIG = """
set: {macro.rows: 64, macro.columns: 64, macro.weight.bits: 4, macro.input.bits: 4, macro.adc.bits: 6}
train: {epochs: 1, images_per_epoch: 64, batch: 16, threads: 1}
morph:
  macros: 3
  goal: 0.6
  stage2: false
  calibration: 16
  shrink: {epochs: 1, images_per_epoch: 64, batch: 16}
  retrain: {epochs: 1, images_per_epoch: 64, batch: 16}
data:
  train: {file: train.npz}
  test: {held_out: {file: test.npz}}
  preprocess: {stored: nhwc, divide: 255, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
"""


@pytest.fixture
def folder(saved_sets) -> Path:
    (saved_sets / "config.yaml").write_text(CONFIG)
    save_onnx(tiny_resnet(widths=(8, 12), blocks=1), saved_sets / "net.onnx")
    return saved_sets


def words(folder: Path, *more: str) -> list[str]:
    return ["adapt", "sram_256", str(folder / "net.onnx"), "--config", str(folder / "config.yaml"), *more]


def test_stage_1_writes_a_network_of_its_macros_and_goes_on_where_it_was(folder, capsys):
    out, kept = folder / "float.onnx", folder / "kept"
    assert main(words(folder, "-o", str(out), "--checkpoints", str(kept))) == 0
    printed = capsys.readouterr()
    assert "shrink: epoch 1" in printed.err
    assert "stage 1" in printed.out
    rows = list(csv.DictReader((kept / "stages.csv").open()))
    assert [row["stage"] for row in rows] == ["seed", "stage 1"]
    assert int(rows[1]["macros"]) <= 3
    assert not cimemu.load_network(out).is_quantized
    again = folder / "again.onnx"
    assert main(words(folder, "-o", str(again), "--checkpoints", str(kept), "--resume")) == 0
    assert again.read_bytes() == out.read_bytes()


def test_several_macros_make_a_curve(folder, capsys):
    kept = folder / "kept"
    assert main(words(folder, "--macros", "2", "--macros", "3", "--checkpoints", str(kept))) == 0
    assert "macros_3" in capsys.readouterr().out
    assert [row["run"] for row in csv.DictReader((kept / "curve.csv").open())] == ["seed", "macros_2", "macros_3"]


def test_a_point_of_a_curve_is_the_first_stage_of_both(folder, capsys):
    kept, both, out = folder / "kept", folder / "both", folder / "net.onnx.adapted.onnx"
    assert main(words(folder, "--macros", "2", "--macros", "3", "--checkpoints", str(kept))) == 0
    shutil.copytree(kept / "macros_3", both / "stage1")
    capsys.readouterr()
    more = ("--macros", "3", "--key", "morph.stage2=true", "--checkpoints", str(both), "--resume", "--verify", "8")
    assert main(words(folder, *more, "-o", str(out))) == 0
    printed = capsys.readouterr()
    assert "shrink:" not in printed.err  # both are done already
    assert "retrain:" not in printed.err
    assert "stage 2: epoch 1 of 1" in printed.err
    assert "outputs: 0 differ" in printed.out
    assert cimemu.load_network(out).is_quantized


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--macros", "0"], "--macros = 0, must be >= 1"),
        (["--macros", "900"], "morph.macros = 900, the chip sram_256 has 128"),
        (["--macros", "2", "--macros", "3", "-o", "x.onnx"], "several --macros make a curve"),
        (["--key", "morph.columns_left=2"], "morph.columns_left = 2"),
        (["--key", "morph.penalty=l7"], "morph.penalty"),
    ],
)
def test_a_mistake_is_one_line(folder, capsys, more, message):
    assert main(words(folder, *more)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1
