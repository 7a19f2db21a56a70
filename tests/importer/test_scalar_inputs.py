"""Inputs without axes: one number for all images or one an image, in arithmetic, as an index, and as an If's condition."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tflite_build import TflBuilder

import cimemu
from cimemu.check.float_network import check_float
from cimemu.check.network import check_network
from cimemu.cli import main
from cimemu.importer.onnx_sizes import filled_with
from cimemu.layer.execute import run_float
from cimemu.loading.bare import BareWorkload, Given, random_images

ARCH = cimemu.load_arch("rram_128", {"macro.adc": "ideal"})
node = helper.make_node
RNG = np.random.default_rng(0)
W, W2 = (RNG.normal(size=(4, 5)).astype(np.float32) for _ in range(2))
X, S = RNG.normal(size=(3, 4)).astype(np.float32), np.array([1, 2, 3], np.int64)
CONSTANTS = {"w": W, "w2": W2, "t": W.T.copy(), "two": np.int64(2), "axis": np.array([0]), "one": np.array([1])}


def branch(nodes, output="p"):
    return helper.make_graph(nodes, "branch", [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)])


def choice(relu=False, one=None):
    """An If of two products; both branches call their results alike."""
    made = ["q"] if relu else ["p"]
    other = [node("MatMul", ["x", "w2"], made), *([node("Relu", ["q"], ["p"])] if relu else [])]
    return [
        node("Equal", ["s", "two"], ["c"]),
        node(
            "If",
            ["c"],
            ["y"],
            then_branch=branch(one or [node("MatMul", ["x", "w"], ["p"])]),
            else_branch=branch(other),
        ),
    ]


REAL = node("Cast", ["s"], ["r"], to=1)
NETWORKS = {
    "arithmetic": [REAL, node("Mul", ["x", "r"], ["m"]), node("MatMul", ["m", "w"], ["p"]), node("Add", ["p", "r"], ["y"])],
    "Where": [
        node("Equal", ["s", "two"], ["c"]), node("MatMul", ["x", "w"], ["p"]), node("MatMul", ["x", "w2"], ["q"]),
        node("Where", ["c", "p", "q"], ["y"]),
    ],
    "If": choice(),
    "If, longer branch": choice(relu=True),
    "row of a table": [
        node("MatMul", ["x", "w"], ["p"]), node("Gather", ["p0", "s"], ["i"], axis=0), node("Add", ["p", "i"], ["y"])],
    "with an axis": [
        REAL, node("Unsqueeze", ["r", "axis"], ["u"]), node("MatMul", ["x", "w"], ["p"]), node("Add", ["p", "u"], ["y"])],
    "as a vector": [
        REAL, node("Reshape", ["r", "one"], ["u"]), node("Concat", ["u", "u", "u", "u"], ["v"], axis=0),
        node("Mul", ["x", "v"], ["m"]),
        node("MatMul", ["m", "w"], ["y"]),
    ],
    "end of a Clip": [REAL, node("MatMul", ["x", "w"], ["p"]), node("Clip", ["p", "", "r"], ["y"])],
}  # fmt: skip


def save(path, nodes, batch=1):
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4]),
        helper.make_tensor_value_info("s", TensorProto.INT64, []),
    ]
    constants = {**CONSTANTS, "p0": np.arange(25, dtype=np.float32).reshape(5, 5)}
    graph = helper.make_graph(
        nodes,
        "g",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def runtime(path, x, s):
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": x[i : i + 1], "s": np.asarray(s[i])})[0] for i in range(len(x))])


@pytest.mark.parametrize("batch", [1, "N"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_number_an_image_gives_what_the_runtime_gives(name, batch, tmp_path):
    path = save(tmp_path / "n.onnx", NETWORKS[name], batch)
    network = cimemu.load_network(path)
    assert network.types["s"].shape == ()
    ours, theirs = run_float(network, {"x": X, "s": S})["y"], runtime(path, X, S)
    np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-6)
    assert not np.allclose(theirs[0], runtime(path, X, np.array([2, 1, 1]))[0])
    made = cimemu.quantize(network, ARCH, {"x": X, "s": S})
    found = check_network(made, ARCH.macro, {"x": X, "s": S})
    assert (found.status, found.differing) == ("agrees", 0)
    assert cimemu.run(ARCH, made, {"x": X, "s": S}).cycles > 0


def test_one_number_stands_for_all_images_wherever_images_are_taken(tmp_path):
    path = save(tmp_path / "n.onnx", NETWORKS["If"])
    network = cimemu.load_network(path)
    every, one = {"x": X, "s": np.array([2, 2, 2])}, {"x": X, "s": 2}
    made = cimemu.quantize(network, ARCH, one)
    assert np.array_equal(run_float(network, one)["y"], run_float(network, every)["y"])
    outputs = [cimemu.run(ARCH, made, images).outputs for images in (every, one, [one])]
    assert np.array_equal(outputs[0], outputs[1])
    assert np.array_equal(outputs[0], outputs[2])
    assert check_network(made, ARCH.macro, one).images == 3
    np.savez(tmp_path / "one.npz", x=X, s=np.int64(2))
    images, _ = BareWorkload.of(path, Given(inputs=tmp_path / "one.npz")).inputs()
    assert images["s"].tolist() == [2, 2, 2]


def test_random_numbers_are_those_that_the_network_asks_for(tmp_path):
    drawn = random_images(cimemu.load_network(save(tmp_path / "n.onnx", NETWORKS["If"])), 4, 0)
    assert drawn["s"].tolist() == [2, 2, 2, 2]


def test_branches_of_different_shapes_are_refused_in_one_line(tmp_path):
    longer = [node("MatMul", ["x", "w"], ["q"]), node("Concat", ["q", "q"], ["p"], axis=1)]
    with pytest.raises(cimemu.WorkloadError, match=r"output 0 is of shape \[1, 10\] or \[1, 5\]") as caught:
        cimemu.load_network(save(tmp_path / "n.onnx", choice(one=longer)))
    assert "\n" not in str(caught.value)


def test_a_quantised_file_with_such_an_input_is_compared_with_itself(tmp_path):
    """The file's own graph is run, image by image."""
    ort = pytest.importorskip("onnxruntime")
    quantization = pytest.importorskip("onnxruntime.quantization")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = [{"x": X[i : i + 1], "s": np.asarray(S[i])} for i in range(3)]

        def get_next(self):
            return self.left.pop() if self.left else None

    path, target = save(tmp_path / "n.onnx", NETWORKS["Where"]), tmp_path / "q.onnx"
    quantization.quantize_static(str(path), str(target), Reader())
    assert ort.__version__
    network = cimemu.load_network(target)
    assert network.is_quantized
    made = cimemu.quantize(network, ARCH)
    found = check_network(made, ARCH.macro, {"x": X, "s": S})
    assert (found.status, found.differing) == ("agrees", 0)
    assert cimemu.run(ARCH, made, {"x": X, "s": 2}).cycles > 0


def test_an_input_that_always_holds_a_number_is_a_constant(tmp_path, capsys):
    """One branch is left, and the number is no input any more."""
    path = save(tmp_path / "n.onnx", choice(relu=True), "N")
    for number, product in ((2, W), (5, W2)):
        network = cimemu.load_network(path, input_values={"s": number})
        assert network.inputs == ("x",)
        assert sum(layer.op == "MatMul" for layer in network.layers) == 1
        wanted = X @ product if number == 2 else np.maximum(X @ product, 0)
        np.testing.assert_allclose(run_float(network, X)["y"], wanted, rtol=1e-5, atol=1e-6)
    np.savez(tmp_path / "x.npz", x=X)
    line = [str(path), "--inputs", str(tmp_path / "x.npz"), "--input-value", "s=2", "--json"]
    assert main(["run", *line, "--no-trace"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 3
    assert main(["check", "rram_128", *line]) == 0


def test_a_quantised_file_is_compared_with_the_number_in_it(tmp_path):
    quantization = pytest.importorskip("onnxruntime.quantization")
    path, target = save(tmp_path / "n.onnx", NETWORKS["Where"]), tmp_path / "q.onnx"
    quantization.quantize_dynamic(str(path), str(target))
    network = cimemu.load_network(target, input_values={"s": 2})
    made = cimemu.quantize(network, ARCH)
    assert made.fixed["s"] == 2
    found = check_network(made, ARCH.macro, X)
    assert (found.status, found.differing) == ("agrees", 0)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_number_in_a_tflite_file(dtype, tmp_path):
    b, inputs, outputs = number(dtype)
    path = b.save(tmp_path / "n.tflite", inputs, outputs)
    network = cimemu.load_network(path, input_values={"s": 3})
    assert network.inputs == ("x",)
    x = RNG.integers(-128, 128, (3, 4)).astype(np.int8) if dtype == "int8" else X
    if dtype == "float32":
        assert check_float(network, path, x).status == "agrees"
    else:
        assert check_network(cimemu.quantize(network, ARCH), ARCH.macro, x).status == "agrees"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"z": 1}, "input value z = 1: the file has no input z, it has x, s"),
        ({"s": 1.5}, "input value s = 1.5: the input is int64"),
        ({"s": float("nan")}, "input value s = nan"),
        ({"x": 1, "s": 2}, "x = 1, s = 2: all inputs have one, and one takes the images"),
    ],
)
def test_numbers_that_an_input_cannot_hold_are_refused_in_one_line(values, said, tmp_path):
    with pytest.raises(cimemu.WorkloadError, match=said) as error:
        cimemu.load_network(save(tmp_path / "n.onnx", NETWORKS["If"]), input_values=values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_the_input_of_the_images_is_no_number(suffix, tmp_path):
    if suffix == "onnx":
        nodes, outputs = [node("Relu", ["x"], ["y"])], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
        graph = helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])], outputs
        )
        path = tmp_path / "n.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    else:
        b = TflBuilder()
        x, y = (b.tensor(name, [1, 4], "float32") for name in "xy")
        b.op("RELU", [x], [y])
        path = b.save(tmp_path / "n.tflite", [x], [y])
    with pytest.raises(cimemu.WorkloadError, match="x = 3: x is the only input and takes the images") as error:
        cimemu.load_network(path, input_values={"x": 3})
    assert "\n" not in str(error.value)
    assert "--inputs FILE" in str(error.value)


def test_a_batch_that_is_given_as_one_lets_operators_work_along_it(tmp_path):
    nodes = [
        node("MatMul", ["x", "w"], ["p"]),
        node("ReduceMax", ["p"], ["m"], keepdims=0),
        node("Sub", ["p", "m"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(W, "w")])
    path = tmp_path / "n.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with pytest.raises(cimemu.WorkloadError, match="images must stay apart"):
        cimemu.load_network(path)
    network = cimemu.load_network(path, input_shapes={"x": (1, 4)})
    ours = run_float(network, {"x": X})["y"]
    np.testing.assert_allclose(ours, X @ W - (X @ W).max(axis=1, keepdims=True), rtol=1e-5, atol=1e-6)


def number(dtype):
    """A TFLite network of a product and a number without axes."""
    b = TflBuilder()
    if dtype == "int8":
        x, s, p, y = (b.tensor(n, shape, "int8", scale, 3) for n, shape, scale in (
            ("x", [1, 4], 0.05), ("s", [], 0.02), ("p", [1, 4], 0.1), ("y", [1, 4], 0.2)
        ))  # fmt: skip
        bias = b.tensor("b", [4], "int32", [np.float32(0.05) * np.float32(0.01)], 0, np.zeros(4))
        b.op("FULLY_CONNECTED", [x, b.tensor("w", (4, 4), "int8", [0.01], 0, RNG.integers(-99, 99, (4, 4))), bias], [p])
        b.op("MUL", [p, s], [y])
    else:
        x, s, p, y = (b.tensor(n, shape, kind) for n, shape, kind in (
            ("x", [1, 4], "float32"), ("s", [], dtype), ("p", [1, 4], "float32"), ("y", [1, 4], "float32")
        ))  # fmt: skip
        b.op("FULLY_CONNECTED", [x, b.tensor("w", (4, 4), "float32", data=RNG.normal(size=(4, 4)))], [p])
        b.op("SELECT_V2", [s, p, x], [y]) if dtype == "bool" else b.op("MUL", [p, s], [y])
    return b, [x, s], [y]


@pytest.mark.parametrize("dtype", ["float32", "bool", "int8"])
def test_numbers_of_tflite_files(dtype, tmp_path):
    b, inputs, outputs = number(dtype)
    path = b.save(tmp_path / "n.tflite", inputs, outputs)
    network = cimemu.load_network(path)
    if dtype == "int8":
        feeds = {"x": RNG.integers(-128, 128, (3, 4)).astype(np.int8), "s": np.array([4, 100, -50], np.int8)}
    else:
        feeds = {"x": X, "s": np.array([1, 0, 3]).astype(dtype)}
        assert check_float(network, path, feeds).status == "agrees"
    made = cimemu.quantize(network, ARCH, feeds)
    found = check_network(made, ARCH.macro, feeds)
    assert (found.status, found.differing) == ("agrees", 0)
    assert cimemu.run(ARCH, made, {**feeds, "s": feeds["s"][0]}).cycles > 0


TYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
]


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_holds_its_bounds_and_no_number_beyond(kind):
    """Whole numbers up to the bounds, as integers and as the floats that the command line gives; floats that become infinite."""
    whole = np.dtype(kind).kind != "f"
    low, high = (0, 1) if kind == "bool" else (0, 0)
    if kind != "bool":
        info = np.iinfo(kind) if whole else np.finfo(kind)
        low, high = (int if whole else float)(info.min), (int if whole else float)(info.max)
    for number in (low, high, 0, 1):
        assert filled_with("s", (), kind, number) == number
    step = 1 if whole else max(abs(high) * 0.01, 1.0)
    beyond = {low - step, high + step, float(2.0**64), -float(2.0**64)} if whole else {2 * low, 2 * high}
    beyond |= {0.5} if whole else {float("inf")}
    for number in beyond | {float("nan")}:
        with pytest.raises(cimemu.WorkloadError, match=f"the input is {kind}, give a number that it holds"):
            filled_with("s", (), kind, number)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            ["--input-value", "s=1", "--input-value", "s=2"],
            "--input-value s: given twice, as 1.0 and 2.0; leave one out",
        ),
        (["--input-shape", "x=1,4", "--input-shape", "x=2,4"], "--input-shape x: given twice, as 1,4 and 2,4"),
    ],
)
def test_a_name_that_is_given_twice_is_refused_in_one_line(line, said, tmp_path, capsys):
    path = save(tmp_path / "n.onnx", NETWORKS["If"])
    for command in (["run", "--no-trace"], ["check"], ["generate", "--prompt", "x=1"]):
        assert main([command[0], "rram_128", str(path), *command[1:], *line]) == 2
        told = capsys.readouterr().err
        assert said in told
        assert told.count("\n") == 1
