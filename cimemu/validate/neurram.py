"""Wan et al., Nature 608 (2022): extended data figures 11 and 12, as digitised in mit-emze/cimloop."""

from collections.abc import Iterator
from functools import cache

from cimemu.arch.load import load_arch
from cimemu.validate.measure import VECTORS, Measured, measure, random_integers
from cimemu.validate.row import Row, Use

NAME = "neurram_like"
CORES = 48
PARTS = {
    "lines of cells": ("sample_hold",),
    "neurons and control": ("adc",),
    "input pulses": ("wordline", "cell", "cell_level"),
}
ENERGY = tuple(part for parts in PARTS.values() for part in parts)
AREA_UM2 = 1270 * 256 / 0.28
AREAS = {"neurons": ("adc", 0.28), "drivers": ("wordline", 0.21), "cells": ("cell", 0.12)}
# (output bits, input bits, phases): TOPS of 48 cores, TOPS/W. Input bits have a sign; one bit is driven as two are.
WHOLE = {
    (3, 1, 1): (2.1223, 43.079),
    (4, 2, 1): (1.7931, 40.334),
    (5, 3, 1): (1.1654, 23.091),
    (6, 4, 1): (0.74387, 15.954),
    (7, 5, 1): (0.45156, 11.330),
    (8, 6, 1): (0.26080, 9.1224),
    (7, 5, 2): (0.52541, 11.032),
    (8, 6, 2): (0.41772, 8.2572),
    (9, 7, 2): (0.34387, 7.7500),
    (10, 8, 2): (0.26387, 6.4374),
}
FJ_PER_OP = {(4, 2, 1): (8.271, 12.387, 3.956), (5, 3, 1): (15.463, 20.118, 7.732), (6, 4, 1): (21.756, 29.108, 11.507)}
POINTS = 10  # of per cent that a share may be off
ENERGY_AT = (6, 4, 1)  # calibrated there
TIMED_AT = ((3, 1, 1), (4, 2, 1), (8, 6, 1))


@cache
def _measured(output_bits: int, input_bits: int, phases: int) -> Measured:
    """Random magnitudes; two phases are two slices of the larger one's length."""
    magnitude = max(1, input_bits - 1)
    adc = {"model": "linear", "circuit": "ramp", "bits": output_bits, "phases": [27] * 10}
    given = {"bits": magnitude, "dac_bits": -(-magnitude // phases), "dac": "bits"}
    arch = load_arch(NAME, {"chip.tiles": 1, "macro.adc": adc, "macro.input": given})
    weights = random_integers(-7, 7, (128, 256), 3)
    return measure(arch, weights, random_integers(0, 2**magnitude - 1, (VECTORS, 128), 4))


def rows() -> Iterator[Row]:
    """Every figure of a core."""
    for point, (tops, tops_per_w) in WHOLE.items():
        output_bits, input_bits, phases = point
        found = _measured(*point)
        where = f"{output_bits}-bit outputs" + (", two phases" if phases == 2 else "")
        uneven = phases == 2 and input_bits % 2 == 0
        note = (
            "there one phase has a bit less than the other, and the second is converted in fewer bits" if uneven else ""
        )
        limits = (None, None) if uneven else (0.05, 0.15)
        timed: Use = "calibrated" if point in TIMED_AT else "held out"
        yield Row(
            NAME,
            f"throughput, {input_bits}-bit inputs",
            where,
            "TOPS",
            tops,
            CORES * found.tops,
            timed,
            limits[0],
            note,
        )
        spent: Use = "calibrated" if point == ENERGY_AT else "held out"
        name = f"efficiency, {input_bits}-bit inputs"
        yield Row(NAME, name, where, "TOPS/W", tops_per_w, found.tops_per_w(*ENERGY), spent, limits[1], note)
    for point, energies in FJ_PER_OP.items():
        found, use = _measured(*point), "calibrated" if point == ENERGY_AT else "held out"
        for (name, parts), energy in zip(PARTS.items(), energies):
            share, told = (
                100 * value for value in (found.energy(*parts) / found.energy(*ENERGY), energy / sum(energies))
            )
            where = f"{point[0]}-bit outputs, {point[1]}-bit inputs"
            yield Row(NAME, f"share of the energy, {name}", where, "%", told, share, use, POINTS / told)  # type: ignore[arg-type]
    for name, (part, share) in AREAS.items():
        yield Row(NAME, f"area, {name}", "", "um2", share * AREA_UM2, _measured(*ENERGY_AT).area(part), "calibrated")
