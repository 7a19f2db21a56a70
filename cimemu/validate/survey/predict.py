"""Predictions of a table's rows, every paper left out of its own, and how good they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from cimemu.validate.survey.facts import Facts, read_facts
from cimemu.validate.survey.model import NINETY, Fit, columns_of, fitted, left_out, spreads

SHIPPED = Path(__file__).parent / "uiuc_imc.csv"


@dataclass(frozen=True)
class Predicted:
    """One operating point with a published efficiency. TOPS/W and TOPS/mm2 of one-bit operations, as in the table."""

    index: int | str
    row: int
    published_tops_w: float
    predicted_tops_w: float
    low: float  # 90 % interval of TOPS/W
    high: float
    published_tops_mm2: float | None = None
    predicted_tops_mm2: float | None = None

    @property
    def factor(self) -> float:
        """By how much the prediction is off, >= 1."""
        return max(self.predicted_tops_w / self.published_tops_w, self.published_tops_w / self.predicted_tops_w)

    @property
    def inside(self) -> bool:
        """Whether the published figure lies in the interval."""
        return self.low <= self.published_tops_w <= self.high


def predict(path: Path) -> tuple[list[Predicted], list[str]]:
    """(a prediction for every row with a published TOPS/W, in order; why rows were left out). CimemuError.

    The model is fitted to the shipped half of the survey. Where a row's paper is in it, that paper is left out of the fit and of
    the spread that makes the interval.
    """
    asked = [facts for facts in read_facts(path) if facts.tops_w is not None]
    skipped = [f"row {facts.row} (index {facts.index}): {facts.missing}" for facts in asked if facts.missing]
    made = []
    for facts in asked:
        if facts.missing or facts.tops_w is None:
            continue
        energy, by_kind, density = _models(facts.paper)
        middle = float(energy(columns_of([facts]))[0])
        half = NINETY * by_kind[str(facts.kind)]
        area = None if facts.tops_mm2 is None else float(2.0 ** density(columns_of([facts]))[0])
        made.append(
            Predicted(
                index=int(facts.index) if facts.index.isdigit() else facts.index,
                row=facts.row,
                published_tops_w=facts.tops_w,
                predicted_tops_w=2.0**middle,
                low=2.0 ** (middle - half),
                high=2.0 ** (middle + half),
                published_tops_mm2=facts.tops_mm2,
                predicted_tops_mm2=area,
            )
        )
    return made, skipped


def quality(rows: Sequence[Predicted]) -> dict[str, float]:
    """How good predictions are: factors, and the share of published figures inside their intervals. Empty without rows."""
    if not rows:
        return {}
    factors = np.array([row.factor for row in rows])
    return {
        "points": len(rows),
        "median factor": float(np.median(factors)),
        "90 % factor": float(np.quantile(factors, 0.9)),
        "within 2": float(np.mean(factors <= 2)),
        "within 4": float(np.mean(factors <= 4)),
        "inside the 90 % interval": float(np.mean([row.inside for row in rows])),
        "median high / low": float(np.median([row.high / row.low for row in rows])),
    }


@lru_cache(maxsize=256)
def _models(without: str) -> tuple[Fit, dict[str, float], Fit]:
    """(TOPS/W, its spread by kind, TOPS/mm2), fitted to the shipped table without one paper."""
    rows = [facts for facts in _shipped() if facts.paper != without]
    columns = columns_of(rows)
    target = np.log2([facts.tops_w or 1.0 for facts in rows])
    errors = left_out(columns, target, [facts.paper for facts in rows])
    dense = [facts for facts in rows if facts.tops_mm2 is not None]
    density = fitted(columns_of(dense), np.log2([facts.tops_mm2 or 1.0 for facts in dense]))
    return fitted(columns, target), spreads(errors, [facts.kind for facts in rows]), density


@lru_cache(maxsize=1)
def _shipped() -> tuple[Facts, ...]:
    """Rows of the shipped table that have all that a fit needs; a row that stands there twice counts once."""
    found: dict[tuple[object, ...], Facts] = {}
    for facts in read_facts(SHIPPED):
        if facts.tops_w is not None and not facts.missing:
            found.setdefault((facts.paper, facts.tops_w, facts.supply_v, facts.tops), facts)
    return tuple(found.values())
