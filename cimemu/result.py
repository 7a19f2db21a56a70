"""What `cimemu.run` returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.compute.checksums import Checksums
from cimemu.errors import CimemuError
from cimemu.facts import Facts, Shown, energy_text
from cimemu.mapping.plan import Plan
from cimemu.tally import Tally
from cimemu.timing.timeline import Timeline
from cimemu.uncertainty import ChipDraws, Interval, interval


@dataclass(frozen=True, eq=False, repr=False)
class RunResult(Shown):
    """What `cimemu.run` returns. Cycles and what follows from them are None with `detail=None`."""

    images: int
    outputs: Any  # array [images, ...], or a dict of arrays where the network has several outputs
    predictions: NDArray[np.int64] | None
    accuracy: float | None
    conversions: int
    adc_conversions: int  # 0 on a digital macro, whose conversions are column reads
    macs: int
    paths: Mapping[str, frozenset[str]]
    counts: NDArray[np.int64] = field(repr=False)  # [images, layers, len(Counter)]
    cycles: int | None = None
    latency_us: float | None = None
    energy_uj: float | None = None
    tops_per_w: float | None = None
    macros: int | None = None
    utilization: float | None = None
    trace: Path | None = None
    plan: Plan | None = field(default=None, repr=False)
    timeline: Timeline | None = field(default=None, repr=False)
    tally: Tally | None = field(default=None, repr=False)
    checksums: Checksums | None = None  # of macros with checksum columns

    def _facts(self) -> Facts:
        facts = [("accuracy", "no labels" if self.accuracy is None else f"{100 * self.accuracy:.2f} %")]
        if self.cycles is not None and self.energy_uj is not None:
            facts.append(("time", f"{self.cycles:,} cycles = {self.latency_us:,.1f} us"))
            facts.append(("energy", energy_text(self.energy_uj, self.images, self.energy_interval())))
        facts.append(("work", f"{self.macs:,} MACs, {self.adc_conversions:,} conversions by an ADC"))
        if self.macros is not None and self.utilization is not None:
            facts.append(("chip", f"{self.macros:,} macros, {100 * self.utilization:.1f} % of their cells"))
        if self.checksums is not None:
            facts += [("", line) for line in self.checksums.lines()]
        if self.trace is not None:
            facts.append(("trace", str(self.trace)))
        where = "" if self.plan is None else f" on {self.plan.arch.name}"
        return f"RunResult: {self.images:,} images{where}", facts

    def chip_draws(self) -> ChipDraws:
        """Energies by layer and component, and areas, in every draw of the chip's prices: what intervals are made of.

        CimemuError for a run with `detail=None`, which has no energy.
        """
        if self.plan is None or self.tally is None:
            raise CimemuError("the run has no energy, as detail is None; run it with detail='ops'")
        tally = self.tally
        arch = self.plan.arch.model_dump(mode="json", include={"costs": True, "macro": {"adc": True}})
        return ChipDraws.of(arch, tally.components, tally.energy_pj, tally.area_um2)

    def energy_interval(self) -> Interval:
        """Between which two energies in uJ the run's lies with 90 %, by the intervals of all prices (`cimemu docs energy`).

        CimemuError for a run with `detail=None`, which has no energy.
        """
        low, high = interval(self.chip_draws().total())
        return Interval(low / 1e6, high / 1e6)

    def plot(self, file: str | Path | None = None) -> Any:
        """Cycles and energy of every layer side by side, as a matplotlib figure (extra `plot`); written to `file` if given.

        CimemuError for a run with `detail=None`, which has no times.
        """
        from cimemu.trace.figures import run_figure

        if self.plan is None or self.timeline is None or self.tally is None:
            raise CimemuError("plot: the run has no times, as detail is None; run it with detail='ops'")
        energy, names = self.tally.energy_pj, [layer.name for layer in self.plan.layers]
        spent = energy[: len(names)].sum(axis=1)
        return run_figure(self._facts()[0], names, self.timeline.layer_cycles, spent, float(energy[-1].sum()), file)

    def summary(self) -> dict[str, Any]:
        """The object that `cimemu run --json` prints."""
        return {
            "images": self.images,
            "accuracy": self.accuracy,
            "cycles": self.cycles,
            "latency_us": self.latency_us,
            "energy_uj": self.energy_uj,
            "tops_per_w": self.tops_per_w,
            "adc_conversions": self.adc_conversions,
            "macs": self.macs,
            "macros": self.macros,
            "utilization": self.utilization,
            "trace": None if self.trace is None else str(self.trace),
        }
