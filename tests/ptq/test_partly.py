"""Files that a quantiser left partly in float: on the digital unit in float32, or quantised for macros on request."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from partly import partly_quantised

import cimemu
from cimemu.check.network import check_network
from cimemu.cli import main
from cimemu.lower import left_in_float

ORT = pytest.importorskip("onnxruntime")


@pytest.fixture
def file(tmp_path):
    return partly_quantised(tmp_path / "partly.onnx")


def images(count=6):
    return np.random.default_rng(5).normal(size=(count, 2, 6, 6)).astype(np.float32)


def right(path, x):
    return ORT.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def test_a_float_product_runs_on_the_digital_unit_and_is_charged_two_operations_a_mac(file):
    arch = cimemu.load_arch("rram_128", {"macro.adc": {"model": "ideal"}})
    network = cimemu.quantize(cimemu.load_network(file), arch)
    assert [layer.name for layer in left_in_float(network)] == ["head"]
    assert np.allclose(cimemu.run(arch, network, images()).outputs, right(file, images()), atol=1e-5)
    plan = {layer.name: layer for layer in cimemu.make_plan(network, arch).layers}
    assert plan["head"].digital_ops == 2 * 48 * 5
    assert not plan["head"].on_macros
    found = check_network(network, arch.macro, images())
    assert not found.failed
    assert found.integers.elements > 0


def test_quantised_on_request_it_runs_on_macros_and_what_is_written_runs_as_well(file, tmp_path):
    arch = cimemu.load_arch("rram_128", {"macro.adc": {"model": "ideal"}})
    network = cimemu.quantize(cimemu.load_network(file), arch, images(), float_layers="quantize")
    assert [layer.name for layer in network.layers if layer.on_macros] == ["conv", "head"]
    assert left_in_float(network) == ()
    made = cimemu.run(arch, network, images()).outputs
    assert np.abs(made - right(file, images())).max() < 0.05 * np.abs(made).max()
    assert not check_network(network, arch.macro, images()).failed
    cimemu.save_onnx(network, tmp_path / "whole.onnx")
    again = cimemu.quantize(cimemu.load_network(tmp_path / "whole.onnx"), arch)
    assert np.array_equal(cimemu.run(arch, again, images()).outputs, made)


def test_the_integers_that_the_file_has_stay_what_they_are(file):
    arch = cimemu.load_arch("rram_128", {"macro.adc": {"model": "ideal"}})
    plain = cimemu.quantize(cimemu.load_network(file), arch)
    whole = cimemu.quantize(cimemu.load_network(file), arch, images(), float_layers="quantize")
    convs = [next(layer for layer in net.layers if layer.name == "conv") for net in (plain, whole)]
    assert np.array_equal(convs[0].weight, convs[1].weight)
    assert np.array_equal(convs[0].stage.multiplier, convs[1].stage.multiplier)


def test_run_names_what_is_left_in_float(file, capsys):
    assert main(["run", file, "-n", "2", "--no-trace", "--explain"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 product is left in float by the file and made in float32 on the digital unit: head" in said
    assert "head: digital unit, float32 not macros: the file leaves it in float" in said


def test_run_quantises_it_where_the_user_says_so(file, capsys):
    assert main(["run", file, "-n", "2", "--no-trace", "--float-layers", "quantize", "--json", "--explain"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [layer["layer"] for layer in told["engines"]] == ["conv", "head"]
    assert not any("left in float" in note for note in told["notes"])
    assert any("calibrated" in note for note in told["notes"])


def test_the_trace_says_where_it_was_computed(file, tmp_path):
    arch = cimemu.load_arch("rram_128")
    network = cimemu.quantize(cimemu.load_network(file), arch)
    cimemu.run(arch, network, images(1), trace=tmp_path / "t.h5")
    layers = cimemu.open_trace(tmp_path / "t.h5").layers
    assert dict(zip(layers["name"], layers["path"]))["head"] == "digital float32"


@pytest.mark.parametrize("words", [["--float-layers", "both"]])
def test_another_word_is_refused_in_one_line(file, words, capsys):
    assert main(["run", file, "--no-trace", *words]) == 2
    assert "--float-layers both: must be digital or quantize" in capsys.readouterr().err


def test_quantizing_what_is_left_needs_images(file):
    with pytest.raises(cimemu.CimemuError, match="leaves head in float, give calibration images"):
        cimemu.quantize(cimemu.load_network(file), cimemu.load_arch("rram_128"), float_layers="quantize")


def test_a_file_of_which_macros_would_do_nothing_is_refused_with_the_remedy(tmp_path):
    node = helper.make_node
    nodes = [node("DequantizeLinear", ["w", "s"], ["wd"]), node("MatMul", ["x", "wd"], ["y"], name="only")]
    graph = helper.make_graph(
        nodes,
        "weights_alone",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [
            numpy_helper.from_array(np.arange(12, dtype=np.int8).reshape(4, 3), "w"),
            numpy_helper.from_array(np.float32(0.1), "s"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "n.onnx")
    network, arch = cimemu.load_network(tmp_path / "n.onnx"), cimemu.load_arch("rram_128")
    with pytest.raises(cimemu.CimemuError, match="--float-layers quantize"):
        cimemu.quantize(network, arch)
    x = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    made = cimemu.quantize(network, arch, x, float_layers="quantize")
    assert [layer.weight.tolist() for layer in made.layers if layer.on_macros] == [
        np.arange(12).reshape(4, 3).T[:, :, None, None].tolist()
    ]
