"""Subgraphs and variables of a TensorFlow Lite file, written out into its main graph.

IF: both branches run, as a chip has no branches, and the condition chooses between their results (SELECT_V2). CALL_ONCE sets
variables to what its subgraph assigns; images are told apart, so that every image reads these first values, and what a
network assigns for the next step of a stream is computed and left.
"""

from collections.abc import Sequence
from dataclasses import replace

from cimemu.errors import WorkloadError
from cimemu.importer.tflite_file import TflFile, TflOperator, TflTensor

DEEPEST = 16  # branches within branches
VARIABLES = ("VAR_HANDLE", "CALL_ONCE", "ASSIGN_VARIABLE", "READ_VARIABLE")


class _Written:
    """Tensors and operators so far."""

    def __init__(self, file: TflFile) -> None:
        self.file = file
        self.tensors: list[TflTensor] = list(file.tensors)
        self.operators: list[TflOperator] = []

    def add(self, op: TflOperator) -> None:
        """An operator under the next number."""
        self.operators.append(replace(op, index=len(self.operators)))

    def tensor(self, like: TflTensor, name: str) -> int:
        """The number of a new tensor."""
        self.tensors.append(replace(like, index=len(self.tensors), name=name))
        return len(self.tensors) - 1

    def all_of(self, operators: Sequence[TflOperator], depth: int) -> None:
        """Operators whose tensors are numbered as here."""
        for op in operators:
            if op.op == "IF":
                self._branches(op, depth)
            else:
                self.add(op)

    def _branches(self, op: TflOperator, depth: int) -> None:
        if depth >= DEEPEST or op.options is None or not op.inputs:
            raise op.error(f"has branches within branches, {DEEPEST} at most: convert it again")
        numbers = (op.options.ThenSubgraphIndex(), op.options.ElseSubgraphIndex())
        results = [self._call(op, self.file.subgraph(op, number), depth) for number in numbers]
        for target, yes, no in zip(op.outputs, *results):
            self.add(TflOperator(op.index, "SELECT_V2", None, (op.inputs[0], yes, no), (target,)))

    def _call(self, op: TflOperator, graph: TflFile, depth: int) -> list[int]:
        """The results' numbers of a subgraph that runs on the operator's inputs behind the condition."""
        if len(graph.inputs) != len(op.inputs) - 1 or len(graph.outputs) != len(op.outputs):
            raise op.error(
                f"gives {len(op.inputs) - 1} and takes {len(op.outputs)} tensors, its subgraph takes {len(graph.inputs)} and "
                f"gives {len(graph.outputs)}: convert it again"
            )
        number = dict(zip(graph.inputs, op.inputs[1:]))
        taken = {tensor.name for tensor in self.tensors}
        for index, tensor in enumerate(graph.tensors):
            if index not in number:
                name = tensor.name if tensor.name not in taken else f"{tensor.name}_{len(self.tensors)}"
                number[index] = self.tensor(tensor, name)
        moved = [
            replace(
                inner,
                inputs=tuple(number.get(i, -1) for i in inner.inputs),
                outputs=tuple(number[i] for i in inner.outputs),
            )
            for inner in graph.operators
        ]
        self.all_of(moved, depth + 1)
        return [number[i] for i in graph.outputs]


def inlined(file: TflFile) -> TflFile:
    """The file as one graph. WorkloadError where a subgraph is called that is not there, or a variable is never set."""
    if any(op.op == "IF" for op in file.operators):
        written = _Written(file)
        written.all_of(file.operators, 0)
        file = replace(file, tensors=tuple(written.tensors), operators=tuple(written.operators))
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
