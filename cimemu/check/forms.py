"""In which form a reference computed each tensor: the operator that really ran, fused or not, and what else decides its values.

A runtime's own optimisation can change values: several operators of the file become one kernel, a kernel adds pairs of
products in 16 bits, a multiplication and an addition round once or twice. `forms_of` names the form of every tensor of a
graph as ONNX Runtime runs it; each of PROBES may add a remark about this machine's kernels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import onnx

LAYOUT = ("ReorderOutput", "ReorderInput", "Transpose")  # moves between ONNX Runtime's memory layouts
FRONT = (
    "QuantizeLinear",
    "Relu",
    "Clip",
    "Add",
)  # what a product's result may pass before it is a tensor that is compared


@dataclass(frozen=True)
class Form:
    """How a reference computed one tensor.

    `operator` is what ran (or says that it is not known); `fused` whether it stands for several operators of the file;
    `remarks` what else decides its values. Where `same` is False, this machine's kernel follows another rule than cimemu
    reproduces: a difference there, or behind it, may be the runtime's own.
    """

    operator: str
    fused: bool = False
    remarks: tuple[str, ...] = ()
    same: bool = True

    @property
    def text(self) -> str:
        """For people."""
        return ": ".join([f"{self.operator}, fused" if self.fused else self.operator, *self.remarks[:1]]) + "".join(
            f"; {remark}" for remark in self.remarks[1:]
        )

    def remark(self, text: str, *, same: bool = True) -> "Form":
        """The same with one remark more."""
        return replace(self, remarks=(*self.remarks, text), same=self.same and same)


Probe = Callable[[onnx.ModelProto], Mapping[str, tuple[str, bool]]]
"""Of a graph as ONNX Runtime runs it: tensor -> (remark, whether its rule is still the one that cimemu reproduces)."""


def forms_of(
    written: onnx.ModelProto, ran: onnx.ModelProto, probes: tuple[Probe, ...], unfused: Mapping[str, str]
) -> dict[str, Form]:
    """The form of every tensor that the optimised graph `ran` still makes.

    `written` is the graph before optimisation, `unfused` the outputs of its nodes that were kept from being fused, with
    the reason.
    """
    before = {name: node for node in written.graph.node for name in node.output if name}
    makers = {name: node for node in ran.graph.node for name in node.output if name}
    remarks = [probe(ran) for probe in probes]
    forms: dict[str, Form] = {}
    for name, maker in makers.items():
        node, source = maker, name
        own = before.get(name)
        while node.op_type in LAYOUT and node.input[0] in makers and (own is None or own.op_type != node.op_type):
            source = node.input[0]
            node = makers[source]
        form = Form(node.op_type, fused=own is not None and own.op_type != node.op_type)
        for reason in _kept_apart(name, before, unfused):
            form = form.remark(reason)
        for found in remarks:
            if source in found:
                text, same = found[source]
                form = form.remark(text, same=same)
        forms[name] = form
    return forms


def _kept_apart(name: str, before: Mapping[str, onnx.NodeProto], unfused: Mapping[str, str]) -> list[str]:
    """Reasons why the operator behind tensor `name` was not fused with what follows it."""
    while name in before:
        if name in unfused:
            return [f"{before[name].op_type} unfused, because {unfused[name]}"]
        if before[name].op_type not in FRONT:
            break
        name = before[name].input[0]
    return []
