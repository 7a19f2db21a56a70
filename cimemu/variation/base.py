"""What every variation model shares: a name, parameters in physical units, and one verb on a block of cells.

Conductances are physical: `on_ohm` of any model is the resistance of a cell at its highest level as it was written,
whatever other models are on. With an on/off ratio that cell conducts `top + leakage` level steps, so a step is
`1 / on_ohm / (top + leakage)` = `(1 / on_ohm) * (1 - 1 / ratio) / top`.
"""

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any, ClassVar, Literal, assert_never

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cimemu.kernels.noise import stream_key
from cimemu.kernels.small import cell_lanes, cell_words
from cimemu.record import Record
from cimemu.variation.wires import Wires

Stage = Literal["cells", "wires", "drivers", "lines", "converter", "read", "calibration"]
# What changes a block, in this order whatever order the models are given in: a wire is loaded by finished conductances,
# and a driver's amplitude loads nothing. Models of one stage act in the order given.
CELL_STAGES: tuple[Stage, ...] = ("cells", "wires", "drivers")
BLOCK_STAGES: tuple[Stage, ...] = (*CELL_STAGES, "lines", "read")
Per = Literal["cell", "write"]
Owner = Literal["nothing", "device", "writing"]
OWNERS: dict[Per, Owner] = {"cell": "device", "write": "writing"}
WORD = 1 << 32


def per_field(default: Per) -> Any:
    """The parameter of models whose draws may belong to a cell or to a writing of it."""
    return Field(
        default,
        description="what a draw belongs to: cell (it stays when the macro is written again) or write (drawn anew each time)",
    )


@dataclass(eq=False)
class Block:
    """One block of cells in its macro while it is written; the block starts at row 0 of the macro.

    `levels` float64 [R, C] are changed in place: effective conductances in units of one level step; `targets` are
    the ideal levels and `programmed` [R, C] says which cells are written to them: the others, off the diagonal of
    packed groups or of no block at all, hold level 0 as they were erased. `pulses` counts write pulses, `row_pulses` the
    longest of each row, summed (a row is written at once), where a model counts them.
    """

    levels: NDArray[np.float64]
    targets: NDArray[np.uint8]
    top: int  # the highest level, 2^cell.bits - 1
    macro: int
    first_column: int
    write: int  # earlier writes of this macro
    largest_input: int = 1  # the highest slice value, 2^dac_bits - 1
    leakage: float = 0.0  # what level 0 conducts once all models are applied, in level steps
    active_rows: int = 1 << 16  # rows raised together
    off: float = 0.0  # what level 0 conducts by the models applied so far, in level steps
    pulses: int | None = None
    row_pulses: int | None = None
    programmed: NDArray[np.bool_] | None = None  # None: all cells
    always: NDArray[np.float64] = field(init=False)  # [C] levels that every conversion sees besides its inputs
    bow: NDArray[np.float64] = field(init=False)  # [largest_input + 1] more drive than the slice value says
    reads: list[tuple["Stream", NDArray[np.float64]]] = field(default_factory=list)  # variances [C] of single reads
    traps: list["TrapCells"] = field(default_factory=list)
    amplitude: NDArray[np.float64] = field(init=False)  # [R] of the wordline drivers
    array: NDArray[np.float64] | None = (
        None  # [macro rows, macro columns] conductances of all cells; None: of these alone
    )
    gated: "GatedArray | None" = None  # where every read is solved by itself

    def __post_init__(self) -> None:
        """Nothing beside the cells yet."""
        self.always = np.zeros(self.levels.shape[1])
        self.bow = np.zeros(self.largest_input + 1)
        self.amplitude = np.ones(len(self.levels))

    def finish(self) -> None:
        """Its levels are written: of every cell nothing is needed any more, only what stands beside the cells."""
        self.levels = np.broadcast_to(np.float64(0), self.levels.shape)
        self.targets = np.broadcast_to(np.uint8(0), self.levels.shape)
        self.programmed = self.array = None

    @property
    def erased(self) -> NDArray[np.bool_]:
        """The cells [R, C] that are not programmed."""
        return np.zeros(self.levels.shape, dtype=np.bool_) if self.programmed is None else ~self.programmed

    @property
    def on_steps(self) -> float:
        """What a cell at the highest level conducts as written, in level steps: 1 / on_ohm."""
        return self.top + self.leakage


@dataclass(frozen=True)
class Stream:
    """The random stream of one model in one trial: keyed by (seed, trial, model name, instance of that model)."""

    seed: int
    trial: int
    model: str
    instance: int
    reads: tuple[int, int] | None = None  # seed and trial of single reads, where they are others

    @property
    def key(self) -> np.uint64:
        """The key of cell draws."""
        return np.uint64(stream_key(self.seed, self.trial, self.model, self.instance))

    def read_key(self, macro: int, first_column: int, write: int) -> np.uint64:
        """The key of the reads of one block: columns are counted from its first one."""
        seed, trial = self.reads or (self.seed, self.trial)
        return np.uint64(stream_key(seed, trial, self.model, self.instance, macro, first_column, write))

    def lanes(self, block: Block, per: Per, draw: int = 0) -> NDArray[np.uint16]:
        """16 random bits of every cell [R, C], of the device or of this writing of it."""
        lanes = np.empty(block.levels.shape, dtype=np.uint16)
        cell_lanes(self.key, block.macro, 0, block.first_column, _writes(block, per), draw, lanes)
        return lanes

    def words(self, block: Block, per: Per) -> NDArray[np.uint64]:
        """64 random bits of every cell [R, C], of the device or of this writing of it."""
        words = np.empty(block.levels.shape, dtype=np.uint64)
        cell_words(self.key, block.macro, 0, block.first_column, _writes(block, per), 0, words)
        return words

    def line_words(self, macro: int, shape: tuple[int, int], first_column: int = 0) -> NDArray[np.uint64]:
        """64 random bits of the circuits at a macro's rows (shape [R, 1]) or columns ([1, C]), however often written."""
        words = np.empty(shape, dtype=np.uint64)
        cell_words(self.key, macro, 0, first_column, 0, 0, words)
        return words


def _writes(block: Block, per: Per) -> int:
    """The write count in the key of a draw: a device's draws have none."""
    if per == "cell":
        return 0
    if per == "write":
        return block.write
    assert_never(per)


@dataclass(frozen=True, eq=False)
class GatedArray:
    """Cells [R, C] between wires, whose rows are disconnected while they are not raised; `columns` are the block's."""

    levels: NDArray[np.float64]
    wires: Wires
    columns: slice


@dataclass(frozen=True, eq=False)
class TrapCells:
    """Traps beside the cells of a block, each filled with probability `chance / 2^16` at a draw of its own."""

    stream: Stream
    loss: NDArray[np.float64]  # [R, C] share of its conductance that a cell loses while its trap is filled
    chance: int
    hold: str  # what a state lasts for: read, input or image


class VariationBase(Record):
    """A model is data with one verb: cell models `write` a block; others describe converters, reads or drivers.

    `draws_of` says what the draws of a write belong to: the device (they stay at each rewrite) or the writing (drawn
    anew), or nothing (there are none); None where the parameter `per` says it. Draws of single reads are keyed by the
    read besides.

    A model of one's own derives from this class, has a field `model` with its name, and defines `write(block, stream)`;
    one of the stage "converter" defines `distorted` and has a field or property `noise` (rms of a conversion in LSB).
    """

    plugin_group: ClassVar[str] = "cimemu.variation"

    stage: ClassVar[Stage] = "cells"
    source: ClassVar[str] = ""
    draws_of: ClassVar[Owner | None] = "nothing"
    behind_wires: ClassVar[bool] = False  # changes currents of cells or rows after the wires were solved
    only_sticks: ClassVar[bool] = False  # `write` does nothing but what `stuck` says

    @property
    def solves_reads(self) -> bool:
        """Whether reads are no sums of cells, so that every one is solved by itself."""
        return False

    @property
    def owner(self) -> Owner:
        """What this model's draws belong to."""
        return OWNERS[self.per] if self.draws_of is None else self.draws_of  # type: ignore[attr-defined]

    @property
    def is_identity(self) -> bool:
        """Whether its strength is zero: then it is left out, and the result is the same to the byte."""
        return False

    def smallest(self, top: int) -> float | None:
        """The smallest non-zero mean or spread, in levels: 2^-fraction_bits must be 8 times finer. None: no such."""
        return None

    def leakage(self, top: int) -> float:
        """What the model lets level 0 conduct, in level steps."""
        return 0.0

    def check(self, top: int) -> str | None:
        """What is wrong with the parameters for cells of levels 0 .. top, or None."""
        return None

    def parts(self, seed: int, trial: int) -> list[tuple[Any, Stream]] | None:
        """The models that act in its place, with their streams; None: itself."""
        return None

    def __eq__(self, other: object) -> bool:
        """The same model with the same parameters, whatever it has read by them."""
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        """By the parameters."""
        return hash((type(self), *self.__dict__.values()))

    def calibrated(self, every: float) -> "VariationBase":
        """The cells when a calibration of every so many seconds was made last: themselves, where they do not age."""
        return self

    def stick(self, block: Block, stream: Stream, levels: NDArray[np.int64]) -> None:
        """Set `levels` of the block's cells to the level at which each is stuck, whatever is written; leave the others."""

    def stuck(
        self, macro: int, first_column: int, shape: tuple[int, ...], top: int, stream: Stream
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(row, column, level) of the stuck cells of a block at `first_column` of a macro: all that the model does to cells,
        however often they are written (`only_sticks`)."""
        raise TypeError(f"{type(self).__name__} does more than stick cells")

    def write(self, block: Block, stream: Stream) -> None:
        """Change the block's levels."""


def verbs(kind: type[VariationBase]) -> tuple[str, ...]:
    """What a model of the stage of `kind` must define."""
    return ("distorted", "noise") if kind.stage == "converter" else ("write",)


FACTOR_BITS = 30


def exact_table(values: NDArray[np.float64], exact: Any) -> NDArray[np.float64]:
    """`values` rounded to multiples of 2^-30 as if they had been exact, whatever maths library made them.

    `exact(i)` gives entry i as a Decimal of 50 digits. Libraries differ by a few units in the last place (2^-52 of
    the value); an entry that lies nearer to a rounding boundary than 2^-46 of its value is taken from `exact`, so no
    library can flip one. The results are exact in float64.
    """
    scaled = values * 2.0**FACTOR_BITS
    rounded = np.rint(scaled)
    near = np.abs(np.abs(scaled - rounded) - 0.5) <= np.abs(scaled) * 2.0**-46
    with localcontext() as context:
        context.prec = 50
        for i in np.flatnonzero(near):
            rounded[i] = int((exact(int(i)) * 2**FACTOR_BITS).to_integral_value(ROUND_HALF_EVEN))
    return np.asarray(rounded * 2.0**-FACTOR_BITS)


def decimal_exp(exponent: Decimal) -> float:
    """exp, correctly rounded to 50 digits and then to float64 (Decimal works in integers: the same everywhere)."""
    with localcontext() as context:
        context.prec = 50
        return float(exponent.exp())
