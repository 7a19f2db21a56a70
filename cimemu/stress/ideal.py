"""What one image and the chip cost, whatever chip is drawn: cycles, energy and area with ideal cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cimemu.arch.schema import Arch
from cimemu.emulate import run
from cimemu.tally import chip_area
from cimemu.workload.network import Network

TIMED_IMAGES = 8


@dataclass(frozen=True)
class Cost:
    """Cycles and energy of an image, and the area of the chip."""

    cycles_per_image: float
    energy_uj_per_image: float
    area_mm2: float

    def told(self) -> str:
        """In words."""
        energy = self.energy_uj_per_image
        spent = f"{energy:.4g} uJ an image" if energy else "no energy, as the arch has no prices"
        area = f"; {self.area_mm2:.4g} mm2" if self.area_mm2 else ""
        return f"{self.cycles_per_image:,.0f} cycles and {spent}{area}"


def ideal_cost(arch: Arch, network: Network, inputs: Any, vary: Sequence[Any] = ()) -> Cost:
    """Of the first images on ideal cells.

    Time does not depend on values unless zero slices are skipped, energy does by what the macros count; so both are those of
    ideal cells and computed once. `vary` may be a calibration, which takes multiplications or switches.
    """
    timed = run(arch, network, inputs[:TIMED_IMAGES], detail="ops", vary=vary)
    assert timed.cycles is not None
    assert timed.energy_uj is not None
    area = float(chip_area(arch)[0].sum()) / 1e6
    return Cost(timed.cycles / timed.images, timed.energy_uj / timed.images, area)
