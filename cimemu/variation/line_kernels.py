"""Voltages along resistive lines with loads: one tridiagonal solve a line, in IEEE float64 and a fixed order."""

import numpy as np

from cimemu.lanes.jit import kernel


@kernel
def solve_lines(loads, inject, drive, first, factors, voltages):
    """voltages[i, l] of node i of line l, in units where one wire segment has conductance 1.

    Node 0 hangs by conductance `first` on drive[l], node i on node i - 1 by 1; each node has a load to `inject`:
    `(links + loads[i, l]) v_i - v_{i-1} - v_{i+1} = inject[i, l] (+ first * drive[l] at i = 0)`. Thomas algorithm;
    all arrays [nodes, lines] float64, factors is work space.
    """
    last = loads.shape[0] - 1
    for i in range(loads.shape[0]):
        links = (first if i == 0 else 1.0) + (1.0 if i < last else 0.0)
        for k in range(loads.shape[1]):
            diagonal = links + loads[i, k]
            if i == 0:
                factors[i, k] = 1.0 / diagonal
                voltages[i, k] = (inject[i, k] + first * drive[k]) / diagonal
            else:
                pivot = diagonal - factors[i - 1, k]
                factors[i, k] = 1.0 / pivot
                voltages[i, k] = (inject[i, k] + voltages[i - 1, k]) / pivot
    for back in range(1, loads.shape[0]):
        i = last - back
        for k in range(loads.shape[1]):
            voltages[i, k] += factors[i, k] * voltages[i + 1, k]


def solve_lines_naive(loads, inject, drive, first, factors, voltages):
    """The same elimination on Python floats, a line at a time."""
    nodes = loads.shape[0]
    for k in range(loads.shape[1]):
        factor, value = [], []
        for i in range(nodes):
            links = (float(first) if i == 0 else 1.0) + (1.0 if i < nodes - 1 else 0.0)
            pivot = links + float(loads[i, k]) - (factor[-1] if i else 0.0)
            above = value[-1] if i else float(first) * float(drive[k])
            factor.append(1.0 / pivot)
            value.append((float(inject[i, k]) + above) / pivot)
        for i in reversed(range(nodes - 1)):
            value[i] += factor[i] * value[i + 1]
        factors[:, k], voltages[:, k] = factor, value


@kernel
def eliminate(system, first, stop):
    """Rows first .. stop - 1 of `system` [n, n + w] solved for each other in place: unknown k's column becomes row k's."""
    for k in range(first, stop):
        pivot = 1.0 / system[k, k]
        system[k, k] = 1.0
        for j in range(system.shape[1]):
            system[k, j] *= pivot
        for i in range(first, stop):
            if i != k:
                factor = system[i, k]
                system[i, k] = 0.0
                for j in range(system.shape[1]):
                    system[i, j] -= factor * system[k, j]


def eliminate_naive(system, first, stop):
    """The same on whole rows of NumPy, one unknown after the other."""
    for k in range(first, stop):
        pivot = 1.0 / system[k, k]
        system[k, k] = 1.0
        system[k] = system[k] * pivot
        for i in range(first, stop):
            if i != k:
                factor = float(system[i, k])
                system[i, k] = 0.0
                system[i] = system[i] - factor * system[k]


@kernel
def invert(system, solved):
    """`system` = [A | B], A [n, n] diagonally dominant, becomes [A^-1 | A^-1 B]: block Gauss-Jordan without pivoting.

    Four unknowns at a time, so that a row is loaded and stored once for four of them. Their rows are copied to the work
    space `solved` [4, n + w]: the compiler then knows that they are no row being written, and uses vectors (3 times the
    rate). One order of IEEE operations and no library: the same bytes for any number of threads.
    """
    rows = system.shape[0]
    for k in range(0, rows, 4):
        stop = min(k + 4, rows)
        eliminate(system, k, stop)
        for m in range(4):
            for j in range(system.shape[1]):
                solved[m, j] = system[k + m, j] if k + m < stop else 0.0
        for i in range(rows):
            if i < k or i >= stop:
                f0 = system[i, k]
                f1 = system[i, k + 1] if k + 1 < stop else 0.0
                f2 = system[i, k + 2] if k + 2 < stop else 0.0
                f3 = system[i, k + 3] if k + 3 < stop else 0.0
                system[i, k:stop] = 0.0
                for j in range(system.shape[1]):
                    low = f0 * solved[0, j] + f1 * solved[1, j]
                    system[i, j] -= low + (f2 * solved[2, j] + f3 * solved[3, j])


def invert_naive(system, solved):
    """The definition, by NumPy's solver (other roundings); the work space is not needed."""
    rows = len(system)
    matrix = system[:, :rows].copy()
    system[:, rows:] = np.linalg.solve(matrix, system[:, rows:])
    system[:, :rows] = np.linalg.inv(matrix)


@kernel
def fit_columns(levels, first, stop, wanted):
    """Scale levels[first .. stop - 1, c] so that they sum to wanted[c]; columns that sum to 0 stay."""
    for c in range(levels.shape[1]):
        total = 0.0
        for r in range(first, stop):
            total += levels[r, c]
        if total > 0.0:
            for r in range(first, stop):
                levels[r, c] *= wanted[c] / total


def fit_columns_naive(levels, first, stop, wanted):
    """The definition."""
    for c in range(levels.shape[1]):
        total = sum((float(v) for v in levels[first:stop, c]), 0.0)
        if total > 0.0:
            levels[first:stop, c] *= np.float64(wanted[c]) / total
