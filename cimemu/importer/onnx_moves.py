"""Builders of the ONNX operators that move elements, with the batch axis kept in front."""

import numpy as np
import onnx

from cimemu.importer.onnx_constants import BATCH
from cimemu.importer.onnx_node import Node
from cimemu.layer import shape
from cimemu.layer.base import Layer

CASTS = (
    "float32", "float64", "float16", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool",
)  # fmt: skip


def reshape(node: Node) -> Layer:
    """Reshape: the first size must stand for the images, the others hold one image."""
    image, target = node.shape(), node.sizes(1, "the target shape")
    copies = not node.attribute("allowzero", 0)
    elements = int(np.prod(image, dtype=np.int64))
    rest = [
        image[axis - 1] if size == 0 and copies and axis <= len(image) else size
        for axis, size in enumerate(target[1:], 1)
    ]
    if not target or not node.first_is_batch(target[0]) or rest.count(-1) > 1 or BATCH in rest:
        raise _mixed(node, target)
    if -1 in rest:
        known = int(np.prod([size for size in rest if size != -1], dtype=np.int64))
        rest[rest.index(-1)] = elements // known if known else 0
    return shape.Reshape(node.name, node.data(1), node.outputs, tuple(rest))


def flatten(node: Node) -> Layer:
    """Flatten to [images, all else]."""
    image, axis = node.shape(), int(node.attribute("axis", 1))
    axis = axis + len(image) + 1 if axis < 0 else axis
    if axis < 1 or np.prod(image[: axis - 1], dtype=np.int64) != 1:
        raise node.error(f"axis = {axis} of an image of shape {image}: images must stay apart, use axis 1")
    return shape.Flatten(node.name, node.data(1), node.outputs, (int(np.prod(image, dtype=np.int64)),))


def squeeze(node: Node) -> Layer:
    """Squeeze as a reshape."""
    image, axes = node.shape(), node.sizes_or_attribute(1, "axes")
    rank = len(image) + 1
    drop = (
        [a for a in range(1, rank) if image[a - 1] == 1] if axes is None else [node.normal_axis(a, rank) for a in axes]
    )
    if any(a == 0 or image[a - 1] != 1 for a in drop):
        raise node.error(f"axes = {axes} of an image of shape {image}, must have size 1 (not the batch axis)")
    kept = tuple(size for axis, size in enumerate(image, 1) if axis not in drop)
    return shape.Squeeze(node.name, node.data(1), node.outputs, kept)


def unsqueeze(node: Node) -> Layer:
    """Unsqueeze as a reshape."""
    image, axes = node.shape(), node.sizes_or_attribute(1, "axes") or []
    rank = len(image) + 1 + len(axes)
    added = {node.normal_axis(axis, rank) for axis in axes}
    if 0 in added or len(added) != len(axes):
        raise node.error(f"axes = {axes}, must differ, be within {rank} axes and leave the batch axis first")
    sizes = iter(image)
    whole = tuple(1 if axis in added else next(sizes) for axis in range(1, rank))
    return shape.Unsqueeze(node.name, node.data(1), node.outputs, whole)


def transpose(node: Node) -> Layer:
    """Transpose behind the batch axis."""
    rank = len(node.shape()) + 1
    perm = tuple(int(axis) for axis in node.attribute("perm", range(rank)[::-1]))
    return shape.Transpose(node.name, node.data(1), node.outputs, perm)


def slice_(node: Node) -> Layer:
    """Slice, its parameters inputs or attributes; a whole batch axis may be named."""
    starts, ends = node.sizes_or_attribute(1, "starts"), node.sizes_or_attribute(2, "ends")
    if starts is None or ends is None:
        raise node.error("starts and ends must be given")
    axes = node.sizes_or_attribute(3, "axes") or list(range(len(starts)))
    steps = node.sizes(4, "steps") if node.has(4) else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise node.error(f"starts {starts}, ends {ends}, axes {axes}, steps {steps} do not fit together")
    rank = len(node.shape()) + 1
    cuts = []
    for given, start, end, step in zip(axes, starts, ends, steps):
        axis = node.normal_axis(given, rank)
        if axis == 0:
            if start != 0 or step != 1 or (end != BATCH and end < 10**9):
                raise node.error(f"images {start}:{end}:{step} are picked from the batch: images must stay apart")
            continue
        if BATCH in (start, end):
            raise node.error("a slice ends at the number of images: images must stay apart")
        # Far beyond the edge, backwards, is "down to and with element 0", which Python writes as None.
        backwards = step < 0 and end < -node.shape()[axis - 1]
        cuts.append((axis, start, None if backwards else end, step))
    parts = tuple(zip(*cuts)) or ((), (), (), ())
    return shape.Slice(node.name, node.data(1), node.outputs, *parts)


def pad(node: Node) -> Layer:
    """Pad of one image's axes."""
    rank = len(node.shape()) + 1
    flat = node.sizes_or_attribute(1, "pads") or []
    value = node.scalar(2, "the padding value")
    value = float(node.attribute("value", 0.0)) if value is None else value
    axes = node.sizes(3, "axes") if node.has(3) else list(range(rank))
    if len(flat) != 2 * len(axes):
        raise node.error(f"pads = {flat} for {len(axes)} axes, must be two per axis")
    pads = [(0, 0)] * rank
    for axis, before, after in zip(axes, flat, flat[len(axes) :]):
        pads[node.normal_axis(axis, rank)] = (before, after)
    if pads[0] != (0, 0):
        raise node.error(f"pads = {pads[0]} along the batch axis, must be 0")
    mode = node.attribute("mode", "constant")
    return shape.Pad(node.name, node.data(1), node.outputs, tuple(pads[1:]), value, mode)


def concat(node: Node) -> Layer:
    """Concat along an axis of the image."""
    return shape.Concat(node.name, node.data(), node.outputs, _axis(node, node.attribute("axis", 0)))


def split(node: Node) -> Layer:
    """Split into given sizes or equal pieces (the last one smaller, if it does not divide)."""
    axis = _axis(node, node.attribute("axis", 0))
    sizes, count = node.sizes_or_attribute(1, "split"), node.attribute("num_outputs", len(node.outputs))
    if sizes is None:
        whole = node.shape()[axis - 1]
        piece = -(-whole // count)
        sizes = [min(piece, whole - piece * i) for i in range(count)]
    return shape.Split(node.name, node.data(1), node.outputs, axis, tuple(sizes))


def gather(node: Node) -> Layer:
    """Gather: an embedding, or constant indices along an axis of the image."""
    return shape.Gather(node.name, node.data(2), node.outputs, int(node.attribute("axis", 0)))


def expand(node: Node) -> Layer:
    """Expand of one image."""
    target = node.sizes(1, "the target shape")
    rank = len(node.shape()) + 1
    if len(target) == rank and (target[0] == 1 or node.first_is_batch(target[0])):
        target = target[1:]
    elif len(target) >= rank:
        raise _mixed(node, target)
    target = [1] * (rank - 1 - len(target)) + target
    sizes = tuple(size if size > 0 else 1 for size in target)
    return shape.Expand(node.name, node.data(1), node.outputs, sizes)


def cast(node: Node) -> Layer:
    """Cast to a NumPy type."""
    node.attribute("saturate")
    try:
        name = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(int(node.attribute("to")))).name
    except (KeyError, TypeError):
        name = "an unknown type"
    return cast_to(node, name)


def cast_to(node: Node, name: str) -> Layer:
    """A Cast to the type of that name."""
    if name not in CASTS:
        raise node.error(f"to = {name} at run time, must be one of {', '.join(CASTS)}: export in float32")
    return shape.Cast(node.name, node.data(1), node.outputs, name)


def identity(node: Node) -> Layer:
    """Identity, and Dropout as it is when a network is not trained."""
    node.attribute("ratio")
    node.attribute("seed")
    node.attribute("is_test")
    if node.has(2) and bool(node.scalar(2, "training_mode")):
        raise node.error("training_mode is on, must be off: export the network for inference")
    if len([name for name in node.outputs if name]) > 1:
        raise node.error("the mask is asked for, only the values are supported: export for inference")
    return shape.Identity(node.name, node.data(1), node.outputs[:1])


def _axis(node: Node, axis: int) -> int:
    rank = max(len(node.shape(i)) for i in range(len(node.inputs)) if node.has(i)) + 1
    if not -rank <= axis < rank or axis % rank == 0:
        raise node.error(f"axis = {axis}, must be an axis of the image (1..{rank - 1}): images must stay apart")
    return axis % rank


def _mixed(node: Node, target: list[int]) -> Exception:
    shown = ["images" if size == BATCH else size for size in target]
    return node.error(f"target shape {shown} for images of shape {node.shape()}, the first axis must be the images")
