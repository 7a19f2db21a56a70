"""Builders of the ONNX operators that resize and look images up at places, and of Einstein sums."""

import math

from cimemu.importer.onnx_node import Node
from cimemu.importer.onnx_ops import Builder
from cimemu.layer import einsum, grid_sample, resize
from cimemu.layer.base import Layer

OLD_MODES = {"bilinear": "linear", "bicubic": "cubic"}


def _resize(node: Node) -> Layer:
    """Resize of operator set 11 and later; set 10 has scales alone, and places beside each other."""
    image = node.shape()
    rank = len(image) + 1
    old = node.opset < 11
    axes = [node.normal_axis(int(axis), rank) for axis in node.attribute("axes", range(rank))]
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    by_sizes = node.has(3) and bool(node.sizes(3, "the sizes"))
    if by_sizes:
        sizes, scales = _sizes(node, axes, policy)
    else:
        given = _floats(node, 1 if old else 2, "the scales")
        if len(given) != len(axes):
            raise node.error(f"{len(given)} scales for {len(axes)} axes, must be one each")
        whole = dict(zip(axes, given))
        if whole.get(0, 1.0) != 1.0:
            raise node.error(f"the batch axis has the scale {whole[0]}, must be 1: images must stay apart")
        scales = tuple(whole.get(axis, 1.0) for axis in range(1, rank))
        sizes = tuple(math.floor(size * scale) for size, scale in zip(image, scales))
    rule = resize.Rule(
        str(node.attribute("mode", "nearest")),
        str(node.attribute("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")),
        str(node.attribute("nearest_mode", "floor" if old else "round_prefer_floor")),
        float(node.attribute("cubic_coeff_a", -0.75)),
        bool(node.attribute("exclude_outside", 0)),
        bool(node.attribute("antialias", 0)),
        float(node.attribute("extrapolation_value", 0.0)),
    )
    if rule.coordinates == "align_corners" and not by_sizes and rule.mode != "nearest":
        for size, scale, whole_size in zip(image, scales, sizes):
            if abs(size * scale - whole_size) > 1e-3:
                raise node.error(
                    f"align_corners with {size} x {scale} elements, no whole number: ONNX and ONNX Runtime disagree there, "
                    "export with sizes instead of scales"
                )
    return resize.Resize(node.name, node.inputs[:1], node.outputs, sizes, scales, rule, _roi(node, axes), by_sizes)


def _upsample(node: Node) -> Layer:
    """Upsample, which Resize has replaced: places beside each other, rounded down."""
    scales = [float(s) for s in node.attribute("scales", ())] or _floats(node, 1, "the scales")
    image = node.shape()
    if len(scales) != len(image) + 1 or scales[0] != 1.0:
        raise node.error(
            f"scales = {scales} for images of shape {image}, must be one an axis, the first, the batch axis, 1"
        )
    mode = str(node.attribute("mode", "nearest"))
    rule = resize.Rule(OLD_MODES.get(mode, mode), "asymmetric", "floor")
    sizes = tuple(math.floor(size * scale) for size, scale in zip(image, scales[1:]))
    return resize.Resize(node.name, node.inputs[:1], node.outputs, sizes, tuple(scales[1:]), rule)


def _floats(node: Node, place: int, what: str) -> list[float]:
    if not node.has(place):
        raise node.error(f"{what} are not given, export with fixed sizes")
    return [float(value) for value in node.constant(place, what).reshape(-1)]


def _sizes(node: Node, axes: list[int], policy: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Sizes and scales of the image's axes."""
    image, given = node.shape(), node.sizes(3, "the sizes")
    if len(given) != len(axes):
        raise node.error(f"sizes = {given} for {len(axes)} axes, must be one each")
    wanted = dict(zip(axes, given))
    if not node.first_is_batch(wanted.pop(0, -1)):
        raise node.error(f"sizes = {given} change the batch axis: images must stay apart")
    scales = {axis: size / image[axis - 1] for axis, size in wanted.items()}
    match policy:
        case "stretch":
            pass
        case "not_larger" | "not_smaller":
            one = (min if policy == "not_larger" else max)(scales.values(), default=1.0)
            scales = dict.fromkeys(scales, one)
            wanted = {axis: math.floor(image[axis - 1] * one + 0.5) for axis in wanted}
        case other:
            raise node.error(f"keep_aspect_ratio_policy = {other}, must be stretch, not_larger or not_smaller")
    every = range(1, len(image) + 1)
    return tuple(wanted.get(axis, image[axis - 1]) for axis in every), tuple(scales.get(axis, 1.0) for axis in every)


def _roi(node: Node, axes: list[int]) -> tuple[tuple[float, float], ...]:
    """(start, end) of each of the image's axes, the whole where none is given."""
    values = [] if node.opset < 11 or not node.has(1) else _floats(node, 1, "the region of interest")
    if len(values) not in (0, 2 * len(axes)):
        raise node.error(f"a region of interest of {len(values)} numbers for {len(axes)} axes, must be two each")
    found = dict(zip(axes, zip(values, values[len(axes) :])))
    return tuple(found.get(axis, (0.0, 1.0)) for axis in range(1, len(node.shape()) + 1))


def _grid_sample(node: Node) -> Layer:
    mode = str(node.attribute("mode", "bilinear" if node.opset < 20 else "linear"))
    padding, corners = str(node.attribute("padding_mode", "zeros")), bool(node.attribute("align_corners", 0))
    return grid_sample.GridSample(node.name, node.data(), node.outputs, OLD_MODES.get(mode, mode), padding, corners)


def _affine_grid(node: Node) -> Layer:
    size = node.sizes(1, "the size")
    if len(size) < 3 or not node.first_is_batch(size[0]):
        raise node.error(f"size = {size}, must begin with the images: the batch axis stays as it is")
    corners = bool(node.attribute("align_corners", 0))
    return grid_sample.AffineGrid(node.name, node.data(1), node.outputs, tuple(size[2:]), corners)


def _einsum(node: Node) -> Layer:
    return einsum.Einsum(node.name, node.data(), node.outputs, str(node.attribute("equation", "")))


RESIZES: dict[str, Builder] = {
    "AffineGrid": _affine_grid,
    "Einsum": _einsum,
    "GridSample": _grid_sample,
    "Resize": _resize,
    "Upsample": _upsample,
}
