"""Conversions a second by rows and converter: `python tests/bench/grid.py tests/bench/results/grid.csv`.

Uniformly random 8-bit weights and inputs (half of the cells are on), 1-bit cells, 64 outputs of 8 columns, one thread; no
column and no slice is skipped, and counts are made. Every cell of the table is run in turn, round after round, so that all
meet the same machine; a figure is the median of the processor times. "adders alone" adds the rows of every column as bit
planes and converts nothing: what the engine `planes` is bound by.
"""

import csv
import platform
import sys
import time
from itertools import pairwise

import numpy as np
from numba import njit

import cimemu
from cimemu.engines.planes.adder_kernels import COLUMNS, KEPT, PLANES, add_rows, list_columns
from cimemu.engines.programmed import program
from cimemu.engines.scratch import aligned
from cimemu.lanes import broad
from cimemu.macro.read_noise import ReadNoise, quantised_sigma

ROWS = (64, 128, 192, 256, 512, 1024)
ROUNDS = 15
OUTPUTS = 64
WORK = 1 << 20  # rows times inputs of one round: some 10 ms
GOALS = {"clamp": "8 (AVX-512), 5.5 (AVX2)", "step 2.5": "4", "step of every column": "4", "table of integers": "4",
         "table of real levels": "4", "varied cells": "1.5", "varied cells, read noise": "1", "adders alone": ""}  # fmt: skip


def converters(rows):
    """Changes of the macro by name; steps and tables reach as far as psums of half of the rows do."""
    rng = np.random.default_rng(1)
    cuts = np.sort(rng.choice(np.arange(1, rows * 3 // 4), 15, replace=False)).tolist()
    levels = np.sort(rng.uniform(0, 80, 16))
    steps = [[2.5 * rows / 128 * (1 + 0.001 * c) for c in range(8 * OUTPUTS)]]
    nonlinear = {"model": "nonlinear", "bits": 4, "thresholds": cuts}
    return {
        "clamp": {},
        "step 2.5": {"macro.adc.lsb": 2.5},
        "step of every column": {"macro.adc": {"model": "linear", "bits": 6, "lsb": steps}},
        "table of integers": {"macro.adc": {**nonlinear, "levels": levels.round().tolist()}},
        "table of real levels": {"macro.adc": {**nonlinear, "levels": levels.tolist()}},
    }


def cases(rows):
    """(name, engine, what to run, conversions) of every cell of the table with so many rows."""
    rng = np.random.default_rng(0)
    w = rng.integers(-128, 128, (rows, OUTPUTS))
    x = rng.integers(0, 256, (max(256, WORK // rows), rows)).astype(np.uint8)
    made = 64 * OUTPUTS * len(x)
    base = {"macro.rows": rows, "macro.active_rows": rows, "macro.adc.bits": 6}
    for name, changes in converters(rows).items():
        programmed = program(w, cimemu.load_arch("rram_128", {**base, **changes}).macro)
        yield name, programmed.choose("serial").engine.name, run_of(programmed, x), made
    macro = cimemu.load_arch("rram_128", base).macro
    levels = program(w, macro).matrix.levels
    cells = levels * np.exp(rng.normal(0, 0.1, levels.shape))
    sigma = np.full((1, 8 * OUTPUTS), quantised_sigma(0.5, macro.cell.fraction_bits))
    noise = ReadNoise(np.full((1, 8 * OUTPUTS), 5, dtype=np.uint64), np.arange(8 * OUTPUTS) % 128, sigma)
    for name, sources in (("varied cells", ()), ("varied cells, read noise", (noise,))):
        programmed = program(w, macro, cells=cells, noise=sources)
        yield name, programmed.choose("serial").engine.name, run_of(programmed, x), made
    yield "adders alone", "", adders(levels, len(x)), made


def run_of(programmed, x):
    return lambda: programmed.run(x, path="serial", threads=1)


def adders(levels, points):
    unit = broad.BROAD if broad.HAS_BROAD else broad.NARROW
    width, rows = 32 * len(unit), len(levels)
    lists, steps, bounds = list_columns(levels, np.array([0]), np.array([rows]), COLUMNS)
    given = aligned((rows + 1, width), np.uint8)
    numbers = aligned((KEPT + COLUMNS, max(PLANES, rows.bit_length()), width), np.uint8)
    given[:] = numbers[:] = 0

    return lambda: added(unit, -(-points // width), bounds[0], given, lists, steps, numbers)


@njit
def added(unit, times, bounds, given, lists, steps, numbers):
    """The rows of all columns, so many times: a call from Python for each would take as long."""
    for _ in range(times):
        for n in range(bounds.shape[0]):
            add_rows(unit, given, lists, steps, (bounds[n, 0], bounds[n, 1]), numbers)


def main(target):
    every = [(rows, *case) for rows in ROWS for case in cases(rows)]
    for _, _, _, run, _ in every:
        run()
        run()
    times = np.empty((ROUNDS, len(every)))
    for number in range(ROUNDS):
        for place, (_, _, _, run, _) in enumerate(every):
            start = time.process_time()
            run()
            times[number, place] = time.process_time() - start
    median = np.median(times, axis=0)
    rates = {(case[1], case[0]): case[4] / t / 1e9 for case, t in zip(every, median)}
    engines = {(case[1], case[0]): case[2] for case in every}
    with open(target, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["G conversions/s", *(f"{rows} rows" for rows in ROWS), "goal at 128", "engine"])
        for name, goal in GOALS.items():
            used = sorted({engines[name, rows] for rows in ROWS} - {""})
            out.writerow([name, *(f"{rates[name, rows]:.2f}" for rows in ROWS), goal, ", ".join(used)])
    for name in GOALS:
        each = [rates[name, rows] * rows for rows in ROWS]
        worst = min(after / before for before, after in pairwise(each))
        print(f"{name}: {rates[name, 128]:.2f} G/s at 128 rows; a conversion and row at most {1 / worst - 1:+.0%} from one "
              "number of rows to the next")  # fmt: skip
    print(f"{platform.processor() or platform.machine()}, registers of {64 if broad.HAS_BROAD else 32} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
