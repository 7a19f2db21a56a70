"""A scoreboard: operations go in as they are driven, what a module shows comes in as it is seen, differences come out."""

from collections import deque
from typing import Any

import numpy as np

from cimemu.cosim.model import MacroModel, Operation
from cimemu.errors import TraceError


class Scoreboard:
    """Compares a module with a `MacroModel`, operation after operation; several may be under way (a pipeline).

    `drive` says that an operation was given to the module. `codes`, `sums`, `outputs` and `cycles` say what it showed for
    the oldest operation that is not finished; `outputs` or `finish` finish it. A difference is an entry in `differences`, in
    words, and with `strict` a TraceError as well. Nothing of cocotb is needed: the scoreboard serves any bench in Python.
    """

    def __init__(self, model: MacroModel, *, strict: bool = False) -> None:
        """Nothing is under way."""
        self.model, self.strict = model, strict
        self.differences: list[str] = []
        self.compared = 0
        self._open: deque[Operation] = deque()

    def drive(self, inputs: Any) -> Operation:
        """An operation begins; what it has to show."""
        made = self.model.operate(inputs)
        self._open.append(made)
        return made

    def codes(self, step: int, codes: Any, *, first_column: int = 0, stride: int = 1) -> None:
        """Codes of a step that columns `first_column`, + `stride`, ... showed."""
        operation = self._oldest()
        expected = operation.steps[step].codes
        for number, got in enumerate(np.asarray(codes).ravel().tolist()):
            column = first_column + number * stride
            wanted = "nothing: the step is skipped" if expected is None else int(expected[column])
            self._compare(f"step {step} (group {operation.steps[step].group}, slice {operation.steps[step].slice}), "
                          f"column {column}: code", wanted, got)  # fmt: skip

    def sums(self, step: int, sums: Any) -> None:
        """Running sums of all outputs after a step."""
        expected = self._oldest().steps[step].sums
        if expected is None:
            raise TraceError("sums: this macro's levels are no integers, it has no running sums; compare codes")
        self._compare_all(f"step {step}, output {{}}: running sum", expected, sums)

    def cycles(self, cycles: int) -> None:
        """How many cycles the operation took."""
        self._compare("cycles", self._oldest().cycles, int(cycles))

    def outputs(self, outputs: Any) -> None:
        """All outputs; the operation is finished."""
        self._compare_all("output {}", self._oldest().outputs, outputs)
        self.finish()

    def finish(self) -> None:
        """The oldest operation is finished."""
        self._oldest()
        self._open.popleft()

    def close(self) -> None:
        """No more is seen. Raises TraceError where operations are unfinished, nothing was compared, or something differed."""
        if self._open:
            raise TraceError(
                f"scoreboard: {len(self._open)} operations were driven and never finished, wait for the module"
            )
        if not self.compared:
            raise TraceError("scoreboard: nothing was compared, give it codes, sums, outputs or cycles")
        if self.differences:
            raise TraceError(
                f"scoreboard: {len(self.differences)} of {self.compared:,} values differ, first {self.differences[0]}"
            )

    def _oldest(self) -> Operation:
        if not self._open:
            raise TraceError("scoreboard: something was seen and no operation is under way, call drive first")
        return self._open[0]

    def _compare_all(self, place: str, expected: Any, got: Any) -> None:
        seen = np.asarray(got).ravel().tolist()
        if len(seen) != len(expected):
            raise TraceError(f"scoreboard: {len(seen)} values seen, the macro has {len(expected)}; give all of them")
        for number, (wanted, value) in enumerate(zip(expected.tolist(), seen, strict=True)):
            self._compare(place.format(number), wanted, value)

    def _compare(self, place: str, expected: Any, got: Any) -> None:
        self.compared += 1
        if expected == got:
            return
        text = f"operation {self._open[0].number}, {place}: expected {expected}, got {got}"
        self.differences.append(text)
        if self.strict:
            raise TraceError(text)
