"""Loop and Scan of a fixed number of turns: the nodes of their body, once for every turn, in the place of the node.

A body's own tensors get a name a turn; those that it takes from outside keep theirs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from cimemu.errors import WorkloadError
from cimemu.importer.onnx_constants import Constants
from cimemu.importer.onnx_ops import SHARES

MOST_TURNS = 4096
LOOPS = ("Loop", "Scan")
Names = Mapping[str, str]


@dataclass(frozen=True)
class Surroundings:
    """What reading a loop needs: constants so far, a reader of nodes, and the file's shape of a tensor (None: not known)."""

    constants: Constants
    read: Callable[[onnx.NodeProto], None]
    shape: Callable[[str], Sequence[int] | None]


def read_loop(proto: onnx.NodeProto, outside: Surroundings) -> None:
    """Read the nodes of all turns. WorkloadError for a number of turns, or a condition, that is computed at run time."""
    {"Loop": _Turns.loop, "Scan": _Turns.scan}[proto.op_type](_Turns(proto, outside))


def read_graph(
    graph: onnx.GraphProto, suffix: str, outside: Surroundings, own: Names | None = None, shares: str = ""
) -> list[str]:
    """Read the nodes of a graph inside a node, its tensors named anew with `suffix`, its inputs as `own`; names of its outputs.

    Its products have one matrix in the cells with those of other graphs of equal `shares` that is not empty.
    """
    names = {**_own_names(graph, suffix), **(own or {})}
    for tensor in graph.initializer:
        outside.constants.store(names[tensor.name], tensor)
    for node in graph.node:
        outside.read(_renamed(node, names, suffix, shares))
    return [names.get(value.name, value.name) for value in graph.output]


class _Turns:
    """One Loop or Scan as its turns are read."""

    def __init__(self, proto: onnx.NodeProto, outside: Surroundings) -> None:
        self.proto, self.outside = proto, outside
        self.given: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
        self.body: onnx.GraphProto = self.given["body"]
        self.label = proto.name or proto.output[0]

    def error(self, message: str) -> WorkloadError:
        return WorkloadError(f"node '{self.proto.name}' ({self.proto.op_type}): {message}")

    def loop(self) -> None:
        """A fixed number of turns, or turns until a condition that is known when the file is read."""
        names = [*self.proto.input, "", ""]
        count = self._number(names[0], "the number of turns")
        going = self._number(names[1], "the condition")
        carried = list(self.proto.input[2:])
        if len(self.body.input) != len(carried) + 2 or len(self.body.output) <= len(carried):
            raise self.error(
                f"its body takes {len(self.body.input)} tensors for {len(carried)} states, it does not fit"
            )
        stacked: list[list[str]] = [[] for _ in self.body.output[1 + len(carried) :]]
        if count is not None and int(count) > MOST_TURNS:
            raise self.error(
                f"{count} turns, at most {MOST_TURNS}: every turn is layers of its own; cut the loop in parts"
            )
        turn, more = 0, going is None or bool(going)
        while more and (count is None or turn < int(count)):
            if turn == MOST_TURNS:
                raise self.error(
                    f"more than {MOST_TURNS} turns, every turn is layers of its own: cut the loop in parts"
                )
            own = {
                self.body.input[0].name: self._constant(f"turn {turn}", np.array(turn, np.int64)),
                self.body.input[1].name: self._constant("going", np.array(True)),
                **{value.name: name for value, name in zip(self.body.input[2:], carried)},
            }
            made = self._turn(turn, own)
            more = bool(self._number(made[0], "the condition behind a turn"))
            carried = made[1 : 1 + len(carried)]
            for pieces, name in zip(stacked, made[1 + len(carried) :]):
                pieces.append(self._with_axis(name, 0))
            turn += 1
        self._finish(carried, [(pieces, 0, False) for pieces in stacked])

    def scan(self) -> None:
        """A turn an element of the scanned axes."""
        count = int(self.given["num_scan_inputs"])
        carried, scanned = list(self.proto.input[:-count]), list(self.proto.input[-count:])
        axes = self._list("scan_input_axes", count)
        backwards = self._list("scan_input_directions", count)
        lengths = {self._length(name, axis) for name, axis in zip(scanned, axes)}
        if len(lengths) != 1 or not 1 <= max(lengths) <= MOST_TURNS:
            raise self.error(f"scans over {sorted(lengths)} elements, must be one number of 1..{MOST_TURNS}")
        (turns,) = lengths
        outputs = len(self.body.output) - len(carried)
        stacked: list[list[str]] = [[] for _ in range(outputs)]
        behind = self._list("scan_output_axes", outputs)
        for turn in range(turns):
            own = {value.name: name for value, name in zip(self.body.input, carried)}
            for value, name, axis, back in zip(self.body.input[len(carried) :], scanned, axes, backwards):
                own[value.name] = self._element(name, turns - 1 - turn if back else turn, axis)
            made = self._turn(turn, own)
            carried = made[: len(carried)]
            for pieces, name, axis in zip(stacked, made[len(carried) :], behind):
                pieces.append(self._with_axis(name, axis))
        self._finish(carried, list(zip(stacked, behind, map(bool, self._list("scan_output_directions", outputs)))))

    def _turn(self, turn: int, own: Names) -> list[str]:
        """Read the body once; the names of its outputs."""
        return read_graph(self.body, f"@{self.label}.{turn}", self.outside, own, f"@{self.label}")

    def _finish(self, carried: Sequence[str], stacked: Sequence[tuple[list[str], int, bool]]) -> None:
        """The node's own outputs: the last states, and all turns' results along an axis."""
        for name, source in zip(self.proto.output, carried):
            if name:
                self._node("Identity", [source], name)
        for name, (pieces, axis, backwards) in zip(self.proto.output[len(carried) :], stacked):
            if not name:
                continue
            if not pieces:
                raise self.error("makes no turn, so its results have no element: cut it off the network")
            parts = pieces[::-1] if backwards else pieces
            self._node("Concat" if len(parts) > 1 else "Identity", parts, name, axis)

    def _node(self, op: str, inputs: Sequence[str], output: str, axis: int | None = None) -> str:
        given = {} if axis is None or op == "Identity" else {"axis": axis}
        self.outside.read(helper.make_node(op, list(inputs), [output], name=f"{self.label}:{output}", **given))
        return output

    def _with_axis(self, name: str, axis: int) -> str:
        """A result with an axis of size 1 along which all turns are joined."""
        axes = self._constant(f"axis {axis}", np.array([axis], np.int64))
        return self._node("Unsqueeze", [name, axes], f"{name}:turn")

    def _element(self, name: str, index: int, axis: int) -> str:
        """An element of a scanned tensor, without that axis."""
        place = self._constant(f"element {index}", np.array(index, np.int64))
        return self._node("Gather", [name, place], f"{name}@{self.label}:{index}", axis)

    def _length(self, name: str, axis: int) -> int:
        shape = self.outside.shape(name)
        if shape is None or not -len(shape) <= axis < len(shape):
            raise self.error(
                f"scans axis {axis} of '{name}', which holds the images or is none: images must stay apart"
            )
        return int(shape[axis])

    def _list(self, name: str, count: int) -> list[int]:
        found = [int(v) for v in self.given.get(name, [0] * count)]
        if len(found) != count:
            raise self.error(f"{name} = {found}, must be {count} numbers")
        return found

    def _constant(self, what: str, value: Any) -> str:
        name = f"{self.label}:{what}"
        self.outside.constants.values[name] = value
        return name

    def _number(self, name: str, what: str) -> Any:
        """A constant of one element; None where it is left out."""
        constants = self.outside.constants
        if not name:
            return None
        if name not in constants or name in constants.varying or constants.values[name].size != 1:
            raise self.error(f"{what} is computed at run time, must be a constant: a chip has no branches")
        return constants.values[name].reshape(-1)[0]


def _own_names(graph: onnx.GraphProto, suffix: str) -> dict[str, str]:
    """New names of what a graph makes itself."""
    made = [output for node in graph.node for output in node.output if output]
    return {name: f"{name}{suffix}" for name in [*(tensor.name for tensor in graph.initializer), *made]}


def _renamed(node: onnx.NodeProto, names: Names, suffix: str, shares: str) -> onnx.NodeProto:
    """The node with other tensors, in the graphs inside it too."""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    made.name = f"{node.name}{suffix}" if node.name else ""
    del made.input[:], made.output[:]
    made.input.extend(names.get(name, name) for name in node.input)
    made.output.extend(names.get(name, name) for name in node.output)
    if shares and node.op_type == "MatMul" and node.domain in ("", "ai.onnx"):
        made.attribute.append(helper.make_attribute(SHARES, f"{shares}:{node.output[0]}:{made.input[1]}"))
    for attribute in made.attribute:
        if attribute.HasField("g"):
            inner = attribute.g
            inside = {**names, **_own_names(inner, suffix), **{v.name: f"{v.name}{suffix}" for v in inner.input}}
            nodes = [_renamed(one, inside, suffix, shares) for one in inner.node]
            del inner.node[:]
            inner.node.extend(nodes)
            for value in (*inner.initializer, *inner.input, *inner.output):
                value.name = inside.get(value.name, value.name)
    return made
