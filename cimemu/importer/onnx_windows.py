"""Builders of the ONNX operators that look through windows: convolutions and pools."""

import numpy as np

from cimemu.importer.onnx_node import Node
from cimemu.layer.base import Layer
from cimemu.layer.conv import Conv
from cimemu.layer.pool import AveragePool, MaxPool


def conv(node: Node) -> Layer:
    """Conv with auto_pad resolved to explicit pads."""
    rank = _image_rank(node)
    if not node.is_constant(1):
        raise node.error("the weight is computed at run time, must be a constant")
    kernel = tuple(node.constant(1, "the weight").shape[2:])
    if len(kernel) != rank:
        raise node.error(f"a kernel of {len(kernel)} axes on an image of shape {node.shape()}")
    shape = node.pair("kernel_shape", kernel, rank)
    strides, dilations = node.pair("strides", [1] * rank, rank), node.pair("dilations", [1] * rank, rank)
    pads = _pads(node, shape, strides, dilations, rank)
    groups = int(node.attribute("group", 1))
    if groups < 1:
        raise node.error(f"group = {groups}, must be >= 1")
    return Conv(node.name, node.data(3), node.outputs, shape, strides, pads, dilations, groups)


def max_pool(node: Node) -> Layer:
    """MaxPool of one output."""
    if len([name for name in node.outputs if name]) > 1 or node.attribute("storage_order", 0):
        raise node.error("indices are asked for, only the values are supported: remove the second output")
    return MaxPool(node.name, node.data(1), node.outputs[:1], *_window(node))


def average_pool(node: Node) -> Layer:
    """AveragePool with its ways to count."""
    count_include_pad = bool(node.attribute("count_include_pad", 0))
    return AveragePool(node.name, node.data(1), node.outputs, *_window(node), count_include_pad)


Pair = tuple[int, int]
Pads = tuple[int, int, int, int]


def _window(node: Node) -> tuple[Pair, Pair, Pads, Pair, bool]:
    rank = _image_rank(node)
    if node.attribute("kernel_shape") is None:
        raise node.error("kernel_shape is missing, must be given")
    shape = node.pair("kernel_shape", (), rank)
    strides, dilations = node.pair("strides", [1] * rank, rank), node.pair("dilations", [1] * rank, rank)
    ceil_mode = bool(node.attribute("ceil_mode", 0))
    return shape, strides, _pads(node, shape, strides, dilations, rank), dilations, ceil_mode


def _image_rank(node: Node) -> int:
    rank = len(node.shape()) - 1
    if rank not in (1, 2):
        raise node.error(f"an image of shape {node.shape()}, must be [channels, width] or [channels, height, width]")
    return rank


def _pads(node: Node, kernel: Pair, strides: Pair, dilations: Pair, rank: int) -> Pads:
    """(top, left, bottom, right); SAME puts the odd element at the end (UPPER) or the beginning (LOWER)."""
    given = [int(pad) for pad in node.attribute("pads", [0] * 2 * rank)]
    mode = node.attribute("auto_pad", "NOTSET")
    image = node.shape()[1:] if rank == 2 else (1, node.shape()[1])
    if mode in ("NOTSET", "VALID"):
        given = given if mode == "NOTSET" else [0] * 2 * rank
        if len(given) != 2 * rank or min(given) < 0:
            raise node.error(f"pads = {given}, must be {2 * rank} numbers >= 0")
        top, left, bottom, right = given if rank == 2 else (0, given[0], 0, given[1])
        return top, left, bottom, right
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise node.error(f"auto_pad = {mode}, must be NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    out = -(-np.array(image) // strides)
    total = np.maximum(0, (out - 1) * strides + (np.array(kernel) - 1) * dilations + 1 - image)
    few, many = total // 2, total - total // 2
    begin, end = (few, many) if mode == "SAME_UPPER" else (many, few)
    return int(begin[0]), int(begin[1]), int(end[0]), int(end[1])
