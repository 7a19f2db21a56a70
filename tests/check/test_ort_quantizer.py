"""Networks quantised by ONNX Runtime's own static quantiser, every form, against ONNX Runtime on the very file."""

import csv
import logging
import os
import sys
from itertools import product
from pathlib import Path

import h5py
import numpy as np
import pytest

import cimemu
from cimemu.check.network import check_network

quantization = pytest.importorskip("onnxruntime.quantization")
pytestmark = pytest.mark.filterwarnings("ignore")
STUDY = Path(__file__).parent.parent.parent / "workloads/studies/ort_quantiser"
SAMPLE = [
    ("tcn", "QDQ s16s16"), ("squeezenet", "QDQ, every third excluded"), ("mlp_mixer", "dynamic s8 per channel"),
    ("shufflenet_v2", "QOperator u8s8 per channel"), ("convnext", "QDQ u8s4"), ("distilbert", "QDQ, DedicatedQDQPair"),
]  # fmt: skip
NEEDS_DATA = pytest.mark.skipif("CIMEMU_DATA" not in os.environ, reason="CIMEMU_DATA names no folder of networks")
# (activations, weights): ONNX Runtime does not quantise to int8 activations with uint8 weights
TYPES = [("QUInt8", "QInt8"), ("QUInt8", "QUInt8"), ("QInt8", "QInt8")]
FORMS = list(product(["QDQ", "QOperator"], TYPES, [False, True]))
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


def cifar(count):
    with h5py.File(Path(os.environ["CIMEMU_DATA"]) / "data/dev/cifar10_test_exact_dev.h5") as file:
        stored = file["images"][:count]
    return ((stored.astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2).copy()


class Reader(quantization.CalibrationDataReader):
    def __init__(self, images):
        self.batches = iter([{"input": images[i : i + 2]} for i in range(0, len(images), 2)])

    def get_next(self):
        return next(self.batches, None)


def quantized_file(tmp_path, name, images, form):
    logging.disable(logging.WARNING)
    style, (activations, weights), per_channel = form
    source = Path(os.environ["CIMEMU_DATA"]) / f"networks/{name}.onnx"
    quantization.shape_inference.quant_pre_process(str(source), str(tmp_path / "pre.onnx"), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(tmp_path / "pre.onnx"),
        str(tmp_path / "q.onnx"),
        Reader(images),
        quant_format=quantization.QuantFormat[style],
        activation_type=quantization.QuantType[activations],
        weight_type=quantization.QuantType[weights],
        per_channel=per_channel,
    )
    logging.disable(logging.NOTSET)
    return tmp_path / "q.onnx"


def nothing_differs(path, images, macro, layers, elements):
    network = cimemu.quantize(cimemu.load_network(path), cimemu.load_arch("rram_128"))
    found = check_network(network, macro, images)
    assert found.inexact == ()
    assert found.differing == 0, [d for d in found.tensors if d.differing][:3]
    assert found.elements >= elements
    assert (found.bit_serial_layers, found.shortcut_layers, found.unfused) == (layers, 0, 0)
    assert found.kernels["QLinearConv"] + found.kernels.get("QGemm", 0) == layers
    return network


@NEEDS_DATA
@pytest.mark.parametrize(
    "form", [pytest.param(form, id=str(form), marks=[pytest.mark.slow] * (n % 3 != 0)) for n, form in enumerate(FORMS)]
)
def test_resnet20(tmp_path, form):
    path = quantized_file(tmp_path, "resnet20_cifar10", cifar(6), form)
    nothing_differs(path, cifar(2), cimemu.load_arch("rram_128").macro, 20, 570_000)


@pytest.mark.slow
@NEEDS_DATA
@pytest.mark.parametrize(
    "overrides",
    [
        {"macro.weight.encoding": "twos_complement", "macro.active_rows": 40},
        {"macro.weight.encoding": "differential", "macro.weight.bits": 9, "macro.cell.bits": 2},
        {"macro.cell.bits": 4, "macro.input.dac_bits": 4},
    ],
)
@pytest.mark.parametrize("form", [FORMS[2], pytest.param(FORMS[-1], marks=pytest.mark.slow)], ids=str)
def test_resnet20_in_other_encodings_and_slicings(tmp_path, form, overrides):
    path = quantized_file(tmp_path, "resnet20_cifar10", cifar(6), form)
    nothing_differs(path, cifar(1), cimemu.load_arch("rram_128", overrides).macro, 20, 280_000)


@NEEDS_DATA
@pytest.mark.slow
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(form, id=str(form), marks=[pytest.mark.long] * (number % 6 != 0))
        for number, form in enumerate(FORMS)
    ],
)
def test_efficientnet_lite0(tmp_path, form):
    images = np.random.default_rng(0).normal(0, 0.6, (3, 3, 224, 224)).astype(np.float32).clip(-1, 1)
    path = quantized_file(tmp_path, "efficientnet_lite0_imagenet", images[:2], form)
    nothing_differs(path, images[2:], cimemu.load_arch("rram_128").macro, 50, 7_000_000)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "setting"), SAMPLE)
def test_a_sample_of_the_study(tmp_path, monkeypatch, network, setting):
    """A row of `workloads/studies/ort_quantiser` measured again; `measure.py` measures all of them."""
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(STUDY)
    monkeypatch.delitem(sys.modules, "measure", raising=False)  # another study's
    import measure

    logging.disable(logging.WARNING)
    row = measure.measured(network, setting, tmp_path)
    logging.disable(logging.NOTSET)
    assert (row["verdict"], row["integers_differ"], row["floats_beyond_bound"]) == ("agrees", 0, 0), row
    assert row["layers_on_macros"] > 0
    assert row["integers"] > 0


def test_the_table_of_the_study_has_no_traceback_and_integer_operators_never_differ():
    with (STUDY / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["verdict"] for row in rows} <= {"agrees", "not made", "differs"}
    differ = {row["setting"] for row in rows if row["verdict"] == "differs"}
    assert all(any(width in setting for width in ("s4", "u4", "16")) for setting in differ), differ
    assert len({row["network"] for row in rows}) == 9
