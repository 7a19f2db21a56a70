"""Input slices of unequal length: every path gives values, codes and counts of the naive twin, and refusals say the rule."""

import random

import macros
import numpy as np
import pytest
from amounts import drawn
from drawn_macros import unequal
from hypothesis import strategies as st

import cimemu
from cimemu.events import Counter
from cimemu.macro.naive import Given, mvm_naive
from cimemu.macro.read_noise import Reads
from cimemu.mapping.layout import make_layout
from cimemu.rtl.design import make_design

SMALL = {"rows": 8, "columns": 16, "weight": {"bits": 4}, "adc": "ideal"}


def macro_of(given, **more):
    return cimemu.Macro.model_validate({**SMALL, "input": given, **more})


@drawn(st.integers(0, 2**32 - 1), few=12, many=60)
def test_every_path_and_every_count_is_the_naive_twins(seed):
    x, w, macro = macros.draw(seed)
    r = random.Random(seed)
    kind = r.choice(["current", "charge", "digital"])
    tree = macro.model_dump()
    bits = max(3, macro.input.bits)
    slices = unequal(bits, r.choice(["wide first", "narrow first"]))
    r.shuffle(slices)
    driver = r.choice(["returns", "holds"])
    tree["input"] = {"bits": bits, "slices": slices, "driver": driver}
    tree["cell"]["kind"] = kind
    macro = cimemu.Macro.model_validate(tree)
    x = macros.inputs_in_range(np.random.default_rng(seed), macro, x.shape) * (x != 0)
    slow = cimemu.mvm(x, w, macro, codes=True, path="naive")
    for path in ("auto", "serial", "fixed", "steps"):
        for codes in (True, False):
            fast = cimemu.mvm(x, w, macro, codes=codes, path=path)
            assert fast.y.tobytes() == slow.y.tobytes(), (path, fast.path)
            assert np.array_equal(fast.counts, slow.counts), path
            if codes and macro.adc.model != "ideal":
                assert np.array_equal(fast.codes, slow.codes), path
    counts = cimemu.mvm(x, w, macro).counts.sum(axis=0)
    made = mvm_naive(x, Given(w, macro, make_layout(*w.shape, macro)), Reads(positions=len(x)))
    assert counts[Counter.STEPS] == made.steps
    assert counts[Counter.SKIPPED_STEPS] == made.skipped
    assert counts[Counter.WORDLINES_RAISED] == made.raised
    assert counts[Counter.WORDLINE_PULSES] == made.drawn
    changes = made.product_changes if kind == "digital" else made.level_drawn
    assert counts[Counter.CELL_LEVEL_PULSES] == changes


def test_slices_by_hand():
    # 214 = 1101 0110: slices of 4, 2, 2 bits from the lowest: 6, 1, 3. Drawn: 36 + 1 + 9 of 15^2 = 225 at full scale.
    macro = macro_of({"bits": 8, "slices": [4, 2, 2]}, active_rows=8, columns_per_adc=16)
    assert (macro.input_slices, macro.input.dac_bits, macro.line_unit) == (3, 4, 225)
    made = cimemu.mvm(np.array([[214]]), np.array([[3]]), macro)
    assert made.y.tolist() == [[642]]
    assert made.counts[0, Counter.WORDLINE_PULSES] == 46
    # 3 slices of 2 cycles to drive and 4 columns of 1 cycle, and the last shift-add
    assert cimemu.op_cycles(macro, rows_used=8, columns_used=4) == 3 * (2 + 4) + 1


@pytest.mark.parametrize(
    ("bits", "slices", "dac_bits"), [(8, [4, 4], 4), (8, [3, 3, 2], 3), (4, [1] * 4, 1), (5, [5], 5)]
)
def test_slices_that_dac_bits_would_give_are_the_same_macro(bits, slices, dac_bits):
    rng, adc = np.random.default_rng(bits), {"model": "linear", "bits": 3}
    x, w = rng.integers(0, 2**bits, (5, 20)), rng.integers(-8, 8, (20, 6))
    one = cimemu.mvm(x, w, macro_of({"bits": bits, "slices": slices}, adc=adc), codes=True)
    other = cimemu.mvm(x, w, macro_of({"bits": bits, "dac_bits": dac_bits}, adc=adc), codes=True)
    assert one.y.tobytes() == other.y.tobytes()
    assert np.array_equal(one.codes, other.codes)
    assert np.array_equal(one.counts, other.counts)
    assert one.path == other.path


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"bits": 8, "slices": [4, 2]}, r"slices = \[4, 2\], must be >= 1 each and add up to bits = 8"),
        ({"bits": 8, "slices": [8, 0]}, "must be >= 1 each"),
        ({"bits": 4, "slices": [3, 1], "dac": "pulse"}, "use dac voltage or no slices"),
        ({"bits": 4, "slices": [3, 1], "dac": "bits"}, "use dac voltage or no slices"),
        ({"bits": 4, "slices": [3, 1], "dac_bits": 1}, "dac_bits = 1: must be 3, the widest slice, or left out"),
        ({"bits": 4, "slices": [2, 2], "signed": True}, "signed inputs with dac_bits = 2"),
    ],
)
def test_refusals(given, said):
    with pytest.raises(cimemu.ArchError, match=said):
        macro_of(given)


def test_a_dump_keeps_slices_and_one_without_them_has_no_such_key():
    macro = macro_of({"bits": 8, "slices": [4, 2, 2]})
    assert cimemu.Macro.model_validate(macro.model_dump()) == macro
    assert "slices" not in macro_of({"bits": 8}).model_dump()["input"]


def test_generated_hardware_refuses_uneven_slices():
    with pytest.raises(cimemu.ArchError, match=r"macro.input.slices = \[2, 4, 2\]: generated hardware"):
        make_design(macro_of({"bits": 8, "slices": [2, 4, 2]}))
    assert make_design(macro_of({"bits": 8, "slices": [3, 3, 2]})).slices == 3


def test_a_network_of_uneven_slices_gives_the_integers_of_a_lossless_macro():
    arch = cimemu.load_arch("rram_128", {"chip.tiles": "auto", "macro.adc": {"model": "ideal"}})
    uneven = cimemu.load_arch(arch, {"macro.input.slices": [4, 2, 2], "macro.input.dac_bits": 4})
    work = cimemu.load_workload("digits")
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration())
    images, labels = work.inputs(3)
    one, other = (cimemu.run(chip, network, images, labels) for chip in (arch, uneven))
    assert one.outputs.tobytes() == other.outputs.tobytes()
    assert other.summary()["cycles"] < one.summary()["cycles"]  # three slices in the place of eight
