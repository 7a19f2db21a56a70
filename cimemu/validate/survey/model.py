"""A regression of logarithms that a few odd papers cannot bend: ridge with Student's t, and intervals from papers left out.

All quantities are base-2 logarithms. Coefficients are shrunk towards 0 in units of each column's own spread, errors have
Student's t distribution of 4 degrees of freedom (fitted by reweighting), and the spread of a prediction is that of papers
that the fit has not seen, by kind of circuit: a kind with few papers borrows from the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.validate.survey.facts import Facts

FREEDOM = 4.0
SHRINKAGE = 5.0  # how many rows the prior of a coefficient weighs
BORROWED = 6.0  # rows that the common spread weighs beside a kind's own
NINETY = 2.132  # Student's t, 4 degrees of freedom, 95 %: 90 % lie between
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


def spreads(errors: Vector, kinds: Sequence[str | None]) -> dict[str, float]:
    """The scale of Student's t by kind: the median size of errors of papers left out, pulled towards that of all."""
    sizes, names = np.abs(errors), np.array(kinds)
    common = float(np.median(sizes))
    found = {}
    for kind in KINDS:
        own = sizes[names == kind]
        mine = float(np.median(own)) if len(own) else common
        pooled = (len(own) * mine + BORROWED * common) / (len(own) + BORROWED)
        found[kind] = pooled / 0.741  # the median of |t| of 4 degrees of freedom
    return found
