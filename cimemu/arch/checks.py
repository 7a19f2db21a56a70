"""Checksum columns of a macro: how many of them guard its data columns, and what each of them holds."""

from functools import lru_cache
from typing import NamedTuple


class CheckGroup(NamedTuple):
    """Neighbouring data columns of a block with a sum of their levels and a sum weighed by 1, 2, ..., in digits of a cell each."""

    first: int  # data column of the block
    columns: int
    plain: int  # checksum columns of the sum, the least digit first
    weighed: int  # of the weighed sum, behind them

    @property
    def checks(self) -> int:
        """Checksum columns of the group."""
        return self.plain + self.weighed


@lru_cache(4096)
def check_groups(data: int, guarded: int, cell_bits: int) -> tuple[CheckGroup, ...]:
    """The groups of a block of `data` columns, `guarded` columns each, the last one of what is left; none where 0 are guarded."""
    top = 2**cell_bits - 1
    made = []
    for first in range(0, data if guarded else 0, guarded or 1):
        columns = min(guarded, data - first)
        sums = top * columns, top * columns * (columns + 1) // 2
        made.append(CheckGroup(first, columns, *(-(-most.bit_length() // cell_bits) for most in sums)))
    return tuple(made)


def check_columns(data: int, guarded: int, cell_bits: int) -> int:
    """Checksum columns of a block of `data` columns."""
    return sum(group.checks for group in check_groups(data, guarded, cell_bits))


@lru_cache(4096)
def outputs_within(columns: int, per_output: int, guarded: int, cell_bits: int) -> int:
    """Outputs of so many columns each whose checksum columns fit `columns` with them."""
    made = columns // per_output
    while made and made * per_output + check_columns(made * per_output, guarded, cell_bits) > columns:
        made -= 1
    return made
