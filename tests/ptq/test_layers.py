"""Schemes by layer: products off the macros, widths and granularities of their own."""

from dataclasses import replace

import float_nets
import numpy as np
import onnxruntime
import pytest
from amounts import drawn
from hypothesis import strategies as st

import cimemu
from cimemu.adc import IdealAdc
from cimemu.compute.forward import Emulator
from cimemu.errors import WorkloadError
from cimemu.layer.digital_product import DigitalProduct
from cimemu.layer.macro_layer import MacroLayer
from cimemu.lower import lower
from cimemu.ptq.apply import apply_scheme
from cimemu.ptq.roles import roles
from cimemu.ptq.scheme import PRESETS, scheme_of

CHIP = {"macro.rows": 20, "macro.columns": 48}
WIDE = {"name": "wide", "activations": {"bits": 4, "digital_bits": 8}}


def images(count=8, seed=0):
    return np.random.default_rng(seed).random((count, 3, 5, 4), dtype=np.float32)


def made(layers, groups=1, **changes):
    arch = cimemu.load_arch("rram_128", CHIP)
    scheme = scheme_of({**WIDE, **changes, "layers": layers})
    return apply_scheme(float_nets.residual(groups=groups), arch, images(), scheme).network, arch


def kinds(network):
    return {layer.name: layer.op for layer in network.layers if layer.name in ("conv1", "conv2", "fc")}


def test_the_first_and_the_last_product_are_found():
    assert roles(float_nets.residual()) == {
        "(first)": frozenset({"conv1"}),
        "(last)": frozenset({"fc"}),
        "(shortcut)": frozenset(),
    }


def test_a_projection_is_a_shortcut_and_the_last_layer_of_a_bottleneck_is_not():
    torch = pytest.importorskip("torch", reason="PyTorch (the torch extra) is not installed")
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1), nn.Conv2d(2, 2, 3, padding=1)
            self.c, self.project, self.d = nn.Conv2d(2, 8, 1), nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 1)
            self.fc = nn.Linear(8, 3)

        def forward(self, x):
            x = torch.relu(self.stem(x))
            y = torch.relu(self.c(torch.relu(self.b(torch.relu(self.a(x))))) + self.project(x))
            y = torch.relu(self.d(y) + y)
            return self.fc(y.mean(dim=(2, 3)))

    from cimemu.importer.from_torch import network_of_module

    network = network_of_module(Block(), (3, 6, 6))
    products = [layer.name for layer in network.layers if layer.op in ("Conv", "Gemm", "MatMul")]
    found = roles(network)
    order = {name: number for number, name in enumerate(products)}
    assert {order[name] for name in found["(first)"]} == {0}
    assert {order[name] for name in found["(last)"]} == {len(products) - 1}
    (shortcut,) = found["(shortcut)"]
    layer = next(layer for layer in network.layers if layer.name == shortcut)
    assert network.constants[layer.inputs[1]].shape == (8, 4, 1, 1)


def test_the_digital_unit_multiplies_bytes_as_macros_do_that_lose_nothing():
    """The same network with every product on macros behind ideal converters, and with two on the digital unit: same bytes."""
    layers = {"conv1": {"place": "digital", "bits": 8}, "fc": {"place": "digital", "bits": 8}}
    network, arch = made(layers, converter={"kind": "arch"}, weights={"bits": 8})
    assert kinds(network) == {"conv1": "DigitalProduct", "conv2": "macro", "fc": "DigitalProduct"}
    x = images(5, seed=3)
    for layer in network.layers:
        if isinstance(layer, DigitalProduct):
            assert layer.digital_ops([], [layer.layer.output_type]) > 2 * layer.layer.geometry.macs
    macro = arch.macro.model_copy(update={"adc": IdealAdc()})
    ours = Emulator(network, macro).run([x]).tensors[network.outputs[0]]
    on_macros = lower(replace(network.qdq, digital=frozenset()))
    assert all(isinstance(layer, MacroLayer) for layer in on_macros.layers if layer.name in ("conv1", "conv2", "fc"))
    wide = macro.model_copy(update={"input": macro.input.model_copy(update={"bits": 8})})
    other = replace(on_macros, overrides={**on_macros.overrides, "macro.input.bits": 8})
    np.testing.assert_array_equal(ours, Emulator(other, wide).run([x]).tensors[network.outputs[0]])


@pytest.mark.parametrize("ends", [{"place": "digital"}, {"place": "digital", "bits": 8}])
def test_ends_on_the_digital_unit_are_what_onnx_runtime_computes(ends, tmp_path):
    network, arch = made({"(first)": ends, "(last)": ends}, converter={"kind": "arch"}, weights={"bits": 8})
    path = tmp_path / "net.onnx"
    cimemu.save_onnx(network, path)
    again = cimemu.load_network(path)
    x = images(6, seed=1)
    lossless = arch.macro.model_copy(update={"adc": IdealAdc()})
    ours = cimemu.quantize(again, arch)
    assert kinds(ours) == kinds(network)
    got = Emulator(ours, lossless).run([x]).tensors[ours.outputs[0]]
    np.testing.assert_array_equal(got, Emulator(network, lossless).run([x]).tensors[network.outputs[0]])
    (theirs,) = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(
        None, {network.inputs[0]: x}
    )
    np.testing.assert_allclose(got, theirs, rtol=1e-4, atol=1e-5 if ends.get("bits") is None else 1e-6)


def test_a_float_end_takes_and_gives_float():
    network, _ = made({"(first)": {"place": "digital"}, "(last)": {"place": "digital"}})
    first = network.layers[0]
    assert first.op == "Conv"
    assert first.inputs[0] == network.inputs[0]
    assert network.layers[-1].op == "Gemm"


def test_layers_have_widths_and_granularities_of_their_own():
    network, arch = made(
        {
            "conv1": {"weights": {"bits": 2, "granularity": "layer"}, "converter": {"bits": 3}},
            "conv*": {"converter": {"granularity": "column"}},
        },
        weights={"bits": 4, "granularity": "column"},
        converter={"bits": 5, "granularity": "layer"},
    )
    weight = {layer.name: layer for layer in network.layers if isinstance(layer, MacroLayer)}
    assert np.abs(weight["conv1"].weight).max() == 1
    assert np.abs(weight["conv2"].weight).max() == 7
    assert (
        network.converters["conv1"].bits == 3
    )  # the first pattern that fits counts, and says nothing of the granularity
    assert isinstance(network.converters["conv1"].lsb, float)
    assert network.converters["conv2"].bits == network.converters["fc"].bits == 5
    assert isinstance(network.converters["conv2"].lsb, list)
    assert isinstance(network.converters["fc"].lsb, float)
    assert Emulator(network, arch.macro, path="serial").run([images(2)]).tensors[network.outputs[0]].shape == (2, 4)


REFUSED = [
    (
        {"nothing": {"place": "digital"}},
        r"layers\.nothing fits no product of network residual; products: conv1, conv2, fc",
    ),
    ({"*": {"place": "digital"}}, "leave no product of network residual on macros; place one of them there"),
    ({"conv1": {"weights": {"bits": 6}}}, r"layer conv1: weights\.bits = 6, the macros are made for 4"),
    ({"conv1": {"converter": {"bits": 8}}}, r"layer conv1: converter\.bits = 8, the macros are made for 5"),
    ({"conv1": {"weights": {"bits": 1}}}, r"layer conv1: weights\.bits = 1 beside wider ones"),
    ({"conv1": {"bits": 8}}, "bits = 8 with place = macros"),
    ({"conv1": {"place": "digital", "bits": 4}}, r"layers\.conv1\.bits"),
    ({"conv1": {"place": "digital", "weights": {"bits": 4}}}, "place = digital with weights, which are for macros"),
    ({"conv1": {"place": "cells"}}, r"layers\.conv1\.place = 'cells'"),
    ({"conv1": {"converter": {"kind": "arch"}}}, "no such key"),
]


@pytest.mark.parametrize(("layers", "message"), REFUSED)
def test_what_does_not_fit_is_one_line(layers, message):
    with pytest.raises(WorkloadError, match=message) as raised:
        made(layers, weights={"bits": 4}, converter={"bits": 5})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", [name for name in PRESETS if scheme_of(name).layers])
def test_named_schemes_leave_ends_off_the_macros(name):
    arch = cimemu.load_arch("rram_128", {"macro.cell.bits": 1})
    network = apply_scheme(float_nets.residual(), arch, images(), scheme_of(name)).network
    assert [layer.name for layer in network.layers if layer.on_macros] == ["conv2"]


@drawn(st.data(), few=8, many=60)
def test_any_mixture_runs_and_engines_agree(data):
    places = {
        name: data.draw(st.sampled_from([None, {"place": "digital"}, {"place": "digital", "bits": 8}]), label=name)
        for name in ("conv1", "fc")
    }
    own = data.draw(st.sampled_from([{}, {"weights": {"bits": 2}}, {"converter": {"granularity": "array"}}]))
    layers = {name: place for name, place in places.items() if place} | ({"conv2": own} if own else {})
    groups = data.draw(st.sampled_from([1, 2]))
    network, arch = made(layers, groups, weights={"bits": 3}, converter={"bits": 4, "granularity": "column"})
    x = images(3, seed=data.draw(st.integers(0, 9)))
    runs = [
        Emulator(network, arch.macro, path=path).run([x]).tensors[network.outputs[0]]
        for path in ("auto", "serial", "naive")
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(runs[0], runs[2])
