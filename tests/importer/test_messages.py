"""Networks that macros cannot run, and files that cannot be read: one line with the value, the rule and the remedy."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from onnx import helper
from onnx_build import model, node, save
from tflite_build import TflBuilder

import cimemu
from cimemu.errors import why_unreadable
from cimemu.workload.data import hdf5_keys

ARCH = cimemu.load_arch("rram_128")
BASE = {
    "xs": np.float32(0.1), "xz": np.uint8(0), "w": np.ones((4, 3), np.int8), "ws": np.float32(0.1), "wz": np.int8(0),
    "ys": np.float32(0.1), "yz": np.uint8(0),
}  # fmt: skip


def lowered(folder, nodes, constants, inputs=None):
    path = save(folder, model(nodes, inputs or {"x": (4,)}, ["y"], constants, opset=21))
    return cimemu.quantize(cimemu.load_network(path), ARCH)


def product(folder, op="MatMul", axis=1, attributes=None, **changed):
    nodes = [
        node("QuantizeLinear", "x xs xz", "xq"), node("DequantizeLinear", "xq xs xz", "xd"),
        node("DequantizeLinear", "w ws wz", "wd", axis=axis),
        node(op, "xd wd c" if "c" in changed else "xd wd", "r", name="node_r", **(attributes or {})),
        node("QuantizeLinear", "r ys yz", "yq"), node("DequantizeLinear", "yq ys yz", "y"),
    ]  # fmt: skip
    return lowered(folder, nodes, {**BASE, **changed})


def scales(count, dtype="int8"):
    return np.full(count, 0.1, np.float32), np.zeros(count, dtype)


ONNX = {
    "int32 weights": ({"w": np.ones((4, 3), np.int32), "wz": np.int32(0)}, r"its weight 'w' is int32, .*: quantise weights"),
    "scales along the inputs": (
        {"ws": scales(4)[0], "wz": scales(4)[1], "axis": 0},
        r"its weight 'w' has 4 scales along axis 0, must have one or one an output \(axis 1, 3\): a column sums over the others",
    ),
    "scales of the input": (
        dict(zip(("xs", "xz"), scales(4, "uint8"))), r"its input 'xq' has 4 scales, .*: quantise it per tensor"),
    "scales of the output": (
        dict(zip(("ys", "yz"), scales(3, "uint8"))), r"its output 'yq' has 3 scales, must have one: quantise it per tensor"),
    "alpha": ({"op": "Gemm", "attributes": {"alpha": 0.5}}, r"alpha = 0\.5, must be 1: multiply the scale of its weight"),
    "beta": (
        {"op": "Gemm", "attributes": {"beta": 2.0}, "c": np.ones(3, np.float32)},
        r"beta = 2, must be 1: multiply the scale of its bias",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ONNX)
def test_a_product_that_macros_cannot_run_names_the_cause(tmp_path, name):
    changed, message = ONNX[name]
    with pytest.raises(cimemu.WorkloadError, match=message) as caught:
        product(tmp_path, **changed)
    assert "\n" not in str(caught.value)


def test_beta_without_a_bias_says_nothing(tmp_path):
    assert product(tmp_path, op="Gemm", attributes={"beta": 2.0}).is_integer


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"alpha": 0.5}, r"alpha = 0\.5, must be 1"),
        ({"transA": 1}, "transA = 1 would exchange images and inputs"),
        ({"beta": 0.5}, r"\(QGemm\): attribute 'beta' is not supported"),
    ],
)
def test_attributes_of_qgemm_are_read_or_refused(tmp_path, attributes, message):
    made = helper.make_node(
        "QGemm", ["x", "xs", "xz", "w", "ws", "wz", "b", "ys", "yz"], ["y"], domain="com.microsoft", **attributes
    )
    graph = model([node("Identity", "x", "y")], {"x": ("uint8", (4,))}, ["y"], {**BASE, "b": np.zeros(3, np.int32)})
    del graph.graph.node[:]
    graph.graph.node.append(made)
    graph.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(cimemu.WorkloadError, match=message):
        cimemu.quantize(cimemu.load_network(save(tmp_path, graph)), ARCH)


def fully_connected(folder, **changed):
    given = {"x": "int8", "w": "int8", "b": "int32", "y": "int8", "xs": 0.5, "ws": 0.25, "bs": 0.125, "ys": 0.5, "wz": 0,
             "bz": 0, "yz": 0, "axis": 0, "format": 0} | changed  # fmt: skip
    b = TflBuilder()
    x = b.tensor("x", [1, 4], given["x"], given["xs"])
    w = b.tensor("w", [3, 4], given["w"], given["ws"], given["wz"], np.ones((3, 4)), axis=given["axis"])
    c = b.tensor("b", [3], given["b"], given["bs"], given["bz"], np.ones(3))
    y = b.tensor("y", [1, 3], given["y"], given["ys"], given["yz"])
    b.op("FULLY_CONNECTED", [x, w, c], [y], fusedActivationFunction=0, weightsFormat=given["format"])
    return cimemu.load_network(b.save(folder / "n.tflite", [x], [y]))


TFLITE = {
    "16x8": (
        {"x": "int16", "y": "int16"},
        r"bias b is int32, must be constant int64 of a 16x8 product",
    ),
    "16-bit output": (
        {"y": "int16"},
        r"tensor y is int16: 16-bit codes are not supported here: convert the network with full int8",
    ),
    "int16 weights": ({"w": "int16"}, "its weight must be constant int8 or uint8 with scales"),
    "mixed types": ({"y": "uint8"}, "its tensors are int8 and uint8, must be of one type"),
    "bias scale": ({"bs": 0.2}, r"bias b has scale 0\.2, must be input scale x weight scale = 0\.125"),
    "bias zero point": ({"bz": 3}, "bias b has zero point 3, must be 0"),
    "bias scales": ({"bs": [0.125, 0.125]}, "bias b has 2 scales, must have one or 1"),
    "weight zero point": ({"wz": 2}, "weight w is int8 with zero point 2, must be 0"),
    "scales along the inputs": (
        {"ws": [0.25] * 4, "axis": 1, "bs": 0.125},
        "weight w has 4 scales along axis 1, must have one or",
    ),
    "no scale": ({"xs": None}, "tensor x has 0 scales, must have one"),
    "negative scale": ({"ys": -0.5}, r"tensor y: scale -0\.5, must be positive and finite"),
    "scale that is no number": ({"ys": np.nan}, "tensor y: scale nan, must be positive and finite"),
    "zero point": ({"yz": 500}, r"tensor y: zero point 500, must be -128 \.\. 127"),
    "shuffled weights": ({"format": 1}, r"weights_format = 1 \(shuffled\), must be 0"),
    "output scale": ({"ys": 1e-30}, r"its scaled sums may reach .*, must stay within 32 bits"),
}


@pytest.mark.parametrize("name", TFLITE)
def test_a_tflite_operator_names_what_it_must_store(tmp_path, name):
    changed, message = TFLITE[name]
    assert fully_connected(tmp_path).is_integer
    with pytest.raises(cimemu.WorkloadError, match=message) as caught:
        fully_connected(tmp_path, **changed)
    assert "\n" not in str(caught.value)


def float_network(folder, weight=1.0):
    constants = {"w": np.full((4, 3), weight, np.float32)}
    return cimemu.load_network(save(folder, model([node("Gemm", "x w", "y")], {"x": (4,)}, ["y"], constants)))


IMAGES = np.ones((3, 4), np.float32)
CALIBRATIONS = {
    "a number that is none": (np.where(np.arange(12).reshape(3, 4) == 6, np.nan, IMAGES).astype(np.float32),
                              r"calibration: input x, image 1: nan at \[2\], must be a finite number: replace it"),
    "of a later batch": ([IMAGES, np.full((1, 4), np.inf)], r"input x, image 0: inf at \[0\]"),
    "no image": (IMAGES[:0], "calibration: no image given, give at least one"),
    "no batch": ([], "calibration: no image given, give at least one"),
    "of several shapes": ({"x": [[1, 2], [3]]}, r"calibration: x is no array of one shape, must be \[images, \.\.\.\]"),
    "another input": ({"z": IMAGES}, "input 'x' is missing"),
    "text": (np.array([["a"] * 4]), "input 'x' is <U1, must be float32"),
}  # fmt: skip


@pytest.mark.parametrize("method", ["minmax", "percentile"])
@pytest.mark.parametrize("name", CALIBRATIONS)
def test_a_calibration_that_says_nothing_is_refused_with_its_place(tmp_path, name, method):
    images, message = CALIBRATIONS[name]
    with pytest.raises(cimemu.WorkloadError, match=message):
        cimemu.quantize(float_network(tmp_path), ARCH, calibration=images, method=method)


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_a_network_that_overflows_on_its_calibration_images_is_named(tmp_path, method):
    with pytest.raises(cimemu.WorkloadError, match=r"tensor y of the network, for image 0: inf at \[0\]"):
        cimemu.quantize(float_network(tmp_path, 3e38), ARCH, calibration=IMAGES * 10, method=method)


READER = """
import sys
from pathlib import Path
import cimemu
from cimemu.workload.data import hdf5_keys
for read in (lambda: hdf5_keys(Path(sys.argv[1])), lambda: cimemu.open_trace(sys.argv[1])):
    try:
        print("read", read())
    except cimemu.CimemuError as error:
        print(error)
"""


def test_a_file_that_another_program_writes_is_said_to_be_locked(tmp_path):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((3, 4))
        file.flush()
        done = subprocess.run([sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith(str(path))
        assert "another program holds it open for writing: wait until that is done, or copy the file" in line
    assert hdf5_keys(path) == ("images",)


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_a_network_file_without_the_right_to_read_it_is_one_line(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"net.{suffix}"
    path.write_bytes(b"whatever")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr("onnx.load_model", refuse)
    with pytest.raises(cimemu.WorkloadError, match=r"cannot be read \(Permission denied: ask for the right to read it"):
        cimemu.load_network(path)
    folder = tmp_path / f"folder.{suffix}"
    folder.mkdir()
    monkeypatch.undo()
    with pytest.raises(cimemu.WorkloadError, match="is a folder, name a network file"):
        cimemu.load_network(folder)


def test_a_cause_is_one_line():
    assert why_unreadable(OSError(28, "No space\nleft")) == "No space left"
