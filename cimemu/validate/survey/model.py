"""A regression of logarithms that a few odd papers cannot bend: ridge with Student's t, and intervals from papers left out.

All quantities are base-2 logarithms. Coefficients are shrunk towards 0 in units of each column's own spread, errors have
Student's t distribution of 4 degrees of freedom (fitted by reweighting). The interval of a prediction is conformal: it is
as wide as holds the errors of 90 % of the papers that a fit has not seen, each error over the typical one of its group. A group
with few rows borrows from the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.validate.survey.facts import Facts

FREEDOM = 4.0
SHRINKAGE = 5.0  # how many rows the prior of a coefficient weighs
BORROWED = 2.0  # rows that the common spread weighs beside a group's own
LEAST = 0.05  # a typical error that no group goes below
LEVEL = 0.90
STEPS = 30
KINDS = ("analog", "digital_in_memory", "nonvolatile", "processor")
TYPICAL = {"supply_v": 0.9, "bits": 8.0, "cycle_ns": 6.0, "tops": 2.0}  # of what a row leaves open

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fit:
    """Coefficients of standardised columns."""

    middle: Vector
    scale: Vector
    weights: Vector  # the first is the constant

    def __call__(self, columns: Vector) -> Vector:
        """Predictions of rows [n, columns]."""
        made: Vector = self.weights[0] + ((columns - self.middle) / self.scale) @ self.weights[1:]
        return made


def columns_of(rows: Sequence[Facts]) -> Vector:
    """What the regression sees of each row [n, columns].

    Kind of circuit; technology and supply (energy goes with their product squared and more); throughput by kind, as what
    a chip burns beside its array counts less the more it computes; the array's cycle, above all of non-volatile cells, through
    which current flows all the time; and the width of operands, as one-bit operations share what a wide one needs once.
    """
    made = []
    for row in rows:
        kind = {name: float(row.kind == name) for name in KINDS}
        memory = 1.0 - kind["processor"]
        tech = np.log2((row.tech_nm or 28.0) / 28.0)
        supply = np.log2(min(row.supply_v or TYPICAL["supply_v"], 1.3) / 0.85)
        tops = np.log2((row.tops or TYPICAL["tops"]) / TYPICAL["tops"])
        cycle = np.log2((row.cycle_ns or TYPICAL["cycle_ns"]) / TYPICAL["cycle_ns"])
        bits = np.log2(min(row.input_bits or TYPICAL["bits"], 16.0) * min(row.weight_bits or TYPICAL["bits"], 16.0))
        made.append(
            [
                *kind.values(),
                tech,
                supply,
                tops * kind["processor"],
                tops * kind["nonvolatile"],
                tops * (kind["analog"] + kind["digital_in_memory"]),
                cycle * memory,
                cycle * kind["nonvolatile"],
                bits * kind["processor"],
                bits * memory,
            ]
        )
    return np.array(made, dtype=np.float64).reshape(len(rows), -1)


def fitted(columns: Vector, target: Vector) -> Fit:
    """The regression of `target` [n] on `columns` [n, columns], by iteratively reweighted least squares."""
    middle, scale = columns.mean(axis=0), columns.std(axis=0) + 1e-9
    wide = np.c_[np.ones(len(columns)), (columns - middle) / scale]
    prior = SHRINKAGE * np.eye(wide.shape[1])
    prior[0, 0] = 0.0
    share = np.ones(len(target))
    weights = np.zeros(wide.shape[1])
    for _ in range(STEPS):
        weights = np.linalg.solve((wide.T * share) @ wide + prior, (wide.T * share) @ target)
        error = target - wide @ weights
        variance = float(np.mean(share * error**2)) + 1e-9
        share = (FREEDOM + 1) / (FREEDOM + error**2 / variance)
    return Fit(middle, scale, weights)


def left_out(columns: Vector, target: Vector, papers: Sequence[str]) -> Vector:
    """Of every row its target less what a fit without its paper says [n]."""
    names = np.array(papers)
    errors = np.zeros(len(target))
    for name in set(papers):
        mine = names == name
        if mine.all():
            continue
        errors[mine] = target[mine] - fitted(columns[~mine], target[~mine])(columns[mine])
    return errors


@dataclass(frozen=True)
class Width:
    """Half the width of an interval of every group of rows; `common` is that of a group that no row was in."""

    groups: dict[str, float]
    common: float

    def of(self, group: str) -> float:
        """Of rows of one group."""
        return self.groups.get(group, self.common)


def width_of(errors: Vector, groups: Sequence[str], papers: Sequence[str]) -> Width:
    """Conformal half widths from the errors of papers left out; every paper weighs the same, however many rows it has."""
    sizes, names = np.abs(errors), np.array(groups)
    common = float(np.median(sizes))
    typical = {}
    for group in sorted(set(groups)):
        own = sizes[names == group]
        logs = len(own) * np.log(np.median(own) + LEAST) + BORROWED * np.log(common + LEAST)
        typical[group] = float(np.exp(logs / (len(own) + BORROWED)))
    counts = {paper: list(papers).count(paper) for paper in set(papers)}
    scores = sizes / np.array([typical[group] for group in groups])
    factor = _quantile(scores, np.array([1 / counts[paper] for paper in papers]))
    return Width({group: factor * size for group, size in typical.items()}, factor * (common + LEAST))


def _quantile(scores: Vector, weights: Vector) -> float:
    """The score that `LEVEL` of the weight, with the paper to come counted as one more above all, does not exceed."""
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weights[order])
    place = int(np.searchsorted(reached, min(LEVEL * (reached[-1] + 1), reached[-1]) - 1e-9))
    return float(scores[order][place])
