"""LSTM, GRU and RNN, unrolled at load, give what ONNX Runtime gives; their steps share one matrix."""

import numpy as np
import onnx
import pytest
from recurrent_build import ACTIVATIONS, Case, build

import cimemu
from cimemu.layer.base import TensorType
from cimemu.layer.execute import run_float
from cimemu.layer.recurrent import RecurrentCell

ort = pytest.importorskip("onnxruntime")


def loaded(case, tmp_path, **given):
    model, feeds = build(case, **given)
    path = tmp_path / "cell.onnx"
    path.write_bytes(model.SerializeToString())
    return cimemu.load_network(path), model, feeds


def compare(case, tmp_path, **given):
    """Outputs of the whole file, one image, against ONNX Runtime's."""
    network, model, feeds = loaded(case, tmp_path, **given)
    whole = {n: v[None] if n in network.whole else v for n, v in feeds.items()}
    ours = run_float(network, whole)
    theirs = dict(
        zip(network.outputs, ort.InferenceSession(model.SerializeToString()).run(list(network.outputs), feeds))
    )
    for name, other in theirs.items():
        mine = ours[name][0] if name in network.whole else ours[name]
        assert mine.shape == other.shape
        np.testing.assert_allclose(mine, other, rtol=2e-5, atol=2e-6, err_msg=f"{name} of {case}")
    return network


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_every_direction_with_every_optional_input(kind, direction, tmp_path):
    case = Case(kind, batch=3, direction=direction, lengths="fed", initial="fed", peepholes=kind == "LSTM")
    compare(case, tmp_path)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_drawn_forms(kind, seed, tmp_path):
    rng = np.random.default_rng(seed)
    pick = lambda *values: values[rng.integers(len(values))]  # noqa: E731
    direction = pick("forward", "reverse", "bidirectional")
    count = {"LSTM": 3, "GRU": 2, "RNN": 1}[kind] * (2 if direction == "bidirectional" else 1)
    attributes = {}
    if pick(True, False):
        names = [pick(*ACTIVATIONS) for _ in range(count)]
        attributes["activations"] = names
        # ONNX Runtime wants a factor for each activation that takes one, in their order
        attributes["activation_alpha"] = [float(np.round(rng.uniform(0.1, 0.9), 2)) for _ in range(count)]
        attributes["activation_beta"] = [float(np.round(rng.uniform(0.1, 0.9), 2)) for _ in range(count)]
    if pick(True, False):
        attributes["clip"] = 0.4
    if kind == "GRU":
        attributes["linear_before_reset"] = pick(0, 1)
    if kind == "LSTM" and pick(True, False):
        attributes["input_forget"] = 1
    case = Case(
        kind,
        steps=pick(1, 2, 5),
        batch=pick(1, 2),
        direction=direction,
        bias=pick(True, False),
        lengths=pick("", "stored", "fed"),
        initial=pick("", "stored", "fed"),
        peepholes=kind == "LSTM" and pick(True, False),
        attributes=attributes,
        seed=seed,
    )
    compare(case, tmp_path)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_steps_share_one_matrix(kind, tmp_path):
    network = compare(Case(kind, steps=6, direction="bidirectional"), tmp_path, outputs=("Y",))
    shares = [layer.shares for layer in network.layers if layer.op == "MatMul" and layer.shares]
    each = (
        10 if kind == "GRU" else 5
    )  # a GRU that resets before its product multiplies twice, the first step not at all
    assert len(shares) == 2 * each
    assert len(set(shares)) == (4 if kind == "GRU" else 2)


def test_a_cell_costs_what_its_parts_cost(tmp_path):
    network, *_ = loaded(Case("LSTM", hidden=5), tmp_path)
    cell = next(layer for layer in network.layers if isinstance(layer, RecurrentCell) and "r" in layer.reads)
    types = [
        network.types[n] if n in network.types else TensorType(network.constants[n].shape, "float32")
        for n in cell.inputs
    ]
    # sums of 20 twice, the parting of 20, five activations of 4 operations on 5, four products or sums of 5
    assert cell.digital_ops(types, [network.types[n] for n in cell.outputs]) == 20 * 3 + 5 * 4 * 5 + 4 * 5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attributes": {"activations": ["Gauss", "Tanh", "Tanh"]}}, "activation Gauss is not known"),
        ({"attributes": {"activations": ["Tanh"]}}, "1 activations, must be 3"),
        ({"steps": 5000}, "5000 steps, must be 1..4096"),
    ],
)
def test_what_is_refused_is_one_line(changes, said, tmp_path):
    model, _ = build(Case("LSTM", **changes))
    path = tmp_path / "cell.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(cimemu.WorkloadError, match=said) as error:
        cimemu.load_network(path)
    assert "\n" not in str(error.value)
    assert "cell" in str(error.value)


def test_the_batch_in_front_keeps_images_apart(tmp_path):
    """layout = 1, which ONNX Runtime does not run: images are those of layout 0 turned."""
    case = Case("LSTM", steps=4, batch=6, direction="bidirectional")
    model, feeds = build(case, outputs=("Y", "Y_h", "Y_c"))
    theirs = ort.InferenceSession(model.SerializeToString()).run(None, feeds)
    turned = onnx.ModelProto()
    turned.CopyFrom(model)
    turned.graph.node[0].attribute.append(onnx.helper.make_attribute("layout", 1))
    dims = turned.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_param, dims[1].dim_value = "N", 4
    path = tmp_path / "turned.onnx"
    path.write_bytes(turned.SerializeToString())
    network = cimemu.load_network(path)
    ours = run_float(network, feeds["X"].transpose(1, 0, 2))
    for name, other, axes in zip(("Y", "Y_h", "Y_c"), theirs, ((2, 0, 1, 3), (1, 0, 2), (1, 0, 2))):
        np.testing.assert_allclose(ours[name], other.transpose(axes), rtol=2e-5, atol=2e-6)


def open_batch(tmp_path, perm):
    """A batch of any size, whose sequences go into an LSTM by `perm` and come out as they went in."""
    model, _ = build(Case("LSTM", steps=4, batch=1), outputs=("Y",))
    graph = model.graph
    before = onnx.helper.make_node("Transpose", ["x"], ["X"], perm=perm)
    axes = onnx.numpy_helper.from_array(np.array([1], np.int64), "axes")
    after = [
        onnx.helper.make_node("Squeeze", ["Y", "axes"], ["flat"]),
        onnx.helper.make_node("Transpose", ["flat"], ["y"], perm=[1, 0, 2]),
    ]
    kind = onnx.TensorProto.FLOAT
    made = onnx.helper.make_graph(
        [before, *graph.node, *after],
        "open",
        [onnx.helper.make_tensor_value_info("x", kind, ["N", 4, 3] if perm == [1, 0, 2] else ["N", 3, 4])],
        [onnx.helper.make_tensor_value_info("y", kind, ["N", 4, 5])],
        [*graph.initializer, axes],
    )
    whole = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)])
    whole.ir_version = 8
    path = tmp_path / "open.onnx"
    path.write_bytes(whole.SerializeToString())
    return path, whole


def test_an_open_batch_that_is_turned_and_turned_back(tmp_path):
    path, model = open_batch(tmp_path, [1, 0, 2])
    x = np.random.default_rng(3).standard_normal((6, 4, 3)).astype(np.float32)
    (theirs,) = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(run_float(cimemu.load_network(path), x)["y"], theirs, rtol=2e-5, atol=2e-6)


def test_a_batch_in_the_place_of_the_steps_is_refused(tmp_path):
    path, _ = open_batch(tmp_path, [0, 2, 1])
    with pytest.raises(cimemu.WorkloadError, match="images must stay apart"):
        cimemu.load_network(path)
