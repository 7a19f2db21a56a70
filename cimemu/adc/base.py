"""What every converter model shares: bits, circuit, conversion cycles, and parameters of any granularity."""

from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from cimemu.errors import ArchError
from cimemu.record import Grown

Circuit = Literal["sar", "flash", "ramp"]


def _to_plain(value: Any) -> Any:
    """NumPy arrays and scalars become nested lists and Python numbers, so that YAML and arrays agree."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


MOST_CYCLES = 10**6  # of one step: a millisecond at 1 GHz
LIMIT = 2.0**40  # far beyond any psum, and sums of values stay exact in float64 and int64
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-LIMIT, le=LIMIT)]
Grid = Annotated[
    Finite | list[list[Finite]],
    BeforeValidator(_to_plain),
]
Vector = Annotated[
    list[Finite] | list[list[list[Finite]]],
    BeforeValidator(_to_plain),
]


class ConverterBase(Grown):
    """A converter with codes: a table of thresholds and one of levels, in psum units, and the time of one conversion.

    A converter of one's own derives from this class, has a field `model` with its name, gives `circuit` a default, and
    defines `thresholds` and `levels`: fields, properties or methods. Each is one vector for the whole layer, or
    `[row blocks][column blocks or converted columns]` of vectors. It may also define `conversion_cycles()`, and
    `estimate(site)`, a `cimemu.cost.site.Estimate` of one conversion's energy (pJ) and one converter's area (um2) and
    leakage (uW), which is asked where the architecture names no estimator and no numbers for `costs.adc`.
    """

    plugin_group: ClassVar[str] = "cimemu.adc"

    circuit: Circuit = Field(description="sar, flash or ramp: decides the cycles of one conversion")
    bits: int = Field(ge=1, le=14, description="code width in bits; there are 2^bits codes")
    cycles: int | None = Field(
        None,
        ge=1,
        le=MOST_CYCLES,
        description="cycles of one conversion; default by circuit: sar = bits, flash = 1, ramp = 2^bits - 1",
    )

    phases: tuple[int, ...] = Field(
        (),
        description="cycles of a conversion by output bit, in the place of `cycles`: as many of them as there are bits, added up; "
        "each is a step",
    )
    later: ClassVar[tuple[str, ...]] = ("phases",)

    @model_validator(mode="after")
    def _phases_are_the_cycles(self) -> Self:
        if not self.phases:
            return self
        if self.cycles is not None:
            raise ValueError("phases with cycles: a conversion has one length, leave one of them out")
        if len(self.phases) < self.bits:
            raise ValueError(f"phases of {len(self.phases)} bits, must be at least of bits = {self.bits}")
        if min(self.phases) < 0 or not 1 <= self.conversion_steps() <= MOST_CYCLES:
            raise ValueError(f"phases {list(self.phases)}, must be >= 0 and add up to 1 .. {MOST_CYCLES} over the bits")
        return self

    def conversion_steps(self) -> int:
        """Steps of one conversion, which `costs.adc.step_pj` prices: phases, or comparisons of the circuit."""
        if self.phases:
            return sum(self.phases[: self.bits])
        top = 2**self.bits - 1
        steps: int = {"sar": self.bits, "flash": top, "ramp": top}[self.circuit]
        return steps

    def conversion_cycles(self) -> int:
        """Cycles of one conversion (contract section 3)."""
        if self.cycles is not None:
            return self.cycles
        if self.phases:
            return self.conversion_steps()
        made: int = {"sar": self.bits, "flash": 1, "ramp": 2**self.bits - 1}[self.circuit]
        return made

    def tables(self) -> tuple[list[Any], list[Any]]:
        """Thresholds (2^bits - 1 of a vector) and levels (2^bits), nested lists as in the fields of a nonlinear converter.

        ArchError where a converter's own tables have another length, descend, or hold what is no finite number.
        """
        return _table(self, "thresholds", 2**self.bits - 1), _table(self, "levels", 2**self.bits)


def _table(adc: ConverterBase, name: str, length: int) -> list[Any]:
    """A converter's own table as nested lists of Python numbers, checked."""
    given = getattr(adc, name)
    given = given() if callable(given) else given
    where = f"macro.adc: {type(adc).__name__}.{name}"
    try:
        table: NDArray[np.float64] = np.asarray(given, dtype=np.float64)
    except (ValueError, TypeError):
        raise ArchError(
            f"{where} = {given!r:.60}, must be numbers: a vector, or [row blocks][columns] of them"
        ) from None
    if table.ndim not in (1, 3) or table.shape[-1] != length:
        raise ArchError(
            f"{where} has shape {list(table.shape)}, must end in {length}: one vector, or [row blocks][columns]"
        )
    if not bool((np.abs(table) <= LIMIT).all()):
        raise ArchError(f"{where} holds what is no number within 2^40, must be finite")
    if name == "thresholds" and bool((np.diff(table, axis=-1) < 0).any()):
        raise ArchError(f"{where} descend, must ascend")
    made: list[Any] = table.tolist()
    return made
