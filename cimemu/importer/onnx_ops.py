"""The table of ONNX operators: one line each, a name and the builder of its layer."""

from collections.abc import Callable, Sequence
from typing import Any

from cimemu.importer import onnx_moves as moves
from cimemu.importer import onnx_volumes as volumes
from cimemu.importer.onnx_node import Node
from cimemu.layer import activation, arithmetic, matmul, norm, pool, quant, reduce
from cimemu.layer.base import Layer

Builder = Callable[[Node], Layer | Sequence[Layer]]  # several where one operator is a chain of layers
SHARES = "cimemu.shares"  # on a product in the body of a loop: all turns use one matrix
FLATTEN = "cimemu.flatten"  # on a Softmax made of a QLinearSoftmax, whose own `opset` says what its axis means


def plain(layer: Callable[..., Layer]) -> Builder:
    """A layer of inputs and outputs alone."""
    return lambda node: layer(node.name, node.data(), node.outputs)


def with_floats(layer: Callable[..., Layer], **defaults: float) -> Builder:
    """A layer whose fields are float attributes of the same name."""
    return lambda node: layer(
        node.name, node.data(), node.outputs, *(float(node.attribute(k, v)) for k, v in defaults.items())
    )


def _aligned(layer: Callable[..., Layer]) -> Builder:
    """A layer of two operands. Before operator set 7 the second was aligned at `axis` of the first, not at its end."""

    def build(node: Node) -> Layer:
        if node.opset >= 7 or not node.attribute("broadcast", 0) or node.attribute("axis") is None:
            return layer(node.name, node.data(), node.outputs)
        rank, second = len(node.shape()) + 1, node.constant(1, "the operand that is aligned at an axis")
        axis = node.normal_axis(int(node.attribute("axis")), rank)
        if axis + second.ndim > rank:
            raise node.error(f"axis = {axis} and an operand of shape {second.shape} for {rank} axes, it does not fit")
        name = node.fresh("aligned")
        node.make_constant(name, second.reshape(*second.shape, *(1,) * (rank - axis - second.ndim)))
        return layer(node.name, (node.inputs[0], name), node.outputs)

    return build


def _clip(node: Node) -> Layer:
    low, high = node.attribute("min"), node.attribute("max")
    low = node.scalar(1, "the minimum") if node.has(1) else low
    high = node.scalar(2, "the maximum") if node.has(2) else high
    return activation.Clip(node.name, node.data(1), node.outputs, low, high)


def _gelu(node: Node) -> Layer:
    return activation.Gelu(node.name, node.data(), node.outputs, node.attribute("approximate", "none"))


def _softmax(node: Node) -> Layer:
    old = bool(node.attribute(FLATTEN, node.opset < 13))  # over all axes from `axis` on
    rank = len(node.shape()) + 1
    axis = node.normal_axis(int(node.attribute("axis", 1 if old else -1)), rank)
    return activation.Softmax(node.name, node.data(), node.outputs, axis, old and axis < rank - 1)


def _prelu(node: Node) -> Layer:
    if node.opset < 7 and node.is_constant(1) and node.constant(1, "the slope").ndim == 1:
        # Broadcasting came with operator set 7; before it a list of slopes belonged to the channels.
        slope = node.constant(1, "the slope")
        name = f"{node.inputs[1]}:{len(node.shape())}"
        node.make_constant(name, slope.reshape(-1, *(1,) * (len(node.shape()) - 1)))
        return activation.PRelu(node.name, (node.inputs[0], name), node.outputs)
    return activation.PRelu(node.name, node.data(), node.outputs)


def _matmul(node: Node) -> Layer:
    return matmul.MatMul(node.name, node.data(), node.outputs, str(node.attribute(SHARES, "")))


def _gemm(node: Node) -> Layer:
    node.attribute("broadcast")  # of operator sets before 7, where it said that C may be broadcast
    if node.attribute("transA", 0):
        raise node.error("transA = 1 would exchange images and inputs, must be 0")
    alpha, beta = float(node.attribute("alpha", 1.0)), float(node.attribute("beta", 1.0))
    return matmul.Gemm(node.name, node.data(), node.outputs, alpha, beta, bool(node.attribute("transB", 0)))


def _batch_norm(node: Node) -> Layer:
    node.attribute("momentum")
    if (
        node.attribute("training_mode", 0)
        or not node.attribute("is_test", 1)
        or len([name for name in node.outputs if name]) > 1
    ):
        raise node.error("training_mode is on, must be off: export the network for inference")
    if not node.attribute("spatial", 1):
        raise node.error("spatial = 0 is not supported, must be 1")
    epsilon = float(node.attribute("epsilon", 1e-5))
    return norm.BatchNormalization(node.name, node.data(), node.outputs[:1], epsilon)


def _layer_norm(node: Node) -> Layer:
    if node.attribute("stash_type", 1) != 1:
        raise node.error("stash_type is not 1: sums are made in float32 or wider")
    axis, epsilon = int(node.attribute("axis", -1)), float(node.attribute("epsilon", 1e-5))
    names = node.results(max([1, *(place for place, name in enumerate(node.outputs, 1) if name)]))
    return norm.LayerNormalization(node.name, node.data(), names, axis, epsilon)


def _reduce(layer: Callable[..., Layer]) -> Builder:
    def build(node: Node) -> Layer:
        axes = node.sizes_or_attribute(1, "axes") or []
        rank = len(node.shape()) + 1
        if not axes and node.attribute("noop_with_empty_axes", 0):
            node.attribute("keepdims")
            return moves.identity(node)
        node.attribute("noop_with_empty_axes")
        normal = tuple(sorted(node.normal_axis(axis, rank) for axis in axes))
        if len(set(normal)) < len(normal):
            raise node.error(f"axes = {axes} name an axis twice: export the network again")
        if not axes or 0 in normal:
            raise node.error(f"axes = {axes or 'all'} include the batch axis: images must stay apart")
        return layer(node.name, node.data(1), node.outputs, normal, bool(node.attribute("keepdims", 1)))

    return build


def _quantize(node: Node) -> Layer:
    node.attribute("saturate")
    node.attribute("precision")
    if node.attribute("block_size", 0):
        raise node.error("block_size is not supported: quantise per tensor or per axis")
    wanted = {0: "uint8", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 21: "uint4", 22: "int4"}
    code = int(node.attribute("output_dtype", 0))
    # Four-bit zero points are kept in bytes, their true type is remembered by the node.
    dtype = node.stored_type(2) if node.has(2) else wanted.get(code, "an unsupported type")
    if dtype not in wanted.values():
        raise node.error(f"to {dtype}, must be one of {', '.join(sorted(set(wanted.values())))}")
    return quant.QuantizeLinear(node.name, node.data(), node.outputs, _quant_axis(node), dtype)


def _dequantize(node: Node) -> Layer:
    node.attribute("output_dtype")
    if node.attribute("block_size", 0):
        return quant.BlockDequantizeLinear(
            node.name, node.data(), node.outputs, _quant_axis(node), node.attribute("block_size")
        )
    stored = node.stored_type(0)
    narrow = stored if stored in ("int4", "uint4") else ""
    return quant.DequantizeLinear(node.name, node.data(), node.outputs, _quant_axis(node), narrow)


def _quant_axis(node: Node) -> int:
    axis = int(node.attribute("axis", 1))
    rank = len(node.shape()) + 1 if not node.is_constant(0) else node.constant(0, "the input").ndim
    # One scale needs no axis: ONNX's default, 1, may lie outside. Several are checked by the layer.
    return axis % rank if -rank <= axis < rank else axis


OPS: dict[str, Builder] = {
    "Abs": plain(arithmetic.Abs),
    "Add": _aligned(arithmetic.Add),
    "And": plain(arithmetic.And),
    "AveragePool": volumes.average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": moves.cast,
    "Ceil": plain(arithmetic.Ceil),
    "Clip": _clip,
    "Col2Im": volumes.col2im,
    "Concat": moves.concat,
    "Conv": volumes.conv,
    "ConvTranspose": volumes.conv_transpose,
    "DequantizeLinear": _dequantize,
    "Div": _aligned(arithmetic.Div),
    "Dropout": moves.identity,
    "Elu": with_floats(activation.Elu, alpha=1.0),
    "Equal": plain(arithmetic.Equal),
    "Erf": plain(activation.Erf),
    "Exp": plain(activation.Exp),
    "Expand": moves.expand,
    "Flatten": moves.flatten,
    "Floor": plain(arithmetic.Floor),
    "Gather": moves.gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": plain(pool.GlobalAveragePool),
    "GlobalLpPool": volumes.global_lp_pool,
    "GlobalMaxPool": plain(pool.GlobalMaxPool),
    "Greater": plain(arithmetic.Greater),
    "HardSigmoid": with_floats(activation.HardSigmoid, alpha=0.2, beta=0.5),
    "HardSwish": plain(activation.HardSwish),
    "Identity": moves.identity,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": with_floats(activation.LeakyRelu, alpha=0.01),
    "Less": plain(arithmetic.Less),
    "LpPool": volumes.lp_pool,
    "MatMul": _matmul,
    "Max": plain(arithmetic.Max),
    "MaxPool": volumes.max_pool,
    "Min": plain(arithmetic.Min),
    "Mul": _aligned(arithmetic.Mul),
    "Neg": plain(arithmetic.Neg),
    "Not": plain(arithmetic.Not),
    "Or": plain(arithmetic.Or),
    "PRelu": _prelu,
    "Pad": moves.pad,
    "Pow": plain(arithmetic.Pow),
    "QuantizeLinear": _quantize,
    "Reciprocal": plain(arithmetic.Reciprocal),
    "ReduceL1": _reduce(reduce.ReduceL1),
    "ReduceL2": _reduce(reduce.ReduceL2),
    "ReduceLogSum": _reduce(reduce.ReduceLogSum),
    "ReduceLogSumExp": _reduce(reduce.ReduceLogSumExp),
    "ReduceMax": _reduce(reduce.ReduceMax),
    "ReduceMean": _reduce(reduce.ReduceMean),
    "ReduceMin": _reduce(reduce.ReduceMin),
    "ReduceProd": _reduce(reduce.ReduceProd),
    "ReduceSum": _reduce(reduce.ReduceSum),
    "ReduceSumSquare": _reduce(reduce.ReduceSumSquare),
    "Relu": plain(activation.Relu),
    "Reshape": moves.reshape,
    "Round": plain(arithmetic.Round),
    "Sigmoid": plain(activation.Sigmoid),
    "Slice": moves.slice_,
    "Softmax": _softmax,
    "Softplus": plain(activation.Softplus),
    "Split": moves.split,
    "Sqrt": plain(arithmetic.Sqrt),
    "Squeeze": moves.squeeze,
    "Sub": _aligned(arithmetic.Sub),
    "Sum": plain(arithmetic.Sum),
    "Tanh": plain(activation.Tanh),
    "Transpose": moves.transpose,
    "Unsqueeze": moves.unsqueeze,
    "Where": plain(arithmetic.Where),
}


def unsupported(node: Node, known: dict[str, Any]) -> Exception:
    """The error for an operator that is not in the table."""
    return node.error(
        f"operator {node.key} is not supported: export it as supported operators, cut it off, or add a "
        f"layer and a line to OPS; supported are {', '.join(sorted(known))}"
    )
