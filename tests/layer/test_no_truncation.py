"""Converter levels that are no integers reach every integer output rounded to the nearest, whole networks on macros."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cimemu

MACRO = {
    "rows": 16, "columns": 32, "weight": {"bits": 8, "encoding": "differential"}, "input": {"bits": 8},
    "adc": {"model": "linear", "bits": 4, "lsb": 0.75, "zero": 0.0},
}  # fmt: skip


@pytest.mark.parametrize(("op", "shape"), [("ConvInteger", (8, 1, 1, 1)), ("MatMulInteger", (8, 1))])
def test_an_integer_product_of_levels_that_are_no_integers_is_the_nearest_integer(tmp_path, op, shape):
    w = np.array([1, -1], np.int8).reshape((2, 1, 1, 1) if op == "ConvInteger" else (1, 2))
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w"], ["y"])], "net",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["N", *shape[1:]])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, None)], [numpy_helper.from_array(w, "w")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "n.onnx")
    arch = cimemu.load_arch("rram_128", {"macro": MACRO})
    x = np.arange(8, dtype=np.uint8).reshape(shape)
    y = cimemu.run(arch, cimemu.load_network(tmp_path / "n.onnx"), x, detail=None).outputs.reshape(8, 2)
    # Every raised bit of x is converted to 0.75: 0, .75, 1.5, 2.25, 3, 3.75, 4.5, 5.25, ties to even.
    assert y.T.tolist() == [[0, 1, 2, 2, 3, 4, 4, 5], [0, -1, -2, -2, -3, -4, -4, -5]]
    levels = cimemu.mvm(np.arange(8).reshape(8, 1), w.reshape(1, 2).astype(int), cimemu.Macro.model_validate(MACRO)).y
    assert (y == np.rint(levels)).all()
