"""A small file that its quantiser left partly in float."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def partly_quantised(path, seed=0, *, bias=True):
    """A QDQ convolution with a float Gemm behind it, saved at `path`."""
    rng = np.random.default_rng(seed)
    constants = {
        "xs": np.float32(0.05), "z": np.uint8(120), "wz": np.int8(0), "ws": np.float32(0.01), "ys": np.float32(0.2),
        "w": rng.integers(-99, 99, (3, 2, 3, 3)).astype(np.int8),
        "fw": rng.normal(size=(48, 5)).astype(np.float32), "fb": rng.normal(size=5).astype(np.float32),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "xs", "z"], ["xq"]),
        node("DequantizeLinear", ["xq", "xs", "z"], ["xd"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
        node("Conv", ["xd", "wd"], ["r"], name="conv"),
        node("QuantizeLinear", ["r", "ys", "z"], ["yq"]),
        node("DequantizeLinear", ["yq", "ys", "z"], ["c"]),
        node("Flatten", ["c"], ["flat"]),
        node("Gemm", ["flat", "fw", "fb"] if bias else ["flat", "fw"], ["y"], name="head"),
    ]
    graph = helper.make_graph(
        nodes,
        "partly",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return str(path)
