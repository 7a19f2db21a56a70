"""Coverage as numbers, as JSON and as a table."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cimemu.arch.macro import Macro
from cimemu.golden.coverage.goals import KINDS, Block, measure, wires_of
from cimemu.golden.coverage.reasons import MOST_EXAMINED, Reasons, State
from cimemu.golden.vectors import LayerVectors

STATES: tuple[State, ...] = ("reachable", "out of reach", "unknown")
COLUMNS = ("goals", "reached", "reachable", "out_of_reach", "unknown")


@dataclass(frozen=True)
class Hole:
    """A goal that is not reached: reachable by other inputs, out of reach for a proved `reason`, or unknown."""

    macro: str
    kind: str
    index: dict[str, int | str]
    state: State
    reason: str | None


@dataclass(frozen=True)
class Coverage:
    """Goals of a layer's macros: how many there are, how many are reached, and the others."""

    operations: int
    goals: dict[str, int]  # by kind
    reached: dict[str, int]
    holes: tuple[Hole, ...] = field(default=())

    def count(self, state: State, kind: str | None = None) -> int:
        """Holes in a state, of a kind or of all."""
        return sum(hole.state == state and kind in (None, hole.kind) for hole in self.holes)

    @property
    def rows(self) -> list[tuple[str, int, int, int, int, int]]:
        """(kind, goals, reached, reachable, out of reach, unknown)."""
        made = []
        for kind, goals in self.goals.items():
            reachable, out, unknown = (self.count(state, kind) for state in STATES)
            made.append((kind, goals, self.reached[kind], reachable, out, unknown))
        return made

    def as_dict(self, *, holes: bool = True) -> dict[str, Any]:
        """For JSON."""
        made: dict[str, Any] = {
            "operations": self.operations,
            "goals": sum(self.goals.values()),
            "reached": sum(self.reached.values()),
            **{state.replace(" ", "_"): self.count(state) for state in STATES},
            "kinds": {
                row[0]: {"what": KINDS[row[0]].what} | dict(zip(COLUMNS, row[1:], strict=True)) for row in self.rows
            },
        }
        if holes:
            made["holes"] = merged(self.holes)
        return made


def merged(holes: tuple[Hole, ...]) -> list[dict[str, Any]]:
    """Holes for JSON; codes that follow each other and are out of reach for one reason are one entry, up to `last_code`."""
    made: list[dict[str, Any]] = []
    before = None
    for hole in holes:
        code = hole.index.get("code")
        place = (
            hole.macro,
            hole.kind,
            [v for k, v in hole.index.items() if k != "code"],
            hole.state,
            limit(hole.reason),
        )
        if before is not None and isinstance(code, int) and place == before[0] and code == before[1] + 1:
            made[-1]["last_code"] = code
        else:
            entry = {"macro": hole.macro, "kind": hole.kind, **hole.index}
            made.append(entry | ({"last_code": code} if isinstance(code, int) else {}))
            made[-1] |= {"state": hole.state, "reason": hole.reason}
        before = (place, code) if isinstance(code, int) else None
    return made


def limit(reason: str | None) -> str | None:
    """What does not depend on a single code: what the cells add up to."""
    return None if reason is None else reason.rpartition(", ")[2]


def coverage_of(macro: Macro, vectors: LayerVectors) -> Coverage:
    """What vectors reach, over all macros of their layer. Reasons are given for ideal cells."""
    goals: Counter[str] = Counter()
    reached: Counter[str] = Counter()
    holes: list[Hole] = []
    budget = [MOST_EXAMINED]
    for v in vectors.macros:
        block = Block(macro, v, exact=vectors.fraction_bits is None)
        reasons = Reasons(block, budget)
        for kind, met in measure(block, wires_of(v)).items():
            found = np.asarray(met.any(axis=0))
            goals[kind] += found.size
            reached[kind] += int(found.sum())
            for index in np.argwhere(~found).tolist():
                holes.append(Hole(v.name, kind, named(kind, index), *reasons.of(kind, tuple(index))))
    ops = max(len(v.driven) for v in vectors.macros)
    order = [kind for kind in KINDS if kind in goals]
    return Coverage(ops, {k: goals[k] for k in order}, {k: reached[k] for k in order}, tuple(holes))


def named(kind: str, index: list[int]) -> dict[str, int | str]:
    """An index with its names."""
    about = KINDS[kind]
    made: dict[str, int | str] = dict(zip(about.axes, index, strict=True))
    if about.values:
        made[about.axes[-1]] = about.values[index[-1]]
    return made
