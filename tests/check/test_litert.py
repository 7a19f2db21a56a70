"""TensorFlow Lite files against LiteRT's reference kernels, every tensor, on the bit-serial path."""

import contextlib
import io
import json
import os
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest

import cimemu
from cimemu.check.network import check_network
from cimemu.cli import main
from cimemu.layer.execute import run_float

pytestmark = pytest.mark.skipif("CIMEMU_DATA" not in os.environ, reason="CIMEMU_DATA names no folder of networks")
TINY = ["ad01_int8", "kws_ref_model", "pretrainedResnet_quant", "vww_96_int8", "str_ww_ref_model"]
CORAL = [
    "mobilenet_v1_0.25_128_quant",
    "mobilenet_v1_0.5_160_quant",
    "mobilenet_v1_0.75_192_quant",
    "mobilenet_v2_1.0_224_quant",
]
ARCH = cimemu.load_arch("rram_128")


def path(name):
    folder = "coral" if name in CORAL else "mlperf_tiny"
    return Path(os.environ["CIMEMU_DATA"]) / f"networks/{folder}/{name}.tflite"


def random_inputs(network, count, seed=0):
    kind = network.types[network.inputs[0]]
    limits = np.iinfo(kind.dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max + 1, (count, *kind.shape)).astype(kind.dtype)


def nothing_differs(network, macro, inputs):
    pytest.importorskip("ai_edge_litert")
    found = check_network(network, macro, inputs, against="litert")
    assert found.differing == 0, [d for d in found.tensors if d.differing][:3]
    assert found.shortcut_layers == 0
    assert found.bit_serial_layers == sum(layer.on_macros for layer in network.layers)
    assert len(found.tensors) >= len(network.layers)
    return found


@pytest.mark.parametrize("count", [2, pytest.param(64, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n != "ad01_int8")) for n in TINY],
)
def test_an_mlperf_tiny_network_equals_the_reference_kernels_on_random_inputs(name, count):
    network = cimemu.load_network(path(name))
    nothing_differs(network, ARCH.macro, random_inputs(network, count))


@pytest.mark.parametrize("name", [CORAL[0], *(pytest.param(name, marks=pytest.mark.slow) for name in CORAL[1:])])
def test_a_coral_network_equals_the_reference_kernels(name):
    network = cimemu.load_network(path(name))
    nothing_differs(network, ARCH.macro, random_inputs(network, 1))


def stored(name, key):
    with h5py.File(Path(os.environ["CIMEMU_DATA"]) / f"data/dev/{name}.h5") as file:
        return file[key][()]


def photographs(size, count):
    """ImageNet samples, the centre resized, [count, size, size, 3] uint8."""
    image = pytest.importorskip("PIL.Image")
    jpeg, offsets = stored("imagenet_samples_dev", "jpeg"), stored("imagenet_samples_dev", "offsets")[: count + 1]
    whole = [image.open(io.BytesIO(jpeg[a:b].tobytes())).convert("RGB") for a, b in pairwise(offsets)]
    centres = [one.crop((16, 16, 240, 240)).resize((size, size), image.Resampling.BILINEAR) for one in whole]
    return np.stack([np.asarray(one) for one in centres])


# network -> (workload, dataset of what the reference kernels gave on another machine, accuracy in %)
DEV = {
    "kws_ref_model": ("tiny_kws", "golden_outputs_dev:kws_ref_model.tflite/mlperftiny_kws01_dev", 90.84),
    "pretrainedResnet_quant": (
        "tiny_resnet8", "golden_outputs_dev:pretrainedResnet_quant.tflite/mlperftiny_ic01_dev", 85.39,
    ),
    "str_ww_ref_model": ("tiny_sww", "mlperftiny_sww_calibration:golden_int8_reference_kernels", 91.11),
    "ad01_int8": ("tiny_ad", "mlperftiny_ad01_sample:golden_int8_reference_kernels", None),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", DEV)
def test_all_development_samples_give_what_the_reference_kernels_gave_elsewhere(name):
    workload, golden, accuracy = DEV[name]
    network = cimemu.load_network(path(name))
    inputs, labels = cimemu.load_workload(workload).inputs()
    nothing_differs(network, ARCH.macro, inputs[:100])
    lossless = cimemu.load_arch("rram_128", {"macro.adc": "ideal"})
    result = cimemu.run(lossless, network, inputs, labels, detail=None, path="serial")
    assert np.array_equal(result.outputs, stored(*golden.split(":")))
    assert accuracy is None or round(100 * result.accuracy, 2) == accuracy


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("vww_96_int8", 96), ("mobilenet_v1_0.25_128_quant", 128)])
def test_a_hundred_photographs_give_what_the_reference_kernels_gave_elsewhere(name, size):
    network = cimemu.load_network(path(name))
    inputs = photographs(size, 100)
    if network.types[network.inputs[0]].dtype == "int8":
        inputs = (inputs.astype(np.int16) - 128).astype(np.int8)
    nothing_differs(network, ARCH.macro, inputs[:10])
    outputs = cimemu.run(cimemu.load_arch("rram_128", {"macro.adc": "ideal"}), network, inputs, detail=None).outputs
    assert np.array_equal(outputs, stored("golden_outputs_dev", f"{name}.tflite/imagenet_samples_dev"))


@pytest.mark.slow
@pytest.mark.parametrize("name", CORAL)
def test_a_coral_network_equals_the_reference_kernels_on_photographs(name):
    network = cimemu.load_network(path(name))
    inputs = photographs(network.types[network.inputs[0]].shape[0], 4)
    nothing_differs(network, ARCH.macro, inputs)


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"macro.weight.encoding": "twos_complement"}, marks=pytest.mark.slow),
        pytest.param({"macro.weight.encoding": "differential", "macro.weight.bits": 9}, marks=pytest.mark.slow),
        pytest.param(
            {
                "macro.weight.encoding": "differential",
                "macro.weight.bits": 9,
                "macro.weight.subtract": "analog",
                "macro.cell.bits": 4,
            },
            marks=pytest.mark.slow,
        ),
        pytest.param({"macro.cell.bits": 2, "macro.input.dac_bits": 4}, marks=pytest.mark.slow),
        pytest.param({"macro.weight.combine": "analog", "macro.active_rows": 9}, marks=pytest.mark.slow),
        pytest.param(
            {"macro.weight.bits": 9, "macro.cell.bits": 3, "macro.input.bits": 9, "macro.input.signed": True},
            marks=pytest.mark.slow,
        ),
        {"macro.timing.skip_zero_slices": True, "macro.mapping.groups": "separate"},
    ],
)
@pytest.mark.parametrize(
    "name", ["pretrainedResnet_quant", pytest.param("mobilenet_v1_0.25_128_quant", marks=pytest.mark.slow)]
)
def test_every_encoding_and_slicing_gives_the_same_integers(name, overrides):
    macro = cimemu.load_arch("rram_128", overrides).macro
    network = cimemu.load_network(path(name))
    nothing_differs(network, macro, random_inputs(network, 1))


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        pytest.param("ad01_fp32", 1e-4, marks=pytest.mark.slow),
        pytest.param("pretrainedResnet", 1e-5, marks=pytest.mark.slow),
        pytest.param("vww_96_float", 1e-5, marks=pytest.mark.slow),
        ("pretrainedResnet_large_float", 1e-5),
    ],
)
def test_a_float_network_gives_what_litert_gives_and_is_quantised_like_any_other(name, tolerance):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    network = cimemu.load_network(path(name))
    shape = network.types[network.inputs[0]].shape
    x = np.abs(np.random.default_rng(0).normal(size=(3, *shape))).astype(np.float32)
    ours = run_float(network, {network.inputs[0]: x}, [network.outputs[0]])[network.outputs[0]]
    other = interpreter.Interpreter(model_path=str(path(name)))
    other.allocate_tensors()
    for number in range(len(x)):
        other.set_tensor(other.get_input_details()[0]["index"], x[number : number + 1])
        other.invoke()
        theirs = other.get_tensor(other.get_output_details()[0]["index"])
        assert np.abs(ours[number] - theirs[0]).max() <= tolerance
    quantized = cimemu.quantize(network, ARCH, calibration=x)
    result = cimemu.run(ARCH, quantized, x)
    assert result.outputs.shape == ours.shape
    assert result.cycles > 0


def test_the_command_compares_with_litert(tmp_path, monkeypatch, capsys):
    pytest.importorskip("ai_edge_litert")
    monkeypatch.chdir(tmp_path)
    assert main(["check", "rram_128", "tiny_kws", "--against", "litert", "--images", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["differing"] == 0
    assert found["against"].startswith("LiteRT reference kernels")
    assert main(["check", "rram_128", "digits", "--against", "litert", "--images", "3"]) == 2
    assert "did not come from a .tflite file" in capsys.readouterr().err


@pytest.mark.parametrize("step", ["allocate_tensors", "set_tensor", "invoke"])
def test_what_litert_refuses_is_one_line(monkeypatch, step):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    network = cimemu.load_network(path("ad01_int8"))

    def refuse(*args):
        raise RuntimeError("no kernel\nfor it")

    monkeypatch.setattr(interpreter.Interpreter, step, refuse)
    with pytest.raises(cimemu.WorkloadError, match="LiteRT does not take it: no kernel for it"):
        check_network(network, ARCH.macro, random_inputs(network, 1))


def test_the_form_is_the_operator_of_the_reference_kernels():
    pytest.importorskip("ai_edge_litert")
    network = cimemu.load_network(path("ad01_int8"))
    found = check_network(network, ARCH.macro, random_inputs(network, 2))
    assert {found.form(diff.name).operator for diff in found.tensors} == {"FULLY_CONNECTED, reference kernel"}


@pytest.mark.parametrize("cut", [0, 6, 100, 5000, 40000])
def test_a_truncated_file_is_one_line(tmp_path, cut):
    broken = tmp_path / "x.tflite"
    broken.write_bytes(path("kws_ref_model").read_bytes()[:cut])
    with pytest.raises(cimemu.WorkloadError) as caught:
        cimemu.load_network(broken)
    assert "\n" not in str(caught.value)


def test_flipped_bytes_never_crash(tmp_path):
    whole = bytearray(path("str_ww_ref_model").read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(8, len(whole), 20):
            damaged[place] = int(rng.integers(0, 256))
        (tmp_path / "x.tflite").write_bytes(damaged)
        with contextlib.suppress(cimemu.CimemuError):
            cimemu.load_network(tmp_path / "x.tflite")
