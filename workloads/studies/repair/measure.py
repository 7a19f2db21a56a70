"""Yield of `digits` on `rram_128` with stuck cells, by what repairs the chip: writes results.csv beside itself.

python workloads/studies/repair/measure.py [CHIPS]
"""

import csv
import sys
from pathlib import Path

import cimemu
from cimemu.stress import Chips, yield_of
from cimemu.stress.ideal import ideal_cost

STUCK = (0.001, 0.005, 0.01)  # shares of cells, half of them at either end
GOOD = 0.97  # accuracy; the network has 0.9889 on ideal cells
REPAIRS = (
    ("nothing", {}),
    ("2 spare columns", {"spare_columns": 2}),
    ("4 spare columns", {"spare_columns": 4}),
    ("8 spare columns", {"spare_columns": 8}),
    ("16 spare columns", {"spare_columns": 16}),
    ("8 spare rows", {"spare_rows": 8}),
    ("4 spare rows and 4 spare columns", {"spare_rows": 4, "spare_columns": 4}),
)


def main(chips: int) -> None:
    """One row for every repair and share of stuck cells, the same chips in every row of a share."""
    work = cimemu.load_workload("digits")
    images, labels = work.inputs()
    with open(Path(__file__).parent / "results.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(
            [
                "repair",
                *(f"yield at {100 * share:g} %" for share in STUCK),
                "area, mm2",
                "energy, uJ an image",
                "cycles an image",
            ]
        )
        for name, keys in REPAIRS:
            arch = cimemu.load_arch("rram_128", {f"macro.repair.{key}": value for key, value in keys.items()})
            network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration())
            tried, cells = Chips(arch, network, images, labels), []
            for share in STUCK:
                draws = cimemu.Draws(seed=1, vary=[f"stuck_at:sa0={share / 2},sa1={share / 2}"])
                found = yield_of(tried, draws=draws, accuracy=GOOD, trials=chips)
                cells.append(f"{100 * found.share:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]")
            cost = ideal_cost(arch, network, images)
            energy, cycles = f"{cost.energy_uj_per_image:.4g}", f"{cost.cycles_per_image:,.0f}"
            table.writerow([name, *cells, f"{cost.area_mm2:.3f}", energy, cycles])
            file.flush()
            print(name, *cells, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
