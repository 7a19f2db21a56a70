"""A chip that is known: cells and converters as a file has them, drawn before or measured."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from cimemu.errors import ArchError
from cimemu.variation.base import Block, Owner, Stage, Stream, VariationBase
from cimemu.variation.chip_file import ChipFile, open_chip
from cimemu.variation.converter import apply_errors


class Chip(VariationBase):
    """Levels of all cells and errors of all converters from a chip file (`cimemu chip`), in the place of draws.

    What such a file cannot hold acts as the models that it names: wires, drivers, stuck lines, and the noise of reads. Their
    draws are the drawn chip's; those of single reads go on from its seed and trial by the run's, so that a run with seed 0 and
    trial 0 reads as the drawn chip was read.
    """

    model: Literal["chip"] = "chip"
    file: str = Field(description="a chip file: of cimemu chip, or measured in the same form")

    draws_of: ClassVar[Owner | None] = "device"
    source: ClassVar[str] = "a file (cimemu chip, or measurements)"

    @field_validator("file")
    @classmethod
    def _readable(cls, file: str) -> str:
        try:
            open_chip(file)
        except ArchError as error:
            raise ValueError(str(error)) from None
        return file

    @property
    def data(self) -> ChipFile:
        """The open file."""
        return open_chip(self.file)

    def smallest(self, top: int) -> float | None:
        """What gives the fraction bits of the file; a measured one has all there are."""
        return float(8.0 * 2.0 ** -self.data.number("fraction_bits", 14))

    def leakage(self, top: int) -> float:
        """What level 0 conducts, as the file says."""
        return float(self.data.number("leakage_levels", 0.0))

    def check(self, top: int) -> str | None:
        """The file's cells have as many levels."""
        bits = int(self.data.number("cell_bits", float((top + 1).bit_length() - 1)))
        return (
            None
            if 2**bits - 1 == top
            else f"{self.file}: cells of {bits} bits, the arch's have {(top + 1).bit_length() - 1}"
        )

    def parts(self, seed: int, trial: int) -> list[tuple[Any, Stream]]:
        """What acts beside the cells, with the streams of the drawn chip."""
        from cimemu.variation.parse import make_variations, name_of

        data = self.data
        first, drawn = int(data.number("seed", 0)), int(data.number("trial", 0))
        made: list[tuple[Any, Stream]] = [(self, Stream(first, drawn, "chip", 0))]
        if data.has_converters:
            made.append((KnownConverters(data), Stream(first, drawn, "chip", 0)))
        seen: dict[str, int] = {}
        for model in make_variations(data.texts("acts")):
            name = name_of(model)
            reads = ((first + seed) % 2**63, drawn + trial)
            made.append((model, Stream(first, drawn, name, seen.get(name, 0), reads)))
            seen[name] = seen.get(name, 0) + 1
        return made

    def stick(self, block: Block, stream: Stream, levels: NDArray[np.int64]) -> None:
        """What the file says."""
        faults = self.data.faults(block.macro, block.write, (len(levels), levels.shape[1]))
        levels[faults == 1], levels[faults == 2] = 0, block.top

    def write(self, block: Block, stream: Stream) -> None:
        """The file's levels, of a chip that was told what the network tells this one."""
        levels, targets = self.data.levels(block.macro, block.write, block.levels.shape, block.first_column, block.top)
        if targets is not None:
            wrong = (targets != block.targets) & ~block.erased
            if wrong.any():
                row, column = np.argwhere(wrong)[0]
                place = f"macro {block.macro}, row {row}, column {block.first_column + column}"
                raise ArchError(
                    f"--vary chip: {self.file}: {place} was written to level {targets[row, column]}, this network writes "
                    f"{block.targets[row, column]}; take the network and the arch of the file"
                )
        block.levels[:] = levels
        found = self.data.pulses(block.macro, block.write, block.first_column)
        if found is not None:
            block.pulses, block.row_pulses = found


@dataclass(frozen=True, eq=False)
class KnownConverters:
    """Converters as the file has them: a model of the stage `converter` that draws nothing."""

    data: ChipFile
    noise: float = 0.0
    stage: ClassVar[Stage] = "converter"
    is_identity: ClassVar[bool] = False

    def distorted(
        self,
        thresholds: NDArray[np.float64],
        lsb: NDArray[np.float64],
        macro: int,
        numbers: NDArray[np.int64],
        stream: Stream,
    ) -> NDArray[np.float64]:
        """`thresholds` [C, T] of columns that converters `numbers` [C] of one macro serve, in their units."""
        found = self.data.converters(macro)
        if found is None:
            return thresholds
        moved, gain = found
        if moved.shape[2] != thresholds.shape[1] or int(numbers.max()) >= moved.shape[1]:
            raise ArchError(
                f"{self.data.path}: macro {macro}: {moved.shape[1]} converters of {moved.shape[2]} thresholds, the network has "
                f"{int(numbers.max()) + 1} of {thresholds.shape[1]}"
            )
        for one, error in zip(moved, gain):
            thresholds = apply_errors(thresholds, lsb, one[numbers], error[numbers])
        return thresholds
