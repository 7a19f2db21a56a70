"""If: the nodes of the branch that a constant condition takes; of both, where the condition is computed, which then chooses."""

import onnx
from onnx import helper

from cimemu.errors import WorkloadError
from cimemu.importer.onnx_loops import Surroundings, read_graph


def read_if(proto: onnx.NodeProto, outside: Surroundings, *, alone: bool) -> None:
    """Read an If's branch, or both and a Where for every output. WorkloadError where branches do not make one shape.

    `alone`: images are run one at a time; a condition is one for all images of a batch, so that only then one may be computed.
    """
    bodies = {attribute.name: attribute.g for attribute in proto.attribute}
    (condition,) = proto.input
    label = proto.name or proto.output[0]
    if condition in outside.constants and condition not in outside.constants.varying:
        value = outside.constants.values[condition]
        taken = "then_branch" if bool(value.reshape(-1)[:1].any()) else "else_branch"
        # ONNX has one name for one tensor in a graph and the graphs inside it: a branch's own names can stand outside.
        for index, (name, source) in enumerate(zip(proto.output, read_graph(bodies[taken], "", outside))):
            outside.read(helper.make_node("Identity", [source], [name], name=f"{label}_{index}"))
        return
    if not alone:
        raise _error(proto, "the condition is computed at run time, it is one for all images: fix the batch to 1")
    made, other = (read_graph(bodies[b], f"@{label}.{b}", outside) for b in ("then_branch", "else_branch"))
    for index, (name, *sources) in enumerate(zip(proto.output, made, other)):
        shapes = [list(outside.shape(source) or ()) for source in sources]
        if shapes[0] != shapes[1]:
            raise _error(
                proto,
                f"the condition is computed at run time and output {index} is of shape {shapes[0]} or {shapes[1]}: a chip has no "
                "branches, it runs both, which must make one shape",
            )
        outside.read(helper.make_node("Where", [condition, *sources], [name], name=f"{label}_{index}"))


def _error(proto: onnx.NodeProto, message: str) -> WorkloadError:
    return WorkloadError(f"node '{proto.name}' (If): {message}")
