"""A decoder whose caches grow: of one ONNX file, a network for every length of them.

An exporter leaves the length of the caches open, [texts, heads, length, width], and the new ones are longer by the token that
came in. A chip runs networks of fixed sizes, so every length is a network of its own, of the same weights.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from cimemu.errors import WorkloadError
from cimemu.importer.from_onnx import network_of
from cimemu.importer.onnx_file import read_model
from cimemu.importer.onnx_sizes import given_inputs
from cimemu.workload.network import Network

RENAMED = (("present", "past"), ("present", "past_key_values"), ("new", "past"), ("next", "last"))
Size = tuple[int, int]  # (a, b): a * length of the caches + b
ONE, PAST, TOTAL = (0, 1), (1, 0), (1, 1)


@dataclass(frozen=True, eq=False)
class GrowingDecoder:
    """A file and what its open sizes are, by input: of every axis, for one token of one text."""

    path: Path
    model: onnx.ModelProto
    feedback: Mapping[str, str]  # caches: input by output
    sizes: Mapping[str, tuple[Size, ...]]
    values: Mapping[str, float]  # of inputs that always hold one number

    @property
    def inputs(self) -> tuple[str, ...]:
        """Of every network but the first, which has no caches yet."""
        return tuple(name for name in self.sizes if name not in self.values)

    def network(self, length: int) -> Network:
        """For caches of `length` tokens and one more; WorkloadError. Empty caches are constants, and no inputs."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        shapes = {name: tuple(a * length + b for a, b in sizes) for name, sizes in self.sizes.items()}
        if not length:
            for value in [v for v in model.graph.input if v.name in self.feedback.values()]:
                dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
                model.graph.initializer.append(
                    numpy_helper.from_array(np.zeros(shapes.pop(value.name), dtype), value.name)
                )
                model.graph.input.remove(value)
        return network_of(model, self.path, shapes, self.values)


def growing_decoder(
    path: Path,
    given: Collection[str],
    feedback: Mapping[str, str] | None = None,
    values_of: Mapping[str, float] | None = None,
) -> GrowingDecoder | None:
    """The decoder in an ONNX file whose caches have an open length; None where no cache has one.

    One of the inputs that are `given` takes the prompt. `feedback` gives outputs to inputs, by default those whose names differ
    as "present" and "past" do. `values_of` are numbers that inputs always hold. WorkloadError for an open size that nothing is
    known of.
    """
    model = read_model(path)
    values = {value.name: value for value in given_inputs(model)}
    pairs = by_names([v.name for v in model.graph.output], list(values)) if feedback is None else dict(feedback)
    pairs = {output: name for output, name in pairs.items() if name in values}
    tokens = [name for name in given if name in values and _takes_tokens(values[name]) and name not in pairs.values()]
    batch = {name for token in tokens for name in _names(values[token])[:1]}
    lengths = {name for cache in pairs.values() for name in _names(values[cache])[1:] if name is not None}
    lengths -= batch - {""}
    if not lengths:
        return None
    if len(tokens) != 1:
        raise WorkloadError(
            f"{path}: {len(tokens)} of the inputs that are given take tokens, must be one, the prompt; the file has "
            f"{', '.join(values)}"
        )
    token, new = tokens[0], _names(values[tokens[0]])[1:2]

    def size(name: str, axis: int, dim: onnx.TensorShapeProto.Dimension) -> Size:
        if dim.dim_value > 0:
            return (0, dim.dim_value)
        shown = dim.dim_param
        if axis == 0 or (shown and shown in batch):
            return ONE
        if name in pairs.values() or (shown and shown in lengths and shown not in new):
            return PAST
        if name == token or ("mask" not in name and (shown in new if shown else "position" in name)):
            return ONE
        if shown or "mask" in name:
            return TOTAL
        raise WorkloadError(
            f"{path}: input '{name}' leaves axis {axis} open without a name: name it in the export, as the caches' or the token's"
        )

    sizes = {n: tuple(size(n, i, dim) for i, dim in enumerate(v.type.tensor_type.shape.dim)) for n, v in values.items()}
    for cache in pairs.values():
        if sum(a for a, _ in sizes[cache]) > 1:
            raise WorkloadError(
                f"{path}: cache '{cache}' leaves several axes open, it grows along one: fix the others in the export"
            )
    return GrowingDecoder(path, model, pairs, sizes, values_of or {})


def by_names(outputs: Sequence[str], inputs: Sequence[str]) -> dict[str, str]:
    """Inputs by outputs whose names differ in one of the words of RENAMED."""
    found = {}
    for output in outputs:
        names = [output.replace(new, old, 1) for new, old in RENAMED if new in output]
        taken = next((name for name in names if name in inputs), None)
        if taken is not None:
            found[output] = taken
    return found


def _takes_tokens(value: onnx.ValueInfoProto) -> bool:
    """Whether an input takes integers that are neither places nor a mask."""
    integers = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
    return value.type.tensor_type.elem_type in integers and not any(word in value.name for word in ("mask", "position"))


def _names(value: onnx.ValueInfoProto) -> list[str | None]:
    """Of every axis what its open size is called, "" for nothing; None of a fixed one."""
    return [None if dim.dim_value > 0 else dim.dim_param for dim in value.type.tensor_type.shape.dim]
