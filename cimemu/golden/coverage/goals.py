"""The goals of one macro, and which of them its vectors reach."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.golden.block import MacroVectors
from cimemu.macro.encode import columns_of, input_slice_weights
from cimemu.macro.matrix import limits

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class GoalKind(NamedTuple):
    """One kind of goal: the names of its axes, what the last of them counts, and what is reached."""

    axes: tuple[str, ...]
    values: tuple[str, ...]
    what: str


KINDS = {
    "codes": GoalKind(("converter", "code"), (), "a converter gives this code, of any of its columns"),
    "reference codes": GoalKind(("reference", "code"), (), "the same of a reference column"),
    "clips": GoalKind(
        ("converter", "end"), ("low", "high"), "a sum lies a whole step below the first threshold, or above the last"
    ),
    "sums": GoalKind(
        ("column", "end"), ("low", "high"), "an ideal converter sees the column's smallest or largest sum"
    ),
    "accumulators": GoalKind(
        ("output", "state"),
        ("negative", "positive", "carry"),
        "a running sum is negative, or positive, or an addition that keeps its sign changes bits above those of what is added",
    ),
    "overflows": GoalKind(("output", "end"), ("low", "high"), "a running sum leaves the accumulator"),
    "outputs": GoalKind(("output", "sign"), ("negative", "positive"), "an output, corrected, has this sign"),
    "driven": GoalKind(("group", "slice"), (), "a step has a raised wordline"),
    "skipped": GoalKind(("group", "slice"), (), "a step is skipped"),
    "order": GoalKind(
        ("order",),
        ("all skipped", "skipped after driven", "driven after skipped"),
        "steps follow each other so in an operation",
    ),
    "overlap": GoalKind(
        ("wait",), ("wordlines held", "converter idle"), "a slice waits for the converter, or the converter for a slice"
    ),
}


class Wires(NamedTuple):
    """What operations show."""

    wordlines: Ints  # [ops, steps, rows]
    codes: Ints  # [ops, steps, columns]
    driven: Bools  # [ops, steps]
    reference_codes: Ints | None
    shift_add: Ints | None  # [ops, steps, outputs]
    outputs: Ints | None
    held: Ints  # [ops, steps]
    idle: Ints


class Block:
    """One macro: what its conversions see of the cells, its thresholds, and its goals."""

    def __init__(self, macro: Macro, v: MacroVectors, *, exact: bool) -> None:
        """`exact`: cells are ideal, so sums follow from cells and wordlines alone."""
        self.macro, self.v, self.exact = macro, v, exact
        columns = columns_of(macro)
        self.weight, rows = columns.weight, v.cells.shape[0]
        self.columns = v.codes.shape[2]
        self.seen = (v.cells.reshape(rows, v.output_count, -1) @ columns.mix.T).reshape(rows, -1)
        self.thresholds = v.thresholds
        self.code_count = 0 if v.thresholds is None else v.thresholds.shape[1] + 1
        self.converters = -(-self.columns // macro.columns_per_adc)
        self.converter_of = np.arange(self.columns) // macro.columns_per_adc
        self.references = 0 if v.reference_cells is None else v.reference_cells.shape[1]
        self.raised = macro.raised_rows
        self.slice_bits = [min(width, macro.input.bits - place) for place, width in macro.input.spans]
        self.skips = macro.timing.skip_zero_slices
        self.sizes = dict(self._sizes())

    def _sizes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        v = self.v
        if self.code_count:
            yield "codes", (self.converters, self.code_count)
            if self.references:
                yield "reference codes", (self.references, self.code_count)
            if self.exact and self.code_count > 2:
                yield "clips", (self.converters, 2)
        elif self.exact:
            yield "sums", (self.columns, 2)
        if v.shift_add is not None:
            yield "accumulators", (v.output_count, 3)
            if self.macro.accumulator_bits is not None and self.macro.accumulator_overflow != "error":
                yield "overflows", (v.output_count, 2)
        if v.outputs is not None:
            yield "outputs", (v.output_count, 2)
        yield "driven", (v.groups, v.slices)
        if self.skips:
            yield "skipped", (v.groups, v.slices)
            yield "order", (3,)
        if self.macro.timing.overlap:
            yield "overlap", (2,)

    def rows_of(self, group: int) -> slice:
        """Rows of a group that is raised together."""
        return slice(group * self.raised, min((group + 1) * self.raised, len(self.seen)))

    def table(self, column: int) -> Ints:
        """Thresholds of a column."""
        assert self.thresholds is not None
        return np.asarray(self.thresholds[column if len(self.thresholds) > 1 else 0])

    def clips(self) -> tuple[Ints, Ints]:
        """[columns] the largest sum that is clipped at the low end, and the smallest at the high end."""
        assert self.thresholds is not None
        t = np.broadcast_to(self.thresholds, (self.columns, self.code_count - 1))
        return 2 * t[:, 0] - t[:, 1] - 1, 2 * t[:, -1] - t[:, -2]

    def sum_ends(self) -> tuple[Ints, Ints]:
        """[columns] smallest and largest sum of all groups."""
        top = (1 << max(self.slice_bits)) - 1
        low, high = np.zeros(self.columns, np.int64), np.zeros(self.columns, np.int64)
        for group in range(self.v.groups):
            part = self.seen[self.rows_of(group)]
            np.minimum(low, np.minimum(part, 0).sum(axis=0) * top, out=low)
            np.maximum(high, np.maximum(part, 0).sum(axis=0) * top, out=high)
        return low, high


def wires_of(v: MacroVectors) -> Wires:
    """What a macro's vectors show."""
    waits = v.schedule.held, v.schedule.idle
    return Wires(v.wordlines, v.codes, v.driven, v.reference_codes, v.shift_add, v.outputs, *waits)


def sums_of(wordlines: Ints, cells: Ints) -> Ints:
    """[..., columns] what conversions see; in float64, which holds them exactly and has faster products."""
    return np.asarray(wordlines.astype(np.float64) @ cells.astype(np.float64)).astype(np.int64)


COLUMN_KINDS = ("codes", "reference codes", "clips", "sums")  # which steps decide one by one


def measure(block: Block, w: Wires) -> dict[str, Bools]:
    """reached[op, ...] of every kind: which operation reaches which goal."""
    psums = sums_of(w.wordlines, block.seen) if "clips" in block.sizes else w.codes
    made = measure_columns(block, psums, w.codes, w.reference_codes, w.driven)
    for kind, size in block.sizes.items():
        match kind:
            case "codes" | "reference codes" | "clips" | "sums":
                pass
            case "accumulators":
                made[kind] = _accumulators(block, w)
            case "overflows":
                made[kind] = _overflows(block, w)
            case "outputs":
                assert w.outputs is not None
                made[kind] = np.stack([w.outputs < 0, w.outputs > 0], axis=2)
            case "driven" | "skipped":
                on = w.driven if kind == "driven" else ~w.driven
                made[kind] = on.reshape(len(on), *size)
            case "order":
                on, off = w.driven, ~w.driven
                after = ((on[:, :-1] & off[:, 1:]).any(axis=1), (off[:, :-1] & on[:, 1:]).any(axis=1))
                made[kind] = np.stack([off.all(axis=1), *after], axis=1)
            case "overlap":
                made[kind] = np.stack([(w.held > 0).any(axis=1), (w.idle > 0).any(axis=1)], axis=1)
            case other:
                raise AssertionError(other)
    return {kind: made[kind] for kind in block.sizes}


def measure_columns(
    block: Block, psums: Ints, codes: Ints, reference_codes: Ints | None, driven: Bools
) -> dict[str, Bools]:
    """reached[op, ...] of the kinds that columns decide, step by step."""
    made: dict[str, Bools] = {}
    if "codes" in block.sizes:
        made["codes"] = _met(codes, driven, block.converter_of, block.sizes["codes"])
    if "reference codes" in block.sizes:
        assert reference_codes is not None
        size = block.sizes["reference codes"]
        made["reference codes"] = _met(reference_codes, driven, np.arange(size[0]), size)
    on = driven[:, :, None, None]
    if "clips" in block.sizes:
        low, high = block.clips()
        ends = (np.stack([psums <= low, psums >= high], axis=3) & on).any(axis=1)
        first = np.arange(block.converters) * block.macro.columns_per_adc
        made["clips"] = np.logical_or.reduceat(ends, first, axis=1)
    if "sums" in block.sizes:
        low, high = block.sum_ends()
        made["sums"] = np.asarray((np.stack([codes == low, codes == high], axis=3) & on).any(axis=1))
    return made


def _met(codes: Ints, driven: Bools, place: Ints, size: tuple[int, ...]) -> Bools:
    """[ops, places, codes]."""
    made = np.zeros((len(codes), *size), dtype=np.bool_)
    op = np.broadcast_to(np.arange(len(codes))[:, None, None], codes.shape)
    on = np.broadcast_to(driven[:, :, None], codes.shape)
    made[op[on], np.broadcast_to(place, codes.shape)[on], codes[on]] = True
    return made


def added_bits(size: Ints) -> Ints:
    """Bits of the magnitude of what is added."""
    return np.frexp(np.abs(size).astype(np.float64))[1].astype(np.int64)


def _accumulators(block: Block, w: Wires) -> Bools:
    assert w.shift_add is not None
    after, added = w.shift_add, step_sums(block, w.codes, w.driven)
    before = np.concatenate([np.zeros_like(after[:, :1]), after[:, :-1]], axis=1)
    above = (before ^ after) >> np.minimum(added_bits(added), 62) != 0
    carry = above & ((before < 0) == (after < 0)) & (added != 0)
    return np.stack([(after < 0).any(axis=1), (after > 0).any(axis=1), carry.any(axis=1)], axis=2)


def _overflows(block: Block, w: Wires) -> Bools:
    """A sum leaves the accumulator in a step where what the step adds is not what the sum changes by."""
    assert w.shift_add is not None
    assert block.macro.accumulator_bits is not None
    low, high = limits(block.macro.accumulator_bits)
    before = np.concatenate([np.zeros_like(w.shift_add[:, :1]), w.shift_add[:, :-1]], axis=1)
    free = before + step_sums(block, w.codes, w.driven)
    return np.stack([(free < low).any(axis=1), (free > high).any(axis=1)], axis=2)


def step_sums(block: Block, codes: Ints, driven: Bools) -> Ints:
    """[ops, steps, outputs] what each step adds, weighed by its input slice; levels are integers."""
    values = codes
    if block.v.levels is not None:
        table = np.broadcast_to(block.v.levels, (block.columns, block.code_count)).astype(np.int64)
        values = table[np.arange(block.columns), codes]
    values = np.where(driven[..., None], values, 0).reshape(*codes.shape[:2], block.v.output_count, -1)
    place = np.tile(input_slice_weights(block.macro), block.v.groups)
    return np.asarray((values * column_weights(block)).sum(axis=3) * place[:, None])


def column_weights(block: Block) -> Ints:
    """[outputs, conversions]: what a column's value counts; of one that is stored inverted, less than nothing."""
    count = len(block.weight)
    made = np.broadcast_to(block.weight, (block.v.output_count, count))
    if block.v.flipped is None:
        return np.asarray(made)
    return np.asarray(np.where(block.v.flipped.reshape(made.shape) != 0, -made, made))
