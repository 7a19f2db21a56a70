"""A converter as data: integer thresholds and levels per converted column, and the fastest rule proven equal."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import Adc, IdealAdc, LinearAdc, plain
from cimemu.errors import ArchError
from cimemu.mapping.layout import Layout


@dataclass(frozen=True, eq=False)
class Affine:
    """`code = clamp((psum * gain + bias) >> shift, 0, top)`, equal to the thresholds on the whole psum range."""

    gain: NDArray[np.int64]  # [columns]
    bias: NDArray[np.int64]
    shift: int

    @property
    def plain(self) -> bool:
        """Whether it is one addition and a clamp, the same for all columns."""
        return self.shift == 0 and bool((self.gain == 1).all()) and bool((self.bias == self.bias[0]).all())


@dataclass(frozen=True, eq=False)
class References:
    """The references of one row block: a row per converted column, or one row for all.

    Thresholds are in units of 2^-fraction_bits psum; `t <= psum` is decided on integers, exactly.
    """

    thresholds: NDArray[np.int64]  # [columns or 1, 2^bits - 1]
    levels: NDArray[np.float64]  # [columns or 1, 2^bits]
    lsb: NDArray[np.float64] | None  # linear: [columns or 1]
    zero: NDArray[np.float64] | None
    bits: int

    @cached_property
    def integer(self) -> bool:
        """Whether every level is an integer."""
        return bool((self.levels == np.rint(self.levels)).all())

    @property
    def uniform(self) -> bool:
        """Whether all columns share one row."""
        return len(self.thresholds) == 1

    def switches(self, columns_per_adc: int, conversions_per_output: int, layout: Layout) -> int:
        """Reference changes between neighbouring columns of one converter, in one (group, slice) of the row block."""
        if self.uniform:
            return 0
        same = (self.thresholds[1:] == self.thresholds[:-1]).all(axis=1) & (self.levels[1:] == self.levels[:-1]).all(
            axis=1
        )
        total = 0
        for start, stop in layout.col_blocks:
            first, last = start * conversions_per_output, stop * conversions_per_output
            for column in range(first + 1, last):
                if (column - first) % columns_per_adc and not same[column - 1]:
                    total += 1
        return total


Distort = Callable[[int, NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def make_references(
    adc: Adc, layout: Layout, conversions_per_output: int, fraction_bits: int, distort: Distort | None = None
) -> tuple[References, ...] | None:
    """References of every row block; None for the ideal converter. ArchError where a grid has another shape.

    `distort(row block, thresholds [C, T], lsb [C])` gives every converted column thresholds of its own.
    """
    adc = plain(adc)
    if isinstance(adc, IdealAdc):
        return None
    scale = 2.0**fraction_bits
    made = []
    for block in range(len(layout.row_blocks)):
        lsb = zero = None
        if isinstance(adc, LinearAdc):
            lsb = _grid("lsb", adc.lsb, block, layout, conversions_per_output)
            zero = _grid("zero", adc.zero, block, layout, conversions_per_output)
            lsb, zero = (np.array(v) for v in np.broadcast_arrays(lsb, zero))
            thresholds, levels = adc.references(lsb, zero)
        else:
            thresholds = _vectors("thresholds", adc.thresholds, block, layout, conversions_per_output)
            levels = _vectors("levels", adc.levels, block, layout, conversions_per_output)
            count = max(len(thresholds), len(levels))
            thresholds = np.broadcast_to(thresholds, (count, thresholds.shape[1]))
            levels = np.broadcast_to(levels, (count, levels.shape[1]))
        if distort is not None:
            wide = layout.outputs * conversions_per_output
            step = column_steps(thresholds, lsb)
            thresholds = distort(block, _rows(thresholds, wide), np.broadcast_to(step, wide))
            levels = _rows(levels, wide)
            lsb, zero = (None if v is None else np.array(np.broadcast_to(v, wide)) for v in (lsb, zero))
        with np.errstate(over="ignore"):
            # Psums are integers in this unit, so `t <= psum` is the same for t and for ceil(t); a tie counts up.
            integer = np.clip(np.ceil(thresholds * scale), -(2.0**62), 2.0**62).astype(np.int64)
        made.append(
            References(
                thresholds=np.ascontiguousarray(integer),
                levels=np.ascontiguousarray(levels),
                lsb=lsb,
                zero=zero,
                bits=adc.bits,
            )
        )
    return tuple(made)


def column_steps(thresholds: NDArray[np.float64], lsb: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """[1 or C]: what one LSB is, for nonlinear converters the mean distance of thresholds (1 where there is one)."""
    if lsb is not None:
        return lsb
    if thresholds.shape[1] < 2:
        return np.ones(len(thresholds))
    return np.asarray((thresholds[:, -1] - thresholds[:, 0]) / (thresholds.shape[1] - 1))


def _rows(table: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    return np.array(np.broadcast_to(table, (count, table.shape[1])))


def _grid(
    name: str, value: float | list[list[float]], block: int, layout: Layout, conversions: int
) -> NDArray[np.float64]:
    """[1] for one value, else [converted columns] of this row block."""
    if not isinstance(value, list):
        return np.array([value], dtype=np.float64)
    _check_rows(name, value, layout, conversions)
    return _spread(np.array(value[block], dtype=np.float64)[:, None], layout, conversions)[:, 0]


def _vectors(name: str, value: list[Any], block: int, layout: Layout, conversions: int) -> NDArray[np.float64]:
    """[1, T] for one vector, else [converted columns, T] of this row block."""
    if not isinstance(value[0], list):
        return np.array([value], dtype=np.float64)
    _check_rows(name, value, layout, conversions)
    return _spread(np.array(value[block], dtype=np.float64), layout, conversions)


def _check_rows(name: str, value: list[Any], layout: Layout, conversions: int) -> None:
    arrays, columns = len(layout.col_blocks), layout.outputs * conversions
    widths = {len(row) for row in value}
    if len(value) != len(layout.row_blocks) or widths - {arrays, columns} or len(widths) != 1:
        raise ArchError(
            f"adc.{name}: {len(value)} x {sorted(widths)} values, must be one value, "
            f"[row blocks, column blocks] = [{len(layout.row_blocks)}, {arrays}] or "
            f"[row blocks, converted columns] = [{len(layout.row_blocks)}, {columns}]"
        )


def _spread(row: NDArray[np.float64], layout: Layout, conversions: int) -> NDArray[np.float64]:
    """Array values repeated over the converted columns of their column block."""
    if len(row) == layout.outputs * conversions:
        return row
    repeats = [(stop - start) * conversions for start, stop in layout.col_blocks]
    return np.repeat(row, repeats, axis=0)


def prove_affine(references: References, low: int, high: int) -> Affine | None:
    """The affine rule that equals the thresholds for every integer psum in low .. high, or None.

    Tried for linear converters with a gain of 1 / lsb in fixed point; accepted only if it agrees with the
    threshold count on every psum of the range, column by column.
    """
    if references.lsb is None or references.zero is None or high - low > 1 << 16:
        return None
    top = 2**references.bits - 1
    psums = np.arange(low, high + 1, dtype=np.int64)
    exact = (references.lsb == 1).all()
    shift = 0 if exact else 20
    gain = (
        np.ones(len(references.lsb), dtype=np.int64) if exact else np.rint(2.0**shift / references.lsb).astype(np.int64)
    )
    bias = np.floor((0.5 - references.zero / references.lsb) * 2.0**shift).astype(np.int64)
    if (np.abs(gain) >= 1 << 31).any() or (np.abs(bias) >= 1 << 46).any():
        return None
    for column in range(len(gain)):
        want = np.searchsorted(references.thresholds[column], psums, side="right")
        nudges = (0,) if exact else (0, 1, -1)
        for nudge in nudges:
            got = np.clip((psums * gain[column] + bias[column] + nudge) >> shift, 0, top)
            if np.array_equal(want, got):
                bias[column] += nudge
                break
        else:
            return None
    return Affine(gain=gain, bias=bias, shift=shift)
