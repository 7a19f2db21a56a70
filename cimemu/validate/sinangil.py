"""Sinangil et al., JSSC 2021: table I, figure 13, section IV, as digitised in mit-emze/cimloop.

An output code c is made by inputs and stored weights of sqrt(15 c) in the mean, so that converters really put out c.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.load import load_arch
from cimemu.cost.scaling import delay_factor
from cimemu.validate.measure import VECTORS, Measured, measure
from cimemu.validate.row import Row

NAME = "sinangil_jssc_2021"
PARTS = ("adc", "wordline", "cell", "cell_level")
CLOCK_NS, NOMINAL_V = 0.275, 0.8
BY_CODE = {0: 3.357, 1: 4.563, 2: 5.033, 4: 5.443, 6: 5.838, 8: 6.285, 10: 6.657, 12: 7.044, 15: 7.795}
BY_SUPPLY = {0.65: 5.109, 0.7: 5.875, 0.75: 6.797, 0.85: 9.031, 0.9: 10.25, 0.95: 11.75, 1.0: 13.125}


def _mixed(mean: float, shape: tuple[int, int], seed: int) -> NDArray[np.int64]:
    """Integers 0 .. 15 of that mean: its neighbours, mixed."""
    low = int(mean)
    drawn = np.random.default_rng(seed).random(shape) < mean - low
    made: NDArray[np.int64] = np.minimum(15, low + drawn).astype(np.int64)
    return made


def _measured(code: int, voltage_v: float) -> Measured:
    clock = CLOCK_NS * delay_factor(NOMINAL_V, voltage_v)
    arch = load_arch(NAME, {"chip.tiles": 1, "costs.technology.voltage_v": voltage_v, "clock_ns": clock})
    mean = (15 * code) ** 0.5
    return measure(arch, _mixed(mean, (64, 16), 1) - 8, _mixed(mean, (VECTORS, 64), 2))


def rows() -> Iterator[Row]:
    """Every figure of the macro."""
    for code, published in BY_CODE.items():
        found = _measured(code, NOMINAL_V)
        use = "calibrated" if code in (0, 6) else "held out"
        yield Row(NAME, f"energy, output code {code}", "0.8 V", "pJ", published, found.energy(*PARTS), use, 0.10)  # type: ignore[arg-type]
    full = _measured(15, NOMINAL_V)
    yield Row(NAME, "throughput", "0.8 V", "GOPS", 372.4, full.tops * 1000, "calibrated")
    yield Row(NAME, "efficiency, output code 15", "0.8 V", "TOPS/W", 262.3, full.tops_per_w(*PARTS), "held out", 0.10)
    disagree = "the paper's own figures disagree: 10.8 pJ in table I, 13.1 pJ in figure 13(b)"
    law = "all energy with the square of the supply; the chip's grows by 1.40 only, so a part of it does not"
    high = {code: _measured(code, 1.0) for code in (0, 6, 15)}
    yield Row(NAME, "throughput", "1.0 V", "GOPS", 455.1, high[15].tops * 1000, "held out", 0.05)
    for code, published, limit, note in (
        (15, 189.3, 0.10, disagree),
        (0, 435.5, None, law),
        (6, 321.0, None, "out of line with codes 0 and 15 in table I; excluded by CiMLoop too"),
    ):
        found_w = high[code].tops_per_w(*PARTS)
        yield Row(
            NAME, f"efficiency, output code {code}", "1.0 V", "TOPS/W", published, found_w, "held out", limit, note
        )
    for voltage, published in BY_SUPPLY.items():
        found = _measured(15, voltage)
        limit, note = (None, disagree) if voltage > 0.9 else (0.10, "")
        yield Row(
            NAME,
            "energy, output code 15",
            f"{voltage:g} V",
            "pJ",
            published,
            found.energy(*PARTS),
            "held out",
            limit,
            note,
        )
    for name, part, published in (("converters and control", ("adc",), 1596), ("array", ("wordline", "cell"), 800)):
        yield Row(NAME, f"area, {name}", "", "um2", published, full.area(*part), "calibrated")
    yield Row(NAME, "area, weighting capacitors", "", "um2", 160, full.area("sample_hold"), "calibrated")
