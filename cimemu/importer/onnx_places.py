"""Builders of the ONNX operators that pick, replace and lay out elements at given places."""

import numpy as np

from cimemu.importer.onnx_functions import axis_of
from cimemu.importer.onnx_node import Node
from cimemu.importer.onnx_ops import Builder
from cimemu.layer import arrange, index, shape
from cimemu.layer.base import Layer


def _tile(node: Node) -> Layer:
    repeats = node.sizes(1, "the repeats")
    if not repeats or repeats[0] != 1:
        raise node.error(f"repeats = {repeats}, the first, along the batch axis, must be 1: images must stay apart")
    return arrange.Tile(node.name, node.data(1), node.outputs, tuple(repeats[1:]))


def _trilu(node: Node) -> Layer:
    k = node.size(1, "k") if node.has(1) else 0
    return arrange.Trilu(node.name, node.data(1), node.outputs, bool(node.attribute("upper", 1)), k)


def _depth_to_space(node: Node) -> Layer:
    block, mode = int(node.attribute("blocksize", 1)), node.attribute("mode", "DCR")
    return arrange.DepthToSpace(node.name, node.data(), node.outputs, block, mode)


def _space_to_depth(node: Node) -> Layer:
    block, mode = int(node.attribute("blocksize", 1)), node.attribute("mode", "DCR")
    return arrange.SpaceToDepth(node.name, node.data(), node.outputs, block, mode)


def _tensor_scatter(node: Node) -> Layer:
    mode = node.attribute("mode", "linear")
    if mode not in ("linear", "circular"):
        raise node.error(f"mode = {mode}, must be linear or circular")
    axis = axis_of(node, -2)
    return index.TensorScatter(node.name, node.data(), node.outputs, axis, mode == "circular")


def _reverse_sequence(node: Node) -> Layer:
    batch, time = int(node.attribute("batch_axis", 1)), int(node.attribute("time_axis", 0))
    if (batch, time) != (0, 1):
        raise node.error(f"batch_axis = {batch}, time_axis = {time}, must be 0 and 1: axis 0 is the batch axis")
    return arrange.ReverseSequence(node.name, node.data(), node.outputs)


def _of_one_image(node: Node, *places: int) -> None:
    """A constant beside the images has as many rows as there are images: one, in a network exported with a batch of 1."""
    if node.batch != 1 and any(node.is_constant(place) for place in places):
        raise node.error(
            "its indices, updates or data are a constant that stands for the whole batch: images must stay apart (export "
            "with a batch of 1 where they are those of one image)"
        )


def _gather_elements(node: Node) -> Layer:
    _of_one_image(node, 0, 1)
    return index.GatherElements(node.name, node.data(), node.outputs, axis_of(node, 0))


def _scatter_elements(node: Node) -> Layer:
    _of_one_image(node, 0, 1, 2)
    reduction = node.attribute("reduction", "none")
    return index.ScatterElements(node.name, node.data(), node.outputs, axis_of(node, 0), reduction)


def _gather_nd(node: Node) -> Layer:
    batch_dims = int(node.attribute("batch_dims", 0))
    if batch_dims:
        _of_one_image(node, 0, 1)
    return index.GatherND(node.name, node.data(), node.outputs, batch_dims)


def _scatter_nd(node: Node) -> Layer:
    places = node.constant(1, "the indices")
    if node.batch != 1 or places.shape[:1] != (1,) or places.shape[-1] < 2 or places[..., 0].any():
        raise node.error(
            "the first axis of its data, the batch axis, is indexed: images must stay apart (indices [1, ..., 2 or more] "
            "that begin with 0, in a network exported with a batch of 1, are those of one image)"
        )
    names = (node.inputs[0], node.inputs[2])
    return index.ScatterND(node.name, names, node.outputs, places[0, ..., 1:], node.attribute("reduction", "none"))


def _one_hot(node: Node) -> Layer:
    depth = node.size(1, "the depth")
    axis = axis_of(node, -1, len(node.shape()) + 2)
    return index.OneHot(node.name, (node.inputs[0], node.inputs[2]), node.outputs, depth, axis)


def _compress(node: Node) -> Layer:
    if node.attribute("axis") is None:
        raise node.error("axis is not given, so that the batch axis is flattened: images must stay apart")
    axis = axis_of(node, 0)
    kept = np.flatnonzero(node.constant(1, "the condition"))
    name = f"{node.inputs[1]}:places"
    node.make_constant(name, kept.astype(np.int64))
    return shape.Gather(node.name, (node.inputs[0], name), node.outputs, axis)


def _center_crop_pad(node: Node) -> Layer:
    image, target = node.shape(), node.sizes(1, "the target shape")
    rank = len(image) + 1
    axes = [node.normal_axis(int(a), rank) for a in node.attribute("axes", range(rank))]
    if 0 in axes and target[axes.index(0)] != node.batch:
        raise node.error("the batch axis is cropped or padded: images must stay apart")
    pads = [(0, 0)] * len(image)
    for axis, wanted in zip(axes, target):
        if axis:
            change = wanted - image[axis - 1]
            before = change // 2 if change > 0 else -(-change // 2)
            pads[axis - 1] = (before, change - before)
    return shape.Pad(node.name, node.data(1), node.outputs, tuple(pads))


PLACES: dict[str, Builder] = {
    "CenterCropPad": _center_crop_pad,
    "Compress": _compress,
    "DepthToSpace": _depth_to_space,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "OneHot": _one_hot,
    "ReverseSequence": _reverse_sequence,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "SpaceToDepth": _space_to_depth,
    "TensorScatter": _tensor_scatter,
    "Tile": _tile,
    "Trilu": _trilu,
}
