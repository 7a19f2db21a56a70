"""Subgraphs and variables of a TensorFlow Lite file, written out into its main graph.

WHILE: the body once for every turn, where the condition of every turn is known when the file is read. IF: both branches run,
as a chip has no branches, and the condition chooses between their results (SELECT_V2). CALL_ONCE sets variables to what its
subgraph assigns; images are told apart, so that every image reads these first values, and what a network assigns for the
next step of a stream is computed and left.
"""

from collections.abc import Sequence
from dataclasses import replace

from cimemu.errors import WorkloadError
from cimemu.importer.tflite_file import TflFile, TflOperator, TflTensor
from cimemu.importer.tflite_fold import folded_in_loop
from cimemu.importer.tflite_shapes import RULES, worked_out
from cimemu.importer.unroll import MOST_STEPS

DEEPEST = 16  # branches within branches, turns within turns
VARIABLES = ("VAR_HANDLE", "CALL_ONCE", "ASSIGN_VARIABLE", "READ_VARIABLE")


class _Written:
    """Tensors and operators so far."""

    def __init__(self, file: TflFile) -> None:
        self.file = file
        self.tensors: list[TflTensor] = list(file.tensors)
        self.operators: list[TflOperator] = []
        self.taken = {tensor.name for tensor in self.tensors}
        self.same: dict[int, int] = {}  # what a loop makes -> what its last turn made
        self.turning = 0  # loops that are being written out

    def add(self, op: TflOperator) -> None:
        """An operator under the next number; in a loop, what constants alone make is a constant."""
        op = replace(op, index=len(self.operators), inputs=tuple(self.same.get(i, i) for i in op.inputs))
        if self.turning and not self._settled(op):
            if op.op == "CONCATENATION":
                op = replace(op, inputs=tuple(i for i in op.inputs if 0 not in self.tensors[i].shape))
            self.operators.append(op)
        elif not self.turning:
            self.operators.append(op)

    def _settled(self, op: TflOperator) -> bool:
        """Whether an operator's outputs are constants or without elements; shapes that depend on the turn are worked out."""
        given = [self.tensors[i] for i in op.inputs if i >= 0]
        if op.op in RULES and any(-1 in self.tensors[i].signature for i in op.outputs):
            for number, shape in zip(op.outputs, worked_out(op, given)):
                self.tensors[number] = replace(self.tensors[number], shape=tuple(int(n) for n in shape), signature=())
        values = folded_in_loop(op, given)
        for number, value in zip(op.outputs, values):
            value = value.astype(self.tensors[number].dtype)
            self.tensors[number] = replace(self.tensors[number], value=value, shape=value.shape, signature=())
        return bool(values) or (bool(op.outputs) and all(0 in self.tensors[i].shape for i in op.outputs))

    def tensor(self, like: TflTensor, name: str) -> int:
        """The number of a new tensor."""
        name = name if name not in self.taken else f"{name}_{len(self.tensors)}"
        self.taken.add(name)
        self.tensors.append(replace(like, index=len(self.tensors), name=name))
        return len(self.tensors) - 1

    def all_of(self, operators: Sequence[TflOperator], depth: int) -> None:
        """Operators whose tensors are numbered as here."""
        for op in operators:
            if op.op in ("IF", "WHILE") and (depth >= DEEPEST or op.options is None or not op.inputs):
                raise op.error(f"lies in more than {DEEPEST} others, or has no options or inputs: convert it again")
            if op.op == "IF":
                self._branches(op, depth)
            elif op.op == "WHILE":
                self._turns(op, depth)
            else:
                self.add(op)

    def _branches(self, op: TflOperator, depth: int) -> None:
        numbers = (op.options.ThenSubgraphIndex(), op.options.ElseSubgraphIndex())
        given = [self.same.get(i, i) for i in op.inputs[1:]]
        results = [
            self._call(op, self.file.subgraph(op, number), given, len(op.outputs), depth=depth) for number in numbers
        ]
        for target, yes, no in zip(op.outputs, *results):
            self.add(TflOperator(op.index, "SELECT_V2", None, (op.inputs[0], yes, no), (target,)))

    def _turns(self, op: TflOperator, depth: int) -> None:
        """The body as often as the condition holds. WorkloadError where that depends on the images."""
        condition = self.file.subgraph(op, op.options.CondSubgraphIndex())
        body = self.file.subgraph(op, op.options.BodySubgraphIndex())
        carried = [self.same.get(i, i) for i in op.inputs]
        label = self.tensors[op.outputs[0]].name if op.outputs else ""
        stored: dict[int, int] = {}
        self.turning += 1
        turns = 0
        while self._holds(op, condition, carried, depth):
            if turns == MOST_STEPS:
                raise op.error(f"has more than {MOST_STEPS} turns, every one is written out: cut the sequence in parts")
            carried = self._call(op, body, carried, len(op.outputs), depth=depth, label=label, stored=stored)
            turns += 1
        self.turning -= 1
        for target, last in zip(op.outputs, carried):
            tensor, made = self.tensors[target], self.tensors[last]
            if turns and made.value is None and last not in op.inputs and last not in self.same.values():
                self.tensors[target] = replace(tensor, name=f"{tensor.name}:loop")
                self.tensors[last] = replace(made, name=tensor.name)
            self.same[target] = last

    def _holds(self, op: TflOperator, condition: TflFile, carried: Sequence[int], depth: int) -> bool:
        """Whether there is one more turn."""
        before = len(self.operators)
        (number,) = self._call(op, condition, carried, 1, depth=depth)
        value = self.tensors[number].value
        if value is None or value.size != 1:
            raise op.error(
                "its condition is computed from the images, must be known when the file is read: give it a fixed number of turns"
            )
        del self.operators[before:]
        return bool(value.reshape(-1)[0])

    def _call(
        self,
        op: TflOperator,
        graph: TflFile,
        given: Sequence[int],
        results: int,
        *,
        depth: int,
        label: str = "",
        stored: dict[int, int] | None = None,
    ) -> list[int]:
        """The results' numbers of a subgraph that runs on the tensors `given`.

        `stored` are the numbers of constants by theirs in the subgraph, which all turns of the loop `label` have together.
        """
        if len(graph.inputs) != len(given) or len(graph.outputs) != results:
            raise op.error(
                f"gives {len(given)} and takes {results} tensors, its subgraph takes {len(graph.inputs)} and "
                f"gives {len(graph.outputs)}: convert it again"
            )
        number = {**({} if stored is None else stored), **dict(zip(graph.inputs, given))}
        for index, tensor in enumerate(graph.tensors):
            if index not in number:
                number[index] = self.tensor(tensor, tensor.name)
                if stored is not None and tensor.value is not None:
                    stored[index] = number[index]
        moved = [
            replace(
                inner,
                inputs=tuple(number.get(i, -1) for i in inner.inputs),
                outputs=tuple(number[i] for i in inner.outputs),
                shares=f"{label}:{inner.index}" if label else inner.shares,
            )
            for inner in graph.operators
        ]
        self.all_of(moved, depth + 1)
        return [self.same.get(number[i], number[i]) for i in graph.outputs]


def inlined(file: TflFile) -> TflFile:
    """The file as one graph. WorkloadError where a subgraph is called that is not there, or a variable is never set."""
    if any(op.op in ("IF", "WHILE") for op in file.operators):
        written = _Written(file)
        written.all_of(file.operators, 0)
        outputs = tuple(written.same.get(i, i) for i in file.outputs)
        file = replace(file, tensors=tuple(written.tensors), operators=tuple(written.operators), outputs=outputs)
    return _first_values(file) if any(op.op in VARIABLES for op in file.operators) else file


def _variable(op: TflOperator) -> str:
    """The name of a VAR_HANDLE's variable."""
    if op.options is None:
        raise op.error("its options are missing, they name the variable: convert it again")
    parts = (op.options.Container() or b"", op.options.SharedName() or b"")
    return "/".join(part.decode() for part in parts)


def _assigned(file: TflFile) -> dict[str, TflTensor]:
    """What the subgraphs of CALL_ONCE assign: constants by the variable's name."""
    values: dict[str, TflTensor] = {}
    for op in file.operators:
        if op.op == "CALL_ONCE":
            number = op.options.InitSubgraphIndex() if op.options is not None else 0
            graph = file.subgraph(op, number)
            handles = {i.outputs[0]: _variable(i) for i in graph.operators if i.op == "VAR_HANDLE" and i.outputs}
            for inner in graph.operators:
                if inner.op == "ASSIGN_VARIABLE" and inner.inputs[0] in handles:
                    values[handles[inner.inputs[0]]] = graph.tensors[inner.inputs[1]]
                elif inner.op != "VAR_HANDLE":
                    raise inner.error("computes what a variable begins with, it must be a constant: convert it again")
    return values


def _first_values(file: TflFile) -> TflFile:
    """Variables read as the constants that CALL_ONCE gives them; what is assigned afterwards goes nowhere."""
    values = _assigned(file)
    tensors = list(file.tensors)
    handles: dict[int, str] = {}
    kept: list[TflOperator] = []
    assigned: set[str] = set()
    for op in file.operators:
        if op.op == "VAR_HANDLE":
            handles[op.outputs[0]] = _variable(op)
        elif op.op == "ASSIGN_VARIABLE":
            assigned.add(handles.get(op.inputs[0], ""))
        elif op.op == "READ_VARIABLE":
            name = handles.get(op.inputs[0], "")
            first = values.get(name)
            if first is None or first.value is None or name in assigned:
                when = "after it was assigned" if name in assigned else "that no CALL_ONCE sets to a constant"
                raise op.error(f"reads variable '{name}' {when}: convert it again")
            number = op.outputs[0]
            tensors[number] = replace(tensors[number], value=first.value.reshape(tensors[number].shape))
        elif op.op != "CALL_ONCE":
            kept.append(replace(op, index=len(kept)))
    if any(i in file.outputs for i in handles):
        raise WorkloadError("gives a variable's handle out, must give tensors: convert it again")
    return replace(file, tensors=tuple(tensors), operators=tuple(kept))
