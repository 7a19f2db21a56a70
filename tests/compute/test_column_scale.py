"""Column scales: every path gives the naive twin's bytes, and a lossless converter gives the definition."""

import macros
import numpy as np
import pytest
from amounts import drawn
from hypothesis import strategies as st

import cimemu
from cimemu.arch.macro import Macro
from cimemu.engines.programmed import program
from cimemu.layer.column_scale import ColumnScale, multiplications
from cimemu.mapping.layout import make_layout

SEEDS = st.integers(0, 2**32 - 1)


def draw_scale(rng, layout, macro):
    columns = layout.outputs * macro.conversions_per_output
    return ColumnScale(
        scale=rng.uniform(0.1, 2.0, (len(layout.row_blocks), columns)),
        offset=None,
        row_starts=tuple(start for start, _ in layout.row_blocks),
    )


@drawn(SEEDS, few=6, many=80)
def test_all_paths_give_the_bytes_of_the_naive_twin(seed):
    x, w, macro = macros.draw(seed)
    layout = make_layout(*w.shape, macro)
    programmed = program(w, macro, scale=draw_scale(np.random.default_rng(seed), layout, macro))
    slow = programmed.run(x, path="naive")
    assert slow.y.dtype == np.float64
    for path in ("auto", "serial", "fixed", "steps"):
        for threads in (1, 2):
            assert programmed.run(x, path=path, threads=threads).y.tobytes() == slow.y.tobytes(), path


@drawn(SEEDS, few=12, many=160)
def test_a_lossless_converter_gives_the_sum_of_scaled_products(seed):
    """y = sum over row blocks of the real weights of that block, whatever encoding, slices and converter."""
    x, w, macro = macros.draw(seed, converter=False)
    layout = make_layout(*w.shape, macro)
    rng = np.random.default_rng(seed)
    by_output = rng.uniform(0.1, 2.0, (len(layout.row_blocks), layout.outputs))
    scale = ColumnScale(
        scale=np.repeat(by_output, macro.conversions_per_output, axis=1),
        offset=None,
        row_starts=tuple(start for start, _ in layout.row_blocks),
    )
    want = sum(
        by_output[b] * (x[:, a:z].astype(np.int64) @ w[a:z].astype(np.int64))
        for b, (a, z) in enumerate(layout.row_blocks)
    )
    largest = macro.raised_rows * (2**macro.input.dac_bits - 1) * 2 ** (macro.weight_slices * macro.cell.bits + 1)
    adcs = [{"model": "ideal"}]
    bits = int(2 * largest + 1).bit_length()
    if bits <= 14:
        adcs.append({"model": "linear", "bits": bits, "lsb": 1, "zero": -largest})
    for adc in adcs:
        chosen = Macro.model_validate({**macro.model_dump(), "adc": adc})
        for path in ("auto", "serial"):
            got = program(w, chosen, scale=scale).run(x, path=path).y
            size = np.abs(x.astype(float)) @ np.abs(w.astype(float)) + 2.0 ** (macro.weight.bits + macro.input.bits)
            np.testing.assert_allclose(got, want, atol=1e-11 * max(1.0, size.max() * 300))


@pytest.mark.parametrize("weights", ["layer", "array", "column"])
@pytest.mark.parametrize("psums", ["layer", "array", "column"])
@pytest.mark.parametrize("slices", [False, True])
def test_multiplications_are_those_of_the_formula(weights, psums, slices):
    outputs, blocks, conversions = 7, 3, 4
    made = multiplications(outputs, blocks, conversions, weights=weights, slices=slices, psums=psums)
    if psums == "column" or (slices and (weights, psums) != ("layer", "layer")):
        assert made == conversions * blocks * outputs
    elif (weights, psums) == ("layer", "layer"):
        assert made == outputs * (conversions if slices else 1)
    else:
        assert made == blocks * outputs


def test_scales_of_another_cut_are_refused():
    macro = cimemu.load_arch("rram_128").macro
    w = np.ones((200, 5), dtype=np.int64)
    scale = ColumnScale(scale=np.ones((2, 40)), offset=None, row_starts=(0, 126))
    with pytest.raises(cimemu.ArchError, match=r"start at \[0, 126\], the macro cuts at \[0, 128\]"):
        program(w, macro, scale=scale)
    with pytest.raises(cimemu.ArchError, match=r"must be \[row blocks, converted columns\] = \[2, 40\]"):
        program(w, macro, scale=ColumnScale(scale=np.ones((2, 5)), offset=None, row_starts=(0, 128)))
    with pytest.raises(cimemu.ArchError, match="finite and > 0"):
        program(w, macro, scale=ColumnScale(scale=np.zeros((2, 40)), offset=None, row_starts=(0, 128)))
