"""Operations that reach what the network's own inputs leave out: aimed by the sums of columns, as few as are found."""

from collections.abc import Callable, Iterator
from random import Random

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.errors import ArchError, WorkloadError
from cimemu.golden.block import MacroVectors
from cimemu.golden.coverage.goals import COLUMN_KINDS, Block, Bools, Ints, column_weights, measure, wires_of
from cimemu.golden.coverage.patterns import Pattern, aimed_patterns
from cimemu.golden.coverage.reasons import MOST_EXAMINED, Reasons
from cimemu.golden.vectors import LayerInputs, LayerVectors, vectors_of
from cimemu.macro.encode import input_range

MOST_AT_ONCE = 48  # candidates that are run together
MOST_ROUNDS = 8
Goal = tuple[int, str, int]  # macro, kind, place in it


class Rows:
    """One row block of a unit: the macros whose wordlines carry the same inputs."""

    def __init__(self, macro: Macro, unit: int, number: int, blocks: list[Block], budget: list[int]) -> None:
        """With what their cells can give."""
        self.macro, self.unit, self.number, self.blocks = macro, unit, number, blocks
        self.reasons = [Reasons(block, budget) for block in blocks]
        v = blocks[0].v
        self.count, self.groups, self.slices = v.cells.shape[0], v.groups, v.slices

    def vector(self, steps: dict[tuple[int, int], NDArray[np.int64]]) -> Ints:
        """[rows] inputs whose slices are these."""
        made = np.zeros(self.count, np.int64)
        for (group, part), values in steps.items():
            made[self.blocks[0].rows_of(group)] |= values << self.macro.input.spans[part][0]
        return signed(made, self.macro)

    def extremes(self, left: list[tuple[int, str, int]]) -> Iterator[Ints]:
        """Inputs that drive sums of certain outputs as far up and down as they go."""
        low, high = input_range(self.macro)
        done = set()
        for block_number, kind, place in left:
            block = self.blocks[block_number]
            output = place // block.sizes[kind][-1]
            if (block_number, output, kind == "outputs") in done:
                continue
            done.add((block_number, output, kind == "outputs"))
            weight = row_weights(block, output, corrected=kind == "outputs")
            yield np.where(weight > 0, high, low)
            yield np.where(weight < 0, high, low)
            yield np.where(weight > 0, high, 0)
            yield np.where(weight < 0, high, 0)

    def plain(self) -> Iterator[Ints]:
        """Inputs that drive all steps, none, and every other one."""
        full = {(g, i): self._full(g, i) for g in range(self.groups) for i in range(self.slices)}
        yield self.vector(full)
        yield np.zeros(self.count, np.int64)
        for first in (0, 1):
            yield self.vector({(g, i): v for (g, i), v in full.items() if (g * self.slices + i) % 2 == first})

    def _full(self, group: int, part: int) -> NDArray[np.int64]:
        rows = self.blocks[0].rows_of(group)
        return np.full(rows.stop - rows.start, (1 << self.blocks[0].slice_bits[part]) - 1)


def signed(patterns: Ints, macro: Macro) -> Ints:
    """Inputs of bit patterns."""
    low, high = input_range(macro)
    return np.where(patterns > high, patterns - (1 << macro.input.bits), patterns) if low < 0 else patterns


def row_weights(block: Block, output: int, *, corrected: bool) -> Ints:
    """[rows] what an input of 1 adds to an output's running sum, or to the output itself, were converters exact."""
    count = len(block.weight)
    weights = column_weights(block)[output]
    made = block.seen[:, output * count : (output + 1) * count] @ weights
    if not corrected:
        return np.asarray(made)
    correction, factor = block.macro.correction, block.macro.correction.of_inputs
    if block.v.flipped is not None:
        flipped = block.v.flipped.reshape(block.v.output_count, -1)[output]
        factor += (2**block.macro.cell.bits - 1) * int((flipped * block.weight).sum())
    return np.asarray(correction.of_y * made + factor)


class Search:
    """Added operations of a layer, row block by row block; goals of a row block depend on its own inputs alone."""

    def __init__(self, given: LayerInputs, macro: Macro) -> None:
        """Measures the network's own operations."""
        self.given, self.macro = given, macro
        self.random = Random(0)  # a search, the same every time
        base = vectors_of(given)
        if base.fraction_bits is not None:
            raise WorkloadError(
                "golden --cover: aims at ideal cells, and these are drawn; leave out --vary, --chip and --calibrate-chip"
            )
        budget = [MOST_EXAMINED]
        sets: dict[tuple[int, int], list[Block]] = {}
        for v in base.macros:
            sets.setdefault((v.unit, v.row_block), []).append(Block(macro, v, exact=True))
        self.rows = [Rows(macro, *key, blocks, budget) for key, blocks in sets.items()]
        self.reached = [self.any(self.measured(rows, base.macros)) for rows in self.rows]

    def measured(self, rows: Rows, macros: list[MacroVectors], first: int = 0) -> list[dict[str, Bools]]:
        """By macro of a row block and kind: [ops from `first`, goals]."""
        mine = [v for v in macros if (v.unit, v.row_block) == (rows.unit, rows.number)]
        made = []
        for block, v in zip(rows.blocks, mine, strict=True):
            found = measure(block, wires_of(v))
            made.append({kind: met.reshape(len(met), -1)[first:] for kind, met in found.items()})
        return made

    @staticmethod
    def any(measured: list[dict[str, Bools]]) -> list[dict[str, Bools]]:
        """What one of the operations reaches."""
        return [{kind: np.asarray(met.any(axis=0)) for kind, met in kinds.items()} for kinds in measured]

    def run(self, by_rows: list[list[Ints]]) -> tuple[LayerVectors, list[list[dict[str, Bools]]]]:
        """Run operations (as many for each row block); their vectors, and what each of them reaches, by row block."""
        vectors = vectors_of(self.given, self.inputs(by_rows))
        first = len(self.given.x[0])
        return vectors, [self.measured(rows, vectors.macros, first) for rows in self.rows]

    def inputs(self, by_rows: list[list[Ints]]) -> list[NDArray[np.int64]]:
        """[ops, rows] of every unit."""
        ops = max(len(mine) for mine in by_rows)
        made = [np.zeros((ops, x.shape[1]), np.int64) for x in self.given.x]
        for rows, mine in zip(self.rows, by_rows, strict=True):
            start, stop = self.given.matrix.programmed[rows.unit].matrix.layout.row_blocks[rows.number]
            for op, x in enumerate(mine):
                made[rows.unit][op, start:stop] = x
        return made

    def tried(self, candidates: list[list[Ints]]) -> Iterator[tuple[list[list[Ints]], list[list[dict[str, Bools]]]]]:
        """Candidates that can be run, some at a time, and what they reach; one that leaves an accumulator is left out."""
        most = max((len(mine) for mine in candidates), default=0)
        for first in range(0, most, MOST_AT_ONCE):
            some = [mine[first : first + MOST_AT_ONCE] for mine in candidates]
            longest = max(len(mine) for mine in some)
            some = [
                mine + [np.zeros(rows.count, np.int64)] * (longest - len(mine)) for rows, mine in zip(self.rows, some)
            ]
            try:
                yield some, self.run(some)[1]
            except ArchError:  # accumulator_overflow = error
                for op in range(longest):
                    one = [[mine[op]] for mine in some]
                    try:
                        yield one, self.run(one)[1]
                    except ArchError:
                        continue

    def unmet(self, number: int, kinds: Callable[[str], bool]) -> list[Goal]:
        """Goals of a row block that are not reached."""
        return [
            (block, kind, int(place))
            for block, found in enumerate(self.reached[number])
            for kind, met in found.items()
            if kinds(kind)
            for place in np.flatnonzero(~met)
        ]

    def take(self, chosen: list[list[Ints]], candidates: list[list[Ints]], *, columns: bool) -> bool:
        """Add the best candidates, greedily, while one reaches a new goal (with `columns`, or one of the other kinds);
        whether one did."""
        took = False
        for some, found in self.tried(candidates):
            for number in range(len(self.rows)):
                for op in greedy(found[number], self.reached[number], columns=columns):
                    chosen[number].append(some[number][op])
                    took = True
        return took


def greedy(found: list[dict[str, Bools]], reached: list[dict[str, Bools]], *, columns: bool) -> list[int]:
    """Operations in the order of the most new goals; `reached` takes them up."""
    table = np.concatenate([met for kinds in found for met in kinds.values()], axis=1)
    have = np.concatenate([met for kinds in reached for met in kinds.values()])
    counted = [
        np.full(met.size, columns or kind not in COLUMN_KINDS) for kinds in reached for kind, met in kinds.items()
    ]
    counts = np.concatenate(counted)
    order: list[int] = []
    while True:
        gain = (table & ~have & counts).sum(axis=1)
        best = int(gain.argmax())
        if not gain[best]:
            break
        order.append(best)
        have |= table[best]
    start = 0
    for kinds in reached:
        for kind, met in kinds.items():
            kinds[kind] = have[start : start + met.size].copy()
            start += met.size
    return order


def needed(found: list[dict[str, Bools]], base: list[dict[str, Bools]]) -> list[int]:
    """Operations that are left when those whose goals others reach are dropped, the one with the fewest goals first."""
    table = np.concatenate([met for kinds in found for met in kinds.values()], axis=1)
    have = np.concatenate([met for kinds in base for met in kinds.values()])
    table = table & ~have
    times = table.sum(axis=0)
    kept = set(range(len(table)))
    for op in np.argsort(table.sum(axis=1), kind="stable").tolist():
        if (times[table[op]] >= 2).all():
            kept.remove(op)
            times -= table[op]
    return sorted(kept)


def covering(given: LayerInputs, macro: Macro) -> list[NDArray[np.int64]]:
    """Added operations [ops, rows] of every unit, none where all is reached that can be.

    First those that sums, signs, overflows and cycles need, then codes, step by step, last those are dropped whose goals
    others reach. The same every time. WorkloadError for drawn cells.
    """
    search = Search(given, macro)
    base = [[dict(kinds) for kinds in blocks] for blocks in search.reached]
    chosen: list[list[Ints]] = [[] for _ in search.rows]
    for _ in range(MOST_ROUNDS):
        left = [search.unmet(number, lambda kind: kind not in COLUMN_KINDS) for number in range(len(search.rows))]
        candidates = []
        for rows, goals in zip(search.rows, left, strict=True):
            sums = [goal for goal in goals if goal[1] in ("accumulators", "overflows", "outputs")]
            mine = list(rows.plain()) if goals else []
            candidates.append(mine + list(rows.extremes(sums[:MOST_AT_ONCE])))
        if not search.take(chosen, candidates, columns=False):
            break
    aimed = []
    for number, rows in enumerate(search.rows):
        patterns = aimed_patterns(rows.blocks, rows.reasons, search.reached[number], search.random)
        aimed.append(packed(rows, patterns, search.random))
    search.take(chosen, aimed, columns=True)
    if not any(chosen):
        return [np.zeros((0, x.shape[1]), np.int64) for x in given.x]
    kept = []
    longest = max(len(mine) for mine in chosen)
    padded = [
        mine + [np.zeros(rows.count, np.int64)] * (longest - len(mine)) for rows, mine in zip(search.rows, chosen)
    ]
    for number, found in enumerate(search.run(padded)[1]):
        kept.append([padded[number][op] for op in needed(found, base[number])])
    return search.inputs(kept)


def packed(rows: Rows, patterns: list[Pattern], random: Random) -> list[Ints]:
    """Operations whose steps are these patterns, as few as hold them; steps that are left over repeat some."""
    full = [i for i, bits in enumerate(rows.blocks[0].slice_bits) if bits == max(rows.blocks[0].slice_bits)]
    by_group = [[p.values for p in patterns if p.group == group] for group in range(rows.groups)]
    count = max((-(-len(mine) // len(full)) for mine in by_group), default=0)
    made = []
    for op in range(count):
        steps = {}
        for group, mine in enumerate(by_group):
            for number, part in enumerate(full):
                if mine:
                    at = op * len(full) + number
                    steps[group, part] = mine[at] if at < len(mine) else random.choice(mine)
        made.append(rows.vector(steps))
    return made
