"""Trained networks give ONNX Runtime's logits, and every image alone gives the bits it gives in a batch."""

import os
from pathlib import Path

import numpy as np
import pytest
from onnx_build import reference

from cimemu.check.ort_session import make_session
from cimemu.importer import load_network
from cimemu.layer.execute import run_float

DATA = os.environ.get("CIMEMU_DATA", "")
pytestmark = pytest.mark.skipif(not DATA, reason="CIMEMU_DATA (trained networks) is not set")

NETWORKS = {
    "resnet20_cifar10": 3,
    "resnet20_cifar10_bn": 3,
    "resnet32_cifar10": 3,
    "resnet32_cifar10_bn": 3,
    "crosssim_resnet14_cifar10": 3,
    "crosssim_resnet20_cifar10": 3,
    "efficientnet_lite0_imagenet": 1,
    "minilm_l6_v2_layer0": 3,
    "minilm_l6_v2_trimmed": 3,
}


def path_of(name):
    path = Path(DATA) / "networks" / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"{name}.onnx is not in CIMEMU_DATA")
    return path


def sample(network, images):
    rng = np.random.default_rng(5)
    feeds = {}
    for name in network.inputs:
        shape = (images, *network.types[name].shape)
        if network.types[name].dtype == "int64":
            feeds[name] = rng.integers(0, 1000, shape)
        elif "mask" in name:
            feeds[name] = (np.arange(shape[1]) < rng.integers(3, shape[1] + 1, (images, 1))).astype(np.float32)
        else:
            feeds[name] = rng.standard_normal(shape).astype(np.float32)
    return feeds


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_onnx_runtimes(name):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")
    path = path_of(name)
    network = load_network(path)
    feeds = sample(network, NETWORKS[name])
    ours = run_float(network, feeds)
    for output, expected in zip(network.outputs, reference(path, feeds, network.outputs)):
        assert np.abs(ours[output] - expected).max() < 1e-3 * min(1, np.abs(expected).max())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (number > 0)) for number, name in enumerate(NETWORKS)]
)
def test_an_image_alone_gives_the_bits_it_gives_in_a_batch(name):
    network = load_network(path_of(name))
    feeds = sample(network, 3)
    together = run_float(network, feeds)
    for b in range(3):
        alone = run_float(network, {key: array[b : b + 1] for key, array in feeds.items()})
        assert all(np.array_equal(alone[key][0], together[key][b]) for key in network.outputs)


def test_every_tensor_of_resnet20_has_onnx_runtimes_name_and_values():
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")
    path = path_of("resnet20_cifar10")
    network = load_network(path)
    feeds = sample(network, 2)
    names = [name for layer in network.layers for name in layer.outputs]
    made = onnx.load(path)
    known = {value.name for value in made.graph.output}
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    session = make_session(made.SerializeToString())
    ours = run_float(network, feeds, keep=names)
    for name, expected in zip(names, session.run(names, feeds)):
        np.testing.assert_allclose(ours[name], expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("depth", [20, 32])
def test_a_network_with_batch_norm_becomes_the_layers_of_the_folded_one(depth):
    plain, with_norm = (load_network(path_of(f"resnet{depth}_cifar10{end}")) for end in ("", "_bn"))
    same = {"Flatten": "Reshape"}  # the one exporter writes the one, the other the other
    ops = [[same.get(layer.op, layer.op) for layer in network.layers] for network in (plain, with_norm)]
    assert ops[0] == ops[1]
    for a, b in zip(plain.layers, with_norm.layers):
        assert [plain.types[n] for n in a.outputs] == [with_norm.types[n] for n in b.outputs]
        if a.op in ("Conv", "Gemm"):
            for one, two in zip(a.inputs[1:], b.inputs[1:]):
                np.testing.assert_allclose(plain.constants[one], with_norm.constants[two], atol=1e-5, rtol=1e-5)
    x = sample(plain, 4)
    logits = [run_float(network, x)[network.outputs[0]] for network in (plain, with_norm)]
    assert np.abs(logits[0] - logits[1]).max() < 1e-4
