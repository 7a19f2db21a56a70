"""Every float layer gives what ONNX Runtime gives, on 1 and on 3 images; tolerance 0 means the same bits."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "importer"))

from onnx_build import compare, model, node, save

from cimemu.importer import load_network

pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference of the float layers")

RNG = np.random.default_rng(1)


def f32(*shape):
    """Normal floats."""
    return RNG.standard_normal(shape).astype(np.float32)


def i64(*values):
    """A list of sizes or axes."""
    return np.array(values, np.int64)


IMAGE = {"x": (4, 9, 7)}
EXACT = 0.0

CONV = [
    {},
    {"strides": [2, 1]},
    {"pads": [1, 2, 0, 1]},
    {"dilations": [2, 3], "pads": [2, 3, 2, 3]},
    {"strides": [3, 2], "pads": [0, 1, 2, 1], "dilations": [1, 2]},
    {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
    {"auto_pad": "VALID"},
    {"group": 2},
    {"group": 4, "pads": [1, 1, 1, 1], "strides": [2, 2]},
]


@pytest.mark.parametrize("attributes", CONV, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_conv_with_any_geometry(tmp_path, attributes, bias):
    weight = f32(8, 4 // attributes.get("group", 1), 3, 2)
    constants = {"w": weight, "b": f32(8)} if bias else {"w": weight}
    nodes = [node("Conv", "x w b" if bias else "x w", "y", **attributes)]
    compare(save(tmp_path, model(nodes, IMAGE, ["y"], constants)))


def test_dilated_same_convolution_has_the_pads_of_its_reach(tmp_path):
    # ONNX Runtime refuses these: the kernel 3x2 reaches over 5x3, so SAME adds 4 rows and 2 columns.
    nodes = [node("Conv", "x w", "y", auto_pad="SAME_LOWER", dilations=[2, 2])]
    network = load_network(save(tmp_path, model(nodes, IMAGE, ["y"], {"w": f32(5, 4, 3, 2)})))
    assert network.layers[0].pads == (2, 1, 2, 1)
    assert network.types["y"].shape == (5, 9, 7)


def test_conv_of_one_dimension(tmp_path):
    nodes = [node("Conv", "x w b", "y", strides=[2], pads=[1, 2], dilations=[2])]
    compare(save(tmp_path, model(nodes, {"x": (3, 20)}, ["y"], {"w": f32(5, 3, 4), "b": f32(5)})))


def test_conv_in_many_chunks_is_the_same(tmp_path, monkeypatch):
    nodes = [node("Conv", "x w b", "y", pads=[1, 1, 1, 1], strides=[2, 1])]
    path = save(tmp_path, model(nodes, IMAGE, ["y"], {"w": f32(6, 4, 3, 3), "b": f32(6)}))
    monkeypatch.setattr("cimemu.layer.conv.CHUNK_BYTES", 1)
    compare(path)


# name: (nodes, inputs, constants, tolerance[, opset])
CASES = {
    "matmul_rows": ([node("MatMul", "x w", "y")], {"x": (6,)}, {"w": f32(6, 5)}, 1e-5),
    "matmul_weight": ([node("MatMul", "x w", "y")], {"x": (3, 6)}, {"w": f32(6, 5)}, 1e-5),
    "matmul_left": ([node("MatMul", "w x", "y")], {"x": (6, 2)}, {"w": f32(5, 6)}, 1e-5),
    "matmul_two": ([node("MatMul", "x z", "y")], {"x": (2, 3, 6), "z": (2, 6, 4)}, {}, 1e-5),
    "matmul_stack": ([node("MatMul", "x w", "y")], {"x": (2, 3, 6)}, {"w": f32(1, 2, 6, 4)}, 1e-5),
    "gemm": ([node("Gemm", "x w c", "y")], {"x": (6,)}, {"w": f32(6, 5), "c": f32(5)}, 1e-5),
    "gemm_scaled": (
        [node("Gemm", "x w c", "y", alpha=0.5, beta=2.0, transB=1)],
        {"x": (6,)},
        {"w": f32(5, 6), "c": f32(1, 5)},
        1e-5,
    ),
    "gemm_plain": ([node("Gemm", "x w", "y")], {"x": (6,)}, {"w": f32(6, 5)}, 1e-5),
    "batch_norm": (
        [node("BatchNormalization", "x s b m v", "y", epsilon=1e-3)],
        IMAGE,
        {"s": f32(4), "b": f32(4), "m": f32(4), "v": np.abs(f32(4))},
        1e-5,
    ),
    "layer_norm": ([node("LayerNormalization", "x s b", "y")], IMAGE, {"s": f32(7), "b": f32(7)}, 1e-5),
    "layer_norm_axes": ([node("LayerNormalization", "x s", "y", axis=2)], IMAGE, {"s": f32(9, 7)}, 1e-5),
    "relu": ([node("Relu", "x", "y")], IMAGE, {}, EXACT),
    "leaky_relu": ([node("LeakyRelu", "x", "y", alpha=0.2)], IMAGE, {}, EXACT),
    "prelu": ([node("PRelu", "x s", "y")], IMAGE, {"s": f32(4, 1, 1)}, EXACT),
    "clip": ([node("Clip", "x l h", "y")], IMAGE, {"l": np.float32(-0.5), "h": np.float32(1)}, EXACT),
    "clip_low": ([node("Clip", "x l", "y")], IMAGE, {"l": np.float32(-0.5)}, EXACT),
    "clip_attributes": ([node("Clip", "x", "y", min=0.0, max=6.0)], IMAGE, {}, EXACT, 6),
    "sigmoid": ([node("Sigmoid", "x", "y")], IMAGE, {}, 1e-6),
    "tanh": ([node("Tanh", "x", "y")], IMAGE, {}, 1e-6),
    "exp": ([node("Exp", "x", "y")], IMAGE, {}, 1e-6),
    "erf": ([node("Erf", "x", "y")], IMAGE, {}, 1e-6),
    "gelu": ([node("Gelu", "x", "y")], IMAGE, {}, 1e-5, 20),
    "gelu_tanh": ([node("Gelu", "x", "y", approximate="tanh")], IMAGE, {}, 1e-5, 20),
    "elu": ([node("Elu", "x", "y", alpha=1.5)], IMAGE, {}, 1e-6),
    "softplus": ([node("Softplus", "x", "y")], IMAGE, {}, 1e-6),
    "hard_sigmoid": ([node("HardSigmoid", "x", "y", alpha=0.3, beta=0.4)], IMAGE, {}, 1e-6),
    "hard_swish": ([node("HardSwish", "x", "y")], IMAGE, {}, 1e-6),
    "softmax": ([node("Softmax", "x", "y")], IMAGE, {}, 1e-6),
    "softmax_axis": ([node("Softmax", "x", "y", axis=1)], IMAGE, {}, 1e-6),
    "softmax_old": ([node("Softmax", "x", "y", axis=2)], IMAGE, {}, 1e-6, 11),
    "add": ([node("Add", "x z", "y")], {"x": (4, 9, 7), "z": (4, 1, 7)}, {}, EXACT),
    "add_constant": ([node("Add", "c x", "y")], IMAGE, {"c": f32(4, 1, 7)}, EXACT),
    "sub": ([node("Sub", "x c", "y")], IMAGE, {"c": f32(1, 4, 1, 1)}, EXACT),
    "mul": ([node("Mul", "x c", "y")], IMAGE, {"c": np.float32(3)}, EXACT),
    "div": ([node("Div", "x c", "y")], IMAGE, {"c": f32(7)}, EXACT),
    "div_integer": (
        [node("Sub", "x c", "z"), node("Div", "z d", "y")],
        {"x": ("int64", (5,))},
        {"c": i64(2), "d": i64(-2)},
        EXACT,
    ),
    "pow_two": ([node("Pow", "x c", "y")], IMAGE, {"c": np.float32(2)}, 1e-6),
    "pow": ([node("Abs", "x", "a"), node("Pow", "a c", "y")], IMAGE, {"c": np.float32(1.7)}, 1e-6),
    "sqrt": ([node("Abs", "x", "a"), node("Sqrt", "a", "y")], IMAGE, {}, EXACT),
    "reciprocal": ([node("Reciprocal", "x", "y")], IMAGE, {}, EXACT),
    "neg": ([node("Neg", "x", "y")], IMAGE, {}, EXACT),
    "round": ([node("Round", "x", "y")], IMAGE, {}, EXACT),
    "floor_ceil": (
        [node("Floor", "x", "f"), node("Ceil", "x", "c"), node("Add", "f c", "y")],
        IMAGE,
        {},
        EXACT,
    ),
    "min_of_three": ([node("Min", "x c d", "y")], IMAGE, {"c": f32(7), "d": np.float32(0.3)}, EXACT),
    "max": ([node("Max", "x c", "y")], IMAGE, {"c": f32(7)}, EXACT),
    "sum": ([node("Sum", "x c x", "y")], IMAGE, {"c": f32(7)}, EXACT),
    "where": (
        [
            node("Greater", "x c", "g"),
            node("Less", "x d", "l"),
            node("And", "g l", "a"),
            node("Where", "a x c", "y"),
        ],
        IMAGE,
        {"c": np.float32(0), "d": np.float32(1)},
        EXACT,
    ),
    "equal_not_or": (
        [
            node("Equal", "x c", "e"),
            node("Not", "e", "n"),
            node("Or", "e n", "o"),
            node("Cast", "o", "y", to=1),
        ],
        {"x": ("int64", (5,))},
        {"c": i64(2)},
        EXACT,
    ),
    "global_average": ([node("GlobalAveragePool", "x", "y")], IMAGE, {}, 1e-6),
    "global_max": ([node("GlobalMaxPool", "x", "y")], IMAGE, {}, EXACT),
    "reduce_mean": ([node("ReduceMean", "x a", "y", keepdims=0)], IMAGE, {"a": i64(2, -1)}, 1e-6),
    "reduce_mean_old": ([node("ReduceMean", "x", "y", axes=[-2, -1])], IMAGE, {}, 1e-6, 13),
    "reduce_sum": ([node("ReduceSum", "x a", "y")], IMAGE, {"a": i64(1)}, 1e-5),
    "reduce_max": ([node("ReduceMax", "x a", "y", keepdims=0)], IMAGE, {"a": i64(3)}, EXACT),
    "reduce_min": ([node("ReduceMin", "x a", "y")], IMAGE, {"a": i64(3)}, EXACT),
    "reduce_l2": ([node("ReduceL2", "x a", "y")], IMAGE, {"a": i64(2)}, 1e-5),
    "flatten": ([node("Flatten", "x", "y")], IMAGE, {}, EXACT),
    "reshape": ([node("Reshape", "x s", "y")], IMAGE, {"s": i64(0, -1, 7)}, EXACT),
    "reshape_first_open": ([node("Reshape", "x s", "y")], IMAGE, {"s": i64(-1, 36, 7)}, EXACT),
    "reshape_by_shape": (
        [
            node("Shape", "x", "h"),
            node("Gather", "h i", "n"),
            node("Concat", "n r", "s", axis=0),
            node("Reshape", "x s", "y"),
        ],
        IMAGE,
        {"i": i64(0), "r": i64(-1)},
        EXACT,
    ),
    "reshape_by_arithmetic": (
        [
            node("Shape", "x", "h"),
            node("Split", "h", "n c u v", num_outputs=4),
            node("Mul", "u v", "uv"),
            node("Concat", "n uv c", "s", axis=0),
            node("Reshape", "x s", "y"),
        ],
        IMAGE,
        {},
        EXACT,
    ),
    "transpose": ([node("Transpose", "x", "y", perm=[0, 2, 3, 1])], IMAGE, {}, EXACT),
    "squeeze": ([node("Squeeze", "x a", "y")], {"x": (1, 5, 1)}, {"a": i64(-1)}, EXACT),
    "unsqueeze": ([node("Unsqueeze", "x a", "y")], IMAGE, {"a": i64(2, -1)}, EXACT),
    "slice": (
        [node("Slice", "x b e a s", "y")],
        IMAGE,
        {"b": i64(1, -1), "e": i64(9, -99), "a": i64(2, 3), "s": i64(3, -2)},
        EXACT,
    ),
    "slice_whole_batch": ([node("Slice", "x b e", "y")], IMAGE, {"b": i64(0, 1), "e": i64(2**62, 3)}, EXACT),
    "slice_old": ([node("Slice", "x", "y", axes=[3], starts=[-4], ends=[-1])], IMAGE, {}, EXACT, 9),
    "pad": (
        [node("Pad", "x p v", "y")],
        IMAGE,
        {"p": i64(0, 1, 0, 2, 0, 0, 3, 1), "v": np.float32(1.5)},
        EXACT,
    ),
    "pad_reflect": (
        [node("Pad", "x p", "y", mode="reflect")],
        IMAGE,
        {"p": i64(0, 0, 1, 2, 0, 0, 3, 1)},
        EXACT,
    ),
    "pad_edge_crop": (
        [node("Pad", "x p", "y", mode="edge")],
        IMAGE,
        {"p": i64(0, 0, 1, 2, 0, 0, 3, 1)},
        EXACT,
    ),
    "pad_negative": ([node("Pad", "x p", "y")], IMAGE, {"p": i64(0, 0, -1, 2, 0, 0, 3, -2)}, EXACT),
    "concat": ([node("Concat", "x z x", "y", axis=1)], {"x": (4, 3), "z": (2, 3)}, {}, EXACT),
    "concat_token": (
        [
            node("Shape", "x", "h"),
            node("Gather", "h zero", "n"),
            node("Concat", "n minus", "s", axis=0),
            node("Expand", "token s", "t"),
            node("Concat", "t x", "y", axis=1),
        ],
        {"x": (4, 3)},
        {"zero": i64(0), "minus": i64(1, 3), "token": f32(1, 1, 3)},
        EXACT,
    ),
    "split": ([node("Split", "x p", "y z", axis=1)], IMAGE, {"p": i64(1, 3)}, EXACT),
    "split_equal": ([node("Split", "x", "y z", axis=2, num_outputs=2)], IMAGE, {}, EXACT),
    "gather_table": ([node("Gather", "t x", "y")], {"x": ("int64", (6,))}, {"t": f32(5, 3)}, EXACT),
    "gather_element": ([node("Gather", "x i", "y", axis=2)], IMAGE, {"i": np.array(-2)}, EXACT),
    "gather_elements": ([node("Gather", "x i", "y", axis=1)], IMAGE, {"i": i64(3, 0)}, EXACT),
    "expand": ([node("Expand", "x s", "y")], {"x": (1, 5)}, {"s": i64(1, 4, 5)}, EXACT),
    "cast": ([node("Cast", "x", "z", to=6), node("Cast", "z", "y", to=1)], IMAGE, {}, EXACT),
    "identity_output": ([node("Identity", "x", "y")], IMAGE, {}, EXACT),
    "dropout": ([node("Dropout", "x", "d"), node("Relu", "d", "y")], IMAGE, {}, EXACT),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_gives_what_onnx_runtime_gives(tmp_path, case):
    nodes, inputs, constants, tolerance, *opset = CASES[case]
    outputs = list(nodes[-1].output)
    network = compare(save(tmp_path, model(nodes, inputs, outputs, constants, *opset)), tolerance)
    for layer in network.layers:
        types = [network.types[name] for name in layer.outputs if name in network.types]
        given = [network.types[n] for n in layer.inputs if n in network.types]
        if len(given) == len(layer.inputs):
            assert layer.digital_ops(given, types) >= 1


POOLS = [
    {"kernel_shape": [3, 2]},
    {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1, "pads": [1, 1, 0, 0]},
    {"kernel_shape": [3, 3], "strides": [3, 2], "ceil_mode": 1, "pads": [1, 1, 1, 1]},
    {"kernel_shape": [1, 1], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [2, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [3, 2], "dilations": [2, 3], "strides": [1, 2]},
]


@pytest.mark.parametrize("attributes", POOLS, ids=str)
def test_max_pool_is_exact(tmp_path, attributes):
    compare(save(tmp_path, model([node("MaxPool", "x", "y", **attributes)], IMAGE, ["y"])), EXACT)


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("attributes", POOLS, ids=str)
def test_average_pool_counts_as_onnx_runtime_does(tmp_path, attributes, include):
    nodes = [node("AveragePool", "x", "y", count_include_pad=include, **attributes)]
    compare(save(tmp_path, model(nodes, IMAGE, ["y"], opset=19)), 1e-6)


def test_pools_of_one_dimension_and_of_integers(tmp_path):
    nodes = [node("MaxPool", "x", "y", kernel_shape=[3], strides=[2], pads=[1, 1])]
    compare(save(tmp_path, model(nodes, {"x": (4, 9)}, ["y"])), EXACT)
    nodes = [node("MaxPool", "x", "y", kernel_shape=[2, 2], pads=[1, 1, 0, 0])]
    made = model(nodes, {"x": ("int8", (2, 4, 4))}, ["y"])
    compare(save(tmp_path, made), EXACT)
