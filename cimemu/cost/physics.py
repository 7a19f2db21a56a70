"""Estimators of the array from physics: wires, gates, conductances and capacitors at the voltage really applied.

An event of `wordline` is one pulse, or one line that a voltage DAC drives at its full voltage; a lower voltage counts
with its square. Events of `cell` and `cell_level` are one raised cell, and one level of it, likewise; of digital cells
they are an input bit that changes at a cell, and a product bit that changes.
"""

from typing import Annotated, Literal

from pydantic import Field

from cimemu.cost.parts import AdderTree, ImportedPart, LibraryPart, Measured, SramBuffer
from cimemu.cost.site import Estimate, Estimator, Site
from cimemu.open_union import Open
from cimemu.record import Record

FEMTO_TO_PICO = 1e-3


class Wire(Record, Estimator):
    """A line and the gates on it, charged to the supply and back: C V^2 an event; C v^2 of a voltage DAC's lower v."""

    model: Literal["wire"] = "wire"
    length_um: float = Field(ge=0, description="length of the line")
    ff_per_um: float = Field(0.2, ge=0, description="capacitance of the wire a um")
    gates: int | None = Field(None, ge=0, description="gates on it; default: the macro's columns")
    gate_ff: float = Field(0.0, ge=0, description="capacitance of one gate")
    area_um2: float = Field(0.0, ge=0, description="area of one driver")

    def estimate(self, site: Site) -> Estimate:
        """C V^2."""
        gates = site.columns if self.gates is None else self.gates
        farad = self.length_um * self.ff_per_um + gates * self.gate_ff
        source = f"C V^2: {self.length_um:g} um x {self.ff_per_um:g} fF/um + {gates} gates x {self.gate_ff:g} fF"
        return Estimate(farad * site.supply**2 * FEMTO_TO_PICO, self.area_um2, 0.0, f"{source}, {site.supply:g} V")


class Conductance(Record, Estimator):
    """A resistive cell: V^2 G t; `cell` gets the off state, `cell_level` what a level more conducts."""

    model: Literal["conductance"] = "conductance"
    on_us: float = Field(gt=0, description="conductance of the largest level in uS")
    off_us: float = Field(0.0, ge=0, description="conductance of level 0 in uS")
    read_v: float = Field(gt=0, description="read voltage")
    pulse_ns: float | None = Field(None, gt=0, description="length of a pulse; default: the wordline's drive time")
    area_f2: float = Field(0.0, ge=0, description="area of one cell in squares of the node (with `cell`)")

    def estimate(self, site: Site) -> Estimate:
        """uS V^2 ns is fJ."""
        pulse = site.pulse_ns if self.pulse_ns is None else self.pulse_ns
        level = site.component == "cell_level"
        conductance = (self.on_us - self.off_us) / site.cell_levels if level else self.off_us
        energy = conductance * self.read_v**2 * pulse * FEMTO_TO_PICO
        area = 0.0 if level or not self.area_f2 else self.area_f2 * (site.node / 1000) ** 2
        return Estimate(energy, area, 0.0, f"V^2 G t: {self.read_v:g} V, {conductance:g} uS, {pulse:g} ns")


class Capacitance(Record, Estimator):
    """A capacitor or a bitline: what the supply gives for a swing, C V_supply V_swing."""

    model: Literal["capacitance"] = "capacitance"
    ff: float = Field(ge=0, description="capacitance a cell at the largest level")
    swing_v: float | None = Field(None, gt=0, description="voltage swing; default: the supply")
    area_f2: float = Field(0.0, ge=0, description="area of one cell in squares of the node (with `cell`)")

    def estimate(self, site: Site) -> Estimate:
        """fF V^2 is fJ."""
        swing = site.supply if self.swing_v is None else self.swing_v
        levels = site.cell_levels if site.component == "cell_level" else 1
        energy = self.ff * site.supply * swing / levels * FEMTO_TO_PICO
        level = site.component == "cell_level"
        area = 0.0 if level or not self.area_f2 else self.area_f2 * (site.node / 1000) ** 2
        return Estimate(energy, area, 0.0, f"C V dV: {self.ff:g} fF, {site.supply:g} V, swing {swing:g} V")


class Resistive(Record, Estimator):
    """A resistor that draws a current as long as it is driven: V^2 t / R, V the voltage driven; pulses share t."""

    model: Literal["resistive"] = "resistive"
    kohm: float = Field(gt=0, description="what the supply sees at full scale, in kOhm")
    time_ns: float | None = Field(None, gt=0, description="how long it drives; default: one whole step")
    area_um2: float = Field(0.0, ge=0, description="area of one ladder and its driver")

    def estimate(self, site: Site) -> Estimate:
        """V^2 ns / kOhm is pJ; an event is a line at the full voltage, or one of a slice's pulses."""
        time = site.step_ns if self.time_ns is None else self.time_ns
        energy = site.supply**2 * time / self.kohm / site.slice_pulses
        source = f"V^2 t / R: {site.supply:g} V, {time:g} ns, {self.kohm:g} kOhm"
        return Estimate(energy, self.area_um2, 0.0, source)


ComponentEstimator = Annotated[
    LibraryPart | AdderTree | SramBuffer | Measured | ImportedPart | Wire | Conductance | Capacitance | Resistive,
    Open("cimemu.cost"),
]
