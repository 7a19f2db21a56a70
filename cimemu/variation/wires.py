"""Arrays of cells between resistive wires: what every column gets of every driven row.

With all other rows at 0 V such an array is linear in its row voltages, so the currents of one row at a time are all
there is to know about it (superposition). Where rows that are not raised are disconnected, each set of raised rows
is an array of its own. Wordlines are driven at column 0 and bitlines sensed (0 V) at row 0. `across` and `down` are the
conductances of the cells in units of one segment of a wordline and of a bitline.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import ArchError
from cimemu.variation.line_kernels import fit_columns, invert, solve_lines

Floats = NDArray[np.float64]
PARTS, SWEEPS = 4, 8
MOST_SWEEPS, SETTLED = 10_000, 1e-10


@dataclass(frozen=True)
class Wires:
    """Resistance of the segments of wordlines and bitlines, times the conductance of a level step, and their leads.

    A lead is what lies between a line's first cell and its driver or converter, in segments.
    """

    word: float
    bit: float
    word_lead: float = 1.0
    bit_lead: float = 1.0

    @property
    def turned(self) -> "Wires":
        """Those of the array on its side."""
        return Wires(self.bit, self.word, self.bit_lead, self.word_lead)


def exact_shares(levels: Floats, wires: Wires, connected: float = 1.0) -> Floats:
    """Effective levels [R, C] of cells `levels` [R, C]: column c gets `effective[r, c]` where row r alone is driven with 1.

    `connected` weighs the load of every row on the bitlines: 1 for rows that are held at 0 V; the share of raised rows
    is a mean field for rows that are disconnected otherwise.

    Wordlines are eliminated row by row; what is left is a chain of bitline rows, each a dense block of columns, that is
    eliminated from its far end: `E_r = links + S_r - E_(r+1)^-1`, and the answers of the rows so far are carried along.
    R C^2 (C + R / 2) multiplications; as the network is reciprocal, an array with more columns than rows is turned.
    """
    if not wires.word or not wires.bit:
        return _single_lines(levels, wires)
    rows, columns = levels.shape
    if columns > rows and connected == 1.0:
        return np.ascontiguousarray(exact_shares(np.ascontiguousarray(levels.T), wires.turned).T)
    inverse = np.zeros((columns, columns))
    answers = np.empty((columns, rows))
    for row in range(rows - 1, -1, -1):
        coupling, driven = _through_row(levels[row], wires)
        diagonal = (1.0 / wires.bit_lead if row == 0 else 1.0) + (1.0 if row < rows - 1 else 0.0)
        system = np.empty((columns, columns + rows - row))
        system[:, :columns] = connected * coupling - inverse
        system[np.diag_indices(columns)] += diagonal
        system[:, columns] = driven
        system[:, columns + 1 :] = answers[:, row + 1 :]
        invert(system, np.empty((4, system.shape[1])))
        inverse, answers[:, row:] = system[:, :columns], system[:, columns:]
    return np.ascontiguousarray(answers.T) / (wires.bit * wires.bit_lead)


def _through_row(cells: Floats, wires: Wires) -> tuple[Floats, Floats]:
    """(S [C, C], b [C]): the current out of a row's bitline nodes is `S v - b` for bitline voltages v, wordline at 1."""
    columns = len(cells)
    across, down = cells * wires.word, cells * wires.bit
    inject = np.zeros((columns, columns + 1))
    inject[np.diag_indices(columns)] = across
    drive = np.zeros(columns + 1)
    drive[columns] = 1.0
    loads = np.ascontiguousarray(np.broadcast_to(across[:, None], inject.shape))
    voltages = _voltages(loads, inject, drive, 1.0 / wires.word_lead)
    coupling = -down[:, None] * voltages[:, :columns]
    coupling[np.diag_indices(columns)] += down
    return coupling, down * voltages[:, columns]


def _single_lines(levels: Floats, wires: Wires) -> Floats:
    """Effective levels where only wordlines, only bitlines or no wires have a resistance: each line is a ladder."""
    if wires.word:
        across = np.ascontiguousarray(levels.T * wires.word)
        return np.ascontiguousarray(levels * _voltages(across, None, np.ones(len(levels)), 1.0 / wires.word_lead).T)
    if wires.bit:
        return levels * _voltages(levels * wires.bit, None, np.ones(levels.shape[1]), 1.0 / wires.bit_lead)
    return levels.copy()


def fast_shares(levels: Floats, wires: Wires) -> Floats:
    """An approximation of `exact_shares` in R C multiplications: good for many driven rows, not for few.

    Each wordline as a ladder loaded by its cells, each bitline likewise (their product is the share of a cell), then
    the rows of each quarter of the array are scaled so that, raised together, they give the column currents that eight
    sweeps of alternating wordline and bitline solves settle on.
    """
    if not wires.word or not wires.bit:
        return _single_lines(levels, wires)
    rows, columns = levels.shape
    across = np.ascontiguousarray(levels.T * wires.word)  # [C, R]
    down = levels * wires.bit
    edges = (1.0 / wires.word_lead, 1.0 / wires.bit_lead)
    made = np.ascontiguousarray(levels * _voltages(across, None, np.ones(rows), edges[0]).T)
    made *= _voltages(down, None, np.ones(columns), edges[1])
    cuts = [rows * part // PARTS for part in range(PARTS + 1)]
    for first, stop in pairwise(cuts):
        if stop > first:
            raised = np.zeros(rows)
            raised[first:stop] = 1.0
            fit_columns(made, first, stop, _currents(across, down, raised, edges) / wires.bit)
    return made


def raised_currents(levels: Floats, drive: Floats, wires: Wires) -> Floats:
    """Column currents [C] in level steps of rows driven with `drive` [R]; those at 0 are disconnected.

    Wordlines and bitlines are solved in turns until no column current moves by more than 1e-10 of the largest.
    """
    raised = np.flatnonzero(drive)
    if not len(raised):
        return np.zeros(levels.shape[1])
    if not wires.bit:  # bitlines at 0 V: rows do not know of each other
        return np.asarray(np.cumsum(_single_lines(levels, wires) * drive[:, None], axis=0)[-1])
    on = levels[raised]
    across = np.ascontiguousarray(on.T * wires.word)
    down = np.zeros((int(raised[-1]) + 1, levels.shape[1]))  # no current flows behind the last raised row
    down[raised] = on * wires.bit
    inject, bitlines, still = np.zeros_like(down), np.zeros_like(down), np.zeros(levels.shape[1])
    wordlines = np.ascontiguousarray(np.broadcast_to(drive[raised], across.shape))
    before = still
    for _ in range(MOST_SWEEPS):
        if wires.word:
            wordlines = _voltages(across, across * bitlines[raised].T, drive[raised], 1.0 / wires.word_lead)
        inject[raised] = down[raised] * wordlines.T
        bitlines = _voltages(down, inject, still, 1.0 / wires.bit_lead)
        if np.abs(bitlines[0] - before).max() <= SETTLED * np.abs(bitlines[0]).max():
            return np.asarray(bitlines[0] / (wires.bit * wires.bit_lead))
        before = bitlines[0]
    raise ArchError(
        f"--vary ir_drop: the voltages of an array do not settle in {MOST_SWEEPS} sweeps, its wires conduct less than its "
        "cells; use smaller segment_ohm, or rows grounded"
    )


def _currents(across: Floats, down: Floats, raised: Floats, edges: tuple[float, float]) -> Floats:
    """Column currents [C], in units of a bitline segment's conductance, by sweeps over wordlines and bitlines."""
    bitlines = np.zeros_like(down)
    still = np.zeros(down.shape[1])
    for _ in range(SWEEPS):
        wordlines = _voltages(across, across * bitlines.T, raised, edges[0])
        bitlines = _voltages(down, down * wordlines.T, still, edges[1])
    return np.asarray(bitlines[0] * edges[1])


def _voltages(loads: Floats, inject: Floats | None, drive: Floats, first: float) -> Floats:
    voltages, factors = np.empty_like(loads), np.empty_like(loads)
    solve_lines(loads, np.zeros_like(loads) if inject is None else inject, drive, first, factors, voltages)
    return voltages
