"""The chance of a bad chip of `digits` by strata of harmful cells and by plain draws.

python workloads/studies/rare_bad_chips/measure.py [SEEDS] [PLAIN CHIPS]

Writes strata.jsonl (a line a seed) and plain.jsonl (a line for every thousand chips) beside itself as they come, goes on where
these end, and then writes results.csv.
"""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cimemu
from cimemu.faults import every_fault
from cimemu.faults.report import harmful_cells
from cimemu.shares import clopper_pearson
from cimemu.stress import Chips
from cimemu.stress.strata import Stratum, draw_strata, weighted_interval
from cimemu.variation.compose import compose

STUCK = "stuck_at:sa0=0.00005,sa1=0.00005"
GOOD, IMAGES, PILOT, CHIPS, PART = 0.9, 100, 30, 2000, 1000
HERE = Path(__file__).parent
COLUMNS = (
    "how",
    "chips",
    "bad chips drawn",
    "chance of a bad chip, 10^-3",
    "95 % interval, 10^-3",
    "effective bad chips",
    "holds the plain share",
)


def main(seeds: int, plain: int) -> None:
    """Measure what is not in the files yet, then summarise them."""
    arch, work = cimemu.load_arch("rram_128"), cimemu.load_workload("digits")
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration())
    images, labels = work.inputs(IMAGES)
    chips = Chips(arch, network, images, labels)
    left = range(1 + len(rows("strata.jsonl")), 1 + seeds)
    if left:
        single = every_fault(arch, network, images[:PILOT], labels[:PILOT])
        harmful = harmful_cells(single, (single.correct / single.images - GOOD) / 4)
    for seed in left:
        draws = cimemu.Draws(seed=seed, vary=[STUCK])
        strata, _ = draw_strata(chips, draws=draws, accuracy=GOOD, trials=CHIPS, harmful=harmful)
        parts = [[s.least, s.most, s.chance, s.drawn, s.bad] for s in strata]
        append("strata.jsonl", {"seed": seed, "harmful cells": len(harmful), "strata": parts})
    models = compose([STUCK], 1)
    for first in range(PART * len(rows("plain.jsonl")), plain, PART):
        accuracy = [one for some in parted(first, chips.at_once(models)) for one in chips.accuracies(some)]
        append("plain.jsonl", {"first trial": first, "chips": PART, "bad": sum(one < GOOD for one in accuracy)})
    summarise()


def parted(first: int, step: int) -> Iterator[list[Any]]:
    """The chips of a part, so many at a time."""
    for start in range(first, first + PART, step):
        yield [compose([STUCK], 1, trial) for trial in range(start, min(start + step, first + PART))]


def summarise() -> None:
    """results.csv: one row a seed, one for all seeds together, one of plain chips."""
    drawn = sum(row["chips"] for row in rows("plain.jsonl"))
    bad = sum(row["bad"] for row in rows("plain.jsonl"))
    made, every = [], []
    for told in rows("strata.jsonl"):
        strata = [Stratum(*part, harmful=True) for part in told["strata"]]
        every.append(strata)
        made.append(line(f"strata of {told['harmful cells']} harmful cells, seed {told['seed']}", strata, bad / drawn))
    together = [
        Stratum(s[0].least, s[0].most, s[0].chance, sum(x.drawn for x in s), sum(x.bad for x in s), harmful=True)
        for s in zip(*every)
    ]
    made.append(line("all seeds together", together, bad / drawn))
    low, high = clopper_pearson(bad, drawn)
    made.append(
        ["plain draws", drawn, bad, f"{1e3 * bad / drawn:.2f}", f"[{1e3 * low:.2f}, {1e3 * high:.2f}]", bad, ""]
    )
    with open(HERE / "results.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *made])


def line(name: str, given: list[Stratum], plain: float) -> list[object]:
    """What strata say together."""
    failure, low, high, effective = weighted_interval(given)
    drawn, bad = sum(s.drawn for s in given), sum(s.bad for s in given)
    interval = f"[{1e3 * low:.2f}, {1e3 * high:.2f}]"
    holds = "yes" if low <= plain <= high else "no"
    return [name, drawn, bad, f"{1e3 * failure:.2f}", interval, f"{effective:.0f}", holds]


def rows(name: str) -> list[dict[str, Any]]:
    """What a file holds so far."""
    if not (HERE / name).exists():
        return []
    return [json.loads(line) for line in (HERE / name).read_text().splitlines()]


def append(name: str, row: dict[str, Any]) -> None:
    """Keep one row."""
    with open(HERE / name, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(*(int(text) for text in sys.argv[1:] or ("20", "100000")))
