"""Many runs with one budget: resumable, one table."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cimemu
from cimemu.adapt.first_weights import with_first_weights
from cimemu.adapt.scratch import train_from_scratch
from cimemu.adapt.settings import Rates, TrainSettings
from cimemu.adapt.study import read_study, run_study
from cimemu.cli import main
from cimemu.compare.answers import read_answers
from cimemu.errors import WorkloadError
from cimemu.lower import lower

torch = pytest.importorskip("torch")
SHIPPED = Path(__file__).parents[2] / "workloads/cifar10_resnet20"
STUDY = """
network: net.onnx
set: {macro.cell.bits: 2, macro.weight.encoding: differential, macro.weight.subtract: analog, macro.input.dac_bits: 4}
train: {epochs: 2, images_per_epoch: 64, batch: 16, threads: 1}
data:
  train: {file: train.npz}
  test: {held_out: {file: test.npz}}
  preprocess: {stored: nhwc, divide: 255, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
runs:
  - name: layer
    calibration: 32
    scheme: {weights: {bits: 4, granularity: layer}, activations: {bits: 4}, converter: {bits: 4, granularity: layer}}
  - name: column
    calibration: 32
    scheme: column
    scheme_set: {weights.bits: 4, activations.bits: 4, converter.bits: 4}
    train: {rates.weights: 0.02}
    seeds: [0, 1]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_train, tiny_test) -> Path:
    place = tmp_path_factory.mktemp("study")
    np.savez(place / "train.npz", images=tiny_train.images, labels=tiny_train.labels)
    np.savez(place / "test.npz", images=tiny_test.images, labels=tiny_test.labels)
    settings = TrainSettings(epochs=4, batch=16, rates=Rates(weights=0.05), threads=1)
    train_from_scratch("resnet8", tiny_train, settings, place / "net.onnx", width=4)
    (place / "study.yaml").write_text(STUDY)
    return place


def test_shipped_studies_differ_in_their_runs_alone():
    study, binary = (read_study(SHIPPED / f"{name}.yaml") for name in ("study", "binary"))
    assert study.model_copy(update={"runs": binary.runs}) == binary
    assert sum(len(run.seeds) for run in study.runs) == 26
    told = {(run.smooth, run.scheme_record().model_dump_json()) for run in study.runs}
    assert not told & {(run.smooth, run.scheme_record().model_dump_json()) for run in binary.runs}


def test_the_shipped_studies_of_varied_cells_have_three_models_at_three_strengths(monkeypatch):
    monkeypatch.setenv("DIGITS", "train.npz")
    for folder in ("cifar10_resnet20", "digits"):
        study = read_study(SHIPPED.parent / folder / "varied.yaml")
        models = [run.vary[0].partition(":")[0] for run in study.runs]
        assert sorted(models) == sorted(["lognormal", "stuck_at", "thermal"] * 3)
        assert len({run.vary for run in study.runs}) == 9


def test_a_study_is_a_table_and_goes_on(folder, capsys):
    out = folder / "out"
    words = ["adapt", "--study", str(folder / "study.yaml"), "--out", str(out)]
    assert main([*words, "--epochs", "1", "--only", "layer"]) == 0
    assert "layer_seed0: epoch 1 of 1" in capsys.readouterr().err
    first = (out / "layer_seed0" / "result.json").read_bytes()
    assert main([*words, "--epochs", "1"]) == 2
    assert "add --resume" in capsys.readouterr().err
    assert main([*words, "--epochs", "1", "--resume", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["runs"]
    assert [(row["run"], row["seed"]) for row in rows] == [("layer", 0), ("column", 0), ("column", 1)]
    assert (out / "layer_seed0" / "result.json").read_bytes() == first
    logged = list(csv.DictReader((out / "results.csv").open()))
    assert [row["run"] for row in logged] == ["layer", "column", "column"]
    assert logged[1]["converter"] == "linear 4 column mse"
    assert 0 <= float(logged[0]["accuracy_held_out"]) <= 1
    assert float(logged[0]["standard_error_held_out"]) > 0
    assert float(logged[0]["seconds"]) > 0
    assert all((out / name / "network.onnx").is_file() for name in ("layer_seed0", "column_seed0", "column_seed1"))
    for row in rows:
        (answers,) = read_answers(out / f"{row['run']}_seed{row['seed']}" / "answers.csv").values()
        assert answers.right.mean() == row["accuracy_held_out"]


def test_answers_are_those_of_the_epoch_that_is_kept(folder, tiny_test):
    """A rate that ruins the second epoch: the first is kept, and it is the one that answers."""
    study = read_study(folder / "study.yaml", {"train.rates.weights": 5.0, "train.schedule": "constant"})
    (row,) = run_study(study, folder / "ruined", folder=folder, only=["layer"])
    place = folder / "ruined" / "layer_seed0"
    assert row["kept_epoch"] < 2
    (answers,) = read_answers(place / "answers.csv").values()
    network = lower(cimemu.load_network(place / "network.onnx"))
    emulated = cimemu.run(cimemu.load_arch("rram_128", study.set), network, tiny_test.inputs(slice(None)))
    assert np.array_equal(answers.given, emulated.predictions)
    assert answers.right.mean() == row["accuracy_held_out"]


def test_a_study_that_is_like_another_changes_what_it_says(folder):
    text = "like: study.yaml\nfirst_weights: true\ntrain: {epochs: 1, rates: {scales: 0.002}}\n"
    (folder / "like.yaml").write_text(text)
    base, like = (read_study(folder / name) for name in ("study.yaml", "like.yaml"))
    train = base.train.model_copy(update={"epochs": 1, "rates": Rates(scales=0.002)})
    assert like == base.model_copy(update={"first_weights": True, "train": train})
    for text, message in (
        ("like: like.yaml\n", "is like another file itself"),
        ("like: 3\n", "must be the name"),
        ("like: absent.yaml\n", "absent.yaml"),
    ):
        (folder / "wrong.yaml").write_text(text)
        with pytest.raises(WorkloadError, match=message):
            read_study(folder / "wrong.yaml")


def test_first_weights_are_those_of_the_seed_alone(folder):
    """Two networks of one shape: what they held is forgotten, and the shapes are kept."""
    network = cimemu.load_network(folder / "net.onnx")
    changed = replace(
        network, constants={n: v + 1 if v.dtype == np.float32 else v for n, v in network.constants.items()}
    )
    first, other, again = (with_first_weights(net, seed) for net, seed in ((network, 0), (network, 1), (changed, 0)))
    weights = [n for n, v in network.constants.items() if v.ndim > 1]
    assert weights
    for name, value in network.constants.items():
        assert first.constants[name].shape == value.shape
        assert np.array_equal(first.constants[name], again.constants[name])
        assert np.array_equal(first.constants[name], other.constants[name]) == (name not in weights)
    study = read_study(folder / "study.yaml", {"first_weights": True, "train.epochs": 1, "train.images_per_epoch": 32})
    rows = run_study(study, folder / "scratch", folder=folder, only=["layer"])
    assert rows[0]["untrained_accuracy_held_out"] < 0.6


def test_the_full_studies_are_the_small_ones_with_another_budget():
    pairs = [("paper_settings", "paper_settings_full"), ("study", "study_full")]
    for small, full in ((read_study(SHIPPED / f"{a}.yaml"), read_study(SHIPPED / f"{b}.yaml")) for a, b in pairs):
        assert (small.runs, small.set, small.data, small.network) == (full.runs, full.set, full.data, full.network)
        assert (full.train.epochs, full.train.device, full.first_weights) == (200, "cuda", True)
        assert full.train.images_per_epoch is None


def test_a_study_for_a_device_that_is_not_there_is_one_line(tmp_path, capsys):
    if torch.cuda.is_available():
        pytest.skip("CUDA is here")
    words = ["adapt", "--study", str(SHIPPED / "study_full.yaml"), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert capsys.readouterr().err == "cimemu: device = cuda: PyTorch sees 0 CUDA devices here, use cpu\n"
    assert not (tmp_path / "out").exists()


def test_an_interrupted_run_goes_on_from_its_checkpoint(folder):
    study = read_study(folder / "study.yaml", {"train.evaluate_first": False})

    def stop(name, row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study, folder / "cut", folder=folder, only=["layer"], report=stop)
    assert (folder / "cut" / "layer_seed0" / "checkpoint.pt").is_file()
    seen = []
    rows = run_study(
        study,
        folder / "cut",
        folder=folder,
        only=["layer"],
        resume=True,
        report=lambda name, row: seen.append(row["epoch"]),
    )
    assert seen == [2]
    whole = run_study(study, folder / "whole", folder=folder, only=["layer"])
    same = ("loss", "train_accuracy", "accuracy_held_out")
    assert [rows[0][key] for key in same] == [whole[0][key] for key in same]
    networks = [(folder / place / "layer_seed0" / "network.onnx").read_bytes() for place in ("cut", "whole")]
    assert networks[0] == networks[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: column", "name: layer", "run layer with seed 0 is there twice"),
        ("rates.weights: 0.02", "rates.wheights: 0.02", "rates.wheights = 0.02, no such key"),
        ("scheme: column", "scheme: row", "no such scheme"),
        ("runs:", "runns:", "runs: missing, give a value"),
    ],
)
def test_mistakes_in_a_study_are_one_line(folder, tmp_path, old, new, message):
    (tmp_path / "study.yaml").write_text(STUDY.replace(old, new))
    with pytest.raises(WorkloadError, match=message):
        read_study(tmp_path / "study.yaml")


def test_options_that_a_study_does_not_take(folder, capsys):
    words = ["adapt", "--study", str(folder / "study.yaml")]
    assert main(words) == 2
    assert "give --out DIR" in capsys.readouterr().err
    assert main([*words, "--out", str(folder / "x"), "--scheme", "layer"]) == 2
    assert "--scheme with --study" in capsys.readouterr().err
    assert main([*words, "--out", str(folder / "x"), "--only", "nothing"]) == 2
    assert "run 'nothing': not in the study" in capsys.readouterr().err
