"""Float operators of ONNX against ONNX Runtime, in shape, type and value, with a cost for each."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_build import compare, feeds_for, model, node, reference, save

from cimemu.errors import WorkloadError
from cimemu.exporter import save_onnx
from cimemu.importer import load_network
from cimemu.layer.execute import input_types, run_float

RNG = np.random.default_rng(7)


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def i64(*values):
    return np.array(values, np.int64)


def one(op, names="x", **attributes):
    return [node(op, names, "y", **attributes)]


def same_when_written(folder, network, batch=1):
    """The network written as ONNX and read again gives the same, and ONNX Runtime reads it."""
    path = save_onnx(network, folder / "written.onnx")
    feeds = feeds_for(network, batch)
    made = run_float(network, feeds)
    again = run_float(load_network(path), feeds)
    for name, theirs in zip(network.outputs, reference(path, feeds, network.outputs)):
        np.testing.assert_allclose(again[name], made[name], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(theirs, made[name], rtol=1e-4, atol=1e-4)


UNARY = (
    "Asinh", "Atan", "Cos", "Cosh", "IsInf", "IsNaN", "LogSoftmax", "Hardmax", "Mish", "Selu", "Celu", "Sign", "Sin",
    "Sinh", "Softsign", "ThresholdedRelu", "Shrink", "Tan", "LpNormalization", "GlobalLpPool",
)  # fmt: skip
# name -> (nodes, per-image shape of x, constants, operator set)
CASES = {
    **{name: (one(name), (4, 6), {}, 18) for name in UNARY},
    "Log": ([node("Exp", "x", "a"), node("Log", "a", "y")], (5,), {}, 18),
    "Asin, Acos, Atanh": (
        [
            node("Tanh", "x", "t"), node("Asin", "t", "a"), node("Acos", "t", "b"), node("Atanh", "t", "c"),
            node("Sum", "a b c", "y"),
        ],
        (5,), {}, 18,
    ),
    "Acosh": ([node("Cosh", "x", "a"), node("Acosh", "a", "y")], (5,), {}, 18),
    "GreaterOrEqual": (one("GreaterOrEqual", "x c"), (4,), {"c": f32(1, 4)}, 18),
    "LessOrEqual": (one("LessOrEqual", "x c"), (4,), {"c": f32(1, 4)}, 18),
    "Xor": (
        [node("Greater", "x c", "a"), node("Less", "x d", "b"), node("Xor", "a b", "y")],
        (4,), {"c": f32(1, 4), "d": f32(1, 4)}, 18,
    ),
    "Mod": (one("Mod", "x c", fmod=1), (6,), {"c": f32(1, 6)}, 18),
    "integer Mod and bits": (
        [
            node("Cast", "x", "i", to=6), node("Mod", "i c", "m"), node("BitwiseAnd", "m d", "a"),
            node("BitwiseXor", "a i", "b"), node("BitwiseNot", "b", "n"), node("BitwiseOr", "n m", "y"),
        ],
        (6,), {"c": np.array([[3, -3, 5, -5, 7, 2]], np.int32), "d": np.array([6], np.int32)}, 18,
    ),
    "Mean": ([node("Tanh", "x", "t"), node("Mean", "x t", "y")], (4,), {}, 18),
    "CumSum": (one("CumSum", "x at", exclusive=1, reverse=1), (3, 7), {"at": np.array(2)}, 18),
    "ArgMax": (one("ArgMax", axis=-1, keepdims=0), (3, 7), {}, 18),
    "ArgMin": (one("ArgMin", axis=1, select_last_index=1), (3, 7), {}, 18),
    "TopK": ([node("TopK", "x k", "y places", axis=-1)], (3, 7), {"k": i64(4)}, 18),
    "TopK, the smallest": ([node("TopK", "x k", "v y", axis=1, largest=0)], (5, 2), {"k": i64(2)}, 18),
    "Tile": (one("Tile", "x r"), (3, 2), {"r": i64(1, 2, 3)}, 18),
    "DFT": ([node("DFT", "x n a", "y", onesided=1)], (6, 5, 1), {"n": np.array(7), "a": np.array(2)}, 20),
    "Col2Im": (
        one("Col2Im", "x s k", strides=[2, 1], pads=[1, 0, 0, 1]), (12, 9), {"s": i64(5, 4), "k": i64(2, 3)}, 18,
    ),
    "Trilu": (one("Trilu", "x k", upper=0), (2, 4, 5), {"k": np.array(1)}, 18),
    "DepthToSpace": (one("DepthToSpace", blocksize=2, mode="CRD"), (8, 2, 3), {}, 18),
    "DepthToSpace, DCR": (one("DepthToSpace", blocksize=2), (8, 2, 3), {}, 18),
    "SpaceToDepth": (one("SpaceToDepth", blocksize=2), (3, 4, 6), {}, 18),
    "Compress": (one("Compress", "x c", axis=1), (4, 2), {"c": np.array([True, False, True, False])}, 18),
    "OneHot": (
        [node("Cast", "x", "i", to=7), node("OneHot", "i d v", "y", axis=-1)],
        (5,), {"d": np.array(4), "v": np.array([0.5, 2], np.float32)}, 18,
    ),
    "LayerNormalization, mean": ([node("LayerNormalization", "x s b", "v y d")], (3, 6), {"s": f32(6), "b": f32(6)}, 17),
    "InstanceNormalization": (one("InstanceNormalization", "x s b"), (3, 4, 5), {"s": f32(3), "b": f32(3)}, 18),
    "Swish": (one("Swish", alpha=0.7), (5,), {}, 24),
    "GroupNormalization": (one("GroupNormalization", "x s b", num_groups=2), (4, 3, 3), {"s": f32(4), "b": f32(4)}, 21),
    "RMSNormalization": (one("RMSNormalization", "x s"), (3, 6), {"s": f32(6)}, 23),
    "LRN": (one("LRN", size=3, alpha=0.01, beta=0.5, bias=2.0), (7, 3, 3), {}, 18),
    "MeanVarianceNormalization": (one("MeanVarianceNormalization", axes=[2, 3]), (3, 4, 4), {}, 13),
    "LpPool": (one("LpPool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]), (3, 7, 6), {}, 18),
    "MaxPool of a volume": (one("MaxPool", kernel_shape=[2, 3, 2], strides=[2, 1, 2], ceil_mode=1), (2, 5, 6, 7), {}, 18),
    "AveragePool of a volume": (
        one("AveragePool", kernel_shape=[2, 2, 3], pads=[1, 0, 1, 0, 1, 1], count_include_pad=1), (2, 4, 5, 6), {}, 18,
    ),
    "Conv of a volume": (
        one("Conv", "x w b", strides=[1, 2, 1], pads=[1, 0, 1, 1, 1, 0]), (4, 5, 6, 4),
        {"w": f32(6, 4, 3, 2, 2), "b": f32(6)}, 18,
    ),
    "Conv of a volume in groups": (one("Conv", "x w", group=2), (4, 3, 4, 4), {"w": f32(6, 2, 2, 2, 2)}, 18),
    "ConvTranspose": (
        one("ConvTranspose", "x w b", strides=[2, 3], pads=[1, 0, 0, 1], output_padding=[1, 0]), (3, 4, 5),
        {"w": f32(3, 5, 3, 3), "b": f32(5)}, 18,
    ),
    "ConvTranspose in groups": (one("ConvTranspose", "x w", group=3, dilations=[2, 1]), (6, 4, 4), {"w": f32(6, 2, 2, 3)}, 18),
    "ConvTranspose, SAME": (
        one("ConvTranspose", "x w", strides=[2, 2], auto_pad="SAME_UPPER"), (2, 3, 3), {"w": f32(2, 4, 3, 3)}, 18,
    ),
    "ConvTranspose of a line": (one("ConvTranspose", "x w", strides=[3]), (2, 6), {"w": f32(2, 4, 4)}, 18),
    "ConvTranspose of a volume": (one("ConvTranspose", "x w", strides=[2, 1, 2]), (2, 3, 2, 3), {"w": f32(2, 3, 2, 2, 2)}, 18),
    **{
        name: ([node("Softplus", "x", "a"), node(name, "a axes", "y", keepdims=0)], (3, 4), {"axes": i64(2)}, 18)
        for name in ("ReduceL1", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd", "ReduceSumSquare")
    },
}  # fmt: skip


RESIZES = [
    dict(mode=mode, coordinate_transformation_mode=rule, **more)
    for mode, rule, more in [
        ("nearest", "half_pixel", {}), ("nearest", "asymmetric", {"nearest_mode": "floor"}),
        ("nearest", "asymmetric", {"nearest_mode": "ceil"}), ("nearest", "align_corners", {"nearest_mode": "round_prefer_ceil"}),
        ("nearest", "half_pixel_symmetric", {}), ("linear", "half_pixel", {}), ("linear", "align_corners", {}),
        ("linear", "asymmetric", {}), ("linear", "pytorch_half_pixel", {}), ("linear", "half_pixel_symmetric", {}),
        ("cubic", "half_pixel", {}), ("cubic", "align_corners", {"cubic_coeff_a": -0.5}),
        ("cubic", "pytorch_half_pixel", {"exclude_outside": 1}), ("linear", "half_pixel", {"antialias": 1}),
        ("cubic", "half_pixel", {"antialias": 1}),
    ]
]  # fmt: skip


@pytest.mark.parametrize("sizes", [(9, 13), (3, 4), (11, 2)])
@pytest.mark.parametrize("rule", RESIZES, ids=lambda rule: "-".join(map(str, rule.values())))
def test_resize_gives_what_onnx_runtime_gives_in_every_mode(tmp_path, rule, sizes):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")
    nodes = [node("Resize", "x", "y", **rule)]
    nodes[0].input.extend(["", "", "s"])
    made = model(nodes, {"x": (2, 6, 7)}, ["y"], {"s": i64(1, 2, *sizes)}, opset=19, batch=1)
    same_when_written(tmp_path, compare(save(tmp_path, made), tolerance=2e-5, batches=(1,)))


@pytest.mark.parametrize("scales", [(1, 1, 2, 3), (1, 1, 0.6, 1.4), (1, 1, 0.5, 1)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_by_scales(tmp_path, mode, scales):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")
    nodes = [node("Resize", "x", "y", mode=mode)]
    nodes[0].input.extend(["", "s"])
    compare(save(tmp_path, model(nodes, {"x": (2, 6, 7)}, ["y"], {"s": np.array(scales, np.float32)}, opset=13)), 2e-5)


@pytest.mark.parametrize("rule", ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"])
def test_an_image_drawn_out_in_two_axes_has_onnx_runtime_s_bits(tmp_path, rule):
    """Drawn out by 2, a result lies half-way between two codes so often that the order of its sum is seen behind it."""
    ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")
    rng = np.random.default_rng(0)
    for number in range(40):
        sizes = tuple(int(n) for n in rng.integers(1, 20, 2))
        shape = (2, *(int(n) for n in rng.integers(1, 9, 2)))
        nodes = [node("Resize", "x", "y", mode="linear", coordinate_transformation_mode=rule)]
        scales = rng.choice([0.5, 0.75, 1, 1.5, 2, 3], 2)
        whole = (scales * shape[1:] % 1 == 0).all()
        by_sizes = number % 2 or not whole
        nodes[0].input.extend(["", "", "s"] if by_sizes else ["", "s"])
        given = i64(3, 2, *sizes) if by_sizes else np.array([1, 1, *scales], np.float32)
        path = save(tmp_path, model(nodes, {"x": shape}, ["y"], {"s": given}, opset=19, batch=3))
        x = (rng.integers(-128, 128, (3, *shape)) * rng.uniform(0.001, 0.1)).astype(np.float32)
        theirs = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        assert run_float(load_network(path), {"x": x})["y"].tobytes() == theirs.tobytes(), (shape, sizes, scales)


def test_the_cut_of_tensorflow_is_filled_outside(tmp_path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")
    rule = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    nodes = [node("Resize", "x r", "y", mode="linear", **rule)]
    nodes[0].input.extend(["", "s"])
    constants = {"r": np.array([0, 0, 0.2, -0.4, 1, 1, 0.9, 1.2], np.float32), "s": i64(1, 2, 5, 6)}
    made = model(nodes, {"x": (2, 6, 7)}, ["y"], constants, opset=13, batch=1)
    compare(save(tmp_path, made), tolerance=2e-5, batches=(1,))


def test_upsample_is_the_old_resize(tmp_path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")
    constants = {"s": np.array([1, 1, 2, 3], np.float32)}
    compare(
        save(tmp_path, model([node("Upsample", "x s", "y")], {"x": (2, 3, 4)}, ["y"], constants, opset=9)), tolerance=0
    )


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("corners", [0, 1])
def test_grid_sample_gives_what_onnx_runtime_gives(tmp_path, mode, padding, corners):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")
    nodes = [
        node("Mul", "x half", "a"), node("Slice", "a from to at", "g"), node("Transpose", "g", "t", perm=[0, 2, 3, 1]),
        node("GridSample", "x t", "y", mode=mode, padding_mode=padding, align_corners=corners),
    ]  # fmt: skip
    constants = {"half": np.float32(0.6).reshape(1, 1, 1, 1), "from": i64(0), "to": i64(2), "at": i64(1)}
    compare(save(tmp_path, model(nodes, {"x": (3, 5, 6)}, ["y"], constants, opset=20)), tolerance=1e-4)


@pytest.mark.parametrize(
    ("equation", "shapes", "constants"),
    [
        ("bij,bjk->bik", [(3, 4), (4, 5)], {}),
        ("...ij,...kj->...ik", [(2, 3, 4), (2, 5, 4)], {}),
        ("bij,jk->bik", [(3, 4)], {"w": (4, 5)}),
        ("bhwc,hkc->bhwk", [(2, 3, 4)], {"w": (2, 5, 4)}),
        ("bij->b", [(3, 4)], {}),
        ("bii->bi", [(3, 3)], {}),
    ],
)
def test_einsum_gives_what_onnx_runtime_gives(tmp_path, equation, shapes, constants):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")
    inputs = {f"x{number}": shape for number, shape in enumerate(shapes)}
    nodes = [node("Einsum", " ".join([*inputs, *constants]), "y", equation=equation)]
    network = compare(
        save(tmp_path, model(nodes, inputs, ["y"], {key: f32(*shape) for key, shape in constants.items()}))
    )
    (layer,) = network.layers
    assert layer.digital_ops(input_types(layer, network), [network.types["y"]]) >= 1


@pytest.mark.parametrize("name", CASES)
def test_an_operator_gives_what_onnx_runtime_gives_and_costs_something(tmp_path, name):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")
    nodes, shape, constants, opset = CASES[name]
    network = compare(save(tmp_path, model(nodes, {"x": shape}, ["y"], constants, opset=opset)))
    same_when_written(tmp_path, network, batch=3)
    for layer in network.layers:
        kinds = input_types(layer, network)
        assert layer.digital_ops(kinds, [network.types[output] for output in layer.outputs]) >= 1


def test_what_has_constant_weights_becomes_a_product_for_macros(tmp_path):
    volume = one("Conv", "x w"), (4, 3, 4, 4), {"w": f32(6, 4, 2, 2, 2)}
    transposed = one("ConvTranspose", "x w"), (4, 3, 4), {"w": f32(4, 6, 2, 2)}
    for nodes, shape, constants in (volume, transposed):
        network = load_network(save(tmp_path, model(nodes, {"x": shape}, ["y"], constants)))
        product = next(layer for layer in network.layers if layer.op == "MatMul")
        assert product.inputs[1] in network.constants


def test_places_computed_from_images_are_found_image_by_image(tmp_path):
    nodes = [
        node("TopK", "x k", "v p", axis=1), node("GatherElements", "x p", "g", axis=1),
        node("ScatterElements", "x p v", "s", axis=1, reduction="add"), node("Concat", "g s", "y", axis=1),
    ]  # fmt: skip
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")
    compare(save(tmp_path, model(nodes, {"x": (6,)}, ["y"], {"k": i64(3)})), tolerance=0)


@pytest.mark.parametrize(
    ("nodes", "shape", "constants", "words"),
    [
        (one("ArgMax", axis=0), (4,), {}, "batch axis"),
        (one("CumSum", "x at"), (4,), {"at": np.array(0)}, "batch axis"),
        (one("Tile", "x r"), (4,), {"r": i64(2, 1)}, "images must stay apart"),
        (one("Trilu"), (4,), {}, "batch axis"),
        (one("GatherElements", "x i", axis=1), (4,), {"i": i64(3).reshape(1, 1)}, "a batch of 1"),
        (one("ScatterND", "x i u"), (4,), {"i": i64(0).reshape(1, 1), "u": f32(1, 4)}, "images must stay apart"),
        (one("Mod", "x c"), (4,), {"c": f32(1, 4)}, "fmod = 0"),
        (one("BitwiseNot"), (4,), {}, "must be an integer"),
        (one("LRN", size=0), (4, 3, 3), {}, "size = 0"),
        (one("DepthToSpace", blocksize=2), (3, 2, 2), {}, "must divide"),
        (one("GroupNormalization", "x s s", num_groups=3), (4, 3), {"s": f32(4)}, "groups"),
        (one("ConvTranspose", "x w", auto_pad="SAME"), (4, 3, 3), {"w": f32(4, 2, 3, 3)}, "auto_pad = SAME"),
        (one("ConvTranspose", "x w"), (3, 3, 3), {"w": f32(4, 2, 3, 3)}, "do not fit"),
        (one("Einsum", equation="bi->ib"), (3,), {}, "images must stay apart"),
        (one("CumSum", "x at"), (4,), {"at": i64(1, 1)}, "must be one number"),
        (one("Conv", "x w", group=0), (4, 2, 2, 2), {"w": f32(4, 4, 1, 1, 1)}, "do not fit"),
        (one("ConvTranspose", "x w"), (4,), {"w": f32(4, 2, 1)}, "channels and axes"),
        (one("Einsum", "x w", equation="bi,bi->i"), (3,), {"w": f32(1, 3)}, "images must stay apart"),
        (one("Resize", "x r s"), (2, 3, 3), {"r": f32(0), "s": np.array([2, 1, 1, 1], np.float32)}, "images must stay apart"),
        (
            one("Resize", "x r s", mode="linear", coordinate_transformation_mode="align_corners"), (2, 3, 3),
            {"r": f32(0), "s": np.array([1, 1, 1.5, 1], np.float32)}, "no whole number",
        ),
        (one("Conv", "x w"), (4, 2, 2, 2), {"w": f32(4, 4, 3, 3, 3)}, "smaller than the kernel"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_one_line(tmp_path, nodes, shape, constants, words):
    path = save(tmp_path, model(nodes, {"x": shape}, ["y"], constants, opset=21))
    with pytest.raises(WorkloadError) as caught:
        run_float(load_network(path), {"x": np.zeros((2, *shape), np.float32)})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_constant_places_are_those_of_one_image_where_the_batch_is_one(tmp_path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")
    places, rows = i64(0, -1, 2, 4, 4, 1).reshape(1, 3, 2), i64(0, 1, 1, 3).reshape(1, 2, 2)
    nodes = [
        node("GatherElements", "x i", "a", axis=2), node("ScatterElements", "x i a", "b", axis=2),
        node("GatherND", "x r", "c", batch_dims=1), node("ScatterND", "b z u", "d"),
        node("ReduceSum", "c axes", "e"), node("Unsqueeze", "e axes", "f"), node("Mul", "d f", "y"),
    ]  # fmt: skip
    constants = {"i": places, "r": rows, "z": i64(0, 2, 0, 0).reshape(1, 2, 2), "u": f32(1, 2, 5), "axes": i64(1)}
    made = model(nodes, {"x": (3, 5)}, ["y"], constants, batch=1)
    compare(save(tmp_path, made), batches=(1,))


def test_an_if_with_a_constant_condition_is_the_branch_that_it_takes(tmp_path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")
    branches = {}
    for key, op in (("then_branch", "Sin"), ("else_branch", "Cos")):
        output = helper.make_tensor_value_info(f"{op}_y", TensorProto.FLOAT, None)
        addend = numpy_helper.from_array(f32(1, 4), f"{op}_c")
        inner = [node(op, "x", f"{op}_a"), node("Add", f"{op}_a {op}_c", f"{op}_y")]
        branches[key] = helper.make_graph(inner, key, [], [output], [addend])
    nodes = [
        node("Shape", "x", "s"),
        node("Size", "s", "n"),
        node("Equal", "n two", "t"),
        node("If", "t", "y", **branches),
    ]
    network = compare(save(tmp_path, model(nodes, {"x": (4,)}, ["y"], {"two": np.array(2)})))
    assert [layer.op for layer in network.layers][:2] == ["Sin", "Add"]
    nodes = [node("ReduceMax", "x", "m", keepdims=0), node("Cast", "m", "t", to=9), node("If", "t", "y", **branches)]
    with pytest.raises(WorkloadError, match=r"images must stay apart|no branches"):
        load_network(save(tmp_path, model(nodes, {"x": (4,)}, ["y"])))


def test_functions_of_a_model_are_expanded(tmp_path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")
    body = [node("Sigmoid", "a", "s"), node("Mul", "a s", "b")]
    silu = helper.make_function("own", "Silu", ["a"], ["b"], body, [helper.make_opsetid("", 18)])
    made = model([node("Relu", "x", "r"), node("Neg", "r", "y")], {"x": (4,)}, ["y"])
    made.graph.node[0].CopyFrom(helper.make_node("Silu", ["x"], ["r"], domain="own"))
    made.functions.append(silu)
    made.opset_import.append(helper.make_opsetid("own", 1))
    network = compare(save(tmp_path, made))
    assert [layer.op for layer in network.layers] == ["Sigmoid", "Mul", "Neg"]


def test_functions_that_grow_without_end_are_refused(tmp_path):
    made = model([node("Relu", "x", "y")], {"x": (4,)}, ["y"])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    for level in range(40):
        inner = "Relu" if level == 0 else f"F{level - 1}"
        domain = "" if level == 0 else "own"
        calls = [helper.make_node(inner, [a], [b], domain=domain) for a, b in (("a", "m"), ("m", "b"))]
        made.functions.append(helper.make_function("own", f"F{level}", ["a"], ["b"], calls, opsets))
    made.graph.node[0].CopyFrom(helper.make_node("F39", ["x"], ["y"], domain="own"))
    made.opset_import.append(helper.make_opsetid("own", 1))
    with pytest.raises(WorkloadError, match="functions expand to"):
        load_network(save(tmp_path, made))
