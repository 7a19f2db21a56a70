"""The chance of a bad chip of `digits` by strata of harmful cells and by plain draws: writes results.csv beside itself.

python workloads/studies/rare_bad_chips/measure.py [SEEDS] [PLAIN CHIPS]
"""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import cimemu
from cimemu.faults import every_fault
from cimemu.faults.report import harmful_cells
from cimemu.shares import clopper_pearson
from cimemu.stress import Chips
from cimemu.stress.strata import Stratum, draw_strata, weighted_interval

STUCK = "stuck_at:sa0=0.00005,sa1=0.00005"
GOOD, IMAGES, PILOT, CHIPS = 0.9, 100, 30, 1000
COLUMNS = (
    "how",
    "chips",
    "bad chips drawn",
    "chance of a bad chip, 10^-3",
    "95 % interval, 10^-3",
    "effective bad chips",
)


def main(seeds: int, plain: int) -> None:
    """One row a seed, one for all seeds together, one of plain chips."""
    arch, work = cimemu.load_arch("rram_128"), cimemu.load_workload("digits")
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration())
    images, labels = work.inputs(IMAGES)
    single = every_fault(arch, network, images[:PILOT], labels[:PILOT])
    harmful = harmful_cells(single, (single.correct / single.images - GOOD) / 4)
    chips, rows, every = Chips(arch, network, images, labels), [], []
    for seed in range(1, seeds + 1):
        draws = cimemu.Draws(seed=seed, vary=[STUCK])
        strata, _ = draw_strata(chips, draws=draws, accuracy=GOOD, trials=CHIPS, harmful=harmful)
        rows.append(row(f"strata of {len(harmful)} harmful cells, seed {seed}", strata))
        every.append(strata)
    parts = [replace(s[0], drawn=sum(x.drawn for x in s), bad=sum(x.bad for x in s)) for s in zip(*every)]
    rows.append(row("all seeds together", parts))
    bad = sum(chips.accuracy([STUCK], 1, trial) < GOOD for trial in range(plain))
    low, high = clopper_pearson(bad, plain)
    rows.append(["plain draws", plain, bad, f"{1e3 * bad / plain:.2f}", f"[{1e3 * low:.2f}, {1e3 * high:.2f}]", bad])
    with open(Path(__file__).parent / "results.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def row(name: str, given: list[Stratum]) -> list[object]:
    """What strata say together."""
    failure, low, high, effective = weighted_interval(given)
    drawn, bad = sum(s.drawn for s in given), sum(s.bad for s in given)
    return [name, drawn, bad, f"{1e3 * failure:.2f}", f"[{1e3 * low:.2f}, {1e3 * high:.2f}]", f"{effective:.0f}"]


if __name__ == "__main__":
    main(*(int(text) for text in sys.argv[1:] or ("4", "100000")))
