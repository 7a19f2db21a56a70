"""Constants behind QuantizeLinear and DequantizeLinear as operands of Add and Mul, scalars too, against ONNX Runtime."""

import numpy as np
import pytest
from onnx_build import model, node, save

import cimemu
from cimemu.check.ort_session import make_session
from cimemu.layer.quant import DequantizeLinear, QuantizeLinear

pytest.importorskip("onnxruntime")
ARCH = cimemu.load_arch("rram_128", {"macro.adc": "ideal"})
FORMS = {"scalar": 0.5, "one value": [0.5], "one an element": np.linspace(-1, 1, 16), "a row": [np.linspace(-1, 1, 16)]}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("first", [True, False])
def test_a_constant_operand_is_an_operand(tmp_path, form, op, first):
    constants = {
        "c": np.array(FORMS[form], np.float32), "s": np.float32(0.01), "z": np.int8(0), "xs": np.float32(0.05),
        "v": np.ones((4, 3), np.int8),
    }  # fmt: skip
    nodes = [
        node("DequantizeLinear", "x xs z", "xd"),
        node("QuantizeLinear", "c s z", "cq"), node("DequantizeLinear", "cq s z", "cd"),
        node(op, "cd xd" if first else "xd cd", "r"), node("QuantizeLinear", "r xs z", "y"),
        node("DequantizeLinear", "side xs z", "sd"), node("DequantizeLinear", "v xs z", "vd"),
        node("MatMul", "sd vd", "p"), node("QuantizeLinear", "p xs z", "q"),
    ]  # fmt: skip
    path = save(tmp_path, model(nodes, {"x": ("int8", (16,)), "side": ("int8", (4,))}, ["y", "q"], constants))
    feeds = {"x": np.arange(-128, 128, dtype=np.int8).reshape(16, 16), "side": np.ones((16, 4), np.int8)}
    network = cimemu.quantize(cimemu.load_network(path), ARCH)
    assert f"QLinear{op}" in [layer.op for layer in network.layers]
    ours = cimemu.run(ARCH, network, feeds, detail=None).outputs
    theirs = make_session(path.read_bytes()).run(["y", "q"], feeds)
    assert (ours["y"] == theirs[0]).all()
    assert (ours["q"] == theirs[1]).all()


def test_a_scalar_stays_an_array_of_no_axes():
    quantize = QuantizeLinear("q", ("x", "s", "z"), ("y",), dtype="int8")
    dequantize = DequantizeLinear("d", ("y", "s", "z"), ("x",))
    (codes,) = quantize.forward([np.array(0.5, np.float32), np.array(0.01, np.float32), np.array(1, np.int8)])
    (real,) = dequantize.forward([codes, np.array(0.01, np.float32), np.array(1, np.int8)])
    assert (codes.shape, codes.dtype, int(codes)) == ((), np.int8, 51)
    assert (real.shape, real.dtype, float(real)) == ((), np.float32, 0.5)
