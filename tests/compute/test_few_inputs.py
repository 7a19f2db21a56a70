"""Bit planes and tables are made once so many inputs have been converted that they pay; the bytes are the same."""

import numpy as np
import pytest

import cimemu
from cimemu.engines import choose
from cimemu.engines.programmed import program
from cimemu.lanes import broad
from cimemu.lanes.registers import AVAILABLE


@pytest.mark.skipif(not AVAILABLE, reason="the processor has no AVX2: the other kernels run")
@pytest.mark.parametrize(("zero", "made"), [(0, "planes"), (3, "lookup")])
def test_what_pays_later_is_made_later(monkeypatch, zero, made):
    monkeypatch.setattr(broad, "HAS_BROAD", False)
    monkeypatch.setitem(choose.PAYS_FROM, "planes", 20)
    monkeypatch.setitem(choose.PAYS_FROM, "lookup", 40)
    macro = cimemu.load_arch("rram_128", {"macro.adc.bits": 5, "macro.adc.zero": zero}).macro
    rng = np.random.default_rng(0)
    w, x = rng.integers(-128, 128, (140, 5)), rng.integers(0, 256, (60, 140)).astype(np.uint8)
    at_once, parts = program(w, macro), program(w, macro)
    slow = at_once.run(x, path="naive").y
    assert at_once.run(x, path="serial").y.tobytes() == slow.tobytes()
    assert at_once.run(x, path="serial").path == made
    for first in range(0, 60, 12):
        part = parts.run(x[first : first + 12], path="serial")
        assert part.y.tobytes() == slow[first : first + 12].tobytes()
        limit = {"planes": 20, "lookup": 40}[made]
        assert part.path == (made if first + 12 >= limit else "packed")
        assert (made in parts.kept) == (first + 12 >= limit)


def test_a_converter_that_packed_words_do_not_clamp_has_its_table_at_once(monkeypatch):
    monkeypatch.setattr(broad, "HAS_BROAD", False)
    macro = cimemu.load_arch("rram_128", {"macro.adc.bits": 5, "macro.adc.lsb": 2.5}).macro
    rng = np.random.default_rng(0)
    w, x = rng.integers(-128, 128, (30, 4)), rng.integers(0, 256, (3, 30)).astype(np.uint8)
    programmed = program(w, macro)
    assert programmed.run(x).y.tobytes() == programmed.run(x, path="naive").y.tobytes()
    assert programmed.run(x).path == "lookup"
