"""Every path, on random macros, gives what the naive twin and an independent reading of the specification give."""

import random

import macros
import numpy as np
import pytest
from amounts import drawn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import reference_mvm

import cimemu

SEEDS = st.integers(0, 2**32 - 1)
common = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def compare_all_paths(seed):
    x, w, macro = macros.draw(seed)
    y, conversions, codes = reference_mvm(x, w, macro)
    slow = cimemu.mvm(x, w, macro, codes=True, path="naive")
    np.testing.assert_allclose(slow.y, y, rtol=1e-12, atol=1e-9)
    assert slow.conversions == conversions
    if macro.adc.model != "ideal":
        assert np.array_equal(slow.codes, codes)
    for path in ("auto", "serial", "fixed", "steps"):
        for with_codes in (True, False):
            fast = cimemu.mvm(x, w, macro, codes=with_codes, path=path)
            assert fast.y.dtype == slow.y.dtype
            assert fast.y.tobytes() == slow.y.tobytes(), (path, fast.path)
            assert fast.conversions == slow.conversions
            assert np.array_equal(fast.counts, slow.counts)
            if with_codes and macro.adc.model != "ideal":
                assert np.array_equal(fast.codes, slow.codes)


@drawn(SEEDS, few=8, many=14)
def test_all_paths_equal_the_naive_twin_and_the_reference(seed):
    compare_all_paths(seed)


@drawn(SEEDS, few=25, many=60)
def test_one_conversion_a_row_block_needs_no_counts_by_code(seed):
    """Whole inputs in one slice and one raise, real levels: looked up at once, as the counts of codes would give."""
    x, w, macro = macros.draw(seed, converter=False)
    r = random.Random(seed)
    tree = {**macro.model_dump(), "active_rows": macro.rows}
    tree["input"] |= {
        "bits": macro.input.bits,
        "dac_bits": macro.input.bits,
        "signed": False,
        "dac": "pulse",
        "driver": "returns",
    }
    bits = r.randint(1, 4)
    cuts = [
        sorted(r.uniform(-5, 60) for _ in range(2**bits - 1)) for _ in range(w.shape[1] * macro.conversions_per_output)
    ]
    levels = [[r.choice([0.5, -1.25, 3.3, 7.1, 0.0]) for _ in range(2**bits)] for _ in cuts]
    blocks = -(-len(w) // macro.rows)
    tables = {"thresholds": [cuts] * blocks, "levels": [levels] * blocks}
    if r.random() < 0.5:
        tables = {"thresholds": cuts[0], "levels": levels[0]}
    tree["adc"] = {"model": "nonlinear", "bits": bits, **tables}
    macro, x = cimemu.Macro.model_validate(tree), np.abs(x)
    slow = cimemu.mvm(x, w, macro, path="naive")
    for once in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not once:
                for module in ("engine", "steps.run"):
                    patch.setattr(f"cimemu.engines.{module}.converts_once", lambda matrix: False)
            fast = cimemu.mvm(x, w, macro, path="fixed")
        assert fast.y.tobytes() == slow.y.tobytes()


@pytest.mark.long
@pytest.mark.slow
def test_all_paths_equal_the_naive_twin_and_the_reference_on_hundreds_of_macros():
    for seed in range(10**6, 10**6 + 600):
        compare_all_paths(seed)


@drawn(SEEDS, st.sampled_from(["error", "saturate", "wrap"]), st.integers(6, 20), few=25, many=60)
def test_a_narrow_accumulator_gives_the_same_on_all_paths(seed, overflow, bits):
    x, w, macro = macros.draw(seed)
    try:
        narrow = cimemu.Macro.model_validate(
            {**macro.model_dump(), "accumulator_bits": bits, "accumulator_overflow": overflow}
        )
        slow = cimemu.mvm(x, w, narrow, path="naive")
    except cimemu.CimemuError as error:
        for path in ("serial", "fixed", "steps"):
            with pytest.raises(type(error)):
                cimemu.mvm(x, w, narrow, path=path)
        return
    for path in ("auto", "serial", "fixed", "steps"):
        assert cimemu.mvm(x, w, narrow, path=path).y.tobytes() == slow.y.tobytes()


@drawn(SEEDS, st.integers(0, 10), few=20, many=60)
def test_cells_of_any_level_give_the_same_on_both_paths(seed, fraction_bits):
    x, w, macro = macros.draw(seed)
    tree = macro.model_dump()
    tree["cell"]["fraction_bits"] = fraction_bits
    macro = cimemu.Macro.model_validate(tree)
    rng = np.random.default_rng(seed)
    cells = rng.uniform(0, 2**macro.cell.bits, (w.shape[0], w.shape[1] * macro.columns_per_output))
    slow = cimemu.mvm(x, w, macro, codes=True, path="naive", cells=cells)
    fast = cimemu.mvm(x, w, macro, codes=True, path="auto", cells=cells)
    np.testing.assert_allclose(fast.y.astype(float), slow.y.astype(float), rtol=1e-12, atol=1e-9)
    if macro.adc.model != "ideal":
        assert np.array_equal(fast.codes, slow.codes)
        assert fast.y.tobytes() == slow.y.tobytes()


@drawn(SEEDS, few=30, many=100)
def test_a_lossless_converter_gives_the_exact_product(seed):
    x, w, macro = macros.draw(seed, converter=False)
    exact = x.astype(np.int64) @ w.astype(np.int64)
    ideal = cimemu.mvm(x, w, macro, path="serial")
    assert ideal.y.dtype == np.int64
    assert np.array_equal(ideal.y, exact)
    # The same of a real converter with a level at every integer from the smallest to the largest psum.
    largest = macro.raised_rows * (2**macro.input.dac_bits - 1) * 2 ** (macro.weight_slices * macro.cell.bits + 1)
    bits = int(2 * largest + 1).bit_length()
    if bits <= 14:
        adc = {"model": "linear", "bits": bits, "lsb": 1, "zero": -largest}
        for path in ("auto", "serial", "fixed", "steps"):
            got = cimemu.mvm(x, w, cimemu.Macro.model_validate({**macro.model_dump(), "adc": adc}), path=path)
            assert np.array_equal(got.y, exact)


@drawn(SEEDS, few=12, many=40)
def test_threads_change_no_byte(seed):
    x, w, macro = macros.draw(seed)
    many = np.concatenate([x] * 700)
    one = cimemu.mvm(many, w, macro, path="serial", threads=1)
    two = cimemu.mvm(many, w, macro, path="serial", threads=2)
    assert one.y.tobytes() == two.y.tobytes()


@drawn(SEEDS, few=15, many=40)
def test_the_order_of_rows_inside_a_group_changes_nothing(seed):
    x, w, macro = macros.draw(seed)
    rng = np.random.default_rng(seed)
    order = np.arange(x.shape[1])
    for block in range(0, x.shape[1], macro.rows):
        for group in range(block, min(block + macro.rows, x.shape[1]), macro.raised_rows):
            stop = min(group + macro.raised_rows, block + macro.rows, x.shape[1])
            order[group:stop] = rng.permutation(order[group:stop])
    a, b = cimemu.mvm(x, w, macro, codes=True), cimemu.mvm(x[:, order], w[order], macro, codes=True)
    assert a.y.tobytes() == b.y.tobytes()
    assert a.codes is None or np.array_equal(a.codes, b.codes)


@settings(common, max_examples=30)
@given(SEEDS)
def test_a_value_out_of_range_is_named_and_never_clipped(seed):
    x, w, macro = macros.draw(seed)
    high = 2 ** (macro.input.bits - (1 if macro.input.signed else 0))
    bad = x.astype(np.int64)
    bad[-1, -1] = high
    with pytest.raises(cimemu.WorkloadError, match=str(high)) as caught:
        cimemu.mvm(bad, w, macro)
    assert "\n" not in str(caught.value)
    heavy = w.astype(np.int64)
    heavy[0, 0] = 2**macro.weight.bits
    with pytest.raises(cimemu.WorkloadError, match=str(2**macro.weight.bits)):
        cimemu.mvm(x, heavy, macro)
