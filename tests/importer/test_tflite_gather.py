"""TensorFlow Lite files that look elements up at computed indices, and truth values over axes, against LiteRT."""

import numpy as np
import pytest
from tflite_build import TflBuilder, digital, litert

import cimemu
from cimemu.check.float_network import check_float
from cimemu.check.network import check_network
from cimemu.cli import main
from cimemu.importer import load_network

RNG = np.random.default_rng(0)
MACRO = cimemu.load_arch("rram_128", {"macro.adc": "ideal"}).macro


def embedding(path, dtype):
    """Words of a table of 11, looked up by int32 inputs, and a dense layer of codes."""
    b, integer = TflBuilder(), dtype == "int8"
    scale = (0.02, 3) if integer else (None, 0)
    x, y = b.tensor("x", [1, 4], "int32"), b.tensor("y", [1, 4, 6], dtype, *scale)
    data = RNG.integers(-128, 128, (11, 6)) if integer else RNG.standard_normal((11, 6))
    b.op("GATHER", [b.tensor("t", [11, 6], dtype, *scale, data=data), x], [y], axis=0)
    if not integer:
        return b.save(path, [x], [y])
    z = b.tensor("z", [1, 5], "int8", 0.2, -4)
    weight = b.tensor("w", [5, 24], "int8", 0.02, 0, RNG.integers(-127, 128, (5, 24)))
    b.op("FULLY_CONNECTED", [y, weight, -1], [z])
    return b.save(path, [x], [z])


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_words_are_looked_up_in_a_table(tmp_path, dtype):
    path, x = embedding(tmp_path / "n.tflite", dtype), RNG.integers(0, 11, (1, 4)).astype(np.int32)
    network = load_network(path)
    if dtype == "int8":
        found = check_network(network, MACRO, RNG.integers(0, 11, (6, 4)).astype(np.int32))
        assert (found.integers.elements, found.differing) == (6 * (24 + 5), 0)
        assert network.layers[0].table_bits([], [network.types["y"]]) == 24 * 8
        assert main(["check", "rram_128", str(path), "--images", "3"]) == 0
        return
    assert np.array_equal(digital(path, x)[0], litert(path.read_bytes(), x)[0])


def test_a_word_outside_the_table_is_one_line(tmp_path):
    path = embedding(tmp_path / "n.tflite", "float32")
    with pytest.raises(cimemu.WorkloadError, match=r"index 0 \.\. 11, must be in 0 \.\. 10"):
        digital(path, np.array([[0, 11, 1, 2]], np.int32))


def test_the_place_of_the_largest_code_looks_up_another_tensor(tmp_path):
    b = TflBuilder()
    x, y = b.tensor("x", [1, 5, 6], "int8", 0.1, 3), b.tensor("y", [1, 6, 7], "int8", 0.1, 3)
    place, z = b.tensor("p", [1, 5], "int32"), b.tensor("z", [1, 5, 7], "int8", 0.1, 3)
    b.op("ARG_MAX", [x, b.tensor("axis", [1], "int32", data=[-1])], [place], outputType=2)
    b.op("GATHER", [y, place], [z], axis=1, batchDims=1)
    path = b.save(tmp_path / "n.tflite", [x, y], [z])
    images = [RNG.integers(-128, 128, shape).astype(np.int8) for shape in ((1, 5, 6), (1, 6, 7))]
    assert np.array_equal(digital(path, *images)[0], litert(path.read_bytes(), *images)[0])


@pytest.mark.parametrize("op", ["REDUCE_ANY", "REDUCE_ALL"])
@pytest.mark.parametrize("keep", [False, True])
def test_truth_values_over_axes_choose_between_two_tensors(tmp_path, op, keep):
    b, shape = TflBuilder(), [1, 40, 3]
    x, c = b.tensor("x", shape, "float32"), b.tensor("c", shape, "bool")
    over = b.tensor("o", [1, 40, 1] if keep else [1, 40], "bool")
    b.op("GREATER", [x, b.tensor("zero", [1], "float32", data=[0.2])], [c])
    b.op(op, [c, b.tensor("axes", [1], "int32", data=[-1])], [over], keepDims=keep)
    y = b.tensor("y", [1, 40, 3] if keep else [1, 40], "float32")
    two = (
        [x, b.tensor("k", [1], "float32", data=[7.0])]
        if keep
        else [b.tensor(n, [1, 40], "float32", data=RNG.standard_normal((1, 40))) for n in "ab"]
    )
    b.op("SELECT_V2", [over, *two], [y])
    path = b.save(tmp_path / "n.tflite", [x], [y])
    image = RNG.standard_normal(shape).astype(np.float32)
    assert np.array_equal(digital(path, image)[0], litert(path.read_bytes(), image)[0])


def test_floats_are_turned_round_along_axes(tmp_path):
    b = TflBuilder()
    x, y = b.tensor("x", [1, 4, 3], "float32"), b.tensor("y", [1, 4, 3], "float32")
    b.op("REVERSE_V2", [x, b.tensor("axes", [1], "int32", data=[1])], [y])
    path, image = b.save(tmp_path / "n.tflite", [x], [y]), RNG.standard_normal((1, 4, 3)).astype(np.float32)
    assert np.array_equal(digital(path, image)[0], litert(path.read_bytes(), image)[0])


def between_products(path, op):
    """Floats: a product, `op` and another product, so that the network is quantised and written as ONNX."""
    b = TflBuilder()
    words = op == "GATHER"
    x = b.tensor("x", [1, 4] if words else [1, 4, 3], "int32" if words else "float32")
    p, q = b.tensor("p", [1, 4, 3], "float32"), b.tensor("q", [1, 4, 3], "float32")
    weight = b.tensor("w", [3, 3], "float32", data=RNG.standard_normal((3, 3)))
    if words:
        b.op("GATHER", [b.tensor("t", [11, 3], "float32", data=RNG.standard_normal((11, 3))), x], [q], axis=0)
    else:
        b.op("FULLY_CONNECTED", [x, weight, -1], [p], keepNumDims=True)
    if op == "REVERSE_V2":
        b.op(op, [p, b.tensor("axes", [1], "int32", data=[1])], [q])
    if op == "REDUCE_ANY":
        c, over = b.tensor("c", [1, 4, 3], "bool"), b.tensor("o", [1, 1, 3], "bool")
        b.op("GREATER", [p, b.tensor("zero", [1], "float32", data=[1.0])], [c])
        b.op(op, [c, b.tensor("axes", [1], "int32", data=[1])], [over], keepDims=True)
        b.op("SELECT_V2", [over, p, x], [q])
    if op == "BATCH_TO_SPACE_ND":
        four, back = b.tensor("four", [4, 1, 1, 3], "float32"), b.tensor("back", [1, 2, 2, 3], "float32")
        b.op("RESHAPE", [p, b.tensor("f", [4], "int32", data=[4, 1, 1, 3])], [four], newShape=[4, 1, 1, 3])
        block, crops = b.tensor("b", [2], "int32", data=[2, 2]), b.tensor("n", [2, 2], "int32", data=np.zeros((2, 2)))
        b.op(op, [four, block, crops], [back])
        b.op("RESHAPE", [back, b.tensor("r", [3], "int32", data=[1, 4, 3])], [q], newShape=[1, 4, 3])
    y = b.tensor("y", [1, 4, 3], "float32")
    b.op("FULLY_CONNECTED", [q, weight, -1], [y], keepNumDims=True)
    return b.save(path, [x], [y])


@pytest.mark.parametrize("op", ["GATHER", "REVERSE_V2", "REDUCE_ANY", "BATCH_TO_SPACE_ND"])
def test_a_quantised_float_network_with_it_is_compared_with_onnx_runtime(op, tmp_path):
    """Such operators stay floats between products on macros, and are written as ONNX."""
    pytest.importorskip("onnxruntime")
    path = between_products(tmp_path / "n.tflite", op)
    network, arch = load_network(path), cimemu.load_arch("rram_128", {"macro.adc": "ideal"})
    x = (
        RNG.integers(0, 11, (5, 4)).astype(np.int32)
        if op == "GATHER"
        else RNG.standard_normal((5, 4, 3)).astype(np.float32)
    )
    assert check_float(network, path, x).status == "agrees"
    made = cimemu.quantize(network, arch, x)
    found = check_network(made, arch.macro, x)
    assert (found.status, found.differing) == ("agrees", 0)
    assert cimemu.run(arch, made, x).cycles > 0
