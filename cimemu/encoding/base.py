"""What a weight encoding says of itself; every stage that handles weights asks these questions and no others."""

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any, ClassVar, Literal, NamedTuple


class Correction(NamedTuple):
    """What the digital unit makes of shift-added columns: `x @ w = of_y * y + of_inputs * sum_k x`."""

    of_y: Literal[1, 2] = 1
    of_inputs: int = 0

    def applied(self, y: Any, sums: Any) -> Any:
        """The corrected outputs of `y` and the sums of inputs, arrays (of NumPy or torch) that broadcast.

        Both factors are small integers, and one of `y` is a power of two, so that a float64 result is rounded once.
        """
        return (y if self.of_y == 1 else self.of_y * y) + self.of_inputs * sums


UNCORRECTED = Correction()  # outputs are the shift-added columns as they are


class Encoding:
    """How an integer weight lies in cells: one encoding for the widths that it takes.

    A weight is stored as one level for each of its columns, least significant first. With `sides` = 2 the columns of
    a plus side come first, then as many of a minus side, which count negative. The one law is

        w = of_y * (sum of place * level over plus columns - that over minus columns) + of_inputs

    A subclass gives `name`, `summary`, `values` and `parts` (or `digits`); the other methods have the defaults of a
    plain binary number. `digits` and `parts` are handed NumPy arrays (int16), torch tensors and Python integers in turn,
    so they use operators alone (`+ - * & | ^ >> < >`), which all of these have.
    """

    plugin_group: ClassVar[str] = "cimemu.encoding"
    name: ClassVar[str]
    summary: ClassVar[str]  # one line for lists and tables: what a cell holds
    sides: ClassVar[Literal[1, 2]] = 1
    one_side_at_a_time: ClassVar[bool] = False  # of two sides, one of every weight is 0 (training shares by it)
    may_be_flipped: ClassVar[bool] = False  # a column may be stored inverted (`weight.column_flipping`)

    def __init_subclass__(cls) -> None:
        """TypeError where an encoding has a name, but does not say what cells hold."""
        if hasattr(cls, "name") and cls.parts is Encoding.parts and cls.digits is Encoding.digits:
            raise TypeError(f"encoding {cls.name} lacks parts (or digits), define it: what cells hold")

    def refusal(self, weight_bits: int, cell_bits: int) -> str | None:
        """Why weights of `weight_bits` in cells of `cell_bits` cannot be: value, rule and remedy; None where they can."""
        return None

    def values(self, weight_bits: int) -> range:
        """Every weight that can be stored."""
        raise TypeError(f"encoding {self.name} lacks values, define it: the range of weights")

    def parts(self, w: Any, weight_bits: int) -> Sequence[Any]:
        """A non-negative integer for each side of weights `w`, whose binary digits are the cells' levels."""
        raise TypeError(f"encoding {self.name} lacks parts (or digits), define it: what cells hold")

    def part_bits(self, weight_bits: int) -> int:
        """Bits of the integers that `parts` gives."""
        return weight_bits

    def slices(self, weight_bits: int, cell_bits: int) -> int:
        """Columns of one side."""
        return ceil(self.part_bits(weight_bits) / cell_bits)

    def places(self, weight_bits: int, cell_bits: int) -> tuple[int, ...]:
        """What a level of 1 counts in each column of one side; never 0."""
        return tuple(2 ** (cell_bits * s) for s in range(self.slices(weight_bits, cell_bits)))

    def digits(self, w: Any, weight_bits: int, cell_bits: int) -> Iterable[Any]:
        """The level, 0 .. 2^cell_bits - 1, of every column of weights `w`: arrays of the shape of `w`."""
        slices, mask = self.slices(weight_bits, cell_bits), 2**cell_bits - 1
        return ((part >> (s * cell_bits)) & mask for part in self.parts(w, weight_bits) for s in range(slices))

    def correction(self, weight_bits: int) -> Correction:
        """Factors of the shift-added columns and of the sum of inputs."""
        return UNCORRECTED

    def decode(self, levels: Sequence[int], weight_bits: int, cell_bits: int) -> int:
        """The weight that levels, one for each column, stand for: the law above, on Python integers."""
        places = self.places(weight_bits, cell_bits)
        of_y, of_inputs = self.correction(weight_bits)
        signed = [*places, *(-place for place in places)][: self.sides * len(places)]
        return of_y * sum(place * int(level) for place, level in zip(signed, levels, strict=True)) + of_inputs


def signed_range(weight_bits: int) -> range:
    """Two's complement numbers of `weight_bits` bits."""
    return range(-(2 ** (weight_bits - 1)), 2 ** (weight_bits - 1))
