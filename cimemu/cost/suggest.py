"""A whole cost table from few facts: technology, supply, cell, size, converter and clock; every price with source and interval.

Converters are the geometric mean of models that know nothing of each other, and their interval holds all of them. Other
prices are the estimators of this package, with the intervals of what they rest on.
"""

from dataclasses import dataclass, replace
from math import exp, log, sqrt
from typing import Any, Literal, TypedDict, Unpack, get_args

from cimemu.cost.basis import KINDS, Basis
from cimemu.cost.converters import FlashConverter, RampConverter, SarConverter
from cimemu.cost.parts import LibraryPart
from cimemu.cost.scaling import NODES_NM
from cimemu.cost.site import Estimator, Site
from cimemu.cost.survey import survey_area_um2, survey_energy_pj
from cimemu.errors import ArchError

Cell = Literal["sram", "edram", "rram", "pcm", "mram", "fefet", "digital"]
Circuit = Literal["sar", "flash", "ramp", "none"]
NOMINAL_V = {130: 1.2, 90: 1.1, 65: 1.0, 45: 1.0, 40: 1.0, 32: 0.95, 28: 0.9, 22: 0.8, 16: 0.8, 10: 0.75, 7: 0.7}
MOST_BITS = 14
WIRE_FF_PER_UM = 0.2
GATE_FF_PER_NM = 0.2 / 28  # 0.2 fF of a gate with its junctions at 28 nm, in proportion to the node
PULSE_NS = 10.0
DEFAULT_KIB, DEFAULT_PORT = 64, 256
# Energy of a whole column and its conversion in 12 published analog SRAM macros of the UIUC survey (Shanbhag and Roy, OJ-SSCS
# 2022), as a line in base-2 logarithms over bits and node: 175 fJ at 6 bits and 28 nm. 90 % of residuals lie within the factor.
COLUMN_FJ, COLUMN_BITS, COLUMN_NODE, COLUMN_FACTOR = 174.8, 0.459, 2.478, 17.8
CELL_FACTOR = 10.0  # conductances of published cells of one kind lie orders of magnitude apart
COLUMN = "whole columns of 12 analog macros in the UIUC survey"
MURMANN = "Murmann survey regression (arXiv 2404.06553)"
MODELS_OF_SAR = f"capacitor DAC counted (Liu et al., JSSC 2010); {MURMANN}; {COLUMN}; Kull et al., ISSCC 2013"


@dataclass(frozen=True)
class Conducting:
    """A cell through which current flows: conductances, read voltage, area and writing."""

    on_us: float
    off_us: float
    read_v: float
    area_f2: float
    write_pj: float
    source: str


@dataclass(frozen=True)
class Charging:
    """A cell that charges a capacitor or a bitline."""

    ff: float
    area_f2: float
    source: str


CELLS: dict[str, Conducting | Charging] = {
    "rram": Conducting(10.0, 1.0, 0.2, 32.0, 46.5, "rram_128's cell: 100 kOhm and 1 MOhm; writing: CiMLoop's table"),
    "pcm": Conducting(20.0, 0.2, 0.2, 40.0, 20.0, "assumed: 50 kOhm and 5 MOhm, order of magnitude of mushroom cells"),
    "mram": Conducting(250.0, 125.0, 0.1, 40.0, 1.0, "assumed: 4 and 8 kOhm, order of magnitude of STT cells"),
    "fefet": Conducting(1.0, 0.1, 0.2, 10.0, 0.0009, "NVMExplorer sample FeFET: 1 and 10 MOhm, 10 F^2"),
    "sram": Charging(1.2, 300.0, "assumed: 1.2 fF a cell, 300 F^2 of a bitcell with more than six transistors"),
    "edram": Charging(2.0, 100.0, "assumed: 2 fF a cell, 100 F^2"),
}


@dataclass(frozen=True)
class Known:
    """What is known of a macro; what is not given is usual."""

    node_nm: float
    supply_v: float | None = None
    cell: Cell = "sram"
    rows: int = 128
    columns: int = 128
    cell_bits: int = 1
    converter: Circuit | None = None  # none of digital cells, sar of others
    adc_bits: int = 6
    clock_ns: float = 1.0

    def checked(self) -> "Known":
        """Itself with a supply. ArchError with value, rule and remedy."""
        if not NODES_NM[0] <= self.node_nm <= NODES_NM[-1]:
            raise ArchError(
                f"node_nm = {self.node_nm:g}, must be {NODES_NM[0]:g} .. {NODES_NM[-1]:g}, as scaling is known"
            )
        converter = self.converter or ("none" if self.cell == "digital" else "sar")
        for name, value, kinds in (("cell", self.cell, Cell), ("converter", converter, Circuit)):
            if value not in get_args(kinds):
                raise ArchError(f"{name} = {value!r}, must be one of {', '.join(get_args(kinds))}")
        if self.cell == "digital" and converter != "none":
            raise ArchError(f"converter = {converter} with cell = digital, which has none: give converter none")
        ranges = {"rows": 1 << 20, "columns": 1 << 20, "cell_bits": 8, "adc_bits": MOST_BITS}
        for name, most in ranges.items():
            if not 1 <= getattr(self, name) <= most:
                raise ArchError(f"{name} = {getattr(self, name)}, must be 1 .. {most}")
        supply = NOMINAL_V[min(NOMINAL_V, key=lambda node: abs(log(node / self.node_nm)))]
        supply = supply if self.supply_v is None else self.supply_v
        for name, number, low, high in (("supply_v", supply, 0.2, 5.0), ("clock_ns", self.clock_ns, 1e-3, 1e6)):
            if not low <= number <= high:
                raise ArchError(f"{name} = {number:g}, must be {low:g} .. {high:g}")
        return replace(self, supply_v=supply, converter=converter)

    @property
    def pitch_um(self) -> float:
        """Of a cell as wide as high."""
        return sqrt(_area_f2(self.cell)) * self.node_nm / 1000


class Facts(TypedDict, total=False):
    """Every field of `Known` but the node, as a keyword of `suggest_costs`."""

    supply_v: float | None
    cell: str
    rows: int
    columns: int
    cell_bits: int
    converter: str | None
    adc_bits: int
    clock_ns: float


def suggest_costs(node_nm: float, **given: Unpack[Facts]) -> dict[str, Any]:
    """A cost table for `load_arch(..., {"costs": it})`: prices from physics and surveys, each with its source and interval.

    Keywords: `supply_v` (default: the node's usual one), `cell` (sram, edram, rram, pcm, mram, fefet, digital), `rows` and
    `columns` of a macro, `cell_bits`, `converter` (sar, flash, ramp, none), `adc_bits`, and `clock_ns`, a cycle, of which the
    converter's circuit takes as many as it does. Raises ArchError.

    >>> import cimemu
    >>> costs = cimemu.suggest_costs(28, cell="rram", rows=256, adc_bits=7)
    >>> low, high = costs["adc"]["energy_interval"]
    >>> low < 1 < high
    True
    >>> chip = cimemu.load_arch("rram_128", {"costs": costs})
    """
    known = Known(node_nm, **given).checked()  # type: ignore[arg-type]
    table: dict[str, Any] = {"technology": {"node_nm": known.node_nm, "voltage_v": known.supply_v}}
    if known.converter != "none":
        table["adc"] = _converter(known)
        table["sample_hold"] = _capacitor(known)
        table["reference_switch"] = {
            "estimator": {"model": "wire", "length_um": _round(known.columns * known.pitch_um), "gates": 0},
            **_sure("physics", "a line across the columns, charged once"),
        }
    table |= {"wordline": _wordline(known), **_cells(known), **_digital(known), "wake_up": _wake_up(known)}
    return table


def _site(known: Known, component: str) -> Site:
    circuit = known.converter or "none"
    steps = {"sar": known.adc_bits, "flash": 1, "ramp": 2**known.adc_bits - 1, "none": 1}[circuit]
    return Site(
        component=component,
        node_nm=known.node_nm,
        voltage_v=known.supply_v,
        rows=known.rows,
        columns=known.columns,
        cell_levels=2**known.cell_bits - 1,
        slice_levels=1,
        pulse_dac=False,
        pulse_ns=known.clock_ns,
        step_ns=known.clock_ns * (1 + steps),
        conversion_ns=known.clock_ns * steps,
        circuit="" if circuit == "none" else circuit,
        adc_bits=0 if circuit == "none" else known.adc_bits,
        thresholds=(),
    )


def _converter(known: Known) -> dict[str, Any]:
    """Energy and area of a conversion: the geometric mean of what is known, the interval as wide as they lie apart."""
    site = _site(known, "adc")
    compare = LibraryPart(part="analog_comparator", bits=1).estimate(site)
    area = 40.0 * (known.node_nm / 28) ** 2
    site = replace(site, comparator_pj=compare.energy_pj, comparator_um2=area)
    circuits: dict[str, Estimator] = {"sar": SarConverter(), "flash": FlashConverter(), "ramp": RampConverter()}
    counted = circuits[site.circuit].estimate(site)
    rate = min(1e9 / site.conversion_ns, 1e10)
    best = survey_energy_pj(max(4.0, known.adc_bits), rate, known.node_nm)
    column = COLUMN_FJ / 1000 * 2 ** (COLUMN_BITS * (known.adc_bits - 6)) * (known.node_nm / 28) ** COLUMN_NODE
    energies, areas = [counted.energy_pj, best, column], [counted.area_um2, survey_area_um2(best, rate, known.node_nm)]
    told = f"{counted.source}; {MURMANN}; {COLUMN}"
    if known.converter == "sar":
        kull = LibraryPart(part="converter", bits=known.adc_bits, extrapolate=True).estimate(site)
        energies, areas = [*energies, kull.energy_pj], [*areas, kull.area_um2]
        told = MODELS_OF_SAR
    energy, space = _mean(energies), _mean(areas)
    return {
        "energy_pj": _round(energy),
        "energy_interval": _around([*energies, energy / COLUMN_FACTOR, energy * COLUMN_FACTOR], energy, "circuit"),
        "area_um2": _round(space),
        "area_interval": _around(areas, space, "circuit", "area"),
        "leakage_uw": _round(counted.leakage_uw + 0.5 * known.node_nm / 28),
        "basis": "circuit",
        "source": f"cimemu cost suggest, {known.adc_bits} bits, the geometric mean of: {told}; "
        "the interval holds all of them and 90 % of the columns; leakage assumed",
    }


def _wordline(known: Known) -> dict[str, Any]:
    length, gate = known.columns * known.pitch_um, GATE_FF_PER_NM * known.node_nm
    wire = {"model": "wire", "length_um": _round(length), "ff_per_um": WIRE_FF_PER_UM, "gate_ff": _round(gate)}
    driver = _round(5.0 * (known.node_nm / 28) ** 2)
    return {
        "estimator": {**wire, "area_um2": driver},
        **_sure(
            "physics", "line over the columns at the cell's pitch, 0.2 fF/um, a gate a cell; driver's area assumed"
        ),
    }


def _cells(known: Known) -> dict[str, Any]:
    """What cells draw: current through them, charge in them, or gates and adders that switch."""
    if known.cell == "digital":
        return _digital_cells(known)
    cell = CELLS[known.cell]
    if isinstance(cell, Conducting):
        flows = {
            "model": "conductance",
            "on_us": cell.on_us,
            "off_us": cell.off_us,
            "read_v": cell.read_v,
            "pulse_ns": max(PULSE_NS, known.clock_ns),
            "area_f2": cell.area_f2,
        }
        basis: Basis = "assumed" if "assumed" in cell.source else "physics"
        wide = {"energy_interval": [1 / CELL_FACTOR, CELL_FACTOR]}
        return {
            "cell": {"estimator": flows, **wide, **_sure(basis, cell.source)},
            "cell_level": {"estimator": dict(flows), **wide, **_sure(basis, cell.source)},
            "programming": {"energy_pj": cell.write_pj, **wide, **_sure("assumed", cell.source)},
        }
    charges = {"model": "capacitance", "ff": cell.ff, "area_f2": cell.area_f2}
    writing = {"model": "wire", "length_um": _round(known.rows * known.pitch_um), "gates": 0}
    return {
        "cell": {
            "energy_pj": 0.0,
            "area_um2": _round(cell.area_f2 * (known.node_nm / 1000) ** 2),
            **_sure("assumed", cell.source),
        },
        "cell_level": {"estimator": charges, **_sure("assumed", cell.source)},
        "programming": {"estimator": writing, **_sure("physics", "a bitline of the array, charged once")},
    }


def _digital_cells(known: Known) -> dict[str, Any]:
    site = _site(known, "cell")
    adder = LibraryPart(part="adder", bits=8, per_bit=True).estimate(site)
    return {
        "cell": {
            "energy_pj": _round(GATE_FF_PER_NM * known.node_nm * site.supply**2 / 1000),
            "area_um2": _round(200 * (known.node_nm / 1000) ** 2 + 2 * adder.area_um2),
            **_sure("assumed", "a gate's input; area: 200 F^2 of a cell with its gate, and two full adders"),
        },
        "cell_level": {"energy_pj": _round(2 * adder.energy_pj), **_sure("scaled", f"two full adders: {adder.source}")},
        "programming": {
            "estimator": {"model": "wire", "length_um": _round(known.rows * known.pitch_um), "gates": 0},
            **_sure("physics", "a bitline of the array, charged once"),
        },
    }


def _wake_up(known: Known) -> dict[str, Any]:
    """A macro switched on again: the supply of its array, two gates a cell, is charged from 0."""
    assert known.supply_v is not None
    ff = 2 * GATE_FF_PER_NM * known.node_nm * known.rows * known.columns
    return {
        "energy_pj": _round(ff * known.supply_v**2 / 1000),
        **_sure("assumed", "charge of a switched-off array's supply: two gates a cell; only with power.gating"),
    }


def _capacitor(known: Known) -> dict[str, Any]:
    return {
        "estimator": {"model": "capacitance", "ff": 5.0},
        "area_um2": 3.0,
        **_sure("assumed", "5 fF of a sampling capacitor at 1.7 fF/um2"),
    }


def _digital(known: Known) -> dict[str, Any]:
    """Adders, registers, memories and links of the shipped tables."""

    def part(name: str, bits: float, **more: Any) -> dict[str, Any]:
        return {"estimator": {"model": "library", "part": name, "bits": bits, **more}, "basis": "scaled"}

    inside = 22 <= known.node_nm <= 90
    memory: dict[str, Any] = {"model": "sram", "size_kib": DEFAULT_KIB, "port_bits": DEFAULT_PORT}
    memory |= {} if inside else {"extrapolate": True}
    sram = {"estimator": memory, "basis": "simulated" if inside else "assumed"}
    return {
        "shift_add": part("adder", 16),
        "correction_adder": part("adder", 16),
        "psum_adder": part("adder", 32),
        "input_register": part("register", 1),
        "output_register": part("register", 1),
        "tile_buffer": sram,
        "global_buffer": dict(sram),
        "interconnect": part("router", 256, per_bit=True)
        | {"area_um2": 0.0, "source": "a router's area is not counted"},
        "digital": part("adder", 32),
        "scale_multiplier": part("multiplier", 16),
        "offchip": {"energy_pj": 0.203, **_sure("stated", "ISAAC chip link: 26 pJ per 128 bits")},
    }


def _area_f2(cell: str) -> float:
    return 300.0 if cell == "digital" else CELLS[cell].area_f2


def _sure(basis: Basis, source: str) -> dict[str, Any]:
    return {"basis": basis, "source": f"cimemu cost suggest: {source}"}


def _mean(values: list[float]) -> float:
    return exp(sum(map(log, values)) / len(values))


def _around(
    values: list[float], middle: float, basis: Basis, quantity: Literal["energy", "area"] = "energy"
) -> list[float]:
    """Factors that hold all of `values`, and are at least as wide as the basis has them."""
    least = KINDS[basis].factor(quantity)
    return [_round(min(min(values) / middle, 1 / least)), _round(max(max(values) / middle, least))]


def _round(value: float) -> float:
    """To four digits: more would claim what nobody knows."""
    return float(f"{value:.4g}")
