"""Kim et al., a digital bit-serial array: ISOCC 2019 (abstract), JSSC 2021 (figures 15 to 17, as digitised in mit-emze/cimloop)."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from cimemu.arch.load import load_arch
from cimemu.validate.measure import VECTORS, Measured, measure, random_integers
from cimemu.validate.row import Row, Use

NAME = "kim_isocc_2019"
MACRO = {
    "drivers": ("wordline",),
    "cells": ("cell", "cell_level", "shift_add"),
    "registers and control": ("input_register",),
}
ENERGY = tuple(part for parts in MACRO.values() for part in parts)
SHARES = {"drivers": 28.8, "cells": 60.2, "registers and control": 11.0}
AREAS = {"drivers": 0.018, "cells": 0.839, "registers and control": 0.143}
AREA_UM2 = 227200
SIZE, GUARDS = 128, 7
SUPPLIES = (0.6, 0.7, 0.8)
FJ_PER_MAC = {  # of one input bit, by weight bits, at the three supplies
    1: (17.08, 42.84, 68.32),
    2: (20.27, 49.48, 77.83),
    4: (26.50, 66.92, 105.27),
    6: (33.23, 83.94, 131.13),
    8: (36.84, 91.77, 144.35),
    16: (59.96, 151.45, 243.19),
}
GOPS = {
    (1, 16): 563.5,
    (1, 4): 243.93,
    (1, 1): 75.07,
    (4, 16): 83.03,
    (8, 16): 25.75,
    (8, 4): 13.32,
    (8, 1): 4.43,
    (16, 16): 5.99,
}
ADDERS = 1 + GUARDS + 8  # of a step besides the weight's: half a register (the read is the other), guard columns, rows
HELD = 8  # input bits that a run of wider ones has
WIDEST = 9  # weight bits that a macro holds; wider ones take as many columns, with more guards


@cache
def _measured(bits: int, supply: float = 0.8, registers: int = 16, input_bits: int = 1) -> Measured:
    """Random data of `bits`-bit weights with `registers` rows of registers."""
    held = min(bits, WIDEST)
    changes: dict[str, Any] = {
        "chip.tiles": 1,
        "tile.macros": 1,
        "chip.offchip": {"bits_per_cycle": 4096, "latency_cycles": 0},  # what feeds the array is not its own
        "costs.technology.voltage_v": supply,
        "macro.input.bits": input_bits,
        "macro.weight": {
            "bits": held,
            "encoding": "binary" if bits == 1 else "twos_complement",
            "guard_columns": GUARDS + bits - held,
        },
        "macro.timing.sample_cycles": ADDERS - 8 + SIZE // registers + bits - held,
    }
    arch = load_arch(NAME, changes)
    outputs = arch.macro.outputs
    low, high = (0, 1) if bits == 1 else (-(2 ** (held - 1)), 2 ** (held - 1) - 1)
    weights = random_integers(low, high, (SIZE, outputs), bits)
    weights = 2 * weights - 1 if bits == 1 else weights
    return measure(arch, weights, random_integers(0, 2**input_bits - 1, (VECTORS, SIZE), 2))


def _figures() -> Iterator[Row]:
    """The two figures of the abstract: 1 and 16 bits, at the supply whose figures they are."""
    one = _measured(1, 0.6).tops_per_w(*ENERGY)
    yield Row(
        NAME, "efficiency, 1 bit", "0.6 V", "TOPS/W", 117.3, one, "held out", 0.15, "the abstract names no supply"
    )
    sixteen = _measured(16, 0.6, input_bits=HELD).tops_per_w(*ENERGY) * HELD / 16
    note = "8 input bits count twice; 9 weight bits and 14 guard columns take the 23 columns of 16"
    yield Row(NAME, "efficiency, 16 bits", "0.6 V", "TOPS/W", 2.06, sixteen, "held out", 0.15, note)


def rows() -> Iterator[Row]:
    """Every figure of the macro."""
    yield from _figures()
    for bits, published in FJ_PER_MAC.items():
        for supply, energy in zip(SUPPLIES, published):
            found = _measured(bits, supply)
            use: Use = "calibrated" if bits == HELD else "held out"
            spent = 1000 * found.energy(*ENERGY) / found.macs
            yield Row(
                NAME, f"energy, {bits}-bit weights", f"{supply:g} V, 1 input bit", "fJ/MAC", energy, spent, use, 0.15
            )
    whole = _measured(HELD)
    for name, parts in MACRO.items():
        share = 100 * whole.energy(*parts) / whole.energy(*ENERGY)
        yield Row(NAME, f"share of the energy, {name}", "0.8 V, 8-bit weights", "%", SHARES[name], share, "calibrated")
    for (bits, registers), published_gops in GOPS.items():
        input_bits = min(bits, HELD)
        gops = 1000 * _measured(bits, registers=registers, input_bits=input_bits).tops * input_bits / bits
        timed: Use = "calibrated" if (bits, registers) == (8, 16) else "held out"
        where = f"{registers} rows of registers"
        yield Row(NAME, f"throughput, {bits} x {bits} bits", where, "GOPS", published_gops, gops, timed, 0.05)
    area = _measured(HELD, input_bits=HELD)
    for name, parts in MACRO.items():
        yield Row(NAME, f"area, {name}", "", "um2", AREAS[name] * AREA_UM2, area.area(*parts), "calibrated")
