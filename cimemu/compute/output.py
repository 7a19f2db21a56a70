"""From accumulators to a layer's output tensor, strip by strip."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.compute.small import (
    arrange,
    arrange_float,
    finish_float,
    finish_fp32,
    finish_fp64,
    finish_gemmlowp,
)
from cimemu.layer.macro_layer import MacroLayer
from cimemu.layer.requantize import FixedPoint, Fp32HalfEven, Fp64HalfAway, ToFloat
from cimemu.windows.strips import Room, Strip


class OutputWriter:
    """A layer's output stage, with its parameters as the kernels take them."""

    def __init__(self, layer: MacroLayer) -> None:
        """For `layer`; a stage that has no kernel runs its own `apply`."""
        self.layer = layer
        stage, channels = layer.stage, layer.geometry.channels_out
        if isinstance(stage, Fp32HalfEven):
            self.scale = np.full(channels, stage.multiplier, dtype=np.float32)
            self.limits = np.array([stage.zero_point, stage.low, stage.high], dtype=np.float32)
        elif isinstance(stage, FixedPoint):
            rule = [np.broadcast_to(v, channels) for v in (stage.q31, stage.shift)]
            self.rule = np.ascontiguousarray(np.stack(rule, axis=1), dtype=np.int64)
            self.limits = np.array([stage.zero_point, stage.low, stage.high], dtype=np.int64)
        elif isinstance(stage, Fp64HalfAway):
            self.wide = np.full(channels, stage.multiplier, dtype=np.float64)
            self.limits = np.array([stage.zero_point, stage.low, stage.high], dtype=np.int64)
        elif isinstance(stage, ToFloat):
            self.scale = np.full(channels, stage.scale, dtype=np.float32)

    def tensor(self, images: int) -> NDArray[Any]:
        """The output tensor of `images` images, to be written."""
        return np.empty((images, *self.layer.output_type.shape), dtype=self.layer.output_type.dtype)

    def accumulators_of(self, y: NDArray[Any], constant: NDArray[np.int64], cut: Strip, room: Room) -> NDArray[Any]:
        """acc [images, 1, channels_out, positions of the strip] = `y` [images * positions, channels_out] + constant."""
        shape = (cut.images, 1, y.shape[1], len(y) // cut.images)
        if y.dtype.kind == "f":
            real = room.array("acc", shape, np.float64)
            arrange_float(y, constant, real)
            return real
        acc = room.array("acc", shape, np.int32)
        arrange(y, constant, acc)
        return acc

    def write(self, acc: NDArray[Any], line: int, cut: Strip, tensor: NDArray[Any], room: Room) -> None:
        """Finish acc [images, groups, >= outputs per group, places] into `tensor`; `line` places make an output row."""
        layer, geometry = self.layer, self.layer.geometry
        shape = (geometry.channels_out, geometry.height_out, geometry.width_out)
        if not layer.channels_last:
            target = tensor[cut.first : cut.last].reshape(cut.images, *shape)
            self._apply(acc, line, (cut.row_start, cut.rows), target)
            return
        part = room.array("part", (cut.images, shape[0], cut.rows, shape[2]), tensor.dtype)
        self._apply(acc, line, (0, cut.rows), part)
        whole = tensor.reshape(len(tensor), shape[1], shape[2], shape[0])
        whole[cut.first : cut.last, cut.row_start : cut.row_stop] = part.transpose(0, 2, 3, 1)

    def _apply(self, acc: NDArray[Any], line: int, span: tuple[int, int], out: NDArray[Any]) -> None:
        """Rows `span` = (first, how many) of `out` [images, channels, rows, columns]."""
        stage = self.layer.stage
        if isinstance(stage, Fp32HalfEven):
            finish_fp32(acc, line, self.scale, self.limits, span, out)
        elif isinstance(stage, ToFloat):
            finish_float(acc, line, self.scale, span, out)
        elif isinstance(stage, FixedPoint) and acc.dtype.kind == "i":
            finish_gemmlowp(acc, line, self.rule, self.limits, span, out)
        elif isinstance(stage, Fp64HalfAway) and acc.dtype.kind == "i":
            finish_fp64(acc, line, self.wide, self.limits, span, out)
        else:
            outputs = out.shape[1] // acc.shape[1]
            places = acc[:, :, :outputs, : span[1] * line].reshape(len(acc), out.shape[1], span[1], line)
            values = stage.apply(np.ascontiguousarray(places[..., : out.shape[3]].transpose(0, 2, 3, 1)))
            out[:, :, span[0] : span[0] + span[1]] = values.transpose(0, 3, 1, 2)
