"""TensorFlow Lite files of several subgraphs, with variables, and with shapes left to run time, against LiteRT."""

import csv

import numpy as np
import pytest
from tflite_build import TflBuilder, digital, litert

import cimemu
from cimemu import many
from cimemu.check.float_network import check_float
from cimemu.check.network import check_network
from cimemu.cli import main
from cimemu.importer import load_network
from cimemu.layer.execute import run_float

RNG = np.random.default_rng(0)
MACRO = cimemu.load_arch("rram_128", {"macro.adc": "ideal"}).macro


def branches(path):
    """y = x + 1 where the sum of x is positive, else x * x; both in subgraphs."""
    b = TflBuilder()
    x, y = b.tensor("x", [1, 3], "float32"), b.tensor("y", [1, 3], "float32")
    total, positive = b.tensor("s", [1], "float32"), b.tensor("c", [1], "bool")
    axis, none = b.tensor("a", [1], "int32", data=[1]), b.tensor("z", [1], "float32", data=[0.0])
    b.op("SUM", [x, axis], [total], keepDims=False)
    b.op("GREATER", [total, none], [positive])
    b.op("IF", [positive, x], [y], thenSubgraphIndex=1, elseSubgraphIndex=2)
    yes = TflBuilder(b)
    given, made = yes.tensor("x", [1, 3], "float32"), yes.tensor("y", [1, 3], "float32")
    yes.op("ADD", [given, yes.tensor("one", [], "float32", data=1.0)], [made])
    yes.ends([given], [made])
    no = TflBuilder(b)
    given, made = no.tensor("x", [1, 3], "float32"), no.tensor("y", [1, 3], "float32")
    no.op("MUL", [given, given], [made])
    no.ends([given], [made])
    return b.save(path, [x], [y])


@pytest.mark.parametrize("sign", [1, -1])
def test_both_branches_run_and_the_condition_chooses(tmp_path, sign):
    path = branches(tmp_path / "n.tflite")
    x = sign * np.array([[0.5, -0.25, 1.5]], np.float32)
    (theirs,) = litert(path.read_bytes(), x)
    assert np.array_equal(run_float(load_network(path), x)["y"], theirs)


def stream(path, *, set_to=True):
    """A convolution over three kept codes and one new one; the last three are kept for the next step."""
    b = TflBuilder()
    x = b.tensor("x", [1, 1, 4], "int8", 0.1, 3)
    kept, both = b.tensor("kept", [1, 3, 4], "int8", 0.1, 3), b.tensor("both", [1, 4, 4], "int8", 0.1, 3)
    later, y = b.tensor("later", [1, 3, 4], "int8", 0.1, 3), b.tensor("y", [1, 5], "int8", 0.2, -4)
    handle = b.tensor("h", [], "resource")
    if set_to:
        b.op("CALL_ONCE", [], [], initSubgraphIndex=1)
    b.op("VAR_HANDLE", [], [handle], container="", sharedName="state")
    b.op("READ_VARIABLE", [handle], [kept])
    b.op("CONCATENATION", [kept, x], [both], axis=1)
    cut = [
        b.tensor(name, [3], "int32", data=data) for name, data in (("b", [0, 1, 0]), ("e", [1, 4, 4]), ("t", [1, 1, 1]))
    ]
    b.op("STRIDED_SLICE", [both, *cut], [later])
    b.op("ASSIGN_VARIABLE", [handle, later], [])
    weight = b.tensor("w", [5, 16], "int8", 0.02, 0, RNG.integers(-127, 128, (5, 16)))
    b.op("FULLY_CONNECTED", [both, weight, b.tensor("o", [5], "int32", 0.002, 0, RNG.integers(-99, 99, 5))], [y])
    first = TflBuilder(b)
    handle = first.tensor("h", [], "resource")
    begin = first.tensor("begin", [1, 3, 4], "int8", 0.1, 3, RNG.integers(-128, 128, (1, 3, 4)))
    first.op("VAR_HANDLE", [], [handle], container="", sharedName="state")
    first.op("ASSIGN_VARIABLE", [handle, begin], [])
    first.ends([], [])
    return b.save(path, [x], [y])


def test_every_image_is_the_first_step_of_a_stream(tmp_path):
    network = load_network(stream(tmp_path / "n.tflite"))
    x = RNG.integers(-128, 128, (1, 1, 4)).astype(np.int8)
    found = check_network(network, MACRO, x)
    assert found.integers.elements >= 5 + 12
    assert not found.differing
    many = np.concatenate([x, x])
    assert np.ptp(cimemu.run(cimemu.load_arch("rram_128"), network, many, detail=None).outputs, axis=0).max() == 0


def test_a_variable_that_nothing_sets_is_one_line(tmp_path):
    with pytest.raises(cimemu.WorkloadError, match="reads variable '/state' that no CALL_ONCE sets to a constant"):
        load_network(stream(tmp_path / "n.tflite", set_to=False))


def test_a_subgraph_that_is_not_there_is_one_line(tmp_path):
    b = TflBuilder()
    x, y, c = b.tensor("x", [1, 3], "float32"), b.tensor("y", [1, 3], "float32"), b.tensor("c", [1], "bool")
    b.op("GREATER", [x, b.tensor("z", [1], "float32", data=[0.0])], [c])
    b.op("IF", [c, x], [y], thenSubgraphIndex=1, elseSubgraphIndex=2)
    with pytest.raises(cimemu.WorkloadError, match=r"operator 1 \(IF\): calls subgraph 1 of 1, must be another one"):
        load_network(b.save(tmp_path / "n.tflite", [x], [y]))


def open_shape(path):
    """A dense layer of every step: a RESHAPE whose shape is computed, which the file stores as [1, 1]."""
    b = TflBuilder()
    x = b.tensor("x", [1, 4, 3], "int8", 0.1, 3)
    sizes, last = b.tensor("sizes", [3], "int32"), b.tensor("last", [], "int32")
    count, shape = b.tensor("count", [], "int32"), b.tensor("shape", [2], "int32")
    rows = b.tensor("rows", [1, 1], "int8", 0.1, 3, signature=[-1, -1])
    made = b.tensor("made", [1, 2], "int8", 0.2, -4, signature=[-1, 2])
    y = b.tensor("y", [1, 4, 2], "int8", 0.2, -4)
    two, third = b.tensor("two", [2], "int32", data=[0, 1]), b.tensor("third", [], "int32", data=2)
    pair, zero = b.tensor("pair", [2], "int32"), b.tensor("zero", [1], "int32", data=[0])
    b.op("SHAPE", [x], [sizes], outType=2)
    b.op("GATHER", [sizes, two], [pair], axis=0)
    b.op("REDUCE_PROD", [pair, zero], [count], keepDims=False)
    b.op("GATHER", [sizes, third], [last], axis=0)
    b.op("PACK", [count, last], [shape], axis=0, valuesCount=2)
    b.op("RESHAPE", [x, shape], [rows])
    weight = b.tensor("w", [2, 3], "int8", 0.02, 0, RNG.integers(-127, 128, (2, 3)))
    b.op("FULLY_CONNECTED", [rows, weight, b.tensor("o", [2], "int32", 0.002, 0, [5, -7])], [made])
    b.op("RESHAPE", [made, b.tensor("back", [3], "int32", data=[1, 4, 2])], [y])
    return b.save(path, [x], [y])


def test_a_shape_left_to_run_time_is_worked_out(tmp_path):
    network = load_network(open_shape(tmp_path / "n.tflite"))
    found = check_network(network, MACRO, RNG.integers(-128, 128, (3, 4, 3)).astype(np.int8))
    assert found.integers.elements >= 3 * (8 + 8)
    assert not found.differing


def open_input(path):
    """x + x of any number of steps."""
    b = TflBuilder()
    x = b.tensor("x", [1, 1, 3], "float32", signature=[1, -1, 3])
    y = b.tensor("y", [1, 1, 3], "float32", signature=[1, -1, 3])
    b.op("ADD", [x, x], [y])
    return b.save(path, [x], [y])


def test_a_size_that_the_file_leaves_open_is_given(tmp_path):
    path = open_input(tmp_path / "n.tflite")
    assert load_network(path, input_shapes={"": (1, 5, 3)}).types["y"].shape == (5, 3)
    with pytest.raises(cimemu.WorkloadError, match="input 'x' leaves its size on axis 1 open: give it, --input-shape"):
        load_network(path)
    with pytest.raises(cimemu.WorkloadError, match=r"input 'x' has the shape \[1, open, 3\], \[1, 5, 4\] was given"):
        load_network(path, input_shapes={"x": (1, 5, 4)})
    with pytest.raises(cimemu.WorkloadError, match="no input 'q' to give a shape, inputs are x"):
        load_network(path, input_shapes={"q": (1, 5, 4)})


F32 = "float32"
# name -> (operator, shapes of the computed operands, constants behind them, shape of the output, options)
FLOAT = {
    "transposition of the first axis": ("TRANSPOSE", [[1, 4, 3]], [([3], "int32", [1, 0, 2])], [4, 1, 3], {}),
    "a whole tensor and a row": ("ADD", [[1, 3], [4, 3]], [], [4, 3], {}),
    "a constant of another first axis": ("MUL", [[1, 3]], [([4, 3], F32, np.arange(12.0))], [4, 3], {}),
    "selection": ("SELECT_V2", [], [], [1, 4, 3], {}),
    "stack in front": ("PACK", [[1, 3], [1, 3]], [], [2, 1, 3], {"axis": 0, "valuesCount": 2}),
    "stack behind": ("PACK", [[1, 3], [1, 3]], [], [1, 3, 2], {"axis": 2, "valuesCount": 2}),
    "product of two": ("BATCH_MATMUL", [[1, 2, 4, 3], [1, 2, 3, 5]], [], [1, 2, 4, 5], {}),
    "product with a turned one": ("BATCH_MATMUL", [[1, 4, 3], [1, 5, 3]], [], [1, 4, 5], {"adjY": True}),
    "product with a constant": ("BATCH_MATMUL", [[1, 4, 3]], [([3, 5], F32, np.arange(15.0))], [1, 4, 5], {}),
    "rows of a dense layer": (
        "FULLY_CONNECTED", [[4, 3]], [([5, 3], F32, np.arange(15.0)), ([5], F32, np.arange(5.0))], [4, 5], {},
    ),
    "normalised": ("L2_NORMALIZATION", [[1, 4, 3]], [], [1, 4, 3], {}),
    "mean over all": ("MEAN", [[1, 4, 3]], [([2], "int32", [0, 1])], [3], {}),
    "product over an axis": ("REDUCE_PROD", [[1, 4, 3]], [([1], "int32", [1])], [1, 3], {}),
    "mirrored": ("MIRROR_PAD", [[1, 4, 3]], [([3, 2], "int32", [0, 0, 2, 1, 0, 2])], [1, 7, 5], {"mode": 0}),
    "chosen": ("GATHER", [[1, 4, 3]], [([2], "int32", [2, 0])], [1, 2, 3], {"axis": 1}),
    "blocks": ("DEPTH_TO_SPACE", [[1, 2, 3, 8]], [], [1, 4, 6, 2], {"blockSize": 2}),
    "tiles": ("TILE", [[1, 4, 3]], [([3], "int32", [2, 1, 3])], [2, 4, 9], {}),
    "broadcast": ("BROADCAST_TO", [[4, 1]], [([3], "int32", [2, 4, 3])], [2, 4, 3], {}),
    "softmax with beta": ("SOFTMAX", [[1, 4, 3]], [], [1, 4, 3], {"beta": 0.5}),
    **{
        name: (name, [[1, 4, 3]], [], [1, 4, 3], {})
        for name in ("COS", "SIN", "SQUARE", "LOG_SOFTMAX", "GELU", "EXP", "NEG", "ABS")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", FLOAT)
def test_a_float_operator_gives_what_the_reference_kernel_gives(tmp_path, name):
    op, shapes, constants, made, fields = FLOAT[name]
    b = TflBuilder()
    inputs = [b.tensor(f"x{i}", [1, int(np.prod(shape))], F32) for i, shape in enumerate(shapes or [made, made])]
    values = []
    for i, shape in enumerate(shapes or [made, made]):
        values.append(b.tensor(f"v{i}", shape, F32))
        b.op("RESHAPE", [inputs[i]], [values[i]], newShape=shape)
    if op == "SELECT_V2":
        c = b.tensor("c", made, "bool")
        b.op("LESS", values, [c])
        values = [c, *values]
    values += [b.tensor(f"c{i}", shape, kind, data=data) for i, (shape, kind, data) in enumerate(constants)]
    y, flat = b.tensor("y", made, F32), b.tensor("flat", [1, int(np.prod(made))], F32)
    b.op(op, values, [y], **fields)
    b.op("RESHAPE", [y], [flat], newShape=[1, int(np.prod(made))])
    path = b.save(tmp_path / "n.tflite", inputs, [flat])
    images = [RNG.standard_normal((1, int(np.prod(shape)))).astype(np.float32) for shape in shapes or [made, made]]
    (theirs,) = litert(path.read_bytes(), *images)
    np.testing.assert_allclose(digital(path, *images)[0], theirs, rtol=3e-6, atol=3e-7)


def dilated(path, dtype, *, read=False):
    """A depthwise convolution with a dilation of 2 as TensorFlow writes it: the images' number is not known between."""
    b = TflBuilder()
    scale, zero = (0.1, 3) if dtype == "int8" else (None, 0)
    ends = [scale, zero] if scale else []
    x, y = b.tensor("x", [1, 9, 9, 3], dtype, *ends), b.tensor("y", [1, 9, 9, 3], dtype, *ends)
    apart = b.tensor("a", [1, 7, 7, 3], dtype, *ends, signature=[-1, 7, 7, 3])
    made = b.tensor("m", [1, 5, 5, 3], dtype, *ends, signature=[-1, 5, 5, 3])
    block = b.tensor("k", [2], "int32", data=[2, 2])
    pads = b.tensor("p", [2, 2], "int32", data=[[2, 3], [2, 3]])
    crops = b.tensor("c", [2, 2], "int32", data=[[0, 1], [0, 1]])
    b.op("SPACE_TO_BATCH_ND", [x, block, pads], [apart])
    integer = dtype == "int8"
    values = RNG.integers(-127, 128, (1, 3, 3, 3))
    weight = b.tensor("w", [1, 3, 3, 3], dtype, *([0.02, 0] if integer else []), data=values)
    bias = b.tensor("o", [3], "int32" if integer else "float32", *([0.002, 0] if integer else []), data=[5, -7, 9])
    fields = {
        "padding": 1,
        "strideH": 1,
        "strideW": 1,
        "depthMultiplier": 1,
        "dilationHFactor": 1,
        "dilationWFactor": 1,
    }
    b.op("DEPTHWISE_CONV_2D", [apart, weight, bias], [made], fusedActivationFunction=1, **fields)
    b.op("BATCH_TO_SPACE_ND", [made, block, crops], [y])
    return b.save(path, [x], [y, made] if read else [y])


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_a_convolution_between_space_and_batch_is_a_dilated_one(tmp_path, dtype):
    path = dilated(tmp_path / "n.tflite", dtype)
    network = load_network(path)
    image = RNG.integers(-128, 128, (1, 9, 9, 3)).astype(dtype)
    (theirs,) = litert(path.read_bytes(), image)
    if dtype == "int8":
        found = check_network(network, MACRO, image)
        assert (found.integers.elements, found.differing) == (243, 0)
        return
    np.testing.assert_allclose(run_float(network, image)["y"], theirs, rtol=1e-6)


def test_a_float_file_is_checked_before_it_is_quantised(tmp_path):
    network = load_network(path := dilated(tmp_path / "n.tflite", "float32"))
    found = check_float(network, path, RNG.standard_normal((2, 9, 9, 3)).astype(np.float32))
    assert found.floats.elements >= 2 * 243
    assert not found.failed
    assert main(["check", "rram_128", str(path), "--float", "--images", "2"]) == 0
    codes, x = load_network(stream(tmp_path / "m.tflite")), np.zeros((1, 1, 4), np.int8)
    with pytest.raises(cimemu.WorkloadError, match="has integers already, compare it without --float"):
        check_float(codes, tmp_path / "m.tflite", x)


@pytest.mark.slow
def test_many_files_are_run_and_checked_in_one_table(tmp_path, capsys):
    stream(tmp_path / "good.tflite")
    stream(tmp_path / "bad.tflite", set_to=False)
    open_input(tmp_path / "open.tflite")
    (tmp_path / "shapes.csv").write_text("file,input,shape\nopen.tflite,x,1x5x3\n")
    table = tmp_path / "t.csv"
    given = [str(tmp_path), str(table), "--images", "1", "--shapes", str(tmp_path / "shapes.csv")]
    assert many.main(given) == 0
    rows = {row["file"]: row for row in csv.DictReader(table.open())}
    assert (rows["good.tflite"]["verdict"], rows["good.tflite"]["integers that differ"]) == ("agrees", "0")
    assert rows["bad.tflite"]["verdict"] == "refused"
    assert "no CALL_ONCE sets to a constant" in rows["bad.tflite"]["what was said"]
    assert len(rows) == 3
    assert "1 agrees" in capsys.readouterr().out
