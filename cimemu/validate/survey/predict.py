"""Predictions of a table's rows, every paper left out of its own, and how good they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from pathlib import Path

import numpy as np

from cimemu.validate.survey.facts import Facts, read_facts
from cimemu.validate.survey.model import Fit, Width, columns_of, fitted, left_out, width_of

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
    kind: str | None = None  # of circuit
    group: str = ""  # of rows whose interval is as wide
    tech_nm: float | None = None
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
        energy, width, density = _models(facts.paper)
        middle = float(energy(columns_of([facts]))[0])
        half = width.of(facts.group)
        area = None if facts.tops_mm2 is None else float(2.0 ** density(columns_of([facts]))[0])
        made.append(
            Predicted(
                index=int(facts.index) if facts.index.isdigit() else facts.index,
                row=facts.row,
                published_tops_w=facts.tops_w,
                predicted_tops_w=2.0**middle,
                low=2.0 ** (middle - half),
                high=2.0 ** (middle + half),
                kind=facts.kind,
                group=facts.group,
                tech_nm=facts.tech_nm,
                published_tops_mm2=facts.tops_mm2,
                predicted_tops_mm2=area,
            )
        )
    return made, skipped


NODES = ((12.0, "up to 12 nm"), (32.0, "above 12, up to 32 nm"), (65.0, "above 32, up to 65 nm"), (inf, "above 65 nm"))


def quality_by_part(rows: Sequence[Predicted]) -> list[dict[str, str | float]]:
    """`quality` by kind of circuit, by what was measured, and by technology: a row for each that is there."""
    parts: dict[str, list[Predicted]] = {}
    for row in rows:
        node = next(name for most, name in NODES if (row.tech_nm or 0.0) <= most)
        for name in (
            f"kind: {str(row.kind).replace('_', ' ')}",
            f"measured: {row.group.replace('_', ' ')}",
            f"node: {node}",
        ):
            parts.setdefault(name, []).append(row)
    order = ["kind", "measured", *(f"node: {name}" for _, name in NODES)]
    kept = ("points", "median factor", "90 % factor", "inside the 90 % interval", "median high / low")
    found: list[dict[str, str | float]] = []
    for name in sorted(parts, key=lambda part: next(i for i, start in enumerate(order) if part.startswith(start))):
        told = quality(parts[name])
        found.append({"part": name, **{key: told[key] for key in kept}})
    return found


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


def floors() -> list[dict[str, float | str]]:
    """Below which factors no choice of numbers gets, on the shipped table: why predictions are no better.

    The fit with no paper left out says what the facts in the table leave open; the points of one paper, whose common error is
    taken off, what is left where the chip and the measurement are the same."""
    rows = _shipped()
    columns, target = columns_of(rows), np.log2([facts.tops_w or 1.0 for facts in rows])
    papers = np.array([facts.paper for facts in rows])
    fit = np.abs(target - fitted(columns, target)(columns))
    errors = left_out(columns, target, papers.tolist())
    several = [papers == paper for paper in sorted(set(papers)) if (papers == paper).sum() > 1]
    within = np.concatenate([np.abs(errors[mine] - errors[mine].mean()) for mine in several])
    named = (("fitted to all papers, none left out", fit), ("of one paper, its common error known", within))
    return [
        {
            "floor": name,
            "points": len(sizes),
            "median factor": float(2.0 ** np.median(sizes)),
            "90 % factor": float(2.0 ** np.quantile(sizes, 0.9)),
        }
        for name, sizes in named
    ]


@lru_cache(maxsize=256)
def _models(without: str) -> tuple[Fit, Width, Fit]:
    """(TOPS/W, the half width of its interval by group, TOPS/mm2), fitted to the shipped table without one paper."""
    rows = [facts for facts in _shipped() if facts.paper != without]
    columns = columns_of(rows)
    target = np.log2([facts.tops_w or 1.0 for facts in rows])
    papers = [facts.paper for facts in rows]
    width = width_of(left_out(columns, target, papers), [facts.group for facts in rows], papers)
    dense = [facts for facts in rows if facts.tops_mm2 is not None]
    density = fitted(columns_of(dense), np.log2([facts.tops_mm2 or 1.0 for facts in dense]))
    return fitted(columns, target), width, density


@lru_cache(maxsize=1)
def _shipped() -> tuple[Facts, ...]:
    """Rows of the shipped table that have all that a fit needs; a row that stands there twice counts once."""
    found: dict[tuple[object, ...], Facts] = {}
    for facts in read_facts(SHIPPED):
        if facts.tops_w is not None and not facts.missing:
            found.setdefault((facts.paper, facts.tops_w, facts.supply_v, facts.tops), facts)
    return tuple(found.values())
