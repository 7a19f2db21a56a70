"""What an estimator may know of the chip that it is asked about, and what it answers."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Site:
    """Where a component stands: technology, macro and converter, in plain numbers."""

    component: str  # the component's name in the cost table
    node_nm: float | None
    voltage_v: float | None
    rows: int
    columns: int
    cell_levels: int  # largest level of a cell, 2^bits - 1
    slice_levels: int  # largest value of an input slice, 2^dac_bits - 1
    pulse_dac: bool  # a slice is several pulses (a train, or one a bit), not one voltage
    pulse_ns: float  # how long one pulse, or one slice's voltage, is on a wordline
    step_ns: float  # one (group, input slice): driven and converted
    conversion_ns: float  # one conversion
    circuit: str  # sar, flash, ramp; "" for an ideal converter
    adc_bits: int  # 0 for an ideal converter
    thresholds: tuple[float, ...]  # of the first converter, in psum units; empty for an ideal one
    comparator_pj: float = 0.0  # one comparison
    comparator_um2: float = 0.0
    slice_pulses: int = 1  # how many of them

    @property
    def node(self) -> float:
        """Node in nm. ValueError where the arch gives none."""
        if self.node_nm is None:
            raise ValueError(f"costs.{self.component}.estimator needs the node: give costs.technology.node_nm")
        return self.node_nm

    @property
    def supply(self) -> float:
        """Supply in V. ValueError where the arch gives none."""
        if self.voltage_v is None:
            raise ValueError(f"costs.{self.component}.estimator needs the supply: give costs.technology.voltage_v")
        return self.voltage_v


@dataclass(frozen=True)
class Estimate:
    """Energy of an event, area and leakage of an instance, and where they come from.

    An interval is of 90 %, as factors of the number: (0.7, 1.6). None: as `cimemu docs energy` says for such estimators.
    """

    energy_pj: float
    area_um2: float
    leakage_uw: float
    source: str
    energy_interval: tuple[float, float] | None = None
    area_interval: tuple[float, float] | None = None
    leakage_interval: tuple[float, float] | None = None


class Estimator:
    """One question: what does this component cost where it stands?"""

    plugin_group: ClassVar[str] = "cimemu.cost"

    @abstractmethod
    def estimate(self, site: Site) -> Estimate:
        """Energy, area and leakage; ValueError with value, rule and remedy where there is no answer."""
