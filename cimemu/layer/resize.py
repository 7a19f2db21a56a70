"""Resize: every axis of an image drawn out or together by a row of weights for each result, as ONNX Runtime has it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, runtime

COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize",
    "tf_half_pixel_for_nn",
)  # fmt: skip
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
OPS_PER_AXIS = {"nearest": 1, "linear": 3, "cubic": 8}  # of one result, without antialiasing


@dataclass(frozen=True)
class Rule:
    """How a result's place becomes a place in the image, and what is made of the elements there."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float = 0.0


@dataclass(frozen=True, eq=False)
class Resize(Layer):
    """The image's axes (no batch axis) with sizes `sizes`, drawn out by `scales`; `roi` is (start, end) of each axis.

    `by_sizes` says that the file gives the sizes, of which the scales follow.
    """

    sizes: tuple[int, ...]
    scales: tuple[float, ...]
    rule: Rule = field(default_factory=Rule)
    roi: tuple[tuple[float, float], ...] = ()
    by_sizes: bool = False

    op: ClassVar[str] = "Resize"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`sizes` in the input's dtype."""
        x, rule = runtime(self, types[0]), self.rule
        if len(self.sizes) != len(x.shape) or min(self.sizes, default=1) < 1 or min(self.scales, default=1.0) <= 0:
            raise self.error(
                f"sizes {self.sizes} (scales {self.scales}) of an image of shape {x.shape}, must be >= 1 each"
            )
        for value, known in (
            (rule.mode, tuple(OPS_PER_AXIS)), (rule.coordinates, COORDINATES), (rule.nearest, NEAREST),
        ):  # fmt: skip
            if value not in known:
                raise self.error(f"{value}, must be one of {', '.join(known)}")
        return (TensorType(self.sizes, x.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the input's dtype: coordinates in float32, sums in float64, axis after axis, rounded once.

        Linear in two axes of a float32 image it is the sum of four products in float32, in ONNX Runtime's order: drawn
        out by 2, one result in sixteen lies half-way between two codes, and how the sum rounds decides.
        """
        x = arrays[0]
        if self._bilinear(x):
            return (self._four_products(x),)
        out: Array = x if self.rule.mode == "nearest" else x.astype(np.float64)
        outside = np.zeros((1,) * x.ndim, np.bool_)
        for axis, size in enumerate(x.shape[1:]):
            if size == self.sizes[axis] and self.scales[axis] == 1.0 and self.rule.coordinates != "tf_crop_and_resize":
                continue
            places = self._places(axis, size)
            if self.rule.coordinates == "tf_crop_and_resize":
                shape = (-1,) + (1,) * (x.ndim - axis - 2)
                outside = outside | ((places < 0) | (places > size - 1)).reshape(shape)
            out = self._drawn(out, axis + 1, places)
        out = np.where(outside, out.dtype.type(self.rule.extrapolation), out) if outside.any() else out
        if x.dtype.kind in "iu" and out.dtype.kind == "f":
            limits = np.iinfo(x.dtype)
            out = np.clip(np.rint(out), limits.min, limits.max)
        return (np.ascontiguousarray(out.astype(x.dtype)),)

    def _bilinear(self, x: Array) -> bool:
        """Whether the last two axes of [images, channels, rows, columns] in float32 are drawn out linearly, and no other."""
        rule = self.rule
        plain = rule.mode == "linear" and not (rule.exclude_outside or rule.antialias)
        inside = rule.coordinates != "tf_crop_and_resize"
        return plain and inside and x.dtype == np.float32 and x.ndim == 4 and self.sizes[0] == x.shape[1]

    def _four_products(self, x: Array) -> Array:
        """float32 sums of the four neighbours of every result, each times the product of its distances along both axes."""
        rows, columns = (self._neighbours(axis, x.shape[axis + 1]) for axis in (1, 2))
        made: Array | None = None
        for row, down in zip(*rows):
            for column, across in zip(*columns):
                term = (across[None, :] * down[:, None]) * x[:, :, row[:, None], column[None, :]]
                made = term if made is None else made + term
        assert made is not None
        return made

    def _neighbours(self, axis: int, size: int) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """(elements before and behind, what each counts in float32) of every result along an axis."""
        whole = self.scales[axis] == 1.0 and self.sizes[axis] == size
        places = np.arange(size, dtype=np.float32) if whole else self._places(axis, size)
        places = np.clip(places, np.float32(0), np.float32(size - 1))
        before = places.astype(np.int64)
        behind = np.minimum(before + 1, size - 1)
        counts = [np.abs(places - other.astype(np.float32)) for other in (behind, before)]
        for count in counts:
            count[before == behind] = 0.5
        return (before, behind), (counts[0], counts[1])

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Multiplications and additions of every result along each axis that changes."""
        changed = sum(a != b for a, b in zip(inputs[0].shape, self.sizes))
        taps = max(1.0, *(1 / scale for scale in self.scales)) if self.rule.antialias else 1.0
        return max(1, int(outputs[0].elements * max(1, changed) * OPS_PER_AXIS[self.rule.mode] * taps))

    def _places(self, axis: int, size: int) -> Array:
        """float32 place in the image of every result along an axis."""
        count, scale = self.sizes[axis], np.float32(self.scales[axis])
        at = np.arange(count, dtype=np.float32)
        half, one = np.float32(0.5), np.float32(1)
        match self.rule.coordinates:
            case "half_pixel":
                return (at + half) / scale - half
            case "half_pixel_symmetric":
                whole = np.float32(size)
                return whole / 2 * (one - np.float32(count) / (scale * whole)) + (at + half) / scale - half
            case "pytorch_half_pixel":
                return (at + half) / scale - half if count > 1 else np.zeros_like(at)
            case "align_corners":
                return at * np.float32(size - 1) / np.float32(count - 1) if count > 1 else np.zeros_like(at)
            case "asymmetric":
                return at / scale
            case "tf_half_pixel_for_nn":
                return (at + half) / scale
            case "tf_crop_and_resize":
                start, end = (np.float32(edge) for edge in self.roi[axis])
                if count > 1:
                    return start * (size - one) + at * (end - start) * (size - one) / np.float32(count - 1)
                return half * (start + end) * (size - one) + at
            case other:
                raise self.error(f"{other}, must be one of {', '.join(COORDINATES)}")

    def _drawn(self, x: Array, axis: int, places: Array) -> Array:
        size = x.shape[axis]
        if self.rule.mode == "nearest":
            whole = {
                "round_prefer_floor": lambda: np.ceil(places - np.float32(0.5)),
                "round_prefer_ceil": lambda: np.floor(places + np.float32(0.5)),
                "floor": lambda: np.floor(places),
                "ceil": lambda: np.ceil(places),
            }[self.rule.nearest]()
            return np.take(x, np.clip(whole, 0, size - 1).astype(np.int64), axis=axis)
        weights = self._weights(places.astype(np.float64), size, self.scales[axis - 1])
        return np.moveaxis(np.einsum("...k,jk->...j", np.moveaxis(x, axis, -1), weights), -1, axis)

    def _weights(self, places: Array, size: int, scale: float) -> Array:
        """float64 `[results, elements]`: what each element of an axis counts for each result."""
        rule = self.rule
        squeeze = min(scale, 1.0) if rule.antialias else 1.0
        reach = (1 if rule.mode == "linear" else 2) / squeeze
        first = np.floor(places)
        steps = np.arange(np.floor(-reach) + 1, np.ceil(reach) + 1)
        taps = first[:, None] + steps
        distance = np.abs(taps - places[:, None]) * squeeze
        counts = np.maximum(0.0, 1 - distance) if rule.mode == "linear" else cubic(distance, rule.cubic_a)
        if rule.exclude_outside:
            counts = np.where((taps >= 0) & (taps < size), counts, 0.0)
        if rule.exclude_outside or rule.antialias:
            counts /= counts.sum(axis=1, keepdims=True)
        weights = np.zeros((len(places), size))
        rows = np.broadcast_to(np.arange(len(places))[:, None], taps.shape)
        np.add.at(weights, (rows, np.clip(taps, 0, size - 1).astype(np.int64)), counts)
        return weights


def cubic(distance: Array, a: float) -> Array:
    """The cubic convolution kernel."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
