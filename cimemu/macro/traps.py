"""Trap noise: cells that lose a share of their conductance at some reads, state by state."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimemu.kernels.noise import philox_naive
from cimemu.macro.encode import Columns
from cimemu.macro.read_noise import Reads
from cimemu.macro.trap_kernels import OCTET, take_losses


class HeldFor(NamedTuple):
    """What a trap's state is drawn anew for, beside every image."""

    position: bool
    step: bool


HELD_FOR = {"read": HeldFor(True, True), "input": HeldFor(True, False), "image": HeldFor(False, False)}


@dataclass(frozen=True, eq=False)
class Traps:
    """The traps of one model in the physical columns of one matrix.

    A trap is filled where 16 random bits are below `chance`; they are keyed by (the column's key, global image index,
    output position, input slice, row in its macro, column in its macro), without the slice or both slice and position
    where the state is held for longer. Row and group go together: a row belongs to one group.
    """

    keys: NDArray[np.uint64]  # [row blocks, physical columns]: the stream of the macro that holds the column
    columns: NDArray[np.int64]  # [physical columns]: the column's number in its macro
    swing: NDArray[np.int64]  # [K, physical columns] x 2^fraction_bits: what a filled trap takes; 0: no trap
    chance: int  # of 2^16
    hold: str  # read, input or image

    @cached_property
    def heads(self) -> NDArray[np.int64]:
        """The first column of every octet [O]: octets are counted from the first column of a block."""
        return np.flatnonzero(self.columns % OCTET == 0)

    @cached_property
    def octets(self) -> NDArray[np.int64]:
        """Their numbers in their macros [O]."""
        return self.columns[self.heads] // OCTET

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Every column's place among the lanes of all octets [C]."""
        return (np.cumsum(self.columns % OCTET == 0) - 1) * OCTET + self.columns % OCTET

    @cached_property
    def lanes(self) -> NDArray[np.int64]:
        """`swing` as [K, O, 8]."""
        lanes = np.zeros((len(self.swing), len(self.heads) * OCTET), dtype=np.int64)
        lanes[:, self.places] = self.swing
        return lanes.reshape(len(self.swing), -1, OCTET)

    @cached_property
    def drawn(self) -> NDArray[np.bool_]:
        """Where an octet has a trap [K, O]."""
        return np.asarray(self.lanes.any(axis=2))


def trap_losses(
    piece: NDArray[Any], traps: tuple[Traps, ...], reads: Reads, place: tuple[int, int, int, int]
) -> NDArray[np.int64]:
    """What filled traps take off the sums of physical columns [P, C] for slice values `piece` [P, rows of a group].

    `place` is (row block, the group's first row, the same in its macro, input slice).
    """
    block, first, in_block, step = place
    lost = np.zeros((len(piece), traps[0].octets.shape[0], OCTET), dtype=np.int64)
    values = np.ascontiguousarray(piece, dtype=np.uint16)
    for source in traps:
        rows = slice(first, first + piece.shape[1])
        held = HELD_FOR[source.hold]
        take_losses(
            values,
            (source.lanes[rows], source.drawn[rows], source.keys[block, source.heads], source.octets, source.chance),
            (in_block, step if held.step else 0, not held.position),
            np.array([reads.first_row, reads.positions, reads.replicas, reads.replica], dtype=np.int64),
            lost,
        )
    return lost.reshape(len(piece), -1)[:, traps[0].places]


def seen_by_conversions(physical: NDArray[np.int64], columns: Columns) -> NDArray[np.int64]:
    """Sums of physical columns [P, C] as conversions see them [P, converted columns]."""
    split = physical.reshape(len(physical), -1, columns.mix.shape[1])
    return np.asarray((split @ columns.mix.T).reshape(len(physical), -1))


def lost_naive(
    source: Traps, block: int, row: int, first_row: int, column: int, image: int, position: int, step: int
) -> int:
    """What one cell's trap takes off its level at one read, by the definition: all of its swing, or nothing."""
    octet, lane = divmod(int(source.columns[column]), 8)
    step = step if HELD_FOR[source.hold].step else 0
    position = position if HELD_FOR[source.hold].position else 0
    key = int(source.keys[block, column])
    words = philox_naive(image % 2**32, position, (row - first_row) * 2**16 + octet, step, key)
    filled = words[lane // 2] // 2 ** (16 * (lane % 2)) % 2**16 < source.chance
    return int(source.swing[row, column]) if filled else 0
