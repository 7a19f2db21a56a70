"""Wang et al., VLSI 2022: table III, figures 22 and 23, as digitised in mit-emze/cimloop."""

from collections.abc import Iterator

from cimemu.arch.load import load_arch
from cimemu.cost.scaling import delay_factor
from cimemu.validate.measure import VECTORS, Measured, measure, random_integers
from cimemu.validate.row import Row

NAME = "wang_vlsi_2022"
PARTS = {
    "converters": (("adc",), 0.34, 0.13),
    "input ladders": (("wordline",), 0.22, 0.30),
    "multipliers": (("cell", "cell_level"), 0.40, 0.46),
    "miscellaneous": (("shift_add",), 0.04, 0.11),
}
MACRO = tuple(part for parts, _, _ in PARTS.values() for part in parts)
PJ_PER_MAC, AREA_UM2 = 2 / 16.376, 0.124e6
CLOCK_NS, NOMINAL_V = 0.3827, 1.0
TOPS_PER_W = {0.7: 31.998, 0.8: 22.590, 0.9: 18.439, 1.0: 16.376, 1.1: 15.467}
TOPS_PER_MM2 = {0.7: 2.377, 0.8: 2.858, 0.9: 3.200, 1.0: 3.596, 1.1: 3.941}


def _measured(voltage_v: float) -> Measured:
    clock = CLOCK_NS * delay_factor(NOMINAL_V, voltage_v)
    arch = load_arch(NAME, {"chip.tiles": 1, "costs.technology.voltage_v": voltage_v, "clock_ns": clock})
    return measure(arch, random_integers(-128, 127, (512, 16), 3), random_integers(0, 255, (VECTORS, 512), 4))


def rows() -> Iterator[Row]:
    """Every figure of the macro."""
    nominal = _measured(NOMINAL_V)
    for name, (parts, energy, area) in PARTS.items():
        found = nominal.energy(*parts) / nominal.macs
        yield Row(NAME, f"energy, {name}", "1.0 V", "pJ/MAC", energy * PJ_PER_MAC, found, "calibrated")
        yield Row(NAME, f"area, {name}", "", "um2", area * AREA_UM2, nominal.area(*parts), "calibrated")
    for voltage, published in TOPS_PER_W.items():
        found_at = nominal if voltage == NOMINAL_V else _measured(voltage)
        use = "calibrated" if voltage == NOMINAL_V else "held out"
        yield Row(NAME, "efficiency", f"{voltage:g} V", "TOPS/W", published, found_at.tops_per_w(*MACRO), use, 0.12)  # type: ignore[arg-type]
        density = found_at.tops / (found_at.area(*MACRO) / 1e6)
        yield Row(NAME, "density", f"{voltage:g} V", "TOPS/mm2", TOPS_PER_MM2[voltage], density, use, 0.10)  # type: ignore[arg-type]
        if voltage in (0.7, 1.1):
            whole = {0.7: 0.295, 1.1: 0.489}[voltage]
            note = "table III gives 0.3 and 0.5; these are figure 23 times 0.124 mm2"
            yield Row(NAME, "throughput", f"{voltage:g} V", "TOPS", whole, found_at.tops, "held out", 0.05, note)
