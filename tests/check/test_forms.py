"""Reference and emulator see the same unit; every tensor names the form that was compared; refusals are one line."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_nets import ARCH, dequantize, images, load, node, product, quantize, scales, write

import cimemu
from cimemu.check import forms, onnxruntime_runner
from cimemu.check.forms import Form, forms_of
from cimemu.check.network import check_network
from cimemu.check.unfused import ONE, keep_apart
from cimemu.cli import main

pytest.importorskip("onnxruntime")


def convolution(path, batch):
    rng = np.random.default_rng(0)
    constants = {**scales(x=0.05, w=0.01, y=0.2), "w": rng.integers(-99, 99, (3, 2, 3, 3)).astype(np.int8)}
    nodes = [
        quantize("xq", "x", "x"), dequantize("xd", "xq", "x"), dequantize("wd", "w", "w"),
        node("Conv", ["xd", "wd"], ["r"]), quantize("yq", "r", "y"), dequantize("y", "yq", "y"),
    ]  # fmt: skip
    return load(write(path, nodes, [("x", "f", [batch, 2, 6, 6])], [("y", "f")], constants))


@pytest.mark.parametrize("batch", ["N", 1, 2, 4])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_fixed_batch_is_fed_image_by_image(tmp_path, batch, count):
    found = check_network(convolution(tmp_path / "n.onnx", batch), ARCH.macro, images(count, 2, 6, 6))
    assert (found.images, found.status) == (count, "agrees")
    assert found.elements == count * (72 + 48 + 48)


def dynamic(path, batch):
    rng = np.random.default_rng(0)
    constants = {"w": rng.integers(-99, 99, (8, 5)).astype(np.int8), "wz": np.int8(0), "ws": np.float32(0.01)}
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), node("MatMulInteger", ["q", "w", "z", "wz"], ["a"]),
        node("Cast", ["a"], ["af"], to=TensorProto.FLOAT), node("Mul", ["s", "ws"], ["m"]), node("Mul", ["af", "m"], ["y"]),
    ]  # fmt: skip
    return load(write(path, nodes, [("x", "f", [batch, 8])], [("y", "f"), ("a", "i32")], constants))


@pytest.mark.parametrize("batch", ["N", 1, 3])
@pytest.mark.parametrize("together", [1, 2, 64])
def test_scales_are_made_from_one_image(tmp_path, batch, together):
    x = images(5, 8) * np.array([[1], [3], [10], [0], [0.1]], np.float32)
    found = check_network(dynamic(tmp_path / "n.onnx", batch), ARCH.macro, x, batch=together)
    assert (found.images, found.status) == (5, "agrees")
    rows = {diff.name: diff for diff in found.tensors}
    assert rows["a"].elements == 25
    assert rows["q"].elements == 40
    assert rows["z"].elements == 5


def test_forms_tell_fused_from_unfused(tmp_path):
    network = product(tmp_path / "n.onnx")
    found = check_network(network, ARCH.macro, images(2, 12))
    assert found.form("yq") == Form("QLinearMatMul", fused=True)
    assert found.form("xq") == Form("QuantizeLinear")
    assert found.form("nothing").operator == "not told by the reference"
    assert found.settings["session.x64quantprecision"] in ("0", "1")
    rows = {row["name"]: row["form"] for row in found.as_dict()["compared"]}
    assert rows == {"xq": "QuantizeLinear", "yq": "QLinearMatMul, fused", "y": "DequantizeLinear"}


def own_bias(path, op, per_channel, behind=()):
    """A product whose bias has a scale of its own."""
    weight = np.array([[1, 2], [3, -4]], np.int8)
    constants = {
        **scales(x=0.5, w=0.25, y=0.125),
        "w": weight if op == "Gemm" else weight.reshape(2, 2, 1, 1),
        "b": np.array([8, -16], np.int32),
        "b_s": np.array([0.25, 0.0625], np.float32) if per_channel else np.float32(0.5),
        "b_z": np.zeros(2 if per_channel else (), np.int32),
    }
    last = behind[-1].output[0] if behind else "r"
    nodes = [
        quantize("xq", "x", "x"), dequantize("xd", "xq", "x"), dequantize("wd", "w", "w"),
        node("DequantizeLinear", ["b", "b_s", "b_z"], ["bd"], **({"axis": 0} if per_channel else {})),
        node(op, ["xd", "wd", "bd"], ["r"], name="p", **({"transB": 1} if op == "Gemm" else {})), *behind,
        quantize("yq", last, "y"), dequantize("y", "yq", "y"),
    ]  # fmt: skip
    return load(write(path, nodes, [("x", "f", ["N", 2] if op == "Gemm" else ["N", 2, 3, 3])], [("y", "f")], constants))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("op", ["Gemm", "Conv"])
def test_a_product_whose_fusion_drops_a_bias_scale_is_compared_unfused_and_says_so(tmp_path, op, per_channel, relu):
    network = own_bias(tmp_path / "n.onnx", op, per_channel, [node("Relu", ["r"], ["t"])] if relu else ())
    found = check_network(network, ARCH.macro, 5 * (images(40, 2) if op == "Gemm" else images(40, 2, 3, 3)))
    assert found.status == "agrees"
    assert f"{op} unfused" in found.form("yq").text
    assert op in found.kernels or f"Fused{op}" in found.kernels
    assert not {"QGemm", "QLinearConv"} & set(found.kernels)


def test_codes_of_a_product_that_ran_in_float_may_be_a_tie_apart_and_no_more(tmp_path, monkeypatch):
    """x = 1, bias 0.0625 = half a step of the output: a float sum may end on either side; 1.0 off is a fault."""
    network = own_bias(tmp_path / "n.onnx", "Gemm", True)
    x = np.round(images(40, 2)) / 2
    plain = onnxruntime_runner.OrtRun.tensors
    for off, status in ((0, "agrees"), (3, "differs")):

        def shifted(self, inputs, net, first=0, off=off):
            values = plain(self, inputs, net, first)
            return {**values, "yq": (values["yq"] + np.int8(off)).astype(np.int8)}

        monkeypatch.setattr(onnxruntime_runner.OrtRun, "tensors", shifted)
        assert check_network(network, ARCH.macro, x).status == status


def test_an_operator_kept_apart_gives_the_same_values(tmp_path):
    import onnxruntime

    path = tmp_path / "n.onnx"
    product(path)
    model = onnx.load(path)
    apart = keep_apart(model, {"r": "a test"})
    assert keep_apart(model, {}) is model
    x = images(30, 12)
    one = onnxruntime.InferenceSession(path).run(None, {"x": x})[0]
    other = onnxruntime.InferenceSession(apart.SerializeToString()).run(None, {"x": x, ONE: np.array(1, np.float32)})[0]
    assert np.abs(one - other).max() <= 0.071


def test_a_probe_names_another_rule_of_this_machine(tmp_path, monkeypatch):
    def other_rule(ran):
        return {
            name: ("rounds twice here", False)
            for n in ran.graph.node
            if n.op_type == "QLinearMatMul"
            for name in n.output
        }

    monkeypatch.setattr(onnxruntime_runner, "PROBES", (*onnxruntime_runner.PROBES, other_rule))
    found = check_network(product(tmp_path / "n.onnx"), ARCH.macro, images(2, 12))
    assert found.other_forms == ("yq",)
    assert found.form("yq").text == "QLinearMatMul, fused: rounds twice here"
    assert found.as_dict()["other_forms"] == ["yq"]


def test_layout_moves_are_looked_through():
    written = helper.make_graph([node("Conv", ["x", "w"], ["y"])], "g", [], [])
    ran = helper.make_graph([node("FusedConv", ["x", "w"], ["t"]), node("ReorderOutput", ["t"], ["y"])], "g", [], [])
    assert forms_of(helper.make_model(written), helper.make_model(ran), (), {})["y"] == Form("FusedConv", fused=True)
    assert forms.LAYOUT


def test_what_a_runtime_refuses_is_one_line(tmp_path, monkeypatch):
    network = product(tmp_path / "n.onnx")

    def refuse(*args, **kwargs):
        raise RuntimeError("no kernel\nfor it")

    with monkeypatch.context() as patch:
        patch.setattr(onnxruntime_runner, "make_session", refuse)
        with pytest.raises(cimemu.WorkloadError, match="ONNX Runtime does not take it: no kernel for it"):
            check_network(network, ARCH.macro, images(2, 12))
    with monkeypatch.context() as patch:
        patch.setattr("onnxruntime.InferenceSession.run", refuse)
        with pytest.raises(cimemu.WorkloadError, match="ONNX Runtime does not take it: no kernel for it"):
            check_network(network, ARCH.macro, images(2, 12))
    (tmp_path / "n.onnx").unlink()
    with pytest.raises(cimemu.WorkloadError, match="cannot be read any more"):
        check_network(network, ARCH.macro, images(2, 12))


def test_the_report_for_people_and_for_programs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["check", "rram_128", "digits", "--images", "2"]) == 0
    text = capsys.readouterr().out
    assert "integers: " in text
    assert " 0 differ" in text
    assert "QLinearConv" not in text.partition("What the chip")[0].partition("tensors are equal")[2]
    assert main(["check", "rram_128", "digits", "--images", "2", "--verbose"]) == 0
    assert "QLinearConv, fused" in capsys.readouterr().out
    assert "differ by more than float32 rounding in any order can explain" in text
    assert main(["check", "rram_128", "digits", "--images", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["images"]) == ("agrees", 2)
    assert found["integers"]["differing"] == found["floats"]["differing"] == 0
    assert {row["form"] for row in found["compared"]} >= {"QLinearConv, fused", "QuantizeLinear"}
    np.savez("t.npz", **{found["compared"][-1]["name"]: np.full((2, 10), np.inf, np.float32)})
    assert main(["check", "rram_128", "digits", "--images", "2", "--against", "t.npz", "--json"]) == 1
    found = json.loads(capsys.readouterr().out, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert (found["status"], found["differences"][0]["theirs"]) == ("differs", None)
