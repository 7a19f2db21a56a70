"""Real networks against ONNX Runtime, every tensor, on the bit-serial path."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

import cimemu
from cimemu.check.network import check_network

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.skipif("CIMEMU_DATA" not in os.environ, reason="CIMEMU_DATA names no folder of networks")
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


def data(name):
    return Path(os.environ["CIMEMU_DATA"]) / name


def cifar(name, count):
    with h5py.File(data(name)) as file:
        stored = file["images"][:count]
    return ((stored.astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2).copy()


def quantized(name, arch, calibration):
    return cimemu.quantize(cimemu.load_network(data(f"networks/{name}.onnx")), arch, calibration=calibration)


def nothing_differs(network, macro, images, minimum):
    found = check_network(network, macro, images)
    assert found.differing == 0
    assert found.elements >= minimum
    assert found.shortcut_layers == 0
    assert found.bit_serial_layers == sum(layer.on_macros for layer in network.layers)
    assert found.unfused == 0, "ONNX Runtime ran a product in float"
    assert found.conversions > 0


NETWORKS = [
    "resnet20_cifar10",
    "resnet20_cifar10_bn",
    "resnet32_cifar10",
    "crosssim_resnet14_cifar10",
    "crosssim_resnet20_cifar10",
]


@pytest.mark.parametrize("name", [NETWORKS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS[1:])])
def test_a_resnet_equals_onnx_runtime_in_every_tensor(name):
    arch = cimemu.load_arch("rram_128")
    network = quantized(name, arch, cifar("data/train/cifar10_train_exact761.h5", 64))
    nothing_differs(network, arch.macro, cifar("data/dev/cifar10_test_exact_dev.h5", 2), 400_000)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        {"macro.weight.encoding": "twos_complement"},
        {"macro.weight.encoding": "differential"},
        {"macro.weight.encoding": "differential", "macro.weight.subtract": "analog", "macro.cell.bits": 2},
        {"macro.cell.bits": 4, "macro.input.dac_bits": 2},
        {"macro.active_rows": 50, "macro.weight.combine": "analog"},
        {"macro.weight.correction": "reference_column"},
        {"macro.mapping.rows": "whole_kernels", "macro.timing.skip_zero_slices": True},
    ],
)
def test_every_encoding_and_slicing_gives_the_same_integers(overrides):
    arch = cimemu.load_arch("rram_128", overrides)
    network = quantized("resnet20_cifar10", arch, cifar("data/train/cifar10_train_exact761.h5", 32))
    nothing_differs(network, arch.macro, cifar("data/dev/cifar10_test_exact_dev.h5", 2), 500_000)


@pytest.mark.parametrize(
    ("activations", "weights"), [("percentile", "channel"), pytest.param("mse", "layer", marks=pytest.mark.slow)]
)
def test_every_calibration_gives_a_network_that_equals_onnx_runtime(activations, weights):
    arch = cimemu.load_arch("rram_128")
    network = cimemu.quantize(
        cimemu.load_network(data("networks/resnet20_cifar10.onnx")),
        arch,
        calibration=cifar("data/train/cifar10_train_exact761.h5", 32),
        method=activations,
        weight_granularity=weights,
    )
    nothing_differs(network, arch.macro, cifar("data/dev/cifar10_test_exact_dev.h5", 2), 500_000)


@pytest.mark.slow
def test_fewer_bits_are_exact_too():
    arch = cimemu.load_arch("rram_128", {"macro.weight.bits": 4, "macro.input.bits": 5})
    network = quantized("resnet20_cifar10", arch, cifar("data/train/cifar10_train_exact761.h5", 32))
    found = check_network(network, arch.macro, cifar("data/dev/cifar10_test_exact_dev.h5", 2))
    assert found.differing == 0


@pytest.mark.slow
def test_efficientnet_lite0_equals_onnx_runtime_in_every_tensor():
    arch = cimemu.load_arch("rram_128", {"chip.tiles": 1024})
    images = np.random.default_rng(0).normal(0, 0.6, (3, 3, 224, 224)).astype(np.float32).clip(-1, 1)
    network = quantized("efficientnet_lite0_imagenet", arch, images[:2])
    nothing_differs(network, arch.macro, images[2:], 7_000_000)
    result = cimemu.run(arch, network, images[2:])
    assert result.cycles > 0


@pytest.mark.slow
def test_resnet20_on_all_exact_images_is_as_good_as_in_float():
    work = cimemu.load_workload("cifar10_resnet20")
    arch = cimemu.load_arch("rram_128", {"macro.adc": "ideal"})
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration())
    images, labels = work.inputs()
    found = check_network(network, arch.macro, images[:200], path="auto")
    assert found.differing == 0
    result = cimemu.run(arch, network, images, labels, detail=None)
    assert abs(result.accuracy - work.manifest.expect.float_accuracy) <= 0.005
