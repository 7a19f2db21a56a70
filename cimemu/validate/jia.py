"""Jia et al., JSSC 2020: tables I and II, figures 10 and 11, as digitised in mit-emze/cimloop."""

from collections.abc import Iterator
from typing import Any

from cimemu.arch.load import load_arch
from cimemu.validate.measure import VECTORS, Measured, measure, random_integers
from cimemu.validate.row import Row

NAME = "jia_jssc_2020"
ROWS, COLUMNS = 2304, 256
ARRAY = ("wordline", "cell", "cell_level")
BINARY: dict[str, Any] = {"macro.weight": {"bits": 1, "encoding": "binary"}}
AT_1_2_V = {"costs.technology.voltage_v": 1.2, "clock_ns": 10.0}


def _measured(bits: int, overrides: dict[str, Any]) -> Measured:
    arch = load_arch(NAME, {**BINARY, "macro.input.bits": bits, **overrides})
    weights = 2 * random_integers(0, 1, (ROWS, COLUMNS), 1) - 1
    return measure(arch, weights, random_integers(0, 2**bits - 1, (VECTORS, ROWS), 2))


def rows() -> Iterator[Row]:
    """Every figure of the macro."""
    low, high = _measured(1, {}), _measured(1, AT_1_2_V)
    leak = "its shares of switching and leakage are those of hwcomponents-library, which were fitted at 1.2 V"
    for name, parts, at_low, at_high, note in (
        ("converter", ("adc",), 1.79, 3.56, ""),
        ("array column", ARRAY, 9.7, 20.4, ""),
        ("near-memory datapath", ("shift_add",), 8.3, 14.7, leak),
    ):
        yield Row(NAME, f"energy, {name}", "0.85 V", "pJ", at_low, low.energy(*parts) / COLUMNS, "calibrated")
        yield Row(
            NAME, f"energy, {name}", "1.2 V", "pJ", at_high, high.energy(*parts) / COLUMNS, "held out", 0.10, note
        )
    yield Row(NAME, "efficiency, 1 bit", "0.85 V", "TOPS/W", 400, low.tops_per_w("adc", *ARRAY), "calibrated")
    yield Row(NAME, "efficiency, 1 bit", "1.2 V", "TOPS/W", 192, high.tops_per_w("adc", *ARRAY), "held out", 0.10)
    yield Row(
        NAME, "throughput, 1 bit", "0.85 V, 25 ns", "TOPS", 0.874, low.tops, "calibrated", None, "54 cycles are given"
    )
    yield Row(NAME, "throughput, 1 bit", "1.2 V, 10 ns", "TOPS", 2.185, high.tops, "held out", 0.01)
    for bits, published in ((2, 0.437), (4, 0.2185)):
        yield Row(
            NAME,
            f"throughput, {bits}-bit inputs",
            "0.85 V",
            "TOPS",
            published,
            _measured(bits, {}).tops,
            "held out",
            0.01,
        )
    note = "the chip is bound by its memory there; its ports are not published"
    yield Row(NAME, "throughput, 8-bit inputs", "0.85 V", "TOPS", 0.0932, _measured(8, {}).tops, "held out", None, note)
    for name, parts, published in (
        ("converters", ("adc",), 0.497),
        ("array", ARRAY, 2.91),
        ("near-memory datapath", ("shift_add",), 0.497),
        ("sparsity control", ("correction_adder",), 0.392),
    ):
        yield Row(NAME, f"area, {name}", "", "mm2", published, low.area(*parts) / 1e6, "calibrated")
    area = low.area("adc", *ARRAY) / 1e6
    yield Row(NAME, "density, 1 bit", "0.85 V", "TOPS/mm2", 0.24, low.tops / area, "held out", 0.10)
    yield Row(NAME, "density, 1 bit", "1.2 V", "TOPS/mm2", 0.60, high.tops / area, "held out", 0.10)
