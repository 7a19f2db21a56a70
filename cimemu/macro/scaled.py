"""Column scales in the digital unit: values of row blocks and columns multiplied before they are added up."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.errors import ArchError
from cimemu.layer.column_scale import ColumnScale
from cimemu.macro.references import References
from cimemu.mapping.layout import Layout


def check_scale(scale: ColumnScale, layout: Layout, macro: Macro) -> None:
    """ArchError where the scales were made for another cut, or the macro has no float64 accumulation."""
    starts = tuple(start for start, _ in layout.row_blocks)
    if scale.row_starts[: len(starts)] != starts:
        raise ArchError(
            f"column scales for row blocks that start at {list(scale.row_starts)}, the macro cuts at {list(starts)}: "
            "use the rows, mapping and input channels that they were made for"
        )
    columns = layout.outputs * macro.conversions_per_output
    if scale.scale.shape[0] < len(starts) or scale.scale.shape[1] != columns:
        raise ArchError(
            f"column scales {list(scale.scale.shape)}, must be [row blocks, converted columns] = [{len(starts)}, {columns}]"
        )
    if not bool((np.isfinite(scale.scale) & (scale.scale > 0)).all()):
        raise ArchError("column scales must be finite and > 0")
    if macro.accumulator_bits is not None:
        raise ArchError(
            f"accumulator_bits = {macro.accumulator_bits} with column scales: the accumulator holds no real numbers; "
            "leave accumulator_bits out"
        )
    if macro.weight.column_flipping:
        raise ArchError("weight.column_flipping with column scales: not defined, turn one of them off")


def scaled_references(references: tuple[References, ...], scale: ColumnScale) -> tuple[References, ...]:
    """References for values: levels, lsb and zero of every column times its scale; thresholds as they are."""
    made = []
    for block, rule in enumerate(references):
        factor = scale.scale[block]
        made.append(
            replace(
                rule,
                thresholds=np.broadcast_to(rule.thresholds, (len(factor), rule.thresholds.shape[1])),
                levels=rule.levels * factor[:, None],
                lsb=None if rule.lsb is None else rule.lsb * factor,
                zero=None if rule.zero is None else rule.zero * factor,
            )
        )
    return tuple(made)


def input_sums(
    x: NDArray[Any],
    layout: Layout,
    row_group: NDArray[np.int64] | None,
    out_group: NDArray[np.int64] | None,
) -> NDArray[np.int64]:
    """sum of the inputs of every row block, [P, row blocks, 1], or [P, row blocks, N] for packed grouped convolutions."""
    sums = []
    for start, stop in layout.row_blocks:
        part = x[:, start:stop].astype(np.int64)
        if row_group is None or out_group is None:
            sums.append(part.sum(axis=1)[:, None])
        else:
            by_group = [part[:, row_group[start:stop] == g].sum(axis=1) for g in range(int(out_group.max()) + 1)]
            sums.append(np.stack(by_group, axis=1)[:, out_group])
    return np.stack(sums, axis=1)


def correction_factors(scale: ColumnScale, conversions: int) -> NDArray[np.float64]:
    """What multiplies a row block's sum of inputs, [row blocks, N]: the scale of the most significant slice."""
    return scale.scale[:, conversions - 1 :: conversions]


def added_up(factors: NDArray[np.float64], sums: NDArray[Any]) -> NDArray[np.float64]:
    """sum over row blocks, ascending, of `factors[rb, n] * sums[p, rb, n]`: float64 [P, N]."""
    total = np.zeros((len(sums), factors.shape[1]), dtype=np.float64)
    for block in range(sums.shape[1]):
        total = total + factors[block] * sums[:, block]
    return total
