"""Training with classes from outside: a converter and a weight encoding are the emulator exactly, or refused in one line."""

import json

import numpy as np
import pytest
from morph_nets import tiny_resnet
from pages import ROOT, blocks

import cimemu
from cimemu import plugins
from cimemu.adapt.settings import Rates, TrainSettings
from cimemu.cli import main
from cimemu.ptq.scheme import scheme_of

TRAIN = TrainSettings(epochs=1, images_per_epoch=32, batch=16, rates=Rates(weights=0.01), threads=1)
SMALL = {"macro.rows": 40, "macro.columns": 64}
UNSIGNED = """
from cimemu.extend import Encoding


class Plain(Encoding):
    name, summary = "plain", "weights without a sign"

    def values(self, weight_bits):
        return range(2**weight_bits)

    def parts(self, w, weight_bits):
        return [w]
"""
ODD = """
from cimemu.extend import Encoding


class Odd(Encoding):
    name, summary = "odd", "every other weight"

    def values(self, weight_bits):
        return range(1 - 2**weight_bits, 2**weight_bits, 2)

    def parts(self, w, weight_bits):
        return [(w + 2**weight_bits - 1) >> 1]

    def correction(self, weight_bits):
        from cimemu.encoding import Correction

        return Correction(2, 1 - 2**weight_bits)
"""


def code(page):
    """The class of a page of the manual."""
    found = blocks(ROOT / f"cimemu/docs/extend/{page}.md")
    return next(b.body for b in found if b.label == "python" and "\nclass " in b.body)


@pytest.fixture
def files(tmp_path):
    """The classes' files, loaded."""
    made = {}
    for name, text in {"log_adc": code("adc"), "csd": code("encoding"), "plain": UNSIGNED, "odd": ODD}.items():
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        cimemu.load_plugin(path)
        made[name] = path
    yield made
    for path in made.values():
        plugins.forget(path)


@pytest.fixture(scope="module")
def network():
    return tiny_resnet(widths=(6, 8), blocks=1)


def converted(network, data, chip, scheme):
    from cimemu.adapt.convert import convert

    arch = cimemu.load_arch("rram_128", SMALL | chip)
    return convert(network, arch, scheme_of(*scheme), calibration=data.inputs(slice(0, 32)))


def differing(module, images):
    from cimemu.adapt.exact import compare_with_emulator

    rows = compare_with_emulator(module, images)
    assert len(rows) == len(module.macro_names)
    assert all(row.psums and row.codes and row.outputs for row in rows)
    return sum(row.differ for row in rows)


LOG = {"model": "logarithmic", "bits": 4, "growth": 1.3}
CSD = {"macro.weight.encoding": "csd", "macro.cell.bits": 1}
CHIPS = {
    "converter": ({"macro.adc": LOG}, ("plain", {"weights.bits": 4})),
    "encoding": (CSD, ("layer", {"weights.bits": 4, "converter.bits": 4, "converter.method": "minmax"})),
    "encoding of the scheme": ({}, ("column", {"digits": "csd", "weights.bits": 4, "converter.method": "minmax"})),
    "both": (CSD | {"macro.adc": LOG}, ("plain", {"weights.bits": 4})),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CHIPS)
def test_a_trained_network_is_the_emulator_to_the_integer(name, files, network, tiny_train, tiny_test):
    from cimemu.adapt.train import Hooks, train

    chip, scheme = CHIPS[name]
    module = converted(network, tiny_train, chip, scheme)
    images = tiny_test.inputs(slice(0, 6))
    before = [m.weight.detach().clone() for m in module.macros]
    assert differing(module, images) == 0
    train(module, tiny_train, TRAIN, hooks=Hooks(before_step=lambda m, number, share: m.begin_step(number, share)))
    assert differing(module.eval(), images) == 0
    assert not any(bool((old == m.weight).all()) for old, m in zip(before, module.macros)), "weights learn"


@pytest.mark.parametrize("digits", ["plain", "odd"])
def test_an_encoding_that_lacks_weights_of_training_is_refused_with_its_reason(digits, files, network, tiny_train):
    with pytest.raises(
        cimemu.CimemuError, match=rf"^macro\.weight\.encoding = {digits} has no weight -\d+ at weight.bits = 8, [^\n]*$"
    ):
        converted(network, tiny_train, {"macro.weight.encoding": digits, "macro.weight.bits": 4}, ("plain",))


def test_a_converter_of_fractional_levels_is_refused_with_a_limited_accumulator(files, network, tiny_train, tmp_path):
    path = tmp_path / "half.py"
    path.write_text(code("adc").replace("np.rint(", "(0.3 + ").replace("logarithmic", "half"))
    cimemu.load_plugin(path)
    try:
        with pytest.raises(cimemu.CimemuError, match=r"^[^\n]*accumulator_bits[^\n]*integer[^\n]*$"):
            converted(
                network, tiny_train, {"macro.adc": {**LOG, "model": "half"}, "macro.accumulator_bits": 24},
                ("plain", {"weights.bits": 4}),
            )  # fmt: skip
    finally:
        plugins.forget(path)


def test_cimemu_adapt_takes_both_and_its_file_is_what_cimemu_run_measures(
    files, saved_sets, tiny_train, network, capsys
):
    from cimemu.exporter import save_onnx

    folder = saved_sets
    preprocess = "preprocess: {stored: nhwc, divide: 255, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}"
    (folder / "config.yaml").write_text(
        "train: {epochs: 1, images_per_epoch: 32, batch: 16, rates: {weights: 0.02}, threads: 1}\n"
        f"calibration: 32\ndata:\n  train: {{file: train.npz}}\n  test: {{held_out: {{file: test.npz}}}}\n  {preprocess}\n"
    )
    (folder / "workload.yaml").write_text(
        f"name: tiny\nsource: drawn\nnetwork: float.onnx\ninputs: {{file: test.npz}}\n{preprocess}\n"
    )
    save_onnx(network, folder / "float.onnx")
    arch = [f"--plugin={files['log_adc']}", f"--plugin={files['csd']}", "--set", "macro.weight.encoding=csd"]
    arch += ["--set", "macro.adc={model: logarithmic, bits: 4, growth: 1.3}", "--set", "macro.cell.bits=1"]
    out = folder / "adapted.onnx"
    words = ["adapt", "rram_128", str(folder / "float.onnx"), "--config", str(folder / "config.yaml"), "-o", str(out)]
    words += ["--scheme", "plain", "--scheme-set", "weights.bits=4", "--verify", "4", "--json", *arch]
    status = main(words)
    told = json.loads(capsys.readouterr().out)
    assert status == (0 if told["below_start"] is None else 3)
    assert not any(row[key] for row in told["verified"] for key in row if key.endswith("_differ"))
    run = ["run", "rram_128", str(folder), "--network", str(out), "--no-trace", "--json", *arch]
    assert main(run) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == pytest.approx(told["kept"]["accuracy_held_out"])
    assert np.isfinite(told["kept"]["accuracy_held_out"])
