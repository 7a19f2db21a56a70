"""What wordlines of one step carry so that converters give the codes that are wanted."""

from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimemu.golden.coverage.goals import COLUMN_KINDS, Block, Bools, Ints, measure_columns, sums_of
from cimemu.golden.coverage.reasons import Reasons

TRIED = 16  # goals that a step is aimed at before the best one is taken
CLIMBED = 2  # of those, how many are improved
MOST_TURNED = 12  # bits by which one is improved
Reached = list[dict[str, Bools]]  # by macro and kind: [goals]


class Pattern(NamedTuple):
    """Slice values of one group's rows."""

    group: int
    values: NDArray[np.int64]


def aimed_patterns(blocks: list[Block], reasons: list[Reasons], reached: Reached, random: Random) -> list[Pattern]:
    """Patterns that reach all goals of columns that can be reached and are not, as few as a greedy search finds.

    Each one is the best of some that are aimed at goals drawn among the rest; those are dropped whose goals others reach.
    """
    left = {
        (number, kind, int(place))
        for number, block in enumerate(blocks)
        for kind in COLUMN_KINDS
        if kind in block.sizes
        for place in np.flatnonzero(~reached[number][kind])
        if reasons[number].of_columns(kind, _index(block, kind, int(place))).state == "reachable"
    }
    wanted = [
        {kind: np.zeros(met.size, np.bool_) for kind, met in found.items() if kind in COLUMN_KINDS} for found in reached
    ]
    for number, kind, place in left:
        wanted[number][kind][place] = True
    first = {key: wanted[key[0]][key[1]].copy() for key in {(n, k) for n, k, _ in left}}
    made: list[Pattern] = []
    while left:
        best = _best(blocks, reasons, wanted, sorted(left), random)
        if best is None:
            break
        pattern, found = best
        made.append(pattern)
        for number, kinds in enumerate(found):
            for kind, met in kinds.items():
                wanted[number][kind] &= ~met
        left = {goal for goal in left if wanted[goal[0]][goal[1]][goal[2]]}
    return _without_spare(blocks, made, first)


def _index(block: Block, kind: str, place: int) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(place, block.sizes[kind]))


def _best(
    blocks: list[Block], reasons: list[Reasons], wanted: Reached, left: list[tuple[int, str, int]], random: Random
) -> tuple[Pattern, Reached] | None:
    """Of patterns aimed at some goals the one that reaches the most of all, and what it reaches."""
    aims: dict[int, list[NDArray[np.int64]]] = {}
    for number, kind, place in random.sample(left, min(TRIED, len(left))):
        groups = list(range(blocks[number].v.groups))
        random.shuffle(groups)
        for group in groups:
            values = reasons[number].choice(kind, _index(blocks[number], kind, place), group, random)
            if values is not None:
                aims.setdefault(group, []).append(values)
                break
    best, most = None, 0
    for group, patterns in aims.items():
        step = Step(blocks, group)
        gain = step.gain(step.seen(np.stack(patterns)), wanted)
        for at in np.argsort(-gain, kind="stable")[:CLIMBED].tolist():
            values, reached = step.climbed(patterns[at], int(gain[at]), wanted)
            if reached > most:
                best, most = Pattern(group, values), reached
    if best is None:
        return None
    found = [hits(block, best.group, best.values[None]) for block in blocks]
    return best, [{kind: met[0] for kind, met in kinds.items()} for kinds in found]


class Step:
    """Sums of all columns of a row block in a step of one group, of several patterns of its rows."""

    def __init__(self, blocks: list[Block], group: int) -> None:
        """Cells of the group's rows."""
        self.blocks, rows = blocks, blocks[0].rows_of(group)
        self.bits = max(blocks[0].slice_bits)
        self.cells = [block.seen[rows] for block in blocks]
        self.ones = [None if b.v.reference_cells is None else b.v.reference_cells[rows] for b in blocks]

    def seen(self, patterns: Ints) -> "list[Seen]":
        """By macro."""
        raised = np.asarray(patterns.any(axis=1))
        return [
            Seen(sums_of(patterns, cells), None if ones is None else sums_of(patterns, ones), raised)
            for cells, ones in zip(self.cells, self.ones, strict=True)
        ]

    def gain(self, seen: "list[Seen]", wanted: Reached) -> Ints:
        """[patterns] how many goals that are wanted each one reaches."""
        made = np.zeros(len(seen[0].psums), np.int64)
        for block, one, goals in zip(self.blocks, seen, wanted, strict=True):
            for kind, met in hits_of(block, one).items():
                made += (met & goals[kind]).sum(axis=1)
        return made

    def climbed(self, values: NDArray[np.int64], gain: int, wanted: Reached) -> tuple[NDArray[np.int64], int]:
        """A pattern after the single bits are turned, one after another, that help the most, and what it reaches then."""
        for _ in range(MOST_TURNED):
            turned = np.array(
                [values ^ (bit << i) for i in range(self.bits) for bit in np.eye(len(values), dtype=np.int64)]
            )
            gains = self.gain(self.seen(turned), wanted)
            at = int(gains.argmax())
            if gains[at] <= gain:
                break
            values, gain = turned[at], int(gains[at])
        return values, gain


def _without_spare(blocks: list[Block], patterns: list[Pattern], wanted: dict[tuple[int, str], Bools]) -> list[Pattern]:
    """Those that are left when patterns are dropped whose goals others reach, the first ones first."""
    if not patterns:
        return []
    table = []
    for pattern in patterns:
        found = [hits(block, pattern.group, pattern.values[None]) for block in blocks]
        table.append(np.concatenate([found[number][kind][0] & goals for (number, kind), goals in wanted.items()]))
    times = np.sum(table, axis=0)
    kept = []
    for pattern, met in zip(patterns, table, strict=True):
        if (times[met] >= 2).all():
            times = times - met
        else:
            kept.append(pattern)
    return kept


class Seen(NamedTuple):
    """What the columns of a macro see of some patterns."""

    psums: Ints  # [patterns, columns]
    references: Ints | None  # [patterns, reference columns]
    raised: Bools  # [patterns]


def hits(block: Block, group: int, patterns: Ints) -> dict[str, Bools]:
    """[patterns, goals] of the kinds that columns decide, for slice values [patterns, rows of the group]."""
    return hits_of(block, Step([block], group).seen(patterns)[0])


def hits_of(block: Block, seen: Seen) -> dict[str, Bools]:
    """The same of sums."""
    driven = seen.raised[:, None] if block.skips else np.ones((len(seen.raised), 1), np.bool_)
    psums = seen.psums[:, None]
    references = None
    if seen.references is not None:
        references = converted(block, seen.references[:, None], block.columns - 1)
    found = measure_columns(block, psums, converted(block, psums, 0), references, driven)
    return {kind: met.reshape(len(met), -1) for kind, met in found.items()}


def converted(block: Block, psums: Ints, first: int) -> Ints:
    """Codes of sums [..., columns], by the tables of the columns from `first` on (all by that of the last one behind it)."""
    if block.thresholds is None:
        return psums
    if len(block.thresholds) == 1:
        return np.searchsorted(block.thresholds[0], psums, side="right")
    made = np.empty_like(psums)
    for number in range(psums.shape[-1]):
        table = block.table(min(first + number, block.columns - 1))
        made[..., number] = np.searchsorted(table, psums[..., number], side="right")
    return made
