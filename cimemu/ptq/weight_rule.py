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
Rule = UniformWeights | BinaryWeights


class SchemeWeights:
    """Quantises every layer's weights by one rule of a scheme for `macro` (of the scheme's widths and encoding).

    `moments` by layer name are mean products of inputs [conv groups, K, K], for method "output". `rules` are those of layers
    that have one of their own.
    """

    def __init__(
        self,
        rule: Rule,
        macro: Macro,
        moments: Mapping[str, Floats] | None = None,
        rules: Mapping[str, Rule] | None = None,
    ) -> None:
        """Refuse what the macro cannot hold. Raises WorkloadError."""
        self.rule, self.macro, self.moments, self.rules = rule, macro, moments or {}, rules or {}
        slices = [one for one in (rule, *self.rules.values()) if isinstance(one, UniformWeights) and one.slice_scales]
        if slices and macro.conversions_per_output == 1:
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
        rule = self.rule_of(layer)
        if isinstance(rule, BinaryWeights):
            integers, scales, offsets = binarize(w, cut, rule.granularity, rule.method)
            factors = None
        else:
            integers, scales, factors = self._uniform(layer, w, cut, rule)
            offsets = np.zeros_like(scales)
        base = self._base(scales, floor, rule)
        self._keep(layer, scales, offsets, factors, base, cut)
        self._measure(layer, w, integers, scales, offsets, cut)
        values = integers.astype(np.int8).reshape(moved.shape)
        return np.moveaxis(values, 0, axis), base if base.size > 1 and _many(base, rule) else base[:1]

    def rule_of(self, layer: Layer) -> Rule:
        """The rule of a layer."""
        return self.rules.get(layer.name, self.rule)

    def _uniform(
        self, layer: Layer, w: Floats, cut: Cut, rule: UniformWeights
    ) -> tuple[NDArray[np.int64], Floats, Floats | None]:
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

    def _base(self, scales: Floats, floor: Floats, rule: Rule) -> NDArray[np.float32]:
        """The output stage's scale of every output: its largest (one for the layer where the rule says so)."""
        largest = np.maximum(scales.max(axis=1), floor)
        if rule.granularity == "layer":
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
        granularity = self.rule_of(layer).granularity
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


def _many(base: NDArray[np.float32], rule: Rule) -> bool:
    return rule.granularity != "layer" or bool((base != base[0]).any())
