"""`cimemu cost` names the prices that make a full macro's energy unsure, or says why it cannot, on any chip."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings

import cimemu
from cimemu.cli.cost import MOST_CELLS, _dominating

sys.path.insert(0, str(Path(__file__).parent.parent))
from chips import chips


@settings(max_examples=25, deadline=None)
@given(chips())
def test_any_chip_has_an_answer_or_a_reason(chip):
    shares, why = _dominating(chip)
    assert shares == {} or sum(shares.values()) == pytest.approx(1)
    assert why


@pytest.mark.parametrize(
    "overrides",
    [
        {"macro.weight": {"bits": 1, "encoding": "binary"}},
        {"macro.input.signed": True},
        {"macro.input.bits": 1},
        {"macro.rows": 1, "macro.columns": 8},
        {"macro.weight.bits": 9, "macro.columns": 256},
    ],
)
def test_presets_changed_in_what_a_layer_must_have_still_answer(overrides):
    shares, why = _dominating(cimemu.load_arch("rram_128", overrides))
    assert shares, why


def test_a_macro_too_large_to_be_tried_is_not():
    chip = cimemu.load_arch("rram_128", {"macro.rows": MOST_CELLS // 64, "chip.tiles": 1, "macro.adc": "ideal"})
    assert _dominating(chip) == ({}, f"not measured for a macro of more than {MOST_CELLS:,} cells")
