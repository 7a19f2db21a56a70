"""WHILE of a TensorFlow Lite file, written out turn by turn, against LiteRT's reference kernels."""

import numpy as np
import pytest
from tflite_build import TflBuilder

import cimemu
from cimemu.check.float_network import check_float
from cimemu.check.network import check_network
from cimemu.importer import load_network
from cimemu.layer.matmul import MatMul

STEPS, INPUTS, HIDDEN = 5, 3, 4
F32 = "float32"


def recurrent(path, *, product="FULLY_CONNECTED", most=STEPS):
    """h = tanh(x[t] W + h R + b), as the converter makes it of a layer of Keras 3 that returns its sequences.

    States are the turn, the outputs of all turns (a TensorArray) and h.
    """
    rng = np.random.default_rng(0)
    b, batch = TflBuilder(), product == "BATCH_MATMUL"
    x, turned = b.tensor("x", [1, STEPS, INPUTS], F32), b.tensor("turned", [STEPS, 1, INPUTS], F32)
    b.op("RESHAPE", [x, b.tensor("shape", [3], "int32", data=[STEPS, 1, INPUTS])], [turned])
    zero = b.tensor("zero", [], "int32", data=0)
    array = b.tensor("array", [STEPS, 1, HIDDEN], F32, data=np.zeros((STEPS, 1, HIDDEN)))
    begin = b.tensor("begin", [1, HIDDEN], F32, data=rng.standard_normal((1, HIDDEN)))
    shapes = [[], [STEPS, 1, HIDDEN], [1, HIDDEN], [STEPS, 1, INPUTS]]
    outs = [b.tensor(f"while{i}", shape, F32 if i else "int32") for i, shape in enumerate(shapes)]
    b.op("WHILE", [zero, array, begin, turned], outs, condSubgraphIndex=1, bodySubgraphIndex=2)
    y = b.tensor("y", [1, STEPS * HIDDEN], F32)
    b.op("RESHAPE", [outs[1], b.tensor("flat", [2], "int32", data=[1, STEPS * HIDDEN])], [y])
    c = TflBuilder(b)
    args = [c.tensor(f"c{i}", shape, F32 if i else "int32") for i, shape in enumerate(shapes)]
    going = c.tensor("going", [], "bool")
    c.op("LESS", [args[0], c.tensor("most", [], "int32", data=most)], [going])
    c.ends(args, [going])
    d = TflBuilder(b)
    args = [d.tensor(f"d{i}", shape, F32 if i else "int32") for i, shape in enumerate(shapes)]
    one = d.tensor("one", [], "int32", data=1)
    row = d.tensor("row", [1, INPUTS], F32)
    d.op("GATHER", [args[3], args[0]], [row], axis=0)
    sums = []
    for name, source, depth in (("w", row, INPUTS), ("r", args[2], HIDDEN)):
        size = [depth, HIDDEN] if batch else [HIDDEN, depth]
        matrix = d.tensor(name, size, F32, data=rng.standard_normal(size))
        sums.append(d.tensor(f"{name}s", [1, HIDDEN], F32))
        d.op(product, [source, matrix] if batch else [source, matrix, -1], [sums[-1]])
    both, biased, new = (d.tensor(n, [1, HIDDEN], F32) for n in ("both", "biased", "new"))
    d.op("ADD", sums, [both])
    d.op("ADD", [both, d.tensor("bias", [HIDDEN], F32, data=rng.standard_normal(HIDDEN))], [biased])
    d.op("TANH", [biased], [new])
    # The array with the turn's element in its place: what is in front, the element, what is behind.
    at, later = d.tensor("at", [1], "int32"), d.tensor("later", [], "int32")
    flat = d.tensor("flat", [1], "int32", data=[1])
    d.op("RESHAPE", [args[0], flat], [at])
    d.op("ADD", [args[0], one], [later])
    size, start, behind = (d.tensor(n, [k], "int32") for n, k in (("size", 3), ("start", 3), ("at1", 1)))
    zeros, ends = d.tensor("zeros", [3], "int32", data=[0, 0, 0]), d.tensor("ends", [2], "int32", data=[-1, -1])
    d.op("CONCATENATION", [at, ends], [size], axis=0)
    front = d.tensor("front", [1, 1, HIDDEN], F32, signature=[-1, 1, HIDDEN])
    d.op("SLICE", [args[1], zeros, size], [front])
    d.op("RESHAPE", [later, flat], [behind])
    d.op("CONCATENATION", [behind, d.tensor("none", [2], "int32", data=[0, 0])], [start], axis=0)
    back = d.tensor("back", [1, 1, HIDDEN], F32, signature=[-1, 1, HIDDEN])
    d.op("SLICE", [args[1], start, d.tensor("all", [3], "int32", data=[-1, -1, -1])], [back])
    element, made = d.tensor("element", [1, 1, HIDDEN], F32), d.tensor("made", [STEPS, 1, HIDDEN], F32)
    d.op("RESHAPE", [new, d.tensor("up", [3], "int32", data=[1, 1, HIDDEN])], [element])
    d.op("CONCATENATION", [front, element, back], [made], axis=0)
    d.ends(args, [later, made, new, args[3]])
    return b.save(path, [x], [y])


@pytest.mark.parametrize("product", ["FULLY_CONNECTED", "BATCH_MATMUL"])
@pytest.mark.parametrize("most", [STEPS, 2, 0])
def test_every_turn_is_written_out(tmp_path, product, most):
    path = recurrent(tmp_path / "n.tflite", product=product, most=most)
    x = np.random.default_rng(1).standard_normal((3, STEPS, INPUTS)).astype(np.float32)
    if most == 0:  # nothing is left of the network
        with pytest.raises(cimemu.WorkloadError, match="the input is a constant, must be a runtime tensor"):
            check_float(load_network(path), path, x)
        return
    found = check_float(load_network(path), path, x)
    assert found.floats.elements >= 3 * STEPS * HIDDEN
    assert not found.failed


def test_all_turns_share_one_matrix_in_the_cells(tmp_path):
    network = load_network(recurrent(tmp_path / "n.tflite"))
    turns = [layer.shares for layer in network.layers if isinstance(layer, MatMul)]
    assert len(turns) == 2 * STEPS - 1  # the first state is stored, so that its product is known
    assert len(set(turns)) == 2
    arch = cimemu.load_arch("rram_128", {"macro.adc": "ideal"})
    images = np.random.default_rng(2).standard_normal((8, STEPS, INPUTS)).astype(np.float32)
    quantised = cimemu.quantize(network, arch, calibration=images)
    assert not check_network(quantised, arch.macro, images).differing


def test_a_number_of_turns_that_the_images_choose_is_one_line(tmp_path):
    b = TflBuilder()
    x, y = b.tensor("x", [1, 3], F32), b.tensor("y", [1, 3], F32)
    b.op("WHILE", [x], [y], condSubgraphIndex=1, bodySubgraphIndex=2)
    c = TflBuilder(b)
    arg, axis = c.tensor("a", [1, 3], F32), c.tensor("axes", [2], "int32", data=[0, 1])
    total, going = c.tensor("t", [], F32), c.tensor("g", [], "bool")
    c.op("SUM", [arg, axis], [total], keepDims=False)
    c.op("LESS", [total, c.tensor("k", [], F32, data=100.0)], [going])
    c.ends([arg], [going])
    d = TflBuilder(b)
    arg, made = d.tensor("a", [1, 3], F32), d.tensor("m", [1, 3], F32)
    d.op("ADD", [arg, d.tensor("one", [1], F32, data=[1.0])], [made])
    d.ends([arg], [made])
    with pytest.raises(cimemu.WorkloadError, match=r"operator 0 \(WHILE\): its condition is computed from the images"):
        load_network(b.save(tmp_path / "n.tflite", [x], [y]))


def test_turns_without_an_end_are_one_line(tmp_path):
    with pytest.raises(cimemu.WorkloadError, match="has more than 4096 turns, every one is written out"):
        load_network(endless(tmp_path / "n.tflite"))


def endless(path):
    b = TflBuilder()
    x, y = b.tensor("x", [1, 3], F32), b.tensor("y", [1, 3], F32)
    count, out = b.tensor("zero", [], "int32", data=0), b.tensor("out", [], "int32")
    b.op("WHILE", [count, x], [out, y], condSubgraphIndex=1, bodySubgraphIndex=2)
    for number in range(2):
        g = TflBuilder(b)
        args = [g.tensor("n", [], "int32"), g.tensor("a", [1, 3], F32)]
        if number:
            g.ends(args, args)
            continue
        going = g.tensor("g", [], "bool")
        g.op("LESS", [args[0], g.tensor("k", [], "int32", data=1)], [going])
        g.ends(args, [going])
    return b.save(path, [x], [y])
