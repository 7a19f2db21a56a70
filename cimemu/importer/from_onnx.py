"""ONNX files, float or QuantizeLinear / DequantizeLinear, as networks of layers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from cimemu import plugins
from cimemu.errors import WorkloadError
from cimemu.importer.fold import drop_identities, fold_batch_norm, needed
from cimemu.importer.onnx_attention import ATTENTION
from cimemu.importer.onnx_branches import read_if
from cimemu.importer.onnx_constants import ALONE, BATCHES, Constants, foldable
from cimemu.importer.onnx_file import read_model
from cimemu.importer.onnx_forms import Forms, literal, merge_reshapes, open_batch
from cimemu.importer.onnx_functions import FUNCTIONS
from cimemu.importer.onnx_integer import INTEGER_OPS
from cimemu.importer.onnx_loops import LOOPS, Surroundings, read_loop
from cimemu.importer.onnx_node import Node
from cimemu.importer.onnx_norms import NORMS
from cimemu.importer.onnx_ops import OPS, Builder, unsupported
from cimemu.importer.onnx_places import PLACES
from cimemu.importer.onnx_qonnx import QONNX, uses_qonnx
from cimemu.importer.onnx_qoperator import expand_quantized
from cimemu.importer.onnx_recurrent import RECURRENT, STEPS_IN_FRONT
from cimemu.importer.onnx_resize import RESIZES
from cimemu.importer.onnx_sizes import fixed_to_one, given_inputs, sized, valued
from cimemu.importer.onnx_unsupported import refuse_unsupported
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.dynamic import DynamicQuantizeLinear
from cimemu.layer.execute import MAX_ELEMENTS, infer_layer
from cimemu.layer.quant import DequantizeLinear
from cimemu.layer.shape import Reshape
from cimemu.workload.annotations import KEY, read_annotation
from cimemu.workload.network import Network

GROUPS: dict[str, dict[str, Builder]] = {
    "products, pools, arithmetic, activations, moves": OPS,
    "functions of elements and along an axis": FUNCTIONS,
    "places": PLACES,
    "normalisation": NORMS,
    "attention": ATTENTION,
    "resizing, looking up, Einstein sums": RESIZES,
    "integer products": {**INTEGER_OPS},
    "recurrent networks, unrolled": RECURRENT,
    "QONNX": {**QONNX},
}
OPERATORS: dict[str, Builder] = {name: builder for group in GROUPS.values() for name, builder in group.items()}
ELEMENTWISE = ("Add", "Div", "Mul", "Sub")
RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
INPUT_TYPES = (
    "float32", "float64", "float16", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool",
)  # fmt: skip
# Infinite constants are a fault where they are weights; in a mask or a limit they mean something.
FINITE = {"Conv", "Gemm", "MatMul", "BatchNormalization", "LayerNormalization", "DequantizeLinear", "PRelu"}


def load_onnx(
    path: str | Path, shapes: Mapping[str, Sequence[int]] | None = None, values: Mapping[str, float] | None = None
) -> Network:
    """The network in an ONNX file, for any number of images; `shapes` [batch, ...] by input name are for open sizes,
    `values` are numbers that inputs always hold.

    Shape arithmetic is folded, batch normalisation goes into weights, identities vanish; all other tensors
    keep their names. A DequantizeLinear of a constant stays as a layer, with its value among the constants.
    Raises WorkloadError in one line that names file, node and operator.
    """
    path = Path(path)
    return network_of(read_model(path), path, shapes, values)


def network_of(
    model: onnx.ModelProto,
    path: Path,
    shapes: Mapping[str, Sequence[int]] | None = None,
    values: Mapping[str, float] | None = None,
) -> Network:
    """The network in a model that was read from `path`; the model is changed."""
    try:
        notes = {prop.key: prop.value for prop in model.metadata_props}
        fixed = valued(sized(model, shapes or {}), values or {})
        network = replace(_sized(expand_quantized(model), path.stem, shapes or {}), fixed=fixed)
        if KEY in notes:
            network = replace(network, **read_annotation(notes[KEY]))
    except WorkloadError as error:
        raise WorkloadError(f"{path}: {error}") from None
    runs_elsewhere = not uses_qonnx([f"{node.domain}:{node.op_type}" for node in model.graph.node])
    if not runs_elsewhere:
        return replace(network, real_biases=True)
    return replace(network, origin=path) if network.is_quantized else network


def _sized(model: onnx.ModelProto, name: str, shapes: Mapping[str, Sequence[int]]) -> Network:
    """The network for any number of images; where the file mixes them, and `shapes` fixes the batch to 1, for one at a time."""
    try:
        return _network(model, name)
    except WorkloadError:
        if not fixed_to_one(model, shapes):
            raise
        return _network(model, name)


def _network(model: onnx.ModelProto, name: str) -> Network:
    """The network for any number of images, or else one that takes one image at a time, where the file allows it."""
    refuse_unsupported(model, [*plugins.names("cimemu.operator"), "If", *LOOPS])
    if any(v.type.HasField("tensor_type") and not v.type.tensor_type.shape.dim for v in given_inputs(model)):
        return _Import(model, alone=True).network(name)  # an input without axes has no axis of images
    together = _Import(model)
    try:
        return together.network(name)
    except WorkloadError as refused:
        if together.batches.isdisjoint((0, 1)) and not _steps_in_front(model):
            raise
        alone = _Import(model, alone=True)
        try:
            return alone.network(name)
        except WorkloadError as error:
            at_once = str(error).split("):")[0] == str(refused).split("):")[0] and STEPS_IN_FRONT not in str(refused)
            further = alone.forms is not None and alone.forms.only_whole and not at_once
            raise (error if further else refused) from None


def _steps_in_front(model: onnx.ModelProto) -> bool:
    """Whether axis 0 of an input may be that of the steps of a sequence."""
    return any(node.op_type in (*RECURRENT, *LOOPS, "DynamicQuantizeLSTM") for node in model.graph.node)


class _Import:
    """One file on its way to a network: constants, types and layers as far as the nodes have been read."""

    def __init__(self, model: onnx.ModelProto, *, alone: bool = False) -> None:
        """`alone`: images are run one at a time, with the file's own shapes (`cimemu.importer.onnx_forms`)."""
        self.graph = model.graph
        self.opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
        self.constants = Constants(model, ALONE if alone else BATCHES)
        self.types: dict[str, TensorType] = {}
        self.layers: list[Layer] = []
        self._index = 0  # nodes read
        self.batches: set[int] = set()
        self.scalars: set[str] = set()  # without an axis of images in the file, of which every image has its own here
        self._names: set[str] = set()
        self.forms: Forms | None = None
        if alone:
            batch = open_batch([v for v in model.graph.input if v.name not in self.constants])
            self.forms = Forms(self.constants, self.types, self.layers, self._read_plain, batch)

    def network(self, name: str) -> Network:
        if self.graph.sparse_initializer:
            raise WorkloadError("sparse weights are not supported, export them dense")
        inputs = [value for value in self.graph.input if value.name not in self.constants]
        for value in inputs:
            self._read_input(value)
        if not self.graph.output:
            raise WorkloadError("the network has no output, export it again")
        if not inputs:
            raise WorkloadError("the network has no input, every tensor in it is a constant")
        for proto in self.graph.node:
            self._read(proto)
        outputs = tuple(value.name for value in self.graph.output)
        for output in outputs:
            if output not in self.types:
                raise WorkloadError(f"output '{output}' does not depend on an input, cut it off the network")
        return self._finish(name, tuple(value.name for value in inputs), outputs)

    def _read_input(self, value: onnx.ValueInfoProto) -> None:
        tensor = value.type.tensor_type
        try:
            dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
        except KeyError:
            dtype = "unknown"
        if not value.type.HasField("tensor_type") or dtype not in INPUT_TYPES:
            known = ", ".join(INPUT_TYPES)
            raise WorkloadError(f"input '{value.name}' is {dtype}, must be a tensor of {known}")
        if self.forms is not None and (one := literal(tensor.shape, self.forms.batch)) is not None:
            self._check_size(value.name, one)
            self.batches.add(1)
            self.forms.input(value.name, tensor.shape, one, dtype)
            return
        first, *rest = tensor.shape.dim
        sizes = []
        for axis, dim in enumerate(rest, 1):
            if not dim.HasField("dim_value") or dim.dim_value < 1:
                shown = dim.dim_param or (dim.dim_value if dim.HasField("dim_value") else "?")
                raise WorkloadError(
                    f"input '{value.name}' has size {shown} on axis {axis}, only axis 0, the batch, may be "
                    "open: give it, --input-shape NAME=1,3,224,224, or fix it in the export"
                )
            sizes.append(int(dim.dim_value))
        self._check_size(value.name, sizes)
        self.batches.add(max(0, int(first.dim_value)))
        if len(self.batches) > 1:
            raise WorkloadError(f"input '{value.name}' and another differ on axis 0, the batch: export them alike")
        self.types[value.name] = TensorType(tuple(sizes), dtype)

    def _check_size(self, name: str, sizes: Sequence[int]) -> None:
        if np.prod(sizes, dtype=np.float64) > MAX_ELEMENTS:
            raise WorkloadError(f"input '{name}' has images of {list(sizes)}, at most {MAX_ELEMENTS} elements")

    def _read(self, proto: onnx.NodeProto) -> None:
        plain = proto.domain in ("", "ai.onnx")
        if proto.op_type in LOOPS and plain:
            read_loop(proto, self._surroundings())
        elif proto.op_type == "If" and plain:
            read_if(proto, self._surroundings(), alone=self.forms is not None)
        elif self.forms is None:
            self._read_plain(proto)
        else:
            self._read_alone(proto, self.forms)

    def _read_alone(self, proto: onnx.NodeProto, forms: Forms) -> None:
        known = all(name in self.types or name in self.constants for name in proto.input)
        fixed = all(name in self.constants for name in proto.input)
        if proto.op_type in ("Shape", "Size") and proto.domain in ("", "ai.onnx") and known and not fixed:
            forms.set_shape(proto)
        elif fixed or not known or self._holds_infinity(proto):  # what is refused here is no matter of axes
            self._read_plain(proto)
        else:
            forms.add(proto)

    def _whole_shape(self, name: str) -> Sequence[int] | None:
        """The file's shape of a tensor; None where its axis 0 are the images."""
        if name in self.constants:
            return tuple(self.constants.values[name].shape)
        return None if self.forms is None or name not in self.types else self.forms.shape(name)

    def _holds_infinity(self, proto: onnx.NodeProto) -> bool:
        """Whether a weight is no finite number."""
        arrays = [self.constants.values[name] for name in proto.input if name in self.constants]
        floats = [array for array in arrays if array.dtype.kind == "f"]
        return proto.op_type in FINITE and not all(np.isfinite(array).all() for array in floats)

    def _read_plain(self, proto: onnx.NodeProto) -> None:
        index, batch = self._index, max(self.batches)
        self._index += 1
        if self.forms is not None and self.forms.batch is not None:
            batch = 0  # open: a size of 1 is none of images
        node = Node(proto, self._unique(proto, index), self.constants, self.types, self.opset, batch)
        for name in node.inputs:
            if name not in self.types and name not in self.constants:
                raise node.error(f"input '{name}' is not made by any node before it, export the network again")
        fixed = bool(node.inputs) and all(name in self.constants for name in node.inputs)
        if node.key == "Constant":
            self._read_constant(node, proto)
        elif node.key in ("Shape", "Size") and not fixed:
            self.constants.set_shape(proto, self.types[node.inputs[0]].shape)
        elif node.key == "CastLike" and node.is_constant(0) and node.inputs[1] in self.types:
            pair = self.constants.pair(node.inputs[0])
            self.constants.set_pair(node.outputs[0], [value.astype(node.dtype(1)) for value in pair])
        elif not (fixed and foldable(proto)):
            self._add_layer(node, fixed)
        elif not self._move_dequantized(node, proto):
            self._fold(node, proto)

    def _add_layer(self, node: Node, fixed: bool) -> None:
        builder = _builder(node)
        if node.key in ELEMENTWISE:
            self._align_scalars(node)
        built = builder(node)
        node.check_all_read()
        for layer in (built,) if isinstance(built, Layer) else built:
            self._check_finite(layer)
            self._take_layer(layer, fixed)

    def _take_layer(self, layer: Layer, fixed: bool) -> None:
        if not fixed:
            self.layers.append(layer)
            made = infer_layer(layer, self.constants.values, self.types)
            self.types.update(made)
            if layer.op == DynamicQuantizeLinear.op:
                self.scalars |= {name for name, output in made.items() if not output.shape}
            elif all(n in self.constants or n in self.scalars for n in layer.inputs):
                self.scalars |= set(made)
            return
        arrays = [self.constants.values[name] for name in layer.inputs]
        layer.infer(arrays)
        self.constants.values.update(zip(layer.outputs, layer.forward(arrays)))
        if isinstance(layer, DequantizeLinear):
            self.layers.append(layer)

    def _align_scalars(self, node: Node) -> None:
        """What has no axis of images in the file, but a value for each here (a dynamic scale, times those of the channels), gets
        the axes of the other operands, so that the axes of images align."""
        if not self.scalars.intersection(node.inputs):
            return
        ranks = {name: len(self.types[name].shape) for name in node.inputs if name in self.types}
        batched = [rank for name, rank in ranks.items() if name not in self.scalars]
        constants = [self.constants.values[name].ndim for name in node.inputs if name in self.constants]
        rank = max(batched, default=0) or max([*constants, *ranks.values()])
        names = list(node.inputs)
        for position, name in enumerate(names):
            if name not in self.scalars or ranks[name] == rank:
                continue
            shape = self.types[name].shape
            extra = max(0, ranks[name] - rank)
            if any(size != 1 for size in shape[:extra]):
                raise node.error(
                    f"operand '{name}' of shape {list(shape)} has more axes than the other: it does not fit"
                )
            shape = (1,) * (rank - ranks[name]) + shape[extra:]
            made = f"{name}:{rank}"
            if made not in self.types:
                self.layers.append(Reshape(made, (name,), (made,), shape))
                self.types[made] = TensorType(shape, self.types[name].dtype)
                self.scalars.add(made)
            names[position] = made
        node.inputs = tuple(names)

    def _move_dequantized(self, node: Node, proto: onnx.NodeProto) -> bool:
        """Transpose (or reshape, of one scale) the integers behind a dequantised constant instead of it.

        The weight of a product must arrive there as integers, and exporters transpose after dequantising.
        """
        source = next((layer for layer in self.layers if layer.outputs == (node.inputs[0],)), None)
        if not isinstance(source, DequantizeLinear) or node.key not in ("Transpose", *RESHAPES):
            return False
        integers = self.constants.values[source.inputs[0]]
        axis, scales = source.axis, self.constants.values[source.inputs[1]].size
        if node.key == "Transpose":
            perm = list(node.attribute("perm", range(integers.ndim)[::-1]))
            axis = perm.index(axis) if scales > 1 else axis
        elif scales > 1:
            return False
        moved = onnx.NodeProto()
        moved.CopyFrom(proto)
        moved.input[0], moved.output[0] = source.inputs[0], f"{node.outputs[0]}.integers"
        self._fold(node, moved)
        layer = DequantizeLinear(node.name, (moved.output[0], *source.inputs[1:]), node.outputs, axis, source.stored)
        arrays = [self.constants.values[name] for name in layer.inputs]
        self.constants.values[node.outputs[0]] = layer.forward(arrays)[0]
        self.layers.append(layer)
        return True

    def _surroundings(self) -> Surroundings:
        return Surroundings(self.constants, self._read, self._whole_shape)

    def _read_constant(self, node: Node, proto: onnx.NodeProto) -> None:
        attribute = proto.attribute[0]
        if attribute.name == "value":
            self.constants.store(node.outputs[0], attribute.t)
        elif attribute.name in ("value_int", "value_ints", "value_float", "value_floats"):
            dtype = np.int64 if "int" in attribute.name else np.float32
            self.constants.values[node.outputs[0]] = np.array(node.attribute(attribute.name), dtype)
        else:
            raise node.error(f"attribute '{attribute.name}' is not supported, store a dense tensor")

    def _fold(self, node: Node, proto: onnx.NodeProto) -> None:
        try:
            self.constants.fold(proto)
        except WorkloadError as error:
            raise node.error(str(error)) from None

    def _unique(self, proto: onnx.NodeProto, index: int) -> str:
        name = base = proto.name or f"{proto.op_type}_{index}"
        number = 1
        while name in self._names:
            number += 1
            name = f"{base}_{number}"
        self._names.add(name)
        return name

    def _check_finite(self, layer: Layer) -> None:
        for name in layer.inputs:
            array = self.constants.values.get(name)
            if array is None or array.dtype.kind != "f":
                continue
            faulty = ~np.isfinite(array) if layer.op in FINITE else np.isnan(array)
            if faulty.any():
                where = np.argwhere(np.atleast_1d(faulty))[0].tolist()
                value = np.atleast_1d(array)[tuple(where)]
                raise layer.error(f"constant '{name}' holds {value} at {where}, must be finite: train it again")

    def _finish(self, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Network:
        constants = dict(self.constants.values)
        layers = fold_batch_norm(self.layers, constants, outputs)
        layers = drop_identities(layers, self.types, inputs, outputs)
        if self.forms is not None:
            layers = merge_reshapes(needed(layers, outputs), self.types, outputs)
        layers = needed(layers, outputs)
        read = {tensor for layer in layers for tensor in (*layer.inputs, *layer.outputs)} | set(inputs)
        kept: dict[str, Array] = {key: array for key, array in constants.items() if key in read}
        types = {key: value for key, value in self.types.items() if key in read}
        whole = None if self.forms is None else frozenset(self.forms.only_whole)
        return Network(name, tuple(layers), kept, inputs, outputs, types, whole=whole)


def _builder(node: Node) -> Builder:
    """What makes a layer of a node: our table's entry, or a plug-in's operator. WorkloadError, PluginError for none."""
    try:
        found: Any = plugins.find("cimemu.operator", node.key)
    except LookupError:
        raise unsupported(node, dict.fromkeys(plugins.names("cimemu.operator"))) from None
    builder: Builder = getattr(found, "from_node", found)
    return builder
