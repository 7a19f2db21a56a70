"""Intervals of sums: every total is added up in every draw, so that parts and wholes come from the same draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimemu.uncertainty.draws import Multipliers, Vector, multipliers
from cimemu.uncertainty.prices import LEVEL, spreads


class Interval(NamedTuple):
    """The ends between which 90 % of the draws lie."""

    low: float
    high: float


def interval(draws: NDArray[Any]) -> Interval:
    """Of draws of one figure."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.asarray(draws, dtype=np.float64), [tail, 1 - tail])
    return Interval(float(low), float(high))


def beats(mine: NDArray[Any], other: NDArray[Any]) -> float:
    """The share of draws in which `mine` is less than `other`; equal ones count half."""
    return float(np.mean(mine < other) + np.mean(mine == other) / 2)


@dataclass(frozen=True, eq=False)
class ChipDraws:
    """A run's energies and its chip's areas in every draw of the prices.

    `energy_pj` [rows, components] has leakage as its last row, `area_um2` [components] is of the whole chip.
    """

    names: tuple[str, ...]  # of components
    energy_pj: Vector
    area_um2: Vector
    factors: Multipliers

    @classmethod
    def of(
        cls, arch: Mapping[str, Any], components: Sequence[str], energy_pj: NDArray[Any], area_um2: NDArray[Any]
    ) -> "ChipDraws":
        """From an architecture as JSON has it and the sums of its run."""
        factors = multipliers(spreads(arch, components))
        energy, area = np.asarray(energy_pj, dtype=np.float64), np.asarray(area_um2, dtype=np.float64)
        return cls(tuple(map(str, components)), energy, area, factors)

    def total(self) -> Vector:
        """pJ of the run [draw]."""
        total: Vector = self.components().sum(axis=1)
        return total

    def rows(self) -> Vector:
        """pJ of every row [draw, row]; leakage is the last."""
        events = np.einsum("dc,rc->dr", self.factors.energy, self.energy_pj[:-1])  # no BLAS: the same bytes anywhere
        leakage = np.einsum("dc,c->d", self.factors.leakage, self.energy_pj[-1])
        made: Vector = np.c_[events, leakage]
        return made

    def components(self) -> Vector:
        """pJ of every component, its leakage included [draw, component]."""
        events, leakage = self.energy_pj[:-1].sum(axis=0), self.energy_pj[-1]
        made: Vector = self.factors.energy * events + self.factors.leakage * leakage
        return made

    def areas(self) -> Vector:
        """um2 of every component [draw, component]."""
        made: Vector = self.factors.area * self.area_um2
        return made

    def dominating(self) -> dict[str, float]:
        """Of every price by its name, the share of the energy's variance that it makes alone, the largest first.

        `adc` is what a conversion takes, `adc leakage` what converters leak. Prices that cost nothing are left out.
        """
        events = (self.factors.energy * self.energy_pj[:-1].sum(axis=0)).var(axis=0)
        leakage = (self.factors.leakage * self.energy_pj[-1]).var(axis=0)
        alone = dict(zip(self.names, events)) | {f"{name} leakage": v for name, v in zip(self.names, leakage)}
        total = float(events.sum() + leakage.sum())
        order = sorted(alone, key=lambda name: -alone[name])
        return {name: float(alone[name]) / total for name in order if alone[name] > 0}
