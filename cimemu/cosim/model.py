"""One macro that is driven operation by operation and read step by step."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.arch.schema import Arch
from cimemu.engines.calibrate import drawn
from cimemu.engines.programmed import program
from cimemu.errors import WorkloadError
from cimemu.golden.block import MacroVectors, Replica, block_vectors
from cimemu.golden.steps import unit_steps
from cimemu.keywords import filled
from cimemu.macro.encode import checked_inputs
from cimemu.macro.read_noise import Reads
from cimemu.macro.sites import own_macros
from cimemu.options import Draws, DrawsKeywords
from cimemu.variation.compose import compose


@dataclass(frozen=True, eq=False)
class Step:
    """One (row group, input slice). A skipped step has no codes; cycles count from the start of the operation."""

    number: int
    group: int
    slice: int
    wordlines: NDArray[np.int64]  # [rows]
    drive_cycle: int | None
    codes: NDArray[np.int64] | None  # [converted columns]; psums of an ideal converter
    code_cycles: NDArray[np.int64] | None
    reference_codes: NDArray[np.int64] | None
    sums: NDArray[np.int64] | None  # [outputs] running sums after the step, where levels are integers


@dataclass(frozen=True, eq=False)
class Operation:
    """One input vector on the macro."""

    number: int  # counted from the first one of the model
    inputs: NDArray[np.int64]  # [rows] as bit patterns
    steps: tuple[Step, ...]
    outputs: NDArray[Any]  # [outputs] after the correction: int64, or float64 where levels are real numbers
    cycles: int

    def __iter__(self) -> Iterator[Step]:
        """Step by step."""
        return iter(self.steps)


class MacroModel:
    """One macro with weights in its cells. `operate` gives what every wire carries in the next operation.

    Numbers are those of `cimemu.mvm`: bit for bit the same as every engine's. Draws (`vary`, `seed`, `trial`) make a chip's
    cells; what is drawn for a read belongs to the number of the operation.

    >>> import cimemu
    >>> from cimemu.cosim import MacroModel
    >>> model = MacroModel(cimemu.load_arch("rram_128"), [[3], [-4]])
    >>> operation = model.operate([1, 2])
    >>> operation.outputs.tolist(), operation.cycles, [step.codes.sum().item() for step in operation][:3]
    ([-5], 465, [3, 5, 0])
    """

    def __init__(
        self, macro: Macro | Arch, weights: Any, draws: Draws = Draws(), **given: Unpack[DrawsKeywords]
    ) -> None:
        """Write integer `weights` [rows, outputs].

        Raises WorkloadError where they do not fit one macro, or a weight is out of range, and what `cimemu.mvm` raises.
        """
        (draws,) = filled("MacroModel", given, draws)
        self.macro: Macro = macro.macro if isinstance(macro, Arch) else macro
        written = program(np.asarray(weights), self.macro)
        layout = written.matrix.layout
        if len(layout.row_blocks) > 1 or len(layout.col_blocks) > 1:
            raise WorkloadError(
                f"weights [{layout.rows}, {layout.outputs}] fill {len(layout.row_blocks) * len(layout.col_blocks)} macros, must "
                f"fit one: <= {self.macro.rows} rows and {self.macro.outputs} outputs"
            )
        variations = compose(draws.vary, draws.seed, draws.trial)
        if variations:
            written = drawn(written.matrix, own_macros(layout), variations)
        self._written, self._done = written, 0

    @property
    def cells(self) -> NDArray[np.int64]:
        """[rows, physical columns] levels as stored; of drawn cells times 2^fraction_bits."""
        matrix = self._written.matrix
        stored = matrix.levels if matrix.cells is None else matrix.cells
        return np.asarray(stored, dtype=np.int64)

    def operate(self, inputs: Any) -> Operation:
        """The next operation, of `inputs` [rows]. Raises WorkloadError for a value out of range."""
        (made,) = self.operations(np.asarray(inputs)[None])
        return made

    def operations(self, inputs: Any) -> list[Operation]:
        """The next operations, of `inputs` [operations, rows]; faster than one by one."""
        x = checked_inputs(np.asarray(inputs), self.macro, self._written.matrix.layout.rows)
        if not len(x):
            return []
        steps = unit_steps(self._written, x, Reads(first_row=self._done, positions=1))
        (v,) = block_vectors(steps, 0, Replica(0, 1), (0, 0))
        made = [_operation(v, steps.y[op], op, self._done + op) for op in range(len(x))]
        self._done += len(x)
        return made


def _operation(v: MacroVectors, outputs: NDArray[Any], op: int, number: int) -> Operation:
    return Operation(number, v.inputs[op], tuple(_steps(v, op)), outputs, int(v.op_cycles[op]))


def _steps(v: MacroVectors, op: int) -> Iterable[Step]:
    for j in range(v.codes.shape[1]):
        on = bool(v.driven[op, j])
        yield Step(
            number=j,
            group=j // v.slices,
            slice=j % v.slices,
            wordlines=v.wordlines[op, j],
            drive_cycle=int(v.schedule.begins[op, j]) if on else None,
            codes=v.codes[op, j] if on else None,
            code_cycles=v.schedule.codes[op, j] if on else None,
            reference_codes=v.reference_codes[op, j] if on and v.reference_codes is not None else None,
            sums=None if v.shift_add is None else v.shift_add[op, j],
        )
