"""The log of a training run: CSV and TensorBoard's events say the same."""

import csv
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from cimemu.adapt.train import Keep
from cimemu.cli import main

CONFIG = """
train: {epochs: 2, images_per_epoch: 64, batch: 32, rates: {weights: 0.05}, threads: 1}
data:
  train: {file: train.npz}
  test: {held_out: {file: test.npz}}
  preprocess: {stored: nhwc, divide: 255, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
"""


def words(folder: Path, *more: str) -> list[str]:
    (folder / "config.yaml").write_text(CONFIG)
    return ["adapt", "--from-scratch", "resnet8", "--config", str(folder / "config.yaml"), *more]


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_reads_the_rows_of_the_csv_file(saved_sets):
    board, metrics = saved_sets / "board", saved_sets / "m.csv"
    more = ("-o", str(saved_sets / "x.onnx"), "--tensorboard", str(board), "--metrics", str(metrics))
    assert main(words(saved_sets, *more)) == 0

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(board))
    events.Reload()
    rows = list(csv.DictReader(metrics.open()))
    names = set(rows[0]) - {"epoch"}
    assert set(events.Tags()["scalars"]) == names
    assert {"loss", "train_accuracy", "rate", "accuracy_held_out", "standard_error_held_out"} <= names
    for name in names:
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in found] == [1, 2]
        assert [value for _, value in found] == pytest.approx([float(row[name]) for row in rows], rel=1e-4, abs=1e-6)


def test_without_tensorboard_one_line_before_anything_is_read(saved_sets, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    out = saved_sets / "x.onnx"
    assert main(words(saved_sets, "-o", str(out), "--tensorboard", "board", "--data", "absent.npz")) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert 'tensorboard is not installed: pip install "cimemu[board]", or leave --tensorboard out' in error
    assert not out.exists()


def test_every_stage_has_a_log_of_its_own():
    below = Keep(Path("kept"), True, Path("board"), {"macros": 3}).below("stage1").below("shrink")
    assert below == Keep(Path("kept/stage1/shrink"), True, Path("board/stage1/shrink"), {"macros": 3})
    assert Keep().below("stage1") == Keep()
