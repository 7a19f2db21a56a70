"""Loop and Scan of a fixed number of turns are their bodies' nodes, once a turn."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cimemu
from cimemu.layer.execute import run_float

ort = pytest.importorskip("onnxruntime")
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
SIZE = 4


def value(name, kind=FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def saved(nodes, inputs, outputs, constants, tmp_path):
    graph = helper.make_graph(
        nodes, "loops", inputs, outputs, [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    path = tmp_path / "loops.onnx"
    path.write_bytes(model.SerializeToString())
    return path, model


def same_as_onnx_runtime(path, model, feeds):
    network = cimemu.load_network(path)
    whole = network.whole or frozenset()
    ours = run_float(network, {n: v[None] if n in whole else v for n, v in feeds.items()})
    names = list(network.outputs)
    for name, other in zip(names, ort.InferenceSession(model.SerializeToString()).run(names, feeds)):
        mine = ours[name][0] if name in whole else ours[name]
        assert mine.shape == other.shape
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
    return network


def loop_body(condition=None):
    """x <- tanh(x @ W) + turn, the turn's x among the results; W is of the graph outside."""
    nodes = [
        helper.make_node("MatMul", ["x_in", "W"], ["product"], name="product"),
        helper.make_node("Tanh", ["product"], ["bent"]),
        helper.make_node("Cast", ["turn"], ["number"], to=FLOAT),
        helper.make_node("Add", ["bent", "number"], ["x_out"]),
        helper.make_node("Identity", ["x_out"], ["kept"]),
        condition or helper.make_node("Identity", ["going"], ["going_on"]),
    ]
    return helper.make_graph(
        nodes,
        "body",
        [value("turn", INT64, []), value("going", BOOL, []), value("x_in", FLOAT, [1, SIZE])],
        [value("going_on", BOOL, []), value("x_out", FLOAT, [1, SIZE]), value("kept", FLOAT, [1, SIZE])],
        [numpy_helper.from_array(np.array(2, np.int64), "last")],
    )


def loop(tmp_path, count=5, condition=None, constants=None):
    rng = np.random.default_rng(0)
    stored = {"M": np.array(count, np.int64), "c": np.array(True), "W": rng.standard_normal((SIZE, SIZE)).astype("f4")}
    if constants is not None:
        stored = {name: array for name, array in stored.items() if name in constants}
    node = helper.make_node("Loop", ["M", "c", "x"], ["y", "all"], name="loop", body=loop_body(condition))
    inputs = [value("x", FLOAT, [1, SIZE])] + ([value("M", INT64, [1])] if "M" not in stored else [])
    return saved([node], inputs, [value("y", FLOAT, [1, SIZE]), value("all", FLOAT, [None, 1, SIZE])], stored, tmp_path)


def test_a_loop_of_a_fixed_number_of_turns(tmp_path):
    x = np.random.default_rng(1).standard_normal((1, SIZE)).astype(np.float32)
    network = same_as_onnx_runtime(*loop(tmp_path), {"x": x})
    products = [layer for layer in network.layers if layer.op == "MatMul"]
    assert len(products) == 5
    assert len({layer.shares for layer in products}) == 1
    assert products[0].shares


def test_a_condition_that_is_known_ends_the_loop(tmp_path):
    less = helper.make_node("Less", ["turn", "last"], ["going_on"])
    x = np.random.default_rng(1).standard_normal((1, SIZE)).astype(np.float32)
    network = same_as_onnx_runtime(*loop(tmp_path, condition=less), {"x": x})
    assert sum(layer.op == "MatMul" for layer in network.layers) == 3


def test_a_scan_forwards_and_backwards(tmp_path):
    rng = np.random.default_rng(2)
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["h", "R"], ["of_state"], name="of_state"),
            helper.make_node("Add", ["of_state", "step"], ["sum"]),
            helper.make_node("Tanh", ["sum"], ["new"]),
            helper.make_node("Identity", ["new"], ["result"]),
        ],
        "body",
        [value("h", FLOAT, [1, SIZE]), value("step", FLOAT, [1, SIZE])],
        [value("new", FLOAT, [1, SIZE]), value("result", FLOAT, [1, SIZE])],
    )
    for backwards in (0, 1):
        node = helper.make_node(
            "Scan", ["h0", "x"], ["last", "all"], name="scan", body=body, num_scan_inputs=1,
            scan_input_directions=[backwards], scan_output_directions=[backwards],
        )  # fmt: skip
        path, model = saved(
            [node],
            [value("h0", FLOAT, [1, SIZE]), value("x", FLOAT, [6, 1, SIZE])],
            [value("last", FLOAT, [1, SIZE]), value("all", FLOAT, [6, 1, SIZE])],
            {"R": rng.standard_normal((SIZE, SIZE)).astype(np.float32)},
            tmp_path,
        )
        feeds = {n: rng.standard_normal(s).astype(np.float32) for n, s in (("h0", (1, SIZE)), ("x", (6, 1, SIZE)))}
        network = same_as_onnx_runtime(path, model, feeds)
        assert len({layer.shares for layer in network.layers if layer.op == "MatMul"}) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"constants": ("c", "W")}, "the number of turns is computed at run time"),
        ({"count": 5000}, "5000 turns, at most 4096"),
        ({"count": 0}, "makes no turn"),
        (
            {"condition": helper.make_node("Cast", ["seen"], ["going_on"], to=BOOL)},
            "behind a turn is computed at run time",
        ),
    ],
)
def test_what_is_refused_is_one_line(changes, said, tmp_path):
    if "condition" in changes:
        body = loop_body(changes["condition"])
        body.node.insert(0, helper.make_node("ReduceMax", ["x_in"], ["seen"], keepdims=0, axes=[0, 1]))
        node = helper.make_node("Loop", ["M", "c", "x"], ["y", "all"], name="loop", body=body)
        stored = {"M": np.array(3, np.int64), "c": np.array(True), "W": np.eye(SIZE, dtype=np.float32)}
        path, _ = saved(
            [node], [value("x", FLOAT, [1, SIZE])], [value("y", FLOAT, [1, SIZE]), value("all", FLOAT, [None, 1, SIZE])],
            stored, tmp_path,
        )  # fmt: skip
    else:
        path, _ = loop(tmp_path, **changes)
    with pytest.raises(cimemu.WorkloadError, match=said) as error:
        cimemu.load_network(path)
    assert "\n" not in str(error.value)
