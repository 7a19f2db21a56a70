"""From a layer's real weights to integers, the scales that a QDQ graph can hold, and those that only the macro layer can."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.errors import WorkloadError
from cimemu.layer.base import Array, Layer
from cimemu.layer.column_scale import ColumnScale
from cimemu.layer.conv import Conv
from cimemu.macro.encode import columns_of
from cimemu.macro.levels import level_table
from cimemu.ptq.binary import binarize
from cimemu.ptq.cut import Cut, make_cut
from cimemu.ptq.scheme import BinaryWeights, UniformWeights
from cimemu.ptq.weight_scales import codes, fit_scales, slice_factors

Floats = NDArray[np.float64]


class SchemeWeights:
    """Quantises every layer's weights by one rule of a scheme for `macro` (of the scheme's widths and encoding).

    `moments` by layer name are mean products of inputs [conv groups, K, K], for method "output".
    """

    def __init__(
        self, rule: UniformWeights | BinaryWeights, macro: Macro, moments: Mapping[str, Floats] | None = None
    ) -> None:
        """Refuse what the macro cannot hold. Raises WorkloadError."""
        self.rule, self.macro, self.moments = rule, macro, moments or {}
        if isinstance(rule, UniformWeights) and rule.slice_scales and macro.conversions_per_output == 1:
            raise WorkloadError(
                "weights.slice_scales = true, but an output is one conversion here (one slice, or weight.combine analog): "
                "use more slices or leave slice_scales out"
            )
        self.scaled: dict[str, ColumnScale] = {}
        self.errors: dict[str, float] = {}  # squared weight error / sum of squared weights, by layer

    def __call__(
        self, layer: Layer, weight: NDArray[np.float32], axis: int, least: Floats | None
    ) -> tuple[Array, NDArray[np.float32]]:
        """(int8 values of `weight`'s shape, scales [outputs] or [1]); what is finer is left in `scaled` by layer name."""
        moved = np.moveaxis(weight, axis, 0)
        w = moved.reshape(weight.shape[axis], -1).astype(np.float64)
        groups, area = 1, 1
        if isinstance(layer, Conv):
            groups, area = layer.groups, int(np.prod(weight.shape[2:]))
        cut = make_cut(groups, w.shape[1], len(w) // groups, area, self.macro)
        floor = np.full(len(w), 1e-12) if least is None else np.maximum(least, 1e-12)
        if isinstance(self.rule, BinaryWeights):
            integers, scales, offsets = binarize(w, cut, self.rule.granularity, self.rule.method)
            factors = None
        else:
            integers, scales, factors = self._uniform(layer, w, cut)
            offsets = np.zeros_like(scales)
        base = self._base(scales, floor)
        self._keep(layer, scales, offsets, factors, base, cut)
        self._measure(layer, w, integers, scales, offsets, cut)
        values = integers.astype(np.int8).reshape(moved.shape)
        return np.moveaxis(values, 0, axis), base if base.size > 1 and self._many(base) else base[:1]

    def _uniform(self, layer: Layer, w: Floats, cut: Cut) -> tuple[NDArray[np.int64], Floats, Floats | None]:
        rule = self.rule
        assert isinstance(rule, UniformWeights)
        moments = self.moments.get(layer.name)
        if rule.method == "output" and moments is None:
            raise layer.error("weights.method = output without samples of its inputs")
        scales = fit_scales(
            w, cut, rule.bits, rule.granularity, rule.method, percentile=rule.percentile, moments=moments
        )
        integers = codes(w, scales, cut, rule.bits)
        if not rule.slice_scales:
            return integers, scales, None
        groups = cut.groups(rule.granularity)
        return integers, scales, slice_factors(w, integers, scales, cut, groups, self._parts(integers))

    def _parts(self, integers: NDArray[np.int64]) -> NDArray[np.int64]:
        """What every conversion adds to an integer, [N, K, conversions]."""
        macro, columns = self.macro, columns_of(self.macro)
        levels = level_table(macro).levels(integers.T.astype(np.int16), None).astype(np.int64)
        split = levels.reshape(*integers.T.shape, macro.columns_per_output)
        parts = np.einsum("kns,vs->nkv", split, columns.mix) * columns.weight
        parts *= macro.correction.of_y
        parts[:, :, -1] += macro.correction.of_inputs  # the correction has the top slice's factor
        return np.asarray(parts)

    def _many(self, base: NDArray[np.float32]) -> bool:
        return self.rule.granularity != "layer" or bool((base != base[0]).any())

    def _base(self, scales: Floats, floor: Floats) -> NDArray[np.float32]:
        """The output stage's scale of every output: its largest (one for the layer where the rule says so)."""
        largest = np.maximum(scales.max(axis=1), floor)
        if self.rule.granularity == "layer":
            largest = np.full(len(largest), largest.max())
        made: NDArray[np.float32] = largest.astype(np.float32)
        return made

    def _keep(
        self,
        layer: Layer,
        scales: Floats,
        offsets: Floats,
        factors: Floats | None,
        base: NDArray[np.float32],
        cut: Cut,
    ) -> None:
        """Remember what a QDQ graph cannot say: scales of row blocks and slices, and offsets."""
        granularity = self.rule.granularity
        ratio = scales / base.astype(np.float64)[:, None]
        shared = granularity in ("layer", "channel")
        if shared and bool(np.isclose(ratio, 1, rtol=1e-6).all()):  # float32 rounding, which the graph has too
            ratio = np.ones_like(ratio)
        grid = np.repeat(ratio.T, cut.conversions, axis=1)
        if factors is not None:
            grid = grid * factors.transpose(1, 0, 2).reshape(grid.shape)
        has_offset = bool(offsets.any())
        if shared and factors is None and not has_offset and bool((ratio == 1).all()):
            return
        self.scaled[layer.name] = ColumnScale(
            scale=grid,
            offset=(offsets / base.astype(np.float64)[:, None]).T.copy() if has_offset else None,
            row_starts=cut.row_starts,
            granularity="layer" if granularity == "channel" else granularity,
            slices=factors is not None,
        )

    def _measure(
        self, layer: Layer, w: Floats, integers: NDArray[np.int64], scales: Floats, offsets: Floats, cut: Cut
    ) -> None:
        real = integers * np.take_along_axis(scales, cut.block, axis=1) + np.take_along_axis(offsets, cut.block, axis=1)
        self.errors[layer.name] = float(((real - w) ** 2).sum() / max((w**2).sum(), 1e-30))
