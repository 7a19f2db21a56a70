"""Transformers: MiniLM on macros, attention in float on the digital unit, embedding rows from memory, retrieval."""

import json
import os

import numpy as np
import pytest
from onnx_build import model, node, reference, save

import cimemu
from cimemu.check.network import check_network
from cimemu.cli import main
from cimemu.events import Counter
from cimemu.layer.execute import run_float
from cimemu.prepare import quantized_network
from cimemu.workload.metrics import retrieval_top1

DATA = os.environ.get("CIMEMU_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="CIMEMU_DATA (trained networks) is not set")


@needs_data
@pytest.mark.long
@pytest.mark.slow
def test_float_retrieval_is_the_published_figure():
    work = cimemu.load_workload("minilm_retrieval")
    network = cimemu.load_network(work.network)
    inputs, labels = work.inputs()
    assert labels is None
    assert {name: array.shape for name, array in inputs.items()} == {
        "input_ids": (400, 16),
        "attention_mask": (400, 16),
    }
    assert work.score(run_float(network, inputs)["sentence_embedding"]) == work.manifest.expect.float_accuracy


@needs_data
@pytest.mark.slow
def test_products_with_weights_are_on_macros_and_the_rest_in_float():
    work, chip = cimemu.load_workload("minilm_retrieval"), cimemu.load_arch("rram_128", {"chip.tiles": 648})
    network = quantized_network(work, chip)
    ops = [layer.op for layer in network.layers]
    assert ops.count("macro") == 36  # q, k, v, output and two of the feed-forward, six layers
    assert ops.count("MatMul") == 12  # attention
    assert ops.count("QuantizeLinear") == 24
    inputs, _ = work.inputs(4)
    ran = cimemu.run(chip, network, inputs, metric=work.score)
    reference_score = work.score(run_float(cimemu.load_network(work.network), inputs)["sentence_embedding"])
    assert ran.accuracy == reference_score
    index = ops.index("Gather")
    assert (ran.counts[:, index, Counter.OFFCHIP_READ_BITS] >= 16 * 384 * 32).all()
    attention = [i for i, op in enumerate(ops) if op == "MatMul"]
    # 12 heads x 16 x 16 x 32 products, a multiplication and an addition each
    assert set(ran.counts[:, attention, Counter.DIGITAL_OPS].reshape(-1)) == {2 * 12 * 16 * 16 * 32}
    assert (ran.counts[:, :, Counter.DIGITAL_OPS] > 0).all()


@needs_data
@pytest.mark.long
@pytest.mark.slow
def test_check_tells_rounding_of_float_operators_from_faults():
    work, chip = cimemu.load_workload("minilm_retrieval"), cimemu.load_arch("rram_128")
    network = quantized_network(work, chip)
    inputs, _ = work.inputs(2)
    found = check_network(network, chip.macro, inputs, path="auto")
    assert found.float_operators == ("LayerNormalization", "MatMul")
    assert found.integers.differing == 0
    assert not found.failed
    assert found.codes.elements > 0


@needs_data
@pytest.mark.long
@pytest.mark.slow
def test_retrieval_from_the_command_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["run", "rram_128", "minilm_retrieval", "--images", "4", "--no-trace", "--json"]
    assert main(arguments) == 2
    assert "chip.tiles >= 648" in capsys.readouterr().err
    assert main([*arguments, "--set", "chip.tiles=648"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1.0
    assert main(["run", "rram_128", "minilm_retrieval", "--images", "401"]) == 2
    assert "has 400 images, 401 asked for" in capsys.readouterr().err


def test_retrieval_counts_pairs_that_find_each_other():
    vectors = np.array([[1, 0], [2, 0.1], [0, 1], [1, 0]])  # 0 finds 1 (of 1, 3: 3 is nearer), 2 finds 1
    assert retrieval_top1(vectors) == 0.0
    assert retrieval_top1(vectors[[0, 3, 2, 2]]) == 1.0
    assert np.isnan(retrieval_top1(vectors[:1]))


def test_a_decomposed_layer_norm_with_gelu_agrees_with_onnxruntime(tmp_path):
    """As older exporters write it: ReduceMean, Sub, Pow, Sqrt, Div, and Tanh's GELU, Where over an Equal mask."""
    draw = np.random.default_rng(0)
    constants = {
        "two": np.float32(2),
        "eps": np.float32(1e-5),
        "g": draw.standard_normal(6).astype(np.float32),
        "k": np.float32(0.044715),
        "c": np.float32(0.7978846),
        "half": np.float32(0.5),
        "one": np.float32(1),
        "three": np.float32(3),
        "low": np.float32(-1e4),
        "zero": np.float32(0),
    }
    nodes = [
        node("ReduceMean", "x", "m", axes=[-1]),
        node("Sub", "x m", "d"),
        node("Pow", "d two", "s"),
        node("ReduceMean", "s", "v", axes=[-1]),
        node("Add", "v eps", "ve"),
        node("Sqrt", "ve", "r"),
        node("Div", "d r", "n"),
        node("Mul", "n g", "h"),
        node("Pow", "h three", "h3"),
        node("Mul", "h3 k", "hk"),
        node("Add", "h hk", "ha"),
        node("Mul", "ha c", "hc"),
        node("Tanh", "hc", "t"),
        node("Add", "t one", "t1"),
        node("Mul", "h t1", "ht"),
        node("Mul", "ht half", "gelu"),
        node("Equal", "mask zero", "off"),
        node("Where", "off low gelu", "y"),
    ]
    made = model(nodes, {"x": (4, 6), "mask": (4, 1)}, ["y"], constants, opset=13)
    path = save(tmp_path, made)
    network = cimemu.load_network(path)
    feeds = {
        "x": draw.standard_normal((3, 4, 6)).astype(np.float32),
        "mask": (draw.random((3, 4, 1)) < 0.5).astype(np.float32),
    }
    np.testing.assert_allclose(run_float(network, feeds)["y"], reference(path, feeds, ["y"])[0], rtol=1e-4, atol=1e-5)
