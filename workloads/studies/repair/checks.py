"""Yield of `digits` on `rram_128` with stuck cells by checksum columns, and its accuracy by majority reads and the noise of a read.

Writes one table beside itself: python workloads/studies/repair/checks.py stuck CHIPS IMAGES (checksums.csv), or
python workloads/studies/repair/checks.py noisy IMAGES (reads.csv).
"""

import csv
import sys
from pathlib import Path
from typing import Any

import cimemu
from cimemu.mapping.place import make_plan
from cimemu.stress import Chips, yield_of
from cimemu.stress.ideal import ideal_cost
from cimemu.tally import COMPONENTS, chip_area

FOLDER = Path(__file__).parent
STUCK = (0.001, 0.005, 0.01)  # shares of cells, half of them at either end
GOOD = 0.97
REPAIRS = (
    ("nothing", {}),
    ("4 spare columns", {"spare_columns": 4}),
    ("checksums of 8 columns", {"checksum_columns": 8}),
)
NOISE = (0.3, 0.5, 0.8)  # rms in psums, added to every one that is read
READS = (1, 3, 5)
OF_MACROS = (
    "adc",
    "sample_hold",
    "wordline",
    "cell",
    "shift_add",
    "correction_adder",
    "input_register",
    "output_register",
)


def made(keys: dict[str, int], work: Any) -> tuple[Any, Any]:
    """The chip with these keys of `macro.repair`, and the network quantised for it."""
    arch = cimemu.load_arch("rram_128", {f"macro.repair.{key}": value for key, value in keys.items()})
    return arch, cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration())


def cost_of(arch: Any, network: Any, images: Any) -> list[str]:
    """Macros that hold the network, their area in mm2, energy and cycles of an image, as texts."""
    cost, macros = ideal_cost(arch, network, images), make_plan(network, arch).macros_used
    area, _, _ = chip_area(arch)
    inside = sum(float(area[COMPONENTS.index(name)]) for name in OF_MACROS) / arch.macros
    return [
        str(macros),
        f"{inside * macros / 1e6:.3f}",
        f"{cost.energy_uj_per_image:.4g}",
        f"{cost.cycles_per_image:,.0f}",
    ]


def stuck(work: Any, given: tuple[Any, Any], chips: int) -> None:
    """One row for every repair, the same seeds in every row."""
    with open(FOLDER / "checksums.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        heads = [f"yield at {100 * share:g} %" for share in STUCK]
        table.writerow(["repair", *heads, "macros", "their area, mm2", "energy, uJ an image", "cycles an image"])
        for name, keys in REPAIRS:
            arch, network = made(keys, work)
            tried, cells = Chips(arch, network, *given), []
            for share in STUCK:
                draws = cimemu.Draws(seed=1, vary=[f"stuck_at:sa0={share / 2},sa1={share / 2}"])
                found = yield_of(tried, draws=draws, accuracy=GOOD, trials=chips)
                cells.append(f"{100 * found.share:.0f} % [{100 * found.low:.0f}, {100 * found.high:.0f}]")
                print(name, share, cells[-1], found.accuracy.mean(), flush=True)
            table.writerow([name, *cells, *cost_of(arch, network, given[0][:8])])
            file.flush()


def noisy(work: Any, given: tuple[Any, Any]) -> None:
    """Accuracy of one chip by the noise of a read and the number of reads."""
    with open(FOLDER / "reads.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        heads = [f"accuracy at noise {noise:g}" for noise in NOISE]
        table.writerow(["reads of a step", *heads, "energy, uJ an image", "cycles an image"])
        for reads in READS:
            arch, network = made({"reads": reads}, work)
            tried, cells = Chips(arch, network, *given), []
            for noise in NOISE:
                accuracy = tried.accuracy([f"thermal:celsius=-273.15,amplifier={noise}"], 1, 0)
                cells.append(f"{100 * accuracy:.1f} %")
                print(reads, noise, cells[-1], flush=True)
            table.writerow([reads, *cells, *cost_of(arch, network, given[0][:8])[2:]])
            file.flush()


def main(table: str, *counts: str) -> None:
    """One of the tables."""
    work = cimemu.load_workload("digits")
    match table, [int(text) for text in counts]:
        case "stuck", [chips, images]:
            stuck(work, work.inputs(images), chips)
        case "noisy", [images]:
            noisy(work, work.inputs(images))
        case _:
            raise SystemExit(f"{table} {' '.join(counts)}: must be stuck CHIPS IMAGES or noisy IMAGES")


if __name__ == "__main__":
    main(*sys.argv[1:])
