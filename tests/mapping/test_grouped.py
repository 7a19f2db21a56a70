"""The grouped-convolution view of a cut: each array meets its own channels, and the sums are the convolution's."""

import dataclasses

import nets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.adc import IdealAdc
from cimemu.compute.forward import Emulator
from cimemu.layer.base import TensorType
from cimemu.layer.conv import Conv
from cimemu.layer.requantize import Accumulator
from cimemu.mapping.grouped import grouped_view
from cimemu.mapping.layout import make_layout


def macro_of(rows, cut, **more):
    changes = {"macro.rows": rows, "macro.mapping.rows": cut, **{f"macro.{k}": v for k, v in more.items()}}
    return cimemu.load_arch("rram_128", changes).macro


def convolved(x, weight, groups=1):
    """By the package's own float layer: exact for integers this small."""
    area = weight.shape[2:]
    layer = Conv(
        name="c",
        inputs=("x", "w"),
        outputs=("y",),
        kernel_shape=area,
        pads=tuple(k // 2 for k in area) * 2,
        groups=groups,
    )
    return layer.forward([x.astype(np.float32), weight.astype(np.float32)])[0].astype(np.int64)


def test_channels_are_spread_evenly_over_as_few_arrays_as_whole_kernels_need():
    whole, even = macro_of(128, "whole_kernels"), macro_of(128, "grouped")
    sizes = {}
    for channels in (16, 32, 64, 14, 1):
        blocks = make_layout(channels * 9, 20, even, 9).row_blocks
        assert len(blocks) == len(make_layout(channels * 9, 20, whole, 9).row_blocks)
        assert [a for a, _ in blocks] == [0, *[b for _, b in blocks[:-1]]]
        sizes[channels] = [(b - a) / 9 for a, b in blocks]
    assert sizes == {16: [8, 8], 32: [11, 11, 10], 64: [13, 13, 13, 13, 12], 14: [14], 1: [1]}
    with pytest.raises(cimemu.MappingError, match=r"mapping.rows = grouped with a kernel of 129 rows"):
        make_layout(500, 1, even, 129)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    st.sampled_from(["whole_kernels", "grouped"]),
    st.integers(1, 40),
    st.integers(1, 5),
    st.sampled_from([(3, 3), (1, 1), (5, 1)]),
    st.integers(9, 70),
    st.integers(0, 2**32 - 1),
)
def test_one_grouped_convolution_gives_every_array_s_sums(cut, channels, outputs, kernel, rows, seed):
    rng = np.random.default_rng(seed)
    macro = macro_of(rows, cut)
    weight = rng.integers(-8, 8, (outputs, channels, *kernel))
    x = rng.integers(0, 16, (2, channels, 4, 3))
    view = grouped_view(weight, macro)
    psums = view.psums(convolved(view.inputs(x), view.weight, view.groups))
    assert (
        psums.shape[1]
        == view.groups
        == len(make_layout(channels * np.prod(kernel), 1, macro, int(np.prod(kernel))).row_blocks)
    )
    assert np.array_equal(psums.sum(axis=1), convolved(x, weight))
    # physical: one channel moves the sums of its own array alone
    moved = x.copy()
    channel = int(rng.integers(channels))
    moved[:, channel] += 1
    changed = psums != view.psums(convolved(view.inputs(moved), view.weight, view.groups))
    home = int(np.flatnonzero((view.channels == channel).any(axis=1))[0])
    assert not np.delete(changed, home, axis=1).any()


def test_a_cut_that_parts_kernels_has_no_such_view():
    with pytest.raises(cimemu.MappingError, match=r"row 128 parts a kernel of 9 rows.*mapping.rows = grouped"):
        grouped_view(np.ones((4, 20, 3, 3)), macro_of(128, "dense"))
    # rows that are whole kernels by themselves have one
    assert grouped_view(np.ones((4, 20, 3, 3)), macro_of(90, "dense")).groups == 2


@pytest.mark.parametrize("cut", ["whole_kernels", "grouped"])
def test_the_emulator_converts_the_sums_of_the_view(cut):
    """Bit planes of inputs and weights through one grouped convolution, its sums converted and weighed by hand."""
    layer = nets.conv_layer("conv", "x", "y", 4, 3, 11, 5, bits=4, weight_limit=3, seed=2)
    layer = dataclasses.replace(
        layer, stage=Accumulator(), output_type=TensorType((5, 4, 3), "int64"), input_zero_point=0
    )
    network = nets.network("one", [layer], {"x": TensorType((11, 4, 3), "uint8")}, ["y"])
    macro = macro_of(
        40,
        cut,
        weight={"bits": 3, "encoding": "twos_complement"},
        input={"bits": 4},
        adc={"model": "linear", "bits": 3, "lsb": 2, "zero": 1},
    )
    x = np.random.default_rng(0).integers(0, 16, (2, 11, 4, 3)).astype(np.uint8)
    weight = layer.weight.astype(np.int64)
    want = np.zeros((2, 5, 4, 3), dtype=np.int64)
    for v in range(3):
        view = grouped_view((weight & 7) >> v & 1, macro)
        assert view.groups == 3
        for i in range(4):
            psums = view.psums(convolved(view.inputs(x >> i & 1), view.weight, view.groups))
            codes = np.clip(np.floor((psums - 1) / 2 + 0.5), 0, 7).astype(np.int64)
            want += (-4 if v == 2 else 2**v) * 2**i * (1 + 2 * codes).sum(axis=1)
    want += layer.bias.reshape(5, 1, 1)
    for path in ("serial", "naive"):
        got = Emulator(network, macro, path=path).run([x]).tensors["y"]
        assert np.array_equal(got, want), path
    dense = Emulator(network, macro_of(40, "dense", weight=macro.weight.model_dump(), input={"bits": 4}, adc="ideal"))
    exact = Emulator(network, macro.model_copy(update={"adc": IdealAdc()}))
    assert np.array_equal(dense.run([x]).tensors["y"], exact.run([x]).tensors["y"])
