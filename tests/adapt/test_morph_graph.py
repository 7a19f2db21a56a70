"""Pruned, grown and re-normalised networks against the networks that they stand for."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from morph_nets import tiny_resnet

import cimemu
from cimemu.adapt.morph.channels import carried, widths_of, without_branches
from cimemu.adapt.morph.norms import LENGTH, with_norms, without_norms
from cimemu.adapt.morph.price import Prices
from cimemu.adapt.morph.rebuild import rebuilt
from cimemu.adapt.morph.widen import widened
from cimemu.errors import WorkloadError
from cimemu.fitting.channels import trace_channels
from cimemu.fitting.paper import paper_count
from cimemu.fitting.report import map_network
from cimemu.layer.execute import run_float
from cimemu.shapes.builder import Builder

IMAGES = np.random.default_rng(5).standard_normal((4, 3, 8, 8)).astype(np.float32)


def outputs(network):
    return run_float(network, IMAGES)[network.outputs[0]]


def masked(network, alive, widths):
    """Scale and bias of all channels that are not alive set to 0."""
    layers = {layer.name: layer for layer in network.layers}
    constants = dict(network.constants)
    for width in widths:
        for norm in width.norms:
            for place in (1, 2):
                name = layers[norm].inputs[place]
                constants[name] = constants[name] * alive[width.root]
    return replace(network, constants=constants)


def drawn(network, seed, share=0.6):
    draw = np.random.default_rng(seed)
    channels = trace_channels(network)
    widths = widths_of(network, channels)
    alive = {width.root: draw.random(width.size) < share for width in widths}
    for mask in alive.values():
        mask[int(draw.integers(len(mask)))] = True
    return channels, widths, alive


def test_layers_joined_by_a_residual_addition_are_one_decision_and_only_inner_widths_may_vanish():
    network = tiny_resnet()
    found = widths_of(network, trace_channels(network))
    assert {width.makers: width.droppable for width in found} == {
        ("stem", "s0b0_conv2", "s0b1_conv2"): False,
        ("s0b0_conv1",): True,
        ("s0b1_conv1",): True,
        ("s1b0_conv1",): True,
        ("s1b0_conv2", "s1b1_conv2"): False,
        ("s1b1_conv1",): True,
    }


def test_a_shortcut_keeps_the_channel_that_it_carries_a_living_one_into():
    network = tiny_resnet(widths=(4, 8))
    channels = trace_channels(network)
    by_maker = {width.makers[0]: width for width in widths_of(network, channels)}
    stem, wide = by_maker["stem"].root, by_maker["s1b0_conv2"].root
    alive = {stem: np.array([False, True, False, True]), wide: np.arange(8) == 0}
    kept = carried(network, channels, alive)
    assert np.flatnonzero(kept[wide]).tolist() == [0, 3, 5]  # the Pad puts two zero channels in front


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(4, 6), (5, 5, 9), (3, 8), (2, 4, 8)]), st.sampled_from([0.3, 0.6, 0.9]))
def test_a_pruned_network_equals_the_masked_one(seed, shape, share):
    network = tiny_resnet(widths=shape, seed=seed % 7)
    channels, widths, alive = drawn(network, seed, share)
    kept = carried(network, channels, alive)
    silent = masked(network, alive, widths)
    pruned = rebuilt(silent, channels, kept)
    assert np.allclose(outputs(pruned), outputs(silent), atol=1e-4)
    after = {name: width for width in widths_of(pruned, trace_channels(pruned)) for name in width.makers}
    for width in widths:
        assert after[width.makers[0]].size == kept[width.root].sum()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(4, 6), (3, 5, 9), (3, 8)]))
def test_a_grown_network_computes_what_it_did(seed, shape):
    network = tiny_resnet(widths=shape, seed=seed % 7)
    channels = trace_channels(network)
    found = widths_of(network, channels)
    draw = np.random.default_rng(seed)
    wanted = {width.root: width.size + int(draw.integers(0, 4)) for width in found}
    for source, number in channels.padded.values():  # a shortcut never shrinks
        target = channels.root(number)
        wanted[target] = max(wanted[target], channels.width(source, wanted))
    kept = {width.root: np.ones(width.size, np.bool_) for width in found}
    grown = rebuilt(network, channels, kept, wanted, seed)
    assert np.allclose(outputs(grown), outputs(network), atol=1e-4)
    # a Pad that adds no channel any more ties what it joins: look at every maker
    sizes = {name: width.size for width in widths_of(grown, trace_channels(grown)) for name in width.makers}
    assert sizes == {name: wanted[width.root] for width in found for name in width.makers}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(4, 6), (3, 5, 9), (3, 8)]), st.integers(1, 4), st.integers(1, 2))
def test_a_widened_network_computes_what_it_did(seed, shape, times, again):
    network = tiny_resnet(widths=shape, seed=seed % 7)
    before = {name: width.size for width in widths_of(network, trace_channels(network)) for name in width.makers}
    wide = network
    for turn in range(again):
        wide = widened(wide, times, seed + turn)
    assert np.allclose(outputs(wide), outputs(network), rtol=1e-4, atol=1e-4)
    after = {name: width.size for width in widths_of(wide, trace_channels(wide)) for name in width.makers}
    assert after == {name: size * times**again for name, size in before.items()}


def test_widening_normalisations_that_are_folded_changes_nothing_either():
    plain = without_norms(tiny_resnet())
    assert np.allclose(outputs(widened(plain, 2)), outputs(plain), rtol=1e-4, atol=1e-4)


def test_copies_become_different_in_training():
    from cimemu.adapt.library import torch_of
    from cimemu.adapt.module import from_network

    module = from_network(widened(tiny_resnet(), 2))
    module(torch_of().from_numpy(IMAGES)).square().sum().backward()
    made = module.value("s0b0_conv1.weight")
    whole = made[:, :4] + made[:, 4:]  # of both copies of an input
    assert torch_of().allclose(whole[:4], whole[4:], atol=1e-6)
    slope = made.grad[:, :4] + made.grad[:, 4:]
    assert float((slope[:4] - slope[4:]).abs().max()) > 1e-2 * float(slope.abs().max())


def test_new_channels_reach_the_gradient():
    from cimemu.adapt.library import torch_of
    from cimemu.adapt.module import from_network

    network = tiny_resnet()
    channels = trace_channels(network)
    found = widths_of(network, channels)
    kept = {width.root: np.ones(width.size, np.bool_) for width in found}
    grown = rebuilt(network, channels, kept, {width.root: width.size + 2 for width in found})
    module = from_network(grown)
    module(torch_of().from_numpy(IMAGES)).square().sum().backward()
    readers = module.value("s0b0_conv2.weight").grad  # its inputs 4, 5 are new
    assert float(readers[:, 4:].abs().max()) > 0


def test_a_branch_goes_and_the_rest_computes_what_it_did_with_zeros():
    network = tiny_resnet()
    layers = {layer.name: layer for layer in network.layers}
    constants = dict(network.constants)
    for place in (1, 2):
        name = layers["s0b1_bn2"].inputs[place]
        constants[name] = constants[name] * 0
    smaller = without_branches(network, ["s0b1_conv1"])
    assert smaller is not None
    assert np.allclose(outputs(smaller), outputs(replace(network, constants=constants)), atol=1e-5)
    assert without_branches(network, ["stem"]) is None


def test_normalisation_comes_back_and_goes_again_without_a_change():
    plain = without_norms(tiny_resnet())
    assert not any(layer.op == "BatchNormalization" for layer in plain.layers)
    again = with_norms(plain, IMAGES)
    assert sum(layer.op == "BatchNormalization" for layer in again.layers) == 9
    assert np.allclose(outputs(again), outputs(plain), atol=1e-4)
    assert np.allclose(outputs(without_norms(again)), outputs(plain), atol=1e-4)
    filters = [again.constants[layer.inputs[1]] for layer in again.layers if layer.op == "Conv"]
    lengths = np.concatenate([np.linalg.norm(each.reshape(len(each), -1), axis=1) for each in filters])
    assert np.allclose(lengths, LENGTH, rtol=1e-5)  # folding left them as long as scale and spread had made them


def test_columns_are_the_mapper_formula_and_a_price_is_what_a_channel_adds():
    network = tiny_resnet(widths=(28, 60))
    arch = cimemu.load_arch("sram_256", {"macro.weight.bits": 4})
    channels = trace_channels(network)
    prices = Prices(network, channels, arch.macro)
    lowered = cimemu.quantize(without_norms(network), arch, calibration=IMAGES)
    geometries = [layer.geometry for layer in map_network(lowered, arch).plan.layers if layer.geometry is not None]
    assert prices.columns({}) == paper_count(geometries, arch.macro).columns
    root = next(width.root for width in widths_of(network, channels) if width.makers[0] == "s0b0_conv1")
    # it makes one of 4 columns in one row block, and takes 9 of 256 rows of 28 outputs' columns
    assert prices.price(root, {}) == pytest.approx(4 * (1 + 28 * 9 / 256))


def test_a_network_whose_widths_are_all_fixed_is_refused():
    b = Builder("flat", 8, 0, 4)
    network = b.network(b.conv("only", "x", 3, 3))
    with pytest.raises(WorkloadError, match="no width of its convolutions may change"):
        widths_of(network, trace_channels(network))
