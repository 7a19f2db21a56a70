"""One ONNX node as a builder sees it: attributes that must all be understood, constants, types, errors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from cimemu.errors import WorkloadError
from cimemu.importer.onnx_constants import BATCH, Constants
from cimemu.layer.base import Array, TensorType

WHOLE_FORM = "cimemu.whole"  # an attribute of nodes whose tensors have all axes of the file behind the axis of images


class Node:
    """A node with its surroundings; builders read it and return a layer.

    `key` is the operator's name in the table: with its domain in front, `domain:Name`, if it has one.
    `name` is unique in the network. `inputs` and `outputs` are tensor names, "" for one left out.
    `batch` is the literal first axis of the network's inputs, 0 if it is dynamic.
    """

    def __init__(
        self,
        proto: onnx.NodeProto,
        name: str,
        constants: Constants,
        types: Mapping[str, TensorType],
        opset: int,
        batch: int,
    ) -> None:
        self.op, self.name, self.opset, self.batch = proto.op_type, name, opset, batch
        self.domain = "" if proto.domain == "ai.onnx" else proto.domain
        self.key = f"{self.domain}:{proto.op_type}" if self.domain else proto.op_type
        self.inputs, self.outputs = tuple(proto.input), tuple(proto.output)
        self._constants, self._types = constants, types
        self._attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
        self._read: set[str] = set()

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value (a string decoded), or the default; marks it as understood."""
        self._read.add(name)
        value = self._attributes.get(name, default)
        return value.decode(errors="replace") if isinstance(value, bytes) else value

    def check_all_read(self) -> None:
        """WorkloadError for an attribute that no builder asked for: it might change the meaning."""
        left = sorted(set(self._attributes) - self._read)
        if left:
            raise self.error(f"attribute '{left[0]}' is not supported, export the network without it")

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.inputs) and self.inputs[index] != ""

    def is_constant(self, index: int) -> bool:
        """Whether an input is given and constant."""
        return self.has(index) and self.inputs[index] in self._constants

    def constant(self, index: int, what: str) -> Array:
        """An input that must be a constant and the same for any number of images."""
        if not self.is_constant(index):
            raise self.error(f"{what} is computed at run time, must be a constant: freeze it")
        if self.inputs[index] in self._constants.varying:
            raise self.error(f"{what} depends on the number of images, images must stay apart")
        return self._constants.values[self.inputs[index]]

    @property
    def constants(self) -> Mapping[str, Array]:
        """All constants by name."""
        return self._constants.values

    def make_constant(self, name: str, value: Array) -> None:
        """A constant beside those of the file."""
        self._constants.values[name] = value

    def sizes(self, index: int, what: str) -> list[int]:
        """An input that must be a constant list of integers, with BATCH for the number of images."""
        if not self.is_constant(index):
            raise self.error(f"{what} is computed at run time, must be a constant: fix the input shape")
        try:
            return self._constants.sizes(self.inputs[index])
        except WorkloadError as error:
            raise self.error(str(error)) from None

    def size(self, index: int, what: str) -> int:
        """An input that must be one constant integer."""
        found = self.sizes(index, what)
        if len(found) != 1 or found[0] == BATCH:
            raise self.error(f"{what} has {len(found)} values or is the number of images, must be one number")
        return found[0]

    def sizes_or_attribute(self, index: int, name: str) -> list[int] | None:
        """A list of integers that is an input in newer operator sets and an attribute in older ones."""
        attribute = self.attribute(name)
        if self.has(index):
            return self.sizes(index, name)
        return None if attribute is None else [int(value) for value in attribute]

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Per-image shape of a runtime input (for a constant: its shape without the first axis)."""
        name = self.inputs[index]
        if name in self._types:
            return self._types[name].shape
        return tuple(self._constants.values[name].shape[1:])

    def dtype(self, index: int = 0) -> str:
        """NumPy dtype name of an input."""
        name = self.inputs[index]
        return self._types[name].dtype if name in self._types else self._constants.values[name].dtype.name

    def stored_type(self, index: int) -> str:
        """Type name of a constant as the file has it: int4 and uint4, held in bytes, are told apart."""
        return self._constants.narrow.get(self.inputs[index], self.dtype(index))

    def first_is_batch(self, size: int) -> bool:
        """Whether a first size in a target shape can stand for all images."""
        return size in (BATCH, 0, -1) or (self.batch > 0 and size == self.batch)

    def data(self, count: int | None = None) -> tuple[str, ...]:
        """Names of the first `count` inputs, those left out at the end dropped."""
        names = list(self.inputs[:count])
        while names and not names[-1]:
            names.pop()
        if "" in names:
            raise self.error("an input is left out that must be given")
        for name in names:
            if name in self._constants.varying:
                raise self.error(f"input '{name}' depends on the number of images, images must stay apart")
        return tuple(names)

    def fresh(self, what: str) -> str:
        """A name for a tensor that the file does not have, after this node."""
        name = f"{self.name}:{what}"
        while name in self._constants.taken:
            name += "'"
        self._constants.taken.add(name)
        return name

    def results(self, count: int) -> tuple[str, ...]:
        """`count` output names; one that the file leaves out gets a name that nothing reads."""
        given = (*self.outputs, *[""] * count)[:count]
        return tuple(name or self.fresh(f"unread{index}") for index, name in enumerate(given))

    def scalar(self, index: int, what: str) -> float | None:
        """A constant of one element, None if it is left out."""
        if not self.has(index):
            return None
        value = self.constant(index, what)
        if value.size != 1:
            raise self.error(f"{what} has {value.size} values, must have one")
        return float(value.reshape(-1)[0])

    def error(self, message: str) -> WorkloadError:
        """A WorkloadError that names this node and its operator."""
        return WorkloadError(f"node '{self.name}' ({self.op}): {message}")

    def normal_axis(self, axis: int, rank: int) -> int:
        """A possibly negative axis as 0 .. rank-1."""
        if not -rank <= axis < rank:
            raise self.error(f"axis = {axis}, must be in {-rank}..{rank - 1}")
        return axis % rank

    def pair(self, name: str, default: Sequence[int], rank: int) -> tuple[int, int]:
        """A (vertical, horizontal) attribute of a window; one number for an image of height 1."""
        values = [int(v) for v in self.attribute(name, default)]
        if len(values) != rank or min(values) < 1 or max(values) > np.iinfo(np.int32).max:
            raise self.error(f"{name} = {values}, must be {rank} numbers >= 1")
        return (values[0], values[1]) if rank == 2 else (1, values[0])
