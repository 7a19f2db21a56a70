"""What every converter holds to: tables that ascend, the bytes of its definition from every engine, a round trip through YAML."""

import random
from typing import Any

import numpy as np

from cimemu.adc import Adc, IdealAdc
from cimemu.arch.macro import Macro
from cimemu.encoding import find
from cimemu.engines.mvm import mvm
from cimemu.macro.references import make_references
from cimemu.mapping.layout import make_layout
from cimemu.testing.encoding import check_twins, draw, macro_with
from cimemu.testing.kinds import model_of


def check_converter(given: Any, *, macros: int = 12, seed: int = 0, **parameters: Any) -> list[str]:
    """Hold a converter to its properties on `macros` drawn macros.

    `given` is an object, or a class, name or `FILE.py:Class` with its `parameters` (bits=4, ...).

    - Tables: their lengths follow from the bits, thresholds ascend, levels are finite; conversions take a cycle or more.
    - Round trip: the macro comes back from its mapping and its JSON text.
    - Twins: every path gives the bytes of the definition, with ideal and non-ideal cells, for few and many inputs.
    - Threads: one, two and five give the same bytes.
    - Lossless: where psums 0 .. n are levels that convert to themselves, a macro of n raised one-bit rows gives `x @ w`.

    Returns a line for each. Raises AssertionError naming the first macro that contradicts one, CimemuError where there is
    no such converter.
    """
    adc: Adc = model_of("cimemu.adc", given, parameters)
    lines = [_check_tables(adc)]
    offset, r = find("offset"), random.Random(seed)
    widths = [(bits, cell) for bits in (1, 2, 4, 8) for cell in (1, 2)]
    drawn = [draw(offset, widths, random.Random(r.random())) for _ in range(macros)]
    drawn = [type(d)(macro_with(d.macro, {"adc": adc}), d.w, d.x) for d in drawn]
    for d in drawn:
        text = d.macro.model_dump_json()
        assert Macro.model_validate(d.macro.model_dump()) == d.macro, f"the mapping of {adc!r} is read as another macro"
        assert Macro.model_validate_json(text) == d.macro, f"the JSON of {adc!r} is read as another macro"
        check_twins(d)
    for d in drawn[:4]:
        x = np.tile(d.x, (40, 1))
        one = mvm(x, d.w, d.macro, threads=1).y.tobytes()
        assert all(mvm(x, d.w, d.macro, threads=n).y.tobytes() == one for n in (2, 5)), f"threads change {d.macro!r}"
    lines += [f"round trip: {macros} macros", f"twins: {macros} macros", f"threads: {len(drawn[:4])} macros"]
    return [*lines, _check_lossless(adc)]


def _check_tables(adc: Adc) -> str:
    cycles = adc.conversion_cycles()
    assert isinstance(cycles, int), f"conversion_cycles() = {cycles!r}, must be an int"
    assert cycles >= 1, f"conversion_cycles() = {cycles}, must be >= 1"
    if isinstance(adc, IdealAdc):
        return "tables: none, the psum is the value"
    found = _tables(adc)
    assert len(found[0]) == 2**adc.bits - 1, f"{len(found[0])} thresholds of {adc.bits} bits, must be 2^bits - 1"
    assert len(found[1]) == 2**adc.bits, f"{len(found[1])} levels of {adc.bits} bits, must be 2^bits"
    assert bool((np.diff(found[0]) >= 0).all()), "thresholds must ascend"
    assert bool(np.isfinite(found[1]).all()), "levels must be finite"
    return f"tables: {len(found[0])} thresholds, {len(found[1])} levels, {cycles} cycles"


def _tables(adc: Adc) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds (in half psums, rounded up) and levels of the first column of a small layer."""
    macro = Macro.model_validate({"rows": 8, "columns": 8, "weight": {"bits": 1}, "input": {"bits": 1}})
    made = make_references(adc, make_layout(8, 8, macro, 1), 1, 1)
    assert made is not None
    return made[0].thresholds[0], made[0].levels[0]


def _check_lossless(adc: Adc) -> str:
    if isinstance(adc, IdealAdc):
        rows = 64
    else:
        thresholds, levels = _tables(adc)
        kept = [levels[int((thresholds <= 2 * psum).sum())] == psum for psum in range(257)]
        rows = (kept.index(False) if False in kept else len(kept)) - 1
    if rows < 1:
        return "lossless: left out, psums 0 and 1 do not convert to themselves"
    tree = {"rows": rows, "columns": 16, "weight": {"bits": 4}, "input": {"bits": 3}, "adc": adc}
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 8, (5, 2 * rows + 1)), rng.integers(-8, 8, (2 * rows + 1, 3))
    found = mvm(x, w, Macro.model_validate(tree)).y
    assert np.array_equal(found, x @ w), (
        f"{rows} raised rows are within the levels of {adc!r}, and the product is not x @ w"
    )
    return f"lossless: up to {rows} raised rows"
