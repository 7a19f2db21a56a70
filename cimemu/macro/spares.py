"""Spare rows and columns of a macro: which of its faulty lines they stand for, by the harm to the weights that are written."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.variation.base import Block
from cimemu.variation.compose import Variations

NOT_STUCK = -1


@dataclass(frozen=True, eq=False)
class Array:
    """What all cells of a macro were told: ideal levels and whether the cell is programmed at all, [rows, columns] each.

    `places` [columns] are the steps of a weight that a level of the column is worth, without sign; 0: it holds none.
    """

    targets: NDArray[np.uint8]
    programmed: NDArray[np.bool_]
    places: NDArray[np.int64]

    @classmethod
    def erased(cls, rows: int, columns: int) -> "Array":
        """No cell is programmed: all hold level 0."""
        shape = (rows, columns)
        return cls(np.zeros(shape, np.uint8), np.zeros(shape, np.bool_), np.zeros(columns, np.int64))

    @classmethod
    def of(cls, macro: Macro) -> "Array":
        """The erased cells that weights may be written to, without spares."""
        return cls.erased(macro.rows, macro.columns)

    def add(self, first_column: int, macro: Macro, targets: NDArray[np.uint8], programmed: NDArray[np.bool_]) -> None:
        """Tell the cells of a block, which starts at row 0."""
        rows, columns = targets.shape
        mine = slice(first_column, first_column + columns)
        self.targets[:rows, mine], self.programmed[:rows, mine] = targets, programmed
        slices = np.abs(np.array(macro.encoding.places(macro.weight.bits, macro.cell.bits), dtype=np.int64))
        places = slices[np.arange(columns) % macro.columns_per_output % len(slices)]
        places[data_of(macro, columns) :] = 1  # checksum columns move no weight: they come last
        self.places[mine] = places


def data_of(macro: Macro, columns: int) -> int:
    """Data columns of a block that has so many columns with its checksum columns."""
    if not macro.repair.checksum_columns:
        return columns
    wide = macro.columns_per_output
    return next(n * wide for n in range(columns // wide, 0, -1) if n * wide + macro.checks_of(n * wide) <= columns)


@dataclass(frozen=True, eq=False)
class Lines:
    """The physical row and column of every row and column that weights are written to; spares come behind the others."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]

    @property
    def moved(self) -> tuple[int, int]:
        """How many rows and columns are replaced."""
        return _moved(self.rows), _moved(self.columns)

    def told(self, array: Array, macro: Macro) -> Array:
        """What the physical cells of the macro are told, spares with them; a line that is replaced holds nothing."""
        rows, columns = physical_shape(macro)
        made = Array.erased(rows, columns)
        places = np.ix_(self.rows, self.columns)
        made.targets[places], made.programmed[places] = array.targets, array.programmed
        made.places[self.columns] = array.places
        return made


def _moved(lines: NDArray[np.int64]) -> int:
    return int((lines != np.arange(len(lines))).sum())


def has_spares(macro: Macro) -> bool:
    """Whether a macro can be repaired."""
    return bool(macro.repair.spare_rows or macro.repair.spare_columns)


def physical_shape(macro: Macro) -> tuple[int, int]:
    """[rows, columns] of all cells, spares with them."""
    return macro.rows + macro.repair.spare_rows, macro.columns + macro.repair.spare_columns


def stuck_levels(variations: Variations, macro: Macro, number: int, write: int) -> NDArray[np.int64]:
    """The level at which every physical cell of macro `number` is stuck, or NOT_STUCK: what its test after making finds."""
    made = np.full(physical_shape(macro), NOT_STUCK, dtype=np.int64)
    nothing = Array.erased(*made.shape)
    block = Block(
        levels=nothing.targets.astype(np.float64), targets=nothing.targets, programmed=nothing.programmed,
        top=2**macro.cell.bits - 1, macro=number, first_column=0, write=write,
    )  # fmt: skip
    for model, stream in variations.at("cells"):
        model.stick(block, stream, made)
    return made


def repaired(array: Array, stuck: NDArray[np.int64], macro: Macro) -> Lines:
    """Columns first, then rows: the most harmful takes the spare on which it is least harmful, where that is less.

    The harm of a line is what its stuck cells move weights by, in steps of the weights, added up over its cells. Of equal lines
    and of equal spares the first comes first.
    """
    rows, columns = np.arange(macro.rows), np.arange(macro.columns)
    levels = np.where(array.programmed, array.targets.astype(np.int64), NOT_STUCK)
    columns = _replaced(
        _harm(levels, stuck[: macro.rows, : macro.columns]).sum(axis=0) * array.places,
        lambda c: _harm(levels[:, c : c + 1], stuck[: macro.rows, macro.columns :]).sum(axis=0) * array.places[c],
        columns,
        macro.repair.spare_columns,
    )
    here = stuck[:, columns]
    rows = _replaced(
        _harm(levels, here[: macro.rows]) @ array.places,
        lambda r: _harm(levels[r : r + 1], here[macro.rows :]) @ array.places,
        rows,
        macro.repair.spare_rows,
    )
    return Lines(rows, columns)


def _harm(levels: NDArray[np.int64], stuck: NDArray[np.int64]) -> NDArray[np.int64]:
    """Levels by which cells are off that are stuck and should hold one."""
    return np.where((stuck != NOT_STUCK) & (levels != NOT_STUCK), np.abs(stuck - levels), 0)


def _replaced(
    own: NDArray[np.int64], on_spares: Callable[[int], NDArray[np.int64]], lines: NDArray[np.int64], spares: int
) -> NDArray[np.int64]:
    """`lines` with the harmful ones replaced: `own` is their harm, `on_spares(line)` what it is on every spare."""
    made, free = lines.copy(), np.ones(spares, dtype=np.bool_)
    for line in np.argsort(-own, kind="stable").tolist():
        if own[line] == 0 or not free.any():
            break
        harm = on_spares(line)
        spare = int(np.argmin(np.where(free, harm, np.iinfo(np.int64).max)))
        if harm[spare] < own[line]:
            made[line], free[spare] = len(lines) + spare, False
    return made
