"""Small quantised networks in ONNX for tests of `cimemu check`."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import cimemu

ARCH = cimemu.load_arch("rram_128", {"macro.adc": "ideal"})
KINDS = {"f": TensorProto.FLOAT, "i8": TensorProto.INT8, "u8": TensorProto.UINT8, "i32": TensorProto.INT32}
node = helper.make_node


def write(path, nodes, inputs, outputs, constants, opset=17):
    """A network of `inputs` (name, kind, shape) and `outputs` (name, kind)."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, KINDS[kind], shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, KINDS[kind], None) for name, kind in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def load(path):
    """The integer network of a file."""
    return cimemu.quantize(cimemu.load_network(path), ARCH)


def quantize(name, source, prefix):
    return node("QuantizeLinear", [source, f"{prefix}_s", "z"], [name])


def dequantize(name, source, prefix):
    return node("DequantizeLinear", [source, f"{prefix}_s", "z"], [name])


def scales(**values):
    """Scale constants by prefix, and the zero point that all share."""
    return {"z": np.int8(0), **{f"{prefix}_s": np.float32(value) for prefix, value in values.items()}}


def product(path, batch="N", rows=12, columns=7, behind=(), outputs=(("y", "f"),), extra=None, seed=0):
    """x -> q -> MatMul -> yq -> l, then `behind` (nodes that read l; by default l is called y)."""
    rng = np.random.default_rng(seed)
    constants = {
        **scales(x=0.05, w=0.01, y=0.07),
        "w": rng.integers(-99, 100, (rows, columns)).astype(np.int8),
        **(extra or {}),
    }
    last = "l" if behind else "y"
    nodes = [
        quantize("xq", "x", "x"), dequantize("xd", "xq", "x"), dequantize("wd", "w", "w"),
        node("MatMul", ["xd", "wd"], ["r"], name="product"), quantize("yq", "r", "y"), dequantize(last, "yq", "y"), *behind,
    ]  # fmt: skip
    return load(write(path, nodes, [("x", "f", [batch, rows])], outputs, constants))


def images(count, *shape, seed=1):
    """Random float images."""
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)
