"""Builders of convolutions and pools in any number of dimensions, and of transposed convolutions.

Convolutions of images in one or two dimensions are layers of their own (`onnx_windows`). The others are chains of layers
around a product with the constant weight, which runs on macros.
"""

from dataclasses import replace

import numpy as np

from cimemu.importer import onnx_windows as windows
from cimemu.importer.onnx_node import Node
from cimemu.layer import pool_nd, shape
from cimemu.layer.arithmetic import Add
from cimemu.layer.base import Array, Layer
from cimemu.layer.matmul import MatMul
from cimemu.layer.unfold import Fold, Unfold, Windows

Pads = tuple[tuple[int, int], ...]


def conv(node: Node) -> Layer | list[Layer]:
    """Conv of any rank: in three dimensions windows as rows, a product a group, and the channels put back in front."""
    if len(node.shape()) <= 3:
        return windows.conv(node)
    weight, groups = _weight(node), int(node.attribute("group", 1))
    channels, *image = node.shape()
    view = _windows(node, weight.shape[2:], image)
    if groups < 1 or channels != weight.shape[1] * groups or weight.shape[0] % groups:
        raise node.error(f"{channels} input channels, weight {weight.shape} and group = {groups} do not fit")
    chain = _Chain(node)
    pieces = []
    for group, part in enumerate(np.split(weight, groups)):
        source = chain.channels(node.inputs[0], group, weight.shape[1], channels)
        rows = chain.add(Unfold, (source,), f"rows{group}", view)
        matrix = chain.constant(f"matrix{group}", part.reshape(len(part), -1).T)
        pieces.append(chain.add(MatMul, (rows, matrix), f"product{group}"))
    last = pieces[0] if groups == 1 else chain.add(shape.Concat, tuple(pieces), "products", 2)
    if node.has(2):
        last = chain.add(Add, (last, node.inputs[2]), "biased")
    last = chain.add(shape.Transpose, (last,), "channels", (0, 2, 1))
    return chain.end(shape.Reshape, (last,), (weight.shape[0], *view.counts(image)))


def conv_transpose(node: Node) -> list[Layer]:
    """ConvTranspose: a product of every pixel with the weight, and the windows that it makes added up."""
    weight, groups = _weight(node), int(node.attribute("group", 1))
    if len(node.shape()) < 2:
        raise node.error(f"an image of shape {node.shape()}, must be channels and axes")
    channels, *image = node.shape()
    rank, kernel = len(image), tuple(int(size) for size in weight.shape[2:])
    if len(kernel) != rank or channels != weight.shape[0] or groups < 1 or channels % groups:
        raise node.error(f"an image of shape {node.shape()}, weight {weight.shape} and group = {groups} do not fit")
    strides, dilations = _numbers(node, "strides", rank), _numbers(node, "dilations", rank)
    _check_kernel(node, kernel)
    pads, size = _transposed(node, image, kernel, strides, dilations)
    view = Windows(kernel, strides, pads, dilations)
    chain = _Chain(node)
    flat = chain.add(shape.Reshape, (node.inputs[0],), "flat", (channels, int(np.prod(image))))
    rows = chain.add(shape.Transpose, (flat,), "pixels", (0, 2, 1))
    pieces = []
    for group, part in enumerate(np.split(weight, groups)):
        width = channels // groups
        source = rows
        if groups > 1:
            cut = ((2,), (group * width,), ((group + 1) * width,), (1,))
            source = chain.add(shape.Slice, (rows,), f"pixels{group}", *cut)
        matrix = chain.constant(f"matrix{group}", part.reshape(width, -1))
        made = chain.add(MatMul, (source, matrix), f"product{group}")
        pieces.append(chain.add(Fold, (made,), f"folded{group}", view, tuple(image), size))
    last = pieces[0] if groups == 1 else chain.add(shape.Concat, tuple(pieces), "joined", 1)
    if node.has(2):
        bias = node.constant(2, "the bias")
        last = chain.add(Add, (last, chain.constant("bias", bias.reshape(1, -1, *(1,) * rank))), "biased")
    return chain.renamed()


def col2im(node: Node) -> list[Layer]:
    """Col2Im: columns of windows added up as an image."""
    size, kernel = node.sizes(1, "the image's shape"), node.sizes(2, "the window's shape")
    rank = len(size)
    if not rank or len(kernel) != rank or len(node.shape()) != 2 or min(kernel) < 1:
        raise node.error(
            f"columns of shape {node.shape()} for an image {size} of windows {kernel}, they do not fit together"
        )
    pads = [int(pad) for pad in node.attribute("pads", [0] * 2 * rank)]
    if len(pads) != 2 * rank or min(pads) < 0:
        raise node.error(f"pads = {pads}, must be {2 * rank} numbers >= 0")
    strides, dilations = _numbers(node, "strides", rank), _numbers(node, "dilations", rank)
    view = Windows(tuple(kernel), strides, tuple(zip(pads[:rank], pads[rank:])), dilations)
    chain = _Chain(node)
    rows = chain.add(shape.Transpose, (node.inputs[0],), "rows", (0, 2, 1))
    return chain.end(Fold, (rows,), view, view.counts(size), tuple(size))


def max_pool(node: Node) -> Layer:
    """MaxPool of any rank."""
    if len(node.shape()) <= 3:
        return windows.max_pool(node)
    if len([name for name in node.outputs if name]) > 1 or node.attribute("storage_order", 0):
        raise node.error("indices are asked for, only the values are supported: remove the second output")
    return pool_nd.MaxPoolNd(node.name, node.data(1), node.outputs[:1], *_pool(node))


def average_pool(node: Node) -> Layer:
    """AveragePool of any rank."""
    if len(node.shape()) <= 3:
        return windows.average_pool(node)
    counted = bool(node.attribute("count_include_pad", 0))
    return pool_nd.AveragePoolNd(node.name, node.data(1), node.outputs, *_pool(node), counted)


def lp_pool(node: Node) -> Layer:
    """LpPool of any rank."""
    return pool_nd.LpPool(node.name, node.data(1), node.outputs, *_pool(node), int(node.attribute("p", 2)))


def global_lp_pool(node: Node) -> Layer:
    """GlobalLpPool."""
    return pool_nd.GlobalLpPool(node.name, node.data(), node.outputs, int(node.attribute("p", 2)))


class _Chain:
    """Layers that stand for one node, named after it."""

    def __init__(self, node: Node) -> None:
        self.node, self.layers = node, list[Layer]()

    def add(self, kind: type[Layer], inputs: tuple[str, ...], what: str, *fields: object) -> str:
        """One layer more; the name of its output."""
        name = self.node.fresh(what)
        self.layers.append(kind(name, inputs, (name,), *fields))
        return name

    def constant(self, what: str, value: Array) -> str:
        """The name of a new constant."""
        name = self.node.fresh(what)
        self.node.make_constant(name, np.ascontiguousarray(value))
        return name

    def channels(self, source: str, group: int, width: int, channels: int) -> str:
        """The channels of one group."""
        if width == channels:
            return source
        cut = ((1,), (group * width,), ((group + 1) * width,), (1,))
        return self.add(shape.Slice, (source,), f"group{group}", *cut)

    def end(self, kind: type[Layer], inputs: tuple[str, ...], *fields: object) -> list[Layer]:
        """The chain with a last layer that makes the node's own output."""
        return [*self.layers, kind(self.node.name, inputs, self.node.outputs, *fields)]

    def renamed(self) -> list[Layer]:
        """The chain, whose last layer makes the node's own output."""
        *front, end = self.layers
        return [*front, replace(end, name=self.node.name, outputs=self.node.outputs)]


def _weight(node: Node) -> Array:
    if not node.is_constant(1):
        raise node.error("the weight is computed at run time, must be a constant")
    return node.constant(1, "the weight")


def _numbers(node: Node, key: str, rank: int) -> tuple[int, ...]:
    values = tuple(int(value) for value in node.attribute(key, [1] * rank))
    if len(values) != rank or min(values) < 1:
        raise node.error(f"{key} = {list(values)}, must be {rank} numbers >= 1")
    return values


def _check_kernel(node: Node, kernel: tuple[int, ...]) -> None:
    given = tuple(int(size) for size in node.attribute("kernel_shape", kernel))
    if given != kernel:
        raise node.error(f"kernel_shape = {list(given)}, the weight has {list(kernel)}")


def _windows(node: Node, sizes: tuple[int, ...], image: list[int]) -> Windows:
    kernel = tuple(int(size) for size in sizes)
    if len(kernel) != len(image):
        raise node.error(f"a kernel of {len(kernel)} axes on an image of shape {node.shape()}")
    _check_kernel(node, kernel)
    strides, dilations = _numbers(node, "strides", len(image)), _numbers(node, "dilations", len(image))
    return Windows(kernel, strides, _pads(node, image, kernel, strides, dilations), dilations)


def _pool(node: Node) -> tuple[tuple[int, ...], tuple[int, ...], Pads, tuple[int, ...], bool]:
    image = list(node.shape()[1:])
    if not image or node.attribute("kernel_shape") is None:
        raise node.error(f"an image of shape {node.shape()}, must be channels and axes, kernel_shape given")
    kernel, strides, dilations = (_numbers(node, key, len(image)) for key in ("kernel_shape", "strides", "dilations"))
    pads = _pads(node, image, kernel, strides, dilations)
    return kernel, strides, pads, dilations, bool(node.attribute("ceil_mode", 0))


def _pads(
    node: Node, image: list[int], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> Pads:
    mode, rank = node.attribute("auto_pad", "NOTSET"), len(image)
    given = [int(pad) for pad in node.attribute("pads", [0] * 2 * rank)]
    if mode in ("NOTSET", "VALID"):
        given = given if mode == "NOTSET" else [0] * 2 * rank
        if len(given) != 2 * rank or min(given) < 0:
            raise node.error(f"pads = {given}, must be {2 * rank} numbers >= 0")
        return tuple(zip(given[:rank], given[rank:]))
    total = [
        max(0, (-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size)
        for size, k, stride, dilation in zip(image, kernel, strides, dilations)
    ]
    return _shared_out(node, mode, total)


def _shared_out(node: Node, mode: str, total: list[int]) -> Pads:
    """Each total as (before, after): SAME_UPPER puts the odd element at the end, SAME_LOWER at the beginning."""
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise node.error(f"auto_pad = {mode}, must be NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    pairs = [(pad // 2, pad - pad // 2) for pad in total]
    return tuple(pairs if mode == "SAME_UPPER" else [pair[::-1] for pair in pairs])


def _transposed(
    node: Node, image: list[int], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> tuple[Pads, tuple[int, ...]]:
    """Pads and size of a transposed convolution's result."""
    rank = len(image)
    extra = [int(value) for value in node.attribute("output_padding", [0] * rank)]
    mode, asked = node.attribute("auto_pad", "NOTSET"), node.attribute("output_shape")
    given = [int(pad) for pad in node.attribute("pads", [0] * 2 * rank)]
    if len(extra) != rank or min(extra) < 0 or len(given) != 2 * rank or min(given) < 0:
        raise node.error(f"output_padding = {extra}, pads = {given}: must be {rank} and {2 * rank} numbers >= 0")
    whole = [
        (size - 1) * stride + more + (k - 1) * dilation + 1
        for size, stride, more, k, dilation in zip(image, strides, extra, kernel, dilations)
    ]
    same = mode in ("SAME_UPPER", "SAME_LOWER")
    if not asked and same:
        asked = [size * stride for size, stride in zip(image, strides)]
    if asked:
        asked = [int(size) for size in asked][-rank:]
        total = [max(0, full - size) for full, size in zip(whole, asked)]
        return _shared_out(node, mode if same else "SAME_LOWER", total), tuple(asked)
    if mode not in ("NOTSET", "VALID"):
        raise node.error(f"auto_pad = {mode}, must be NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    pads = tuple(zip(given[:rank], given[rank:])) if mode == "NOTSET" else ((0, 0),) * rank
    return pads, tuple(full - before - after for full, (before, after) in zip(whole, pads))
