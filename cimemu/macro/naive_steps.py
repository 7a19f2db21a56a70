"""Steps of the definition, and what is counted and added up over them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from cimemu.arch.macro import Macro
from cimemu.macro.accumulator import overflow_error


class Step(NamedTuple):
    """One driven (group, input slice) of one input: which rows are given what."""

    p: int
    image: int
    position: int
    g: int
    block: int
    first: int
    last: int
    first_row: int  # of the row block
    group: int  # in its row block
    i: int
    piece: list[int]
    weight: int

    @property
    def driven(self) -> Iterator[tuple[int, int]]:
        """(row, value) of every row of the group."""
        return zip(range(self.first, self.last), self.piece)


@dataclass
class Tallies:
    """Of one input, by (row block, converted column) and by (row block, output): weighted counts of codes."""

    columns: dict[tuple[int, int], dict[int, int]] = field(default_factory=dict)
    references: dict[tuple[int, int], dict[int, int]] = field(default_factory=dict)
    put_right: dict[tuple[int, int], int] = field(
        default_factory=dict
    )  # weighted sums of what checksums raise values by


def count(tallies: dict[tuple[int, int], dict[int, int]], place: tuple[int, int], key: int, weight: int) -> None:
    """Add `weight` to the count of a code."""
    tally = tallies.setdefault(place, {})
    tally[key] = tally.get(key, 0) + weight


def accumulate(running: int, macro: Macro, place: tuple[int, int, int], step: Step) -> int:
    """The running sum after one (group, slice), held to `accumulator_bits`."""
    if macro.accumulator_bits is None:
        return running
    low, high = -(2 ** (macro.accumulator_bits - 1)), 2 ** (macro.accumulator_bits - 1) - 1
    if low <= running <= high:
        return running
    if macro.accumulator_overflow == "saturate":
        made: int = min(max(running, low), high)
        return made
    if macro.accumulator_overflow == "wrap":
        value: int = (running - low) % 2**macro.accumulator_bits + low
        return value
    raise overflow_error(macro, running, place, (step.block, step.group, step.i))
