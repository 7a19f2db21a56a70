"""Estimators of converters: the survey's regression, and explicit models of SAR, flash, ramp and in-memory ramp."""

from typing import Annotated, Literal

from pydantic import Field

from cimemu.cost.parts import ImportedPart, LibraryPart, Measured
from cimemu.cost.site import Estimate, Estimator, Site
from cimemu.cost.survey import BITS, MAX_RATE_HZ, NODES_NM, survey_area_um2, survey_energy_pj
from cimemu.open_union import Open
from cimemu.record import Record

FEMTO_TO_PICO = 1e-3


class Survey(Record, Estimator):
    """The best converters of Murmann's survey by bits, rate and node (cimemu.cost.survey)."""

    model: Literal["survey"] = "survey"
    enob: float | None = Field(None, gt=0, description="effective bits; default: the converter's bits")
    rate_msps: float | None = Field(
        None, gt=0, description="conversions in 10^6 a second; default: the converter's own rate"
    )
    reference_v: float | None = Field(
        None,
        gt=0,
        description="supply that the regression stands for: energy goes with (supply / it)^2; none: no scaling",
    )
    extrapolate: bool = Field(
        False, description="allow bits outside 4 .. 14, rates above 10 GS/s, nodes outside 5 .. 180"
    )

    def estimate(self, site: Site) -> Estimate:
        """Energy and area in closed form."""
        enob = float(site.adc_bits) if self.enob is None else self.enob
        rate = 1e9 / site.conversion_ns if self.rate_msps is None else self.rate_msps * 1e6
        for what, value, low, high in (
            ("bits", enob, *BITS),
            ("rate in Hz", rate, 0.0, MAX_RATE_HZ),
            ("node in nm", site.node, *NODES_NM),
        ):
            if not low <= value <= high and not self.extrapolate:
                raise ValueError(
                    f"survey: {what} = {value:g}, the regression has {low:g} .. {high:g}; set extrapolate: true, "
                    "or name another estimator"
                )
        scale = 1.0 if self.reference_v is None else (site.supply / self.reference_v) ** 2
        energy = survey_energy_pj(enob, rate, site.node)
        source = f"Murmann survey regression (arXiv 2404.06553): {enob:g} bits, {rate / 1e6:.4g} MS/s, {site.node:g} nm"
        return Estimate(energy * scale, survey_area_um2(energy, rate, site.node), 0.0, source)


class SarConverter(Record, Estimator):
    """A capacitor DAC that switches monotonically, one comparison and a register bit a bit.

    Switching energy: C. C. Liu et al., JSSC 2010, sum of 2^(b-2-i) C V^2 over i = 1 .. b-1.
    """

    model: Literal["sar"] = "sar"
    unit_ff: float = Field(1.0, gt=0, description="unit capacitor")
    ff_per_um2: float = Field(1.7, gt=0, description="capacitance density")

    def estimate(self, site: Site) -> Estimate:
        """Capacitors, comparisons and logic."""
        bits = site.adc_bits
        switched = sum(2.0 ** (bits - 2 - i) for i in range(1, bits))
        logic = LibraryPart(part="register", bits=1).estimate(site)
        energy = switched * self.unit_ff * site.supply**2 * FEMTO_TO_PICO + bits * (
            site.comparator_pj + 2 * logic.energy_pj
        )
        capacitors = 2.0**bits * self.unit_ff / self.ff_per_um2
        area = capacitors + site.comparator_um2 + 2 * bits * logic.area_um2
        source = (
            f"SAR: {self.unit_ff:g} fF monotonic DAC (Liu et al., JSSC 2010), {bits} comparisons, 2 registers a bit"
        )
        return Estimate(energy, area, logic.leakage_uw * 2 * bits, source)


class FlashConverter(Record, Estimator):
    """2^b - 1 comparators at once and an adder tree that counts them."""

    model: Literal["flash"] = "flash"

    def estimate(self, site: Site) -> Estimate:
        """Comparators and encoder: 2^b - 1 - b full adders."""
        steps = 2**site.adc_bits - 1
        adder = LibraryPart(part="adder", bits=8, per_bit=True).estimate(site)
        adders = steps - site.adc_bits
        energy = steps * site.comparator_pj + adders * adder.energy_pj
        area = steps * site.comparator_um2 + adders * adder.area_um2
        return Estimate(energy, area, 0.0, f"flash: {steps} comparators, {adders} full adders")


class RampConverter(Record, Estimator):
    """A ramp of its own generator shared by columns, a comparator and a latch a column, one counter."""

    model: Literal["ramp"] = "ramp"
    generator_pj: float = Field(0.0, ge=0, description="energy of one ramp")
    generator_um2: float = Field(0.0, ge=0, description="area of the generator")
    shared_columns: int | None = Field(None, ge=1, description="columns that share a ramp; default: all of the macro")

    def estimate(self, site: Site) -> Estimate:
        """2^b - 1 comparisons; generator and counter in equal shares."""
        bits, steps = site.adc_bits, 2**site.adc_bits - 1
        shared = self.shared_columns or site.columns
        counter = LibraryPart(part="counter", bits=max(8, bits)).estimate(site)
        latch = LibraryPart(part="register", bits=bits).estimate(site)
        width = bits / max(8, bits)
        energy = steps * site.comparator_pj + latch.energy_pj
        energy += (self.generator_pj + steps * counter.energy_pj * width) / shared
        area = site.comparator_um2 + latch.area_um2
        area += (self.generator_um2 + counter.area_um2 * width) / shared
        return Estimate(
            energy, area, 0.0, f"ramp: {steps} comparisons, a latch; counter and generator for {shared} columns"
        )


class InMemoryRamp(Record, Estimator):
    """A ramp made by reference cells of the array: step i turns on `round((t_i - t_(i-1)) / cell_psum)` more of them.

        After the reconfigurable in-memory converter of the group behind arXiv 2411.18271 and 2605.30814 (reconstructed
    from abstracts): a comparator and a latch a column; reference cells shared by columns (1: cells of its own in every
    column, as in the earlier converters), one counter a macro.
    """

    model: Literal["in_memory_ramp"] = "in_memory_ramp"
    cell_psum: float | None = Field(
        None, gt=0, description="what one reference cell adds, in psum units; default: the range over 2^bits - 1"
    )
    cell_pj: float = Field(0.0, ge=0, description="energy of one reference cell that is on for one step")
    cell_um2: float = Field(0.0, ge=0, description="area of one reference cell")
    shared_columns: int | None = Field(
        None, ge=1, description="columns that share the reference cells; default: all of the macro"
    )

    def reference_cells(self, site: Site) -> list[int]:
        """Reference cells turned on by each of the 2^bits - 1 steps."""
        steps = 2**site.adc_bits - 1
        if len(site.thresholds) < 2:
            return [1] * steps
        gaps = [b - a for a, b in zip(site.thresholds, site.thresholds[1:])]
        span = site.thresholds[-1] - site.thresholds[0]
        unit = self.cell_psum or max(span, 1e-12) / max(1, steps - 1)
        return [max(1, round(gap / unit)) for gap in (min(gaps), *gaps)]

    def estimate(self, site: Site) -> Estimate:
        """2^b - 1 comparisons and what the ramp's cells draw; a cell stays on from its step to the last."""
        bits, steps = site.adc_bits, 2**site.adc_bits - 1
        shared = self.shared_columns or site.columns
        added = self.reference_cells(site)
        on_steps = sum(count * (steps - i) for i, count in enumerate(added))
        counter = LibraryPart(part="counter", bits=max(8, bits)).estimate(site)
        latch = LibraryPart(part="register", bits=bits).estimate(site)
        width = bits / max(8, bits)
        energy = steps * site.comparator_pj + latch.energy_pj
        energy += on_steps * self.cell_pj / shared + steps * counter.energy_pj * width / site.columns
        area = site.comparator_um2 + latch.area_um2
        area += sum(added) * self.cell_um2 / shared + counter.area_um2 * width / site.columns
        source = f"in-memory ramp: {steps} comparisons, {sum(added)} reference cells for {shared} columns"
        return Estimate(energy, area, 0.0, source)


CIRCUITS = {"sar": "sar", "flash": "flash", "ramp": "ramp", "in_memory_ramp": "ramp"}  # estimator -> circuit it is of
ConverterEstimator = Annotated[
    Survey | SarConverter | FlashConverter | RampConverter | InMemoryRamp | LibraryPart | Measured | ImportedPart,
    Open("cimemu.cost"),
]
