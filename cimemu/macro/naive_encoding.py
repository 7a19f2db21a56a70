"""Weights in cells from their definitions: the contract's four encodings anew, any other by its own law `decode`."""

from collections.abc import Sequence
from typing import NamedTuple

from cimemu.arch.macro import Macro
from cimemu.errors import ArchError


class NaiveColumns(NamedTuple):
    """How the columns of one output come together: `of_y * (plus - minus side, by places) + of_inputs * sum_k x`."""

    places: list[int]
    pair: bool  # plus columns, then as many minus columns
    of_y: int
    of_inputs: int


def columns_naive(macro: Macro) -> NaiveColumns:
    """Places and the correction of `macro`'s encoding."""
    bits, cell = macro.weight.bits, macro.cell.bits
    powers = [2 ** (cell * s) for s in range(macro.weight_slices)]
    match macro.weight.encoding:
        case "offset":
            return NaiveColumns(powers, False, 1, -(2 ** (bits - 1)))
        case "twos_complement":
            return NaiveColumns([*powers[:-1], -powers[-1]], False, 1, 0)
        case "differential":
            return NaiveColumns(powers, True, 1, 0)
        case "binary":
            return NaiveColumns(powers, False, 2, -1)
        case _:
            encoding, count = macro.encoding, macro.columns_per_output
            of_nothing = encoding.decode([0] * count, bits, cell)
            alone = [
                encoding.decode([int(s == c) for s in range(count)], bits, cell) - of_nothing for c in range(count)
            ]
            of_y = encoding.correction(bits).of_y
            return NaiveColumns(
                [one // of_y for one in alone[: macro.weight_slices]], encoding.sides == 2, of_y, of_nothing
            )


def levels_naive(weight: int, macro: Macro) -> Sequence[int]:
    """Levels of the columns of one output that stand for `weight`."""
    bits, cell, slices = macro.weight.bits, macro.cell.bits, macro.weight_slices
    match macro.weight.encoding:
        case "offset":
            stored = [weight + 2 ** (bits - 1)]
        case "twos_complement":
            stored = [weight % 2**bits]
        case "differential":
            stored = [max(weight, 0), max(-weight, 0)]
        case "binary":
            stored = [(weight + 1) // 2]
        case name:
            levels = [int(level) for level in macro.encoding.digits(weight, bits, cell)]
            if macro.encoding.decode(levels, bits, cell) != weight or not all(0 <= v < 2**cell for v in levels):
                raise ArchError(
                    f"encoding {name}: weight {weight} is stored as levels {levels}, which decode to "
                    f"{macro.encoding.decode(levels, bits, cell)}, must be the weight, of levels 0 .. {2**cell - 1}; "
                    "see cimemu.testing.check_encoding"
                )
            return levels
    return [(part // 2 ** (s * cell)) % 2**cell for part in stored for s in range(slices)]
