"""`cimemu adapt` from the command line: options, files, one line for every mistake."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from cimemu.adapt.library import torch_of
from cimemu.cli import main

CONFIG = """
train: {epochs: 3, images_per_epoch: 96, batch: 32, rates: {weights: 0.05}, threads: 1, checkpoint_minutes: 1.0e-9}
data:
  train: {file: train.npz}
  test: {held_out: {file: test.npz}}
  preprocess: {stored: nhwc, divide: 255, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
"""


@pytest.fixture
def folder(saved_sets) -> Path:
    (saved_sets / "config.yaml").write_text(CONFIG)
    return saved_sets


def scratch(folder: Path, *more: str) -> list[str]:
    return ["adapt", "--from-scratch", "resnet8", "--config", str(folder / "config.yaml"), *more]


def checkpoint_weights(path: Path) -> dict[str, bytes]:
    state = torch_of().load(path, weights_only=True)["model"]
    return {name: value.numpy().tobytes() for name, value in state.items()}


def test_from_scratch_writes_network_and_metrics(folder, capsys):
    out, metrics = folder / "net.onnx", folder / "m.csv"
    assert main(scratch(folder, "-o", str(out), "--metrics", str(metrics), "--epochs", "2", "--batch", "48")) == 0
    printed = capsys.readouterr()
    assert "epoch 2 of 2, loss" in printed.err
    assert "0.0 minutes left" in printed.err
    assert "accuracy_held_out" in printed.out
    assert out.is_file()
    rows = list(csv.DictReader(metrics.open()))
    assert [row["images"] for row in rows] == ["96", "96"]


@pytest.mark.long
@pytest.mark.slow
def test_a_killed_process_is_resumed_to_the_byte(folder):
    whole, killed = folder / "whole", folder / "killed"
    assert main(scratch(folder, "-o", str(folder / "a.onnx"), "--checkpoints", str(whole))) == 0
    words = [
        sys.executable,
        "-m",
        "cimemu",
        *scratch(folder, "-o", str(folder / "b.onnx"), "--checkpoints", str(killed)),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (killed / "checkpoint.pt").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (killed / "checkpoint.pt").is_file()
    assert not (folder / "b.onnx").exists()
    assert main(scratch(folder, "-o", str(folder / "b.onnx"), "--checkpoints", str(killed), "--resume")) == 0
    assert checkpoint_weights(killed / "checkpoint.pt") == checkpoint_weights(whole / "checkpoint.pt")
    assert (folder / "b.onnx").read_bytes() == (folder / "a.onnx").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--from-scratch: give --out FILE.onnx"),
        (("-o", "x.onnx", "--scheme", "column"), "leave ARCH, NETWORK and --scheme out"),
        (("-o", "x.onnx", "--epochs", "0"), "--epochs = 0, must be >= 1"),
        (("-o", "x.onnx", "--key", "train.rate=1"), "train.rate = 1, no such key; did you mean rates?"),
        (("-o", "x.onnx", "--key", "gradient=smooth"), "gradient = 'smooth', must be 'proper' or 'public'"),
        (("-o", "x.onnx", "--vary", "lognorm:sigma=1"), "did you mean lognormal"),
        (("-o", "x.onnx", "--device", "tpu"), "train.device = 'tpu'"),
        (("-o", "x.onnx", "--device", "cuda:77"), "device = cuda:77: PyTorch sees"),
        (("-o", "x.onnx", "--resume"), "--resume: needs --checkpoints DIR"),
        (("-o", "x.onnx", "--resume", "--checkpoints", "nothing"), "no checkpoint to resume"),
        (("-o", "x.onnx", "--data", "absent.npz"), "absent.npz: no such file"),
        (("-o", "x.onnx", "--verify", "4"), "--verify 4: --from-scratch trains a float network"),
        (("-o", "x.onnx", "--verify", "0"), "--verify = 0, must be >= 1"),
    ],
)
def test_mistakes_are_one_line(folder, monkeypatch, capsys, words, message):
    monkeypatch.chdir(folder)
    assert main(scratch(folder, *words)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(folder.glob("x.onnx*"))


def test_without_a_network_or_images(capsys, tmp_path):
    assert main(["adapt"]) == 2
    assert "give ARCH and NETWORK, or --from-scratch" in capsys.readouterr().err
    assert main(["adapt", "--from-scratch", "resnet8", "-o", str(tmp_path / "x.onnx")]) == 2
    assert "no training images: name a workload" in capsys.readouterr().err
    assert main(["adapt", "--from-scratch", "resnet8", "--workload", "digits", "-o", str(tmp_path / "x.onnx")]) == 2
    assert "has no key `train`" in capsys.readouterr().err


KEYS = ("cell.bits=2", "weight.encoding=differential", "weight.subtract=analog", "input.dac_bits=4", "rows=36")
ARCH = tuple(word for key in KEYS for word in ("--set", f"macro.{key}"))
SCHEME = ("--scheme", "column", "--scheme-set", "weights.bits=4", "--scheme-set", "activations.bits=4")
SCHEME += ("--scheme-set", "converter.bits=4")


def macro_aware(folder: Path, float_file: Path, *more: str) -> list[str]:
    return ["adapt", "rram_128", str(float_file), "--config", str(folder / "config.yaml"), *SCHEME, *ARCH, *more]


def emulated(folder: Path, file: Path, capsys, *more: str) -> float:
    """Accuracy that `cimemu run` gives the network in a file."""
    (folder / "workload.yaml").write_text(
        "name: tiny\nsource: drawn\nnetwork: none.onnx\ninputs: {file: test.npz}\n"
        "preprocess: {stored: nhwc, divide: 255, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}\n"
    )
    words = ["run", "rram_128", str(folder), "--network", str(file), "--no-trace", "--json", *ARCH, *more]
    capsys.readouterr()
    assert main(words) == 0
    return json.loads(capsys.readouterr().out)["accuracy"]


def test_trained_file_gives_the_emulator_what_training_measured(folder, float_file, capsys):
    out = folder / "adapted.onnx"
    words = macro_aware(
        folder, float_file, "-o", str(out), "--json", "--rate", "0.02", "--images", "192", "--batch", "16"
    )
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    rows, kept = told["epochs"], told["kept"]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert kept["held_back_accuracy"] == max(row["held_back_accuracy"] for row in [told["start"], *rows])
    assert emulated(folder, out, capsys) == pytest.approx(kept["accuracy_held_out"])


def test_verify_compares_the_trained_module_with_the_emulator(folder, float_file, capsys, monkeypatch):
    words = macro_aware(folder, float_file, "--epochs", "1", "--images", "32", "--verify", "24")
    assert main([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["verified"]
    assert len(rows) == 8  # macro layers
    assert all(row["psums"] and row["codes"] and row["outputs"] for row in rows)
    assert not any(row[key] for row in rows for key in row if key.endswith("_differ"))

    from cimemu.adapt import exact

    monkeypatch.setattr(
        exact, "compare_with_emulator", lambda module, images: (exact.Compared("conv", 9, 0, 9, 2, 9, 1),)
    )
    assert main(words) == 1
    printed = capsys.readouterr().out
    assert "verified on 24 images, 1 macro layers: 9 psums, 9 codes, 9 outputs: 3 differ" in printed
    assert "conv: 0 psums, 2 codes, 1 outputs differ" in printed


def test_gradients_in_bfloat16_train_another_network_as_exactly(folder, float_file, capsys, monkeypatch):
    from cimemu.adapt import psum_conv

    monkeypatch.setattr(psum_conv, "has_bfloat16", lambda: False)  # told on every processor
    slow = pytest.warns(
        RuntimeWarning, match="no instructions for it, steps take several times longer; float32 is faster"
    )
    found = {}
    for kind in ("float32", "bfloat16"):
        kept = folder / kind
        words = macro_aware(folder, float_file, "--epochs", "1", "--images", "64", "--verify", "8", "--json")
        with slow if kind == "bfloat16" else nullcontext():
            assert main([*words, "--key", f"train.gradient_type={kind}", "--checkpoints", str(kept)]) == 0
        verified = json.loads(capsys.readouterr().out)["verified"]
        assert not any(row[key] for row in verified for key in row if key.endswith("_differ"))
        state = torch_of().load(kept / "checkpoint.pt", weights_only=True)["model"]
        found[kind] = torch_of().cat([v.flatten() for name, v in state.items() if name.endswith(".weight")])
    error = float((found["float32"] - found["bfloat16"]).norm() / found["float32"].norm())
    assert 0 < error < 0.1


def test_gradients_of_a_float_network_have_no_such_type(folder, capsys):
    assert main(scratch(folder, "-o", str(folder / "x.onnx"), "--key", "train.gradient_type=bfloat16")) == 2
    assert "a float network has no partial sums, leave it out" in capsys.readouterr().err


def test_macro_aware_training_is_resumed_to_the_byte(folder, float_file, capsys):
    whole, killed = folder / "whole", folder / "killed"
    noisy = ("--vary", "lognormal:sigma=0.1", "--epochs", "2")
    assert main(macro_aware(folder, float_file, *noisy, "-o", str(folder / "a.onnx"), "--checkpoints", str(whole))) == 0
    words = macro_aware(folder, float_file, *noisy, "-o", str(folder / "b.onnx"), "--checkpoints", str(killed))
    process = subprocess.Popen(
        [sys.executable, "-m", "cimemu", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    while not (killed / "checkpoint.pt").exists() and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert main([*words, "--resume"]) == 0
    assert (folder / "b.onnx").read_bytes() == (folder / "a.onnx").read_bytes()
    assert main([*words, "--resume", "--scheme-set", "converter.bits=3", "--force"]) == 2
    assert "was made with method" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--scheme", "collumn"), "no such scheme"),
        (("--scheme-set", "converter.bits=9"), "bits"),
        (("--set", "macro.rows=0"), "macro.rows = 0"),
        (("--vary", "converter:noise=1"), "only models of cells"),
        (("--key", "calibration=0"), "calibration = 0, must be >= 1"),
        (("--verify", "4", "--code-parity"), "--verify 4: code_parity is in the way"),
        (("--verify", "4", "--macros", "2", "--macros", "3"), "--verify 4: stage 1 gives float networks"),
    ],
)
def test_macro_aware_mistakes_are_one_line(folder, float_file, capsys, words, message):
    assert main([*macro_aware(folder, float_file), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_quantised_networks_are_refused(folder, float_file, capsys):
    out = folder / "q.onnx"
    assert main(macro_aware(folder, float_file, "-o", str(out), "--epochs", "1", "--images", "32")) == 0
    assert main(["adapt", "rram_128", str(out), "--config", str(folder / "config.yaml"), *ARCH]) == 2
    assert "is quantised already" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif("CIMEMU_DATA" not in os.environ, reason="CIMEMU_DATA is not set")
def test_resnet20_on_real_images_trains_and_is_the_emulators(tmp_path, capsys):
    """A few steps at 4 bits from the supplied weights: the loss falls, and `cimemu run` gives the accuracy."""
    keys = ("cell.bits=2", "weight.encoding=differential", "weight.subtract=analog", "input.dac_bits=4")
    arch = [word for key in keys for word in ("--set", f"macro.{key}")]
    out, work = tmp_path / "net.onnx", tmp_path / "fewer"
    work.mkdir()
    text = (Path(__file__).parents[2] / "workloads/cifar10_resnet20/workload.yaml").read_text()
    whole = "images: images, labels: labels}"
    assert text.count(whole) == 1
    (work / "workload.yaml").write_text(text.replace(whole, whole.replace("}", ", limit: 96}")))
    words = ["adapt", "rram_128", str(work), *arch, *SCHEME, "-o", str(out), "--json", "--threads", "2"]
    data = Path(os.environ["CIMEMU_DATA"]) / "data/train/cifar10_train_exact761.h5"
    words += ["--data", str(data), "--epochs", "2", "--images", "96", "--batch", "32", "--rate", "0.001"]
    assert (
        main(
            [
                *words,
                "--key",
                "calibration=16",
                "--key",
                "train.evaluate_first=false",
                "--key",
                "train.evaluate_every=0",
            ]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    rows, kept = told["epochs"], told["kept"]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert kept["accuracy_test"] > 0.5
    run = ["run", "rram_128", str(work), *arch, "--network", str(out), "--no-trace", "--json"]
    assert main([*run, "--threads", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == pytest.approx(kept["accuracy_test"])


def test_options_are_the_fields_that_name_one():
    from cimemu.cli.training import setting_options

    found = {option.names[0]: option for option in setting_options()}
    assert found["--images"].key == "train.images_per_epoch"
    assert found["--epochs"].key == "train.epochs", "of the outer training, not of a stage's"
    assert (found["--threads"].least, found["--threads"].most) == (1, 1024)
    assert found["--gradient"].metavar == "proper|public"
    assert found["--macros"].several
    assert not found["--scheme"].several
    assert sorted(found) == sorted(
        [
            "--batch",
            "--code-parity",
            "--device",
            "--epochs",
            "--gradient",
            "--images",
            "--macros",
            "--rate",
            "--scale-rate",
            "--scheme",
            "--scheme-set",
            "--seed",
            "--set",
            "--threads",
            "--vary",
            "--weight-decay",
        ]
    )


def test_a_command_line_changes_the_keys_of_the_config():
    from cimemu.cli.training import changes

    given = {
        "set": ["macro.rows=36"],
        "morph.macros": [4],
        "vary": ["lognormal:sigma=0.1"],
        "train.seed": 3,
        "scheme": "layer",
    }
    assert changes(given) == {**given, "set": {"macro.rows": 36}, "morph.macros": 4}
    assert changes({"morph.macros": [4, 8]}) == {"morph.macros": [4, 8]}
