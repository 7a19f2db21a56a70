"""Schemes on trained networks: fitted errors by granularity, binary weights, one file; needs CIMEMU_DATA."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

import cimemu
from cimemu.compute.psum_samples import psum_samples
from cimemu.layer.conv import Conv
from cimemu.layer.execute import run_float
from cimemu.ptq.apply import macro_of, quantized_weights
from cimemu.ptq.binary import METHODS
from cimemu.ptq.psum_fit import errors_of, fit_linear, linear_adc
from cimemu.ptq.scheme import BinaryWeights, LinearConverter, UniformWeights, scheme_of
from cimemu.ptq.weight_rule import SchemeWeights

DATA = os.environ.get("CIMEMU_DATA")
pytestmark = pytest.mark.skipif(DATA is None, reason="CIMEMU_DATA does not name a folder of networks")
NETWORKS = ("resnet20_cifar10", "resnet32_cifar10", "crosssim_resnet14_cifar10", "efficientnet_lite0_imagenet")


@pytest.mark.parametrize("name", [NETWORKS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS[1:])])
@pytest.mark.parametrize("granularity", ["layer", "channel"])
def test_exact_two_levels_are_never_worse_on_trained_weights(name, granularity):
    macro = cimemu.load_arch("rram_128", {"macro.weight": {"bits": 1, "encoding": "binary"}}).macro
    network = cimemu.load_network(Path(DATA, "networks", f"{name}.onnx"))
    errors = {}
    for method in ("xnor", "closed_form", "exact"):
        rule = SchemeWeights(BinaryWeights(granularity=granularity, method=method), macro)
        for layer in network.layers:
            if layer.op in ("Conv", "Gemm", "MatMul"):
                weight = np.asarray(network.constants[layer.inputs[1]], np.float32)
                front = isinstance(layer, Conv) or getattr(layer, "trans_b", False)
                rule(layer, weight, 0 if front else weight.ndim - 1, None)
        errors[method] = np.array(list(rule.errors.values()))
    assert (errors["exact"] <= errors["closed_form"] + 1e-6).all()
    assert (errors["exact"] <= errors["xnor"] + 1e-6).all()
    assert (errors["closed_form"] <= 1).all()


@pytest.mark.slow
def test_the_mean_of_a_layer_fits_its_weights_better_and_its_outputs_worse():
    """Inputs behind ReLU are positive: one offset for all channels is a common error of them all, times the inputs' sum."""
    network = cimemu.load_network(Path(DATA, "networks", "resnet20_cifar10_bn.onnx"))
    images = cimemu.load_workload("cifar10_resnet20").calibration()[:32].astype(np.float32)
    convs = [p for p in network.layers if isinstance(p, Conv) and network.constants[p.inputs[1]].shape[-1] == 3]
    assert len(convs) == 19
    inputs = run_float(network, images, [p.inputs[0] for p in convs[1:]]) | {convs[0].inputs[0]: images}
    rows = {}
    for p in convs:
        w = np.asarray(network.constants[p.inputs[1]], np.float64).reshape(network.constants[p.inputs[1]].shape[0], -1)
        seen = np.lib.stride_tricks.sliding_window_view(inputs[p.inputs[0]], (3, 3), axis=(2, 3))[:, :, ::2, ::2]
        patches = seen.transpose(0, 2, 3, 1, 4, 5).reshape(-1, w.shape[1]).astype(np.float64)
        wanted = normalised(patches @ w.T)
        for method, granularity in itertools.product(("xnor", "closed_form"), ("layer", "channel")):
            made = [METHODS[method](group) for group in ([w.ravel()] if granularity == "layer" else w)]
            two = np.concatenate([alpha * b + beta for b, alpha, beta in made]).reshape(w.shape)
            outputs = normalised(patches @ two.T)
            error = np.square(w - two).sum() / np.square(w).sum()
            row = error, (outputs * wanted).mean(), outputs.mean(1).var()
            rows.setdefault((method, granularity), []).append(row)
    mean = {key: np.mean(row, axis=0) for key, row in rows.items()}
    for key, (error, alike, common) in mean.items():
        print(f"{' '.join(key):20} weight error {error:.3f}, correlation {alike:.3f}, common share {common:.3f}")
    layer, xnor, channel = mean["closed_form", "layer"], mean["xnor", "layer"], mean["closed_form", "channel"]
    assert channel[0] < layer[0] < xnor[0]
    assert layer[1] < xnor[1] - 0.02
    assert layer[1] < channel[1] - 0.02
    assert layer[2] > 1.2 * xnor[2]


def normalised(outputs):
    return (outputs - outputs.mean(axis=0)) / outputs.std(axis=0)


@pytest.fixture(scope="module")
def resnet20():
    work = cimemu.load_workload("cifar10_resnet20")
    return cimemu.load_network(work.network), work


@pytest.mark.slow
def test_finer_converters_fit_resnet20_no_worse(resnet20):
    network, work = resnet20
    arch = cimemu.load_arch("rram_128")
    scheme = scheme_of("column", {"weights.bits": 4})
    made, _ = quantized_weights(network, arch, work.calibration()[:4], scheme)
    for samples in psum_samples(made, macro_of(arch, scheme), work.calibration()[:2], vectors=48):
        for bits in (7, 5, 3):
            errors = []
            for granularity in ("layer", "array", "column"):
                spec = LinearConverter(bits=bits, granularity=granularity)
                errors.append(errors_of(samples, linear_adc(*fit_linear(samples, spec), samples, spec, "sar"))[0])
            assert errors[0] >= errors[1] * (1 - 1e-9) >= errors[2] * (1 - 1e-9) ** 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bits", "rows"),
    [(4, 128), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((8, 128), (4, 256), (8, 256)))],
)
def test_finer_weight_scales_fit_resnet20_no_worse(resnet20, bits, rows):
    macro = cimemu.load_arch("rram_128", {"macro.rows": rows, "macro.weight.bits": bits}).macro
    errors = {}
    for granularity in ("layer", "array", "column"):
        rule = SchemeWeights(UniformWeights(bits=bits, granularity=granularity, method="mse"), macro)
        for layer in resnet20[0].layers:
            if layer.op in ("Conv", "Gemm"):
                rule(layer, np.asarray(resnet20[0].constants[layer.inputs[1]], np.float32), 0, None)
        errors[granularity] = np.array(list(rule.errors.values()))
    assert (errors["array"] <= errors["layer"] * (1 + 1e-6)).all()
    assert (errors["column"] <= errors["array"] * (1 + 1e-6)).all()
    assert errors["column"].sum() < 0.8 * errors["layer"].sum()


@pytest.mark.slow
def test_resnet20_runs_from_its_file_as_it_was_made(resnet20, tmp_path):
    network, work = resnet20
    arch = cimemu.load_arch("rram_128")
    scheme = scheme_of("column", {"weights.bits": 4, "converter.bits": 6})
    fitted = cimemu.apply_scheme(network, arch, work.calibration()[:4], scheme)
    file = cimemu.save_onnx(fitted.network, tmp_path / "q.onnx")
    images, labels = work.inputs(2)
    first = cimemu.run(arch, fitted.network, images, labels)
    again = cimemu.run(arch, cimemu.quantize(cimemu.load_network(file), arch), images, labels)
    assert first.outputs.tobytes() == again.outputs.tobytes()
    assert (first.cycles, first.energy_uj) == (again.cycles, again.energy_uj)
