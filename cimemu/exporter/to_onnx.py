"""A float or QDQ network as an ONNX model: one entry per layer type in NODES."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cimemu.errors import WorkloadError
from cimemu.exporter.onnx_writers import ATTRIBUTES, PLAIN, WRITERS, attributes_of
from cimemu.exporter.outside import nodes_of
from cimemu.exporter.tfl_writers import TFL_WRITERS
from cimemu.layer.base import Array, Layer
from cimemu.layer.operator import Operator
from cimemu.layer.quant import DequantizeLinear
from cimemu.layer.recurrent import RecurrentCell
from cimemu.whole_file import whole_file
from cimemu.workload.annotations import KEY, annotation_text
from cimemu.workload.network import Network

OPSET = 17
NEWER = {  # operators that came to ONNX after OPSET: the operator set that has them
    "Mish": 18, "BitwiseAnd": 18, "BitwiseOr": 18, "BitwiseXor": 18, "BitwiseNot": 18, "Gelu": 20,
    "AffineGrid": 20, "GridSample": 20, "Resize": 19, "ScatterElements": 18, "ScatterND": 18, "LpPool": 18,
    "DFT": 20,
    "CumProd": 26,
    "SwiGLU": 28,
    "TensorScatter": 24,
    "RotaryEmbedding": 23, "Attention": 24, "AveragePool3d": 19,
}  # fmt: skip
BATCH = "N"
Constants = dict[str, Array]


class _Writer:
    """Nodes and initializers of one model."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.nodes: list[Any] = []
        self.initializers: dict[str, Array] = {}
        crd = any(layer.op == "SpaceToDepth" and getattr(layer, "mode", "") == "CRD" for layer in network.layers)
        self.domains: dict[str, int] = {}  # versions of the operator sets of operators from outside
        self.opset = max([OPSET, *(NEWER.get(layer.op, OPSET) for layer in network.layers), 28 if crd else OPSET])

    def constant(self, name: str, value: Array) -> str:
        """An initializer under `name`."""
        self.initializers[name] = np.asarray(value, order="C")
        return name

    def node(self, layer: Layer, inputs: Sequence[str] | None = None, op: str | None = None, **attributes: Any) -> None:
        """A node in the place of `layer`."""
        names = list(layer.inputs if inputs is None else inputs)
        self.constants_among(names)
        self.nodes.append(helper.make_node(op or layer.op, names, list(layer.outputs), name=layer.name, **attributes))

    def outside(self, layer: Operator) -> None:
        """The nodes that an operator from outside brings."""
        nodes, domains = nodes_of(layer, self.opset)
        for domain, version in domains.items():
            if self.domains.setdefault(domain, version) != version:
                raise layer.error(
                    f"version {version} of {domain}, of which another operator has {self.domains[domain]}: give them one"
                )
        self.constants_among(layer.inputs)
        self.nodes += nodes

    def constants_among(self, names: Sequence[str]) -> None:
        """Initializers for those of `names` that are constants."""
        for name in names:
            if name in self.network.constants and name not in self.dequantized:
                self.constant(name, self.network.constants[name])

    @property
    def dequantized(self) -> set[str]:
        """Constants that a DequantizeLinear node makes."""
        return {name for layer in self.network.layers if isinstance(layer, DequantizeLinear) for name in layer.outputs}


def _clip(writer: _Writer, layer: Any) -> None:
    source = writer.network.types[layer.inputs[0]].dtype
    names = [layer.inputs[0]]
    for side in ("low", "high"):
        value = getattr(layer, side)
        names.append("" if value is None else writer.constant(f"{layer.name}_{side}", np.array(value, dtype=source)))
    writer.node(layer, names)


def _slice(writer: _Writer, layer: Any) -> None:
    ends = [
        np.iinfo(np.int64).max if end is None and step > 0 else np.iinfo(np.int64).min if end is None else end
        for end, step in zip(layer.ends, layer.steps)
    ]
    parts = {"starts": layer.starts, "ends": ends, "axes": layer.axes, "steps": layer.steps}
    names = [writer.constant(f"{layer.name}_{key}", np.array(value, dtype=np.int64)) for key, value in parts.items()]
    writer.node(layer, [layer.inputs[0], *names])


def _pad(writer: _Writer, layer: Any) -> None:
    pads = [0, *(before for before, _ in layer.pads), 0, *(after for _, after in layer.pads)]
    names = [layer.inputs[0], writer.constant(f"{layer.name}_pads", np.array(pads, dtype=np.int64))]
    if layer.mode == "constant":
        dtype = writer.network.types[layer.inputs[0]].dtype
        names.append(writer.constant(f"{layer.name}_value", np.array(layer.value, dtype=dtype)))
    writer.node(layer, names, mode=layer.mode)


def _reshape(writer: _Writer, layer: Any) -> None:
    shape = np.array([-1, *layer.shape], dtype=np.int64)
    writer.node(layer, [layer.inputs[0], writer.constant(f"{layer.name}_shape", shape)], op="Reshape")


def _expand(writer: _Writer, layer: Any) -> None:
    shape = np.array([1, *layer.shape], dtype=np.int64)
    writer.node(layer, [layer.inputs[0], writer.constant(f"{layer.name}_shape", shape)])


def _split(writer: _Writer, layer: Any) -> None:
    sizes = writer.constant(f"{layer.name}_sizes", np.array(layer.sizes, dtype=np.int64))
    writer.node(layer, [layer.inputs[0], sizes], axis=layer.axis)


def _concat(writer: _Writer, layer: Any) -> None:
    """A constant that joins every image is written as often as there are images: ONNX joins alike shapes only."""
    types, names = writer.network.types, list(layer.inputs)
    source = next(name for name in names if name in types)
    for place, name in enumerate(names):
        if name in types:
            continue
        value = writer.network.constants[name]
        made = f"{layer.name}_{place}"
        if name not in writer.dequantized:
            writer.constant(name, value)
        if f"{layer.name}_images" not in writer.initializers:
            writer.nodes.append(helper.make_node("Shape", [source], [f"{layer.name}_shape"]))
            first = writer.constant(f"{layer.name}_images", np.zeros(1, np.int64))
            writer.nodes.append(helper.make_node("Gather", [f"{layer.name}_shape", first], [f"{layer.name}_count"]))
        rest = writer.constant(f"{made}_rest", np.array(value.shape[1:], np.int64))
        whole, names[place] = f"{made}_whole", f"{made}_images_joined"
        writer.nodes.append(helper.make_node("Concat", [f"{layer.name}_count", rest], [whole], axis=0))
        writer.nodes.append(helper.make_node("Expand", [name, whole], [names[place]]))
    writer.node(layer, names, axis=layer.axis)


def _conv(writer: _Writer, layer: Any) -> None:
    weight = writer.network.constants[layer.inputs[1]]
    flat = weight.ndim == 3
    cut = slice(1, None) if flat else slice(None)
    top, left, bottom, right = layer.pads
    writer.node(
        layer,
        kernel_shape=list(layer.kernel_shape[cut]),
        strides=list(layer.strides[cut]),
        dilations=list(layer.dilations[cut]),
        pads=[left, right] if flat else [top, left, bottom, right],
        group=layer.groups,
    )


def _pool(writer: _Writer, layer: Any) -> None:
    flat = len(writer.network.types[layer.inputs[0]].shape) == 2
    cut = slice(1, None) if flat else slice(None)
    top, left, bottom, right = layer.pads
    attributes: dict[str, Any] = {
        "kernel_shape": list(layer.kernel_shape[cut]),
        "strides": list(layer.strides[cut]),
        "pads": [left, right] if flat else [top, left, bottom, right],
        "ceil_mode": int(layer.ceil_mode),
    }
    if layer.op == "AveragePool":
        attributes["count_include_pad"] = int(layer.count_include_pad)
    elif tuple(layer.dilations) != (1, 1):
        attributes["dilations"] = list(layer.dilations[cut])
    writer.node(layer, **attributes)


def _reduce(writer: _Writer, layer: Any) -> None:
    if layer.op == "ReduceSum" or writer.opset >= 18:  # axes became an input in opset 13 for this one, in 18 for all
        axes = writer.constant(f"{layer.name}_axes", np.array(layer.axes, dtype=np.int64))
        writer.node(layer, [layer.inputs[0], axes], keepdims=int(layer.keepdims))
    else:
        writer.node(layer, axes=list(layer.axes), keepdims=int(layer.keepdims))


def _cast(writer: _Writer, layer: Any) -> None:
    writer.node(layer, to=helper.np_dtype_to_tensor_dtype(np.dtype(layer.dtype)))


def _quant(writer: _Writer, layer: Any) -> None:
    dtype = getattr(layer, "dtype", None)
    if dtype in ("int4", "uint4"):
        raise WorkloadError(f"node '{layer.name}': {dtype} cannot be written at opset {writer.opset}")
    writer.node(layer, axis=layer.axis)


def _attributes(*fields: str) -> Callable[[_Writer, Any], None]:
    """A writer that copies dataclass fields of the same name."""

    def write(writer: _Writer, layer: Any) -> None:
        writer.node(layer, **{name: getattr(layer, name) for name in fields})

    return write


def _softmax(writer: _Writer, layer: Any) -> None:
    if layer.flatten:
        raise WorkloadError(
            f"node '{layer.name}' (Softmax): runs over all axes from {layer.axis} on, as before operator set 13, and "
            f"cannot be written at opset {writer.opset}: flatten its input in the network"
        )
    writer.node(layer, axis=layer.axis)


def _gemm(writer: _Writer, layer: Any) -> None:
    writer.node(layer, alpha=layer.alpha, beta=layer.beta, transB=int(layer.trans_b))


NODES: dict[str, Callable[[_Writer, Any], None]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "Clip": _clip,
    "Slice": _slice,
    "Pad": _pad,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
    "Expand": _expand,
    "Split": _split,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "ReduceMean": _reduce,
    "ReduceSum": _reduce,
    "ReduceMax": _reduce,
    "ReduceMin": _reduce,
    **dict.fromkeys(
        ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd", "ReduceSumSquare"), _reduce
    ),
    "Cast": _cast,
    "QuantizeLinear": _quant,
    "DequantizeLinear": _quant,
    "Transpose": _attributes("perm"),
    "Concat": _concat,
    "Gather": _attributes("axis"),
    "Softmax": _softmax,
    "LeakyRelu": _attributes("alpha"),
    "Elu": _attributes("alpha"),
    "HardSigmoid": _attributes("alpha", "beta"),
    "LayerNormalization": _attributes("axis", "epsilon"),
    "BatchNormalization": _attributes("epsilon"),
}


def onnx_model(network: Network, extra_outputs: Sequence[str] = ()) -> Any:
    """The ONNX ModelProto of a float or QDQ network; `extra_outputs` are given out too. Raises WorkloadError."""
    annotation = annotation_text(network)
    if network.is_integer:
        if network.qdq is None:
            raise WorkloadError(
                f"network {network.name}: has integer layers and no QDQ graph behind it, cannot be written as ONNX"
            )
        network = network.qdq
    network = _written_out(network)
    writer = _Writer(network)
    for layer in network.layers:
        if isinstance(layer, Operator):
            writer.outside(layer)
        elif layer.op in NODES:
            NODES[layer.op](writer, layer)
        elif layer.op in WRITERS:
            WRITERS[layer.op](writer, layer)
        elif layer.op in TFL_WRITERS:
            TFL_WRITERS[layer.op](writer, layer)
        elif layer.op in ATTRIBUTES:
            writer.node(layer, **attributes_of(layer))
        elif layer.op in PLAIN:
            writer.node(layer)
        else:
            raise WorkloadError(f"node '{layer.name}' ({layer.op}): has no ONNX writer")
    outputs = [*network.outputs, *(name for name in extra_outputs if name not in network.outputs)]
    graph = helper.make_graph(
        writer.nodes,
        network.name,
        [_value(network, name) for name in network.inputs],
        [_value(network, name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in writer.initializers.items()],
    )
    sets = [helper.make_opsetid(domain, version) for domain, version in {"": writer.opset, **writer.domains}.items()]
    model = helper.make_model(graph, opset_imports=sets, producer_name="cimemu")
    model.ir_version = 8 if writer.opset == OPSET else 10
    if annotation is not None:
        helper.set_model_props(model, {KEY: annotation})
    onnx.checker.check_model(model)
    return model


def _written_out(network: Network) -> Network:
    """Cells of recurrent networks as the operators that they consist of."""
    layers: list[Layer] = []
    types = dict(network.types)
    for layer in network.layers:
        if not isinstance(layer, RecurrentCell):
            layers.append(layer)
            continue
        layers += layer.named_parts()
        own = {**dict(zip(layer.reads, layer.inputs)), **dict(zip(layer.makes, layer.outputs))}
        types |= {own.get(name, f"{layer.name}/{name}"): kind for name, kind in layer.types.items()}
    return replace(network, layers=tuple(layers), types=types)


def _value(network: Network, name: str) -> Any:
    tensor = network.types[name]
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)), [BATCH, *tensor.shape]
    )


def save_onnx(network: Network, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a float or quantised network as a standard (QDQ) ONNX file; it appears under its name only when whole.

    Returns the path. Raises WorkloadError for a network that has no such form, and for a file that is there already,
    unless `overwrite`.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.load_network(workload.network)
    >>> quantized = cimemu.quantize(network, arch, workload.calibration())
    >>> path = cimemu.save_onnx(quantized, "digits_int8.onnx")
    >>> cimemu.load_network(path).is_quantized
    True
    """
    path = Path(path)
    with whole_file(path, WorkloadError, overwrite=overwrite) as partial:
        partial.write_bytes(onnx_model(network).SerializeToString())
    return path
