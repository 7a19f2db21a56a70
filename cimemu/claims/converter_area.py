"""Area of nonlinear converters: the shared in-memory ramp against earlier ways of making one.

BS-KMQ (arXiv 2603.10540) claims 7 times less area than earlier nonlinear converters, arXiv 2605.30814 9 times less than
an earlier in-memory one. Cell, comparator and node are the preset's; which areas lie behind the claims is not known.
"""

from dataclasses import dataclass
from typing import Any

from cimemu.arch.load import load_arch

BASE = "cityu_imadc_2026"
CELL_UM2 = 2.5  # dual-8T cell, as in the preset
BITS = (3, 4, 5, 6, 7)


@dataclass(frozen=True)
class AreaRow:
    """Area of one column's converter in um2 by resolution, for steps that differ as 1 : 3."""

    bits: int
    shared_ramp: float  # in-memory ramp, reference cells shared by all columns
    own_ramp: float  # in-memory ramp, reference cells in every column, as the memristor macro of arXiv 2411.18271
    flash: float  # 2^b - 1 comparators a column
    array_column: float  # 256 cells of the column itself

    @property
    def own_over_shared(self) -> float:
        """How much smaller sharing the references makes the converter."""
        return self.own_ramp / self.shared_ramp

    @property
    def flash_over_shared(self) -> float:
        """How much smaller than a flash of the same comparators."""
        return self.flash / self.shared_ramp


def area_rows() -> list[AreaRow]:
    """A row a resolution. Thresholds' distances grow from 1 to 3 cells: nonlinear, and all whole cells."""
    rows = []
    for bits in BITS:
        steps = 2**bits - 1
        gaps = [1 + round(2 * i / max(1, steps - 1)) for i in range(steps)]
        thresholds = [float(sum(gaps[: i + 1])) for i in range(steps)]
        levels = [0.0, *thresholds]
        adc = {"model": "nonlinear", "circuit": "ramp", "bits": bits, "thresholds": thresholds, "levels": levels}
        ramp = {"model": "in_memory_ramp", "cell_psum": 1.0, "cell_um2": CELL_UM2}

        def area(adc: dict[str, Any], estimator: dict[str, Any]) -> float:
            costs = load_arch(BASE, {"macro.adc": adc, "costs.adc.estimator": estimator}).costs.adc
            assert costs.area_um2 is not None
            return costs.area_um2

        rows.append(
            AreaRow(
                bits=bits,
                shared_ramp=area(adc, ramp),
                own_ramp=area(adc, {**ramp, "shared_columns": 1}),
                flash=area({**adc, "circuit": "flash"}, {"model": "flash"}),
                array_column=256 * CELL_UM2,
            )
        )
    return rows
