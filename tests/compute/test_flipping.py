"""ISAAC's column flipping: eight bits do the work of nine."""

import macros
import numpy as np
import pytest
from amounts import drawn
from hypothesis import assume
from hypothesis import strategies as st

import cimemu


def flipping(macro, **changes):
    tree = macro.model_dump()
    tree["weight"]["column_flipping"] = True
    return cimemu.Macro.model_validate({**tree, **changes})


def test_a_column_of_large_levels_is_stored_inverted_by_hand():
    # 2-bit weights in 1-bit cells, offset 2: w = 1, 1, 1 -> 3, 3, 3: both columns all ones: 2 * 3 > 1 * 3, flipped to 0.
    # x = 1, 0, 1 (1 bit): psums 0, 0. Values put right: 1 * 2 - 0 = 2 each; 2 + 2*2 = 6; - 2 * 2 = 2.
    macro = cimemu.Macro.model_validate(
        {
            "rows": 4, "columns": 8, "weight": {"bits": 2, "column_flipping": True}, "input": {"bits": 1},
            "adc": {"model": "linear", "bits": 1},
        }
    )  # fmt: skip
    x, w = np.array([[1, 0, 1]]), np.array([[1], [1], [1]])
    for path in ("auto", "serial", "fixed", "steps", "naive"):
        r = cimemu.mvm(x, w, macro, codes=True, path=path)
        assert r.y.tolist() == [[2]]
        assert r.codes.tolist() == [[[[0, 0]]]]


@drawn(st.integers(0, 2**32 - 1), few=8, many=100)
def test_all_paths_agree_and_an_ideal_converter_is_exact(seed):
    x, w, macro = macros.draw(seed)
    plain = (macro.weight.encoding, macro.weight.combine, macro.weight.correction) == ("offset", "digital", "digital")
    assume(plain and macro.adc.model != "nonlinear")
    chip = flipping(macro)
    try:
        slow = cimemu.mvm(x, w, chip, codes=True, path="naive")
    except cimemu.ArchError:
        assume(False)
    for path in ("auto", "serial", "fixed", "steps"):
        fast = cimemu.mvm(x, w, chip, codes=True, path=path)
        assert fast.y.tobytes() == slow.y.tobytes()
        assert fast.codes is None or np.array_equal(fast.codes, slow.codes)
    ideal = cimemu.mvm(x, w, flipping(macro, adc={"model": "ideal"}), path="serial")
    assert np.array_equal(ideal.y, x.astype(np.int64) @ w.astype(np.int64))


def test_isaac_is_exact_with_eight_bits_and_flipping_and_not_without():
    rng = np.random.default_rng(0)
    x, w = np.full((4, 128), 255), rng.integers(40, 128, (128, 32))
    with_it = cimemu.load_arch("isaac", {"macro.weight.column_flipping": True}).macro
    without = cimemu.load_arch("isaac", {"macro.weight.column_flipping": False}).macro
    exact = x @ w
    assert np.array_equal(cimemu.mvm(x, w, with_it, path="serial").y, exact)
    assert not np.array_equal(cimemu.mvm(x, w, without, path="serial").y, exact)


@pytest.mark.parametrize(
    "changes",
    [
        {"weight.encoding": "twos_complement", "cell.bits": 1},
        {"weight.combine": "analog"},
        {"weight.correction": "reference_column"},
        {"accumulator_bits": 20},
        {"adc": {"model": "nonlinear", "bits": 1, "thresholds": [1], "levels": [0, 1]}},
    ],
)
def test_flipping_where_it_is_not_defined_is_refused(changes):
    overrides = {f"macro.{key}": value for key, value in changes.items()}
    with pytest.raises(cimemu.ArchError, match="column_flipping"):
        cimemu.load_arch("isaac", {"macro.weight.column_flipping": True, **overrides})
