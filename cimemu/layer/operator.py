"""What an operator of a plug-in derives from: a node of one's own ONNX domain as a layer of the digital unit."""

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Self

from cimemu.layer.base import Layer


@dataclass(frozen=True, eq=False)
class Operator(Layer):
    """A layer named by its ONNX operator, `operator = "DOMAIN:OpType"`; images stay apart.

    A class of one's own defines `infer(types)`, which gives the TensorType (shape of one image, dtype) of each output, and
    `forward(arrays)`, which gives each output `[images, *shape]` as an array of that dtype. It may define
    `digital_ops(inputs, outputs)`, elementary operations of one image: the digital unit does one a lane and cycle, and
    each costs `costs.digital.energy_pj` pJ (default: one an output element). Attributes of the node are fields of the
    class (a dataclass, frozen and without eq) by their names; one without a default must be given.

    Where a network is written as ONNX, the layer becomes the node that it was read from, of `version` of its domain. A
    class that overrides `from_node`, or wants other nodes, defines `onnx_nodes(opset)`.
    """

    plugin_group: ClassVar[str] = "cimemu.operator"
    operator: ClassVar[str] = ""
    version: ClassVar[int] = 1

    def __init_subclass__(cls, **keys: Any) -> None:
        """The name that reports show is the operator's."""
        super().__init_subclass__(**keys)
        if cls.operator:
            cls.op = cls.operator

    @classmethod
    def from_node(cls, node: Any) -> Self:
        """The layer of a node, a `cimemu.importer.onnx_node.Node`. Raises WorkloadError where an attribute is missing."""
        given: dict[str, Any] = {}
        for field in fields(cls):
            if field.name in ("name", "inputs", "outputs"):
                continue
            default = field.default if field.default_factory is MISSING else field.default_factory()
            value = node.attribute(field.name, default)
            if value is MISSING:
                raise node.error(f"attribute '{field.name}' is not given, export the network with it")
            given[field.name] = value
        return cls(node.name, node.data(), node.outputs, **given)

    def onnx_nodes(self, opset: int) -> Sequence[Any] | None:
        """The onnx.NodeProto that stand for the layer in a file of ONNX operator set `opset`, in order.

        They read `self.inputs` and give `self.outputs`; names in between begin with `self.name`, and constants of their own
        are Constant nodes. None: the node that the layer was read from.
        """
        return None
