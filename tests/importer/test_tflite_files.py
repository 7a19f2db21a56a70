"""Whole TensorFlow Lite files as converters write them: float ends, computed shapes, float16 and sparse weights, refusals."""

import numpy as np
import pytest
from tflite_build import TflBuilder, litert, tf

import cimemu
from cimemu.check.network import check_network
from cimemu.importer.unsupported import refusal
from cimemu.layer.execute import run_float

ARCH = cimemu.load_arch("rram_128")
STEPS = {"padding": 1, "strideH": 1, "strideW": 1}
DILATED = {**STEPS, "dilationHFactor": 1, "dilationWFactor": 1}


class Net(TflBuilder):
    """A builder that knows what a small int8 network needs often."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def int8(self, name, shape, scale=0.05, zero=-10):
        return self.tensor(name, shape, "int8", scale, zero)

    def numbers(self, name, value):
        return self.tensor(name, np.shape(value), "int32", data=value)

    def weight(self, name, shape, source, outputs):
        """(weight, bias) numbers of a product of `outputs`, for an input of scale `source`."""
        w = self.tensor(f"{name}_w", shape, "int8", [0.02] * outputs, 0, self.rng.integers(-99, 99, shape))
        steps = [np.float32(source) * np.float32(0.02)] * outputs
        return w, self.tensor(f"{name}_b", [outputs], "int32", steps, 0, self.rng.integers(-50, 50, outputs))


def converted(folder):
    """Float ends, squeeze and excitation, upsampling, a dilation by batches, a reshape to a computed shape."""
    b = Net()
    xf, x = b.tensor("xf", [1, 8, 8, 3], "float32"), b.int8("x", [1, 8, 8, 3], 0.02, -3)
    b.op("QUANTIZE", [xf], [x])
    c, h = b.int8("c", [1, 8, 8, 4], 0.1, 4), b.int8("h", [1, 8, 8, 4])
    b.op("CONV_2D", [x, *b.weight("c", (4, 1, 1, 3), 0.02, 4)], [c], **DILATED)
    b.op("HARD_SWISH", [c], [h])
    m, s, g = b.int8("m", [1, 1, 1, 4]), b.int8("s", [1, 1, 1, 4], 1 / 256, -128), b.int8("g", [1, 8, 8, 4], 0.04, -11)
    b.op("MEAN", [h, b.numbers("axes", [1, 2])], [m], keepDims=True)
    b.op("LOGISTIC", [m], [s])
    b.op("MUL", [h, s], [g])
    t, p = b.int8("t", [1, 16, 16, 5], 0.1, 3), b.int8("p", [1, 18, 18, 5], 0.1, 3)
    size, pads = b.numbers("size", [1, 16, 16, 5]), b.numbers("pads", [[0, 0], [1, 1], [1, 1], [0, 0]])
    b.op("TRANSPOSE_CONV", [size, b.weight("t", (5, 2, 2, 4), 0.04, 5)[0], g], [t], padding=0, strideH=2, strideW=2)
    b.op("PAD", [t, pads], [p])
    block, none = b.numbers("block", [2, 2]), b.numbers("none", [[0, 0], [0, 0]])
    to, back = b.int8("to", [4, 9, 9, 5], 0.1, 3), b.int8("back", [1, 18, 18, 5], 0.1, 3)
    b.op("SPACE_TO_BATCH_ND", [p, block, none], [to])
    b.op("BATCH_TO_SPACE_ND", [to, block, none], [back])
    shape, images, whole = (
        b.tensor("shape", [4], "int32"),
        b.tensor("images", [], "int32"),
        b.tensor("whole", [2], "int32"),
    )
    b.op("SHAPE", [back], [shape], outType=2)
    ends = [b.numbers(f"end{i}", [i]) for i in (0, 1)]
    b.op("STRIDED_SLICE", [shape, *ends, ends[1]], [images], shrinkAxisMask=1)
    b.op("PACK", [images, b.numbers("rest", 1620)], [whole], axis=0, valuesCount=2)
    f, y = b.int8("f", [1, 1620], 0.1, 3), b.tensor("y", [1, 1620], "float32")
    b.op("RESHAPE", [back, whole], [f])
    b.op("DEQUANTIZE", [f], [y])
    return b.save(folder / "n.tflite", [xf], [y])


def test_a_converted_network_with_float_ends_equals_the_reference_kernels_in_every_tensor(tmp_path):
    network = cimemu.load_network(converted(tmp_path))
    images = np.random.default_rng(1).normal(size=(3, 8, 8, 3)).astype(np.float32)
    found = check_network(network, ARCH.macro, images)
    assert found.differing == 0
    assert found.uncompared == ("t:products",)
    assert found.bit_serial_layers == 2
    assert "shape" not in network.types
    result = cimemu.run(ARCH, network, images)
    assert result.outputs.dtype == np.float32
    assert result.cycles > 0


def test_float_operators_between_integers_run_on_the_digital_unit(tmp_path):
    b = Net()
    x, c = b.int8("x", [1, 6, 6, 3], 0.02, -3), b.int8("c", [1, 6, 6, 4], 0.1, 4)
    b.op("CONV_2D", [x, *b.weight("c", (4, 1, 1, 3), 0.02, 4)], [c], **DILATED)
    f, e, s, q = (b.tensor(name, [1, 6, 6, 4], "float32") for name in "fesq")
    b.op("DEQUANTIZE", [c], [f])
    b.op("ABS", [f], [e])
    b.op("SQRT", [e], [s])
    b.op("MUL", [s, b.tensor("k", [4], "float32", data=b.rng.normal(size=4))], [q], fusedActivationFunction=0)
    y, z = b.int8("y", [1, 6, 6, 4], 0.07, 1), b.int8("z", [1, 6, 6, 2], 0.2, 1)
    b.op("QUANTIZE", [q], [y])
    b.op("CONV_2D", [y, *b.weight("z", (2, 1, 1, 4), 0.07, 2)], [z], **DILATED)
    network = cimemu.load_network(b.save(tmp_path / "n.tflite", [x], [z]))
    images = b.rng.integers(-128, 128, (3, 6, 6, 3)).astype(np.int8)
    found = check_network(network, ARCH.macro, images)
    assert found.differing == 0
    assert not found.uncompared


def test_a_sequence_without_a_batch_axis_runs_image_by_image(tmp_path):
    b = Net()
    x, t, s = b.int8("x", [1, 5, 6]), b.int8("t", [5, 1, 6]), b.int8("s", [5, 6])
    b.op("TRANSPOSE", [x, b.numbers("order", [1, 0, 2])], [t])
    b.op("SQUEEZE", [t], [s], squeezeDims=[1])
    y, z = b.int8("y", [5, 4], 0.1, 2), b.int8("z", [1, 5, 4], 0.1, 2)
    b.op("FULLY_CONNECTED", [s, *b.weight("y", (4, 6), 0.05, 4)], [y], weightsFormat=0, keepNumDims=False)
    b.op("EXPAND_DIMS", [y, b.numbers("axis", 0)], [z])
    network = cimemu.load_network(b.save(tmp_path / "n.tflite", [x], [z]))
    images = b.rng.integers(-128, 128, (4, 5, 6)).astype(np.int8)
    assert check_network(network, ARCH.macro, images).differing == 0


def half(folder, *, sparse):
    """A float network whose weights are stored in float16, or sparsely."""
    b = Net()
    x, kind = b.tensor("x", [1, 6, 6, 4], "float32"), "float32" if sparse else "float16"
    value = b.rng.normal(size=(8, 1, 1, 4)).astype(np.float16) * (b.rng.random((8, 1, 1, 4)) < 0.4)
    stored = b.tensor("stored", value.shape, kind, data=value[value != 0] if sparse else value)
    dense = b.tensor("dense", value.shape, "float32")
    if sparse:
        b.graph.tensors[stored].sparsity = compressed(value.reshape(8, 4))
    b.op("DENSIFY" if sparse else "DEQUANTIZE", [stored], [dense])
    c, h, g = (b.tensor(name, [1, 6, 6, 8], "float32") for name in "chg")
    b.op("CONV_2D", [x, dense, b.tensor("bias", [8], "float32", data=b.rng.normal(size=8))], [c], **DILATED)
    b.op("HARD_SWISH", [c], [h])
    b.op("MUL", [h, b.tensor("k", [8], "float32", data=b.rng.normal(size=8))], [g], fusedActivationFunction=1)
    p, m, y = (
        b.tensor("p", [1, 8, 7, 8], "float32"),
        b.tensor("m", [1, 8], "float32"),
        b.tensor("y", [1, 16], "float32"),
    )
    b.op("PAD", [g, b.numbers("pads", [[0, 0], [1, 1], [0, 1], [0, 0]])], [p])
    b.op("MEAN", [p, b.numbers("axes", [1, 2])], [m], keepDims=False)
    b.op("CONCATENATION", [m, m], [y], axis=1)
    return b.save(folder / "n.tflite", [x], [y]), b.rng.normal(size=(1, 6, 6, 4)).astype(np.float32)


def compressed(matrix):
    """Of [outputs, 1, 1, inputs]: the inputs' axis as compressed rows."""
    made = tf.SparsityParametersT()
    made.traversalOrder, made.dimMetadata = [0, 1, 2, 3], []
    for size in (len(matrix), 1, 1, 0):
        axis = tf.DimensionMetadataT()
        axis.format, axis.denseSize = (0, size) if size else (1, 0)
        if not size:
            axis.arraySegmentsType = axis.arrayIndicesType = tf.SparseIndexVector.Int32Vector
            axis.arraySegments, axis.arrayIndices = tf.Int32VectorT(), tf.Int32VectorT()
            axis.arraySegments.values = [0, *np.cumsum((matrix != 0).sum(axis=1)).tolist()]
            axis.arrayIndices.values = np.nonzero(matrix)[1].tolist()
        made.dimMetadata.append(axis)
    return made


@pytest.mark.parametrize("sparse", [False, True])
def test_float16_and_sparse_weights_give_what_litert_gives(tmp_path, sparse):
    path, image = half(tmp_path, sparse=sparse)
    network = cimemu.load_network(path)
    ours = run_float(network, image)[network.outputs[0]]
    (theirs,) = litert(path.read_bytes(), image)
    assert np.abs(ours - theirs).max() < 1e-5
    quantized = cimemu.quantize(network, ARCH, calibration=image)
    assert cimemu.run(ARCH, quantized, image).outputs.shape == theirs.shape


@pytest.mark.parametrize("number", range(8))
def test_a_float_network_that_grows_its_images_gives_what_litert_gives(tmp_path, number):
    b, rng = Net(), np.random.default_rng(number)
    x, t = b.tensor("x", [1, 5, 6, 3], "float32"), b.tensor("t", [1, 10, 12, 4], "float32")
    w = b.tensor("w", [4, 3, 2, 3], "float32", data=rng.normal(size=(4, 3, 2, 3)))
    bias = b.tensor("bias", [4], "float32", data=rng.normal(size=4))
    b.op("TRANSPOSE_CONV", [b.numbers("size", [1, 10, 12, 4]), w, x, bias], [t], padding=0, strideH=2, strideW=2)
    last, size = t, (10, 12)
    for kind in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        size = tuple(int(n) for n in rng.integers(5, 30, 2))
        made = b.tensor(kind, [1, *size, 4], "float32")
        rule = [(False, False), (True, False), (False, True)][int(rng.integers(0, 3))]
        b.op(kind, [last, b.numbers(f"{kind}_size", size)], [made], alignCorners=rule[0], halfPixelCenters=rule[1])
        last = made
    parts = [b.tensor(f"p{i}", [1, *size, 2], "float32") for i in (0, 1)]
    b.op("SPLIT", [b.numbers("axis", 3), last], parts, numSplits=2)
    y, z = b.tensor("y", [1, size[1], 2], "float32"), b.tensor("z", [1, 2, size[1]], "float32")
    b.op("STRIDED_SLICE", [parts[1], *(b.numbers(f"k{i}", v) for i, v in enumerate(([0, 2, 0, 0], [1, 3, 99, 2], [1] * 4)))],
         [y], shrinkAxisMask=2)  # fmt: skip
    b.op("TRANSPOSE", [y, b.numbers("order", [0, 2, 1])], [z])
    deep, flat = b.tensor("deep", [1, 5, 6, 16], "float32"), b.tensor("flat", [1, 10, 12, 4], "float32")
    b.op("SPACE_TO_DEPTH", [t], [deep], blockSize=2)
    b.op("DEPTH_TO_SPACE", [deep], [flat], blockSize=2)
    path = b.save(tmp_path / "n.tflite", [x], [parts[0], z, t, flat])
    image = rng.normal(size=(1, 5, 6, 3)).astype(np.float32)
    network = cimemu.load_network(path)
    ours = run_float(network, image)
    for name, their in zip(network.outputs, litert(path.read_bytes(), image)):
        assert np.abs(ours[name] - their).max() < 1e-5


def test_a_float_layer_normalisation_gives_what_litert_gives(tmp_path):
    b, rng = Net(), np.random.default_rng(3)
    shape, short = [1, 5, 8], [1, 5, 1]
    x, m, d, v, e, s, r, n, a = (
        b.tensor(f"t{i}", one, "float32")
        for i, one in enumerate((shape, short, shape, short, short, short, shape, shape, shape))
    )
    axis = b.numbers("axis", [2])
    b.op("MEAN", [x, axis], [m], keepDims=True)
    b.op("SQUARED_DIFFERENCE", [x, m], [d])
    b.op("MEAN", [d, axis], [v], keepDims=True)
    b.op("ADD", [v, b.tensor("small", [], "float32", data=np.float32(1e-3))], [e])
    b.op("RSQRT", [e], [s])
    b.op("SUB", [x, m], [r])
    b.op("MUL", [r, s], [n])
    b.op("ABS", [n], [a])
    path, image = b.save(tmp_path / "n.tflite", [x], [n, a]), rng.normal(size=shape).astype(np.float32)
    network = cimemu.load_network(path)
    ours = run_float(network, image)
    for name, their in zip(network.outputs, litert(path.read_bytes(), image)):
        assert np.abs(ours[name] - their).max() < 1e-5


def test_all_unsupported_operators_are_told_at_once(tmp_path):
    b = Net()
    x, y, z = b.int8("x", [1, 6]), b.int8("y", [1, 4], 0.1, 2), b.int8("z", [1, 4], 0.1, 2)
    b.op("FULLY_CONNECTED", [x, *b.weight("y", (4, 6), 0.05, 4)], [y], weightsFormat=0, keepNumDims=False)
    last = y
    for number, kind in enumerate(("COS", "CUMSUM", "COS")):
        made = b.int8(f"t{number}", [1, 4], 0.1, 2)
        b.op(kind, [last], [made])
        last = made
    del z
    path = b.save(tmp_path / "n.tflite", [x], [last])
    message = (
        r"operators COS \(2 times\) and CUMSUM \(once\) are not supported; 100\.0 % of its 24 MACs could run: leave"
    )
    with pytest.raises(cimemu.WorkloadError, match=message) as caught:
        cimemu.load_network(path)
    assert "\n" not in str(caught.value)


def test_a_share_of_the_macs_is_that_of_the_operators_that_could_run():
    assert "operator LSTM (once) is not supported; 25.0 % of its 400 MACs could run" in str(
        refusal({"LSTM": 1}, 100, 400, "")
    )
    assert "it has no products with weights" in str(refusal({"LSTM": 3}, 0, 0, "leave it out"))


def two(op, *, shape=(1, 4), fields=None, constants=(), **changed):
    """A file with one operator; `changed` are the tensors' scales, zero points and types."""

    def build(folder):
        b = Net()
        given = {"xs": 0.05, "ys": 0.05, "xz": 0, "yz": 0, "x": "int8", "y": "int8"} | changed
        x = b.tensor("x", shape, given["x"], given["xs"], given["xz"])
        y = b.tensor("y", changed.get("out", shape), given["y"], given["ys"], given["yz"])
        b.op(op, [x, *(b.numbers(f"k{i}", value) for i, value in enumerate(constants))], [y], **(fields or {}))
        return b.save(folder / "n.tflite", [x], [y])

    return build


REFUSED = {
    "logistic": (two("LOGISTIC"), r"operator 0 \(LOGISTIC\): output scale 0\.05, must be 1/256"),
    "hard swish": (two("HARD_SWISH", ys=1e-6), r"\(HARD_SWISH\): output scale 1e-06, must be at least 1/128 of input"),
    "leaky": (two("LEAKY_RELU", fields={"alpha": -0.5}), r"\(LEAKY_RELU\): alpha = -0\.5, must be finite and >= 0"),
    "maximum": (two("REDUCE_MAX", constants=([1],), ys=0.1, out=(1,)), "have different scales, it keeps codes"),
    "l2": (two("L2_NORMALIZATION"), r"output scale 0\.05, zero point 0: must be 1/128 and 0"),
    "order": (two("TRANSPOSE", constants=([0, 0],)), r"\(TRANSPOSE\): order \[0, 0\] of 2 axes, must name each once"),
    "axis": (two("MEAN", constants=([5],)), r"\(MEAN\): axis 5, must be in -2 \.\. 1"),
    "gather": (two("GATHER", constants=([9],), fields={"axis": 1}, out=(1, 1)), r"indices 9 \.\. 9, must be in 0 \.\. 3"),
    "shape": (two("PAD", constants=([[0, 0], [1, 1]],)), r"tensor y: the file says int8 \[1, 4\], its operator makes int8 \[6\]"),
    "mask": (
        two("STRIDED_SLICE", constants=([0], [1], [1]), fields={"newAxisMask": 1}),
        r"\(STRIDED_SLICE\): NewAxisMask = 1, must be 0",
    ),
    "float between": (two("TANH", x="float32", xs=None), r"must be int8 or uint8|has 0 scales"),
    "types": (two("TANH", y="uint8"), "its tensors are int8 and uint8, must be of one type"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_an_operator_cannot_be_is_one_line_that_names_it(tmp_path, name):
    build, message = REFUSED[name]
    with pytest.raises(cimemu.WorkloadError, match=message) as caught:
        cimemu.load_network(build(tmp_path))
    assert "\n" not in str(caught.value)
