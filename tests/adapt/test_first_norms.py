"""First normalisations: nothing changes behind uniform weights, binary ones start with the float network's moments."""

import numpy as np
import pytest
from morph_nets import tiny_resnet

import cimemu
from cimemu.layer.execute import run_float

CHIP = {"macro.rows": 40, "macro.columns": 32, "macro.input.dac_bits": 4}
WIDE = {"bits": 4, "image_bits": 8, "digital_bits": 8}
SCHEMES = {
    "closed_form": {"weights": {"kind": "binary"}, "activations": WIDE, "converter": {"bits": 5}},
    "xnor": {"weights": {"kind": "binary", "method": "xnor"}, "activations": WIDE, "converter": {"bits": 5}},
    "uniform": {"weights": {"bits": 8}, "activations": {**WIDE, "bits": 8}, "converter": {"bits": 8}},
}


def made(scheme, images):
    from cimemu.adapt.convert import convert

    return convert(tiny_resnet(widths=(6, 8), blocks=2), cimemu.load_arch("rram_128", CHIP), scheme, calibration=images)


def outputs_of(module, images):
    """Outputs of every convolution's normalisation in the training forward, [images, channels, ...], by layer."""
    import torch

    seen = {}
    for name, macro in zip(module.macro_names, module.macros):
        if macro.norm is not None:
            macro.norm.register_forward_hook(lambda m, i, out, name=name: seen.__setitem__(name, out.detach().numpy()))
    module.train()
    with torch.no_grad():
        module(torch.from_numpy(images))
    return seen


@pytest.mark.parametrize("name", ["closed_form", "xnor"])
def test_binary_convolutions_begin_with_the_float_network_s_moments(name, tiny_train):
    images = tiny_train.inputs(slice(0, 64))
    module = made(SCHEMES[name], images)
    tensors = {layer.name: layer.outputs[0] for layer in module.source.layers}
    seen = outputs_of(module, images)
    real = run_float(module.source, images, [tensors[name] for name in seen])
    for layer, values in seen.items():
        wanted = real[tensors[layer]]
        assert values.mean(axis=(0, 2, 3)) == pytest.approx(wanted.mean(axis=(0, 2, 3)), abs=float(0.02 * wanted.std()))
        alive = values.std(axis=(0, 2, 3)) > 0  # a channel whose partial sums all share a code has no spread
        assert alive.mean() > 0.8
        spread = wanted.std(axis=(0, 2, 3))
        assert values.std(axis=(0, 2, 3))[alive] == pytest.approx(spread[alive], rel=0.05)


@pytest.mark.parametrize("name", ["closed_form", "xnor"])
def test_inference_begins_with_the_statistics_of_what_macros_give(name, tiny_train):
    import torch

    images = tiny_train.inputs(slice(0, 64))
    module = made(SCHEMES[name], images)
    kept = [(m.norm.running_mean.clone(), m.norm.running_var.clone()) for m in module.macros if m.norm is not None]
    norms = [m.norm for m in module.macros if m.norm is not None]
    for norm in norms:
        norm.momentum = 1.0  # one batch of the same images: its own statistics
    module.train()
    with torch.no_grad():
        module(torch.from_numpy(images))
    for norm, (mean, variance) in zip(norms, kept):
        assert mean.numpy() == pytest.approx(norm.running_mean.numpy(), rel=1e-3, abs=1e-4)
        assert variance.numpy() == pytest.approx(norm.running_var.numpy(), rel=1e-3, abs=1e-4)


def test_binary_converters_are_fitted_to_the_sums_they_meet(tiny_train):
    """Every output of the last product differs between images: its converters see the range of its partial sums."""
    import torch

    images = tiny_train.inputs(slice(0, 64))
    module = made(SCHEMES["closed_form"], images)
    scores = module(torch.from_numpy(images)).numpy()
    assert (np.ptp(scores, axis=0) > 0).all()


def test_uniform_convolutions_begin_as_what_their_macros_give(tiny_train):
    images = tiny_train.inputs(slice(0, 64))
    module = made(SCHEMES["uniform"], images)
    tensors = {layer.name: layer.outputs[0] for layer in module.source.layers}
    seen = outputs_of(module, images)
    real = run_float(module.source, images, [tensors[name] for name in seen])
    for layer, values in seen.items():
        wanted = real[tensors[layer]]
        assert float(np.square(values - wanted).mean()) < 0.02 * float(wanted.var())
