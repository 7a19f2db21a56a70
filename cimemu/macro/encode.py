"""Weights into cell levels, and cell levels into what each conversion sees (contract section 1.3)."""

from dataclasses import dataclass
from functools import cache
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Input, Macro
from cimemu.errors import ArchError, WorkloadError


@dataclass(frozen=True, eq=False)
class Columns:
    """The physical columns of one output, and how conversions are made of them.

    Conversion v sees `sum_s mix[v, s] * psum of physical column s`, and its value counts `weight[v]`.
    """

    mix: NDArray[np.int64]  # [conversions per output, columns per output]
    weight: NDArray[np.int64]  # [conversions per output]

    @property
    def alone(self) -> bool:
        """Whether every physical column is converted by itself."""
        return np.array_equal(self.mix, np.eye(len(self.weight), dtype=np.int64))


MAX_LEVEL = 2**16  # a cell holds at most 15; sums stay exact


def input_range(macro: Macro) -> tuple[int, int]:
    """Smallest and largest input."""
    bits = macro.input.bits
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if macro.input.signed else (0, 2**bits - 1)


def checked_weights(w: NDArray[Any], macro: Macro, inside: NDArray[np.bool_] | None) -> NDArray[np.int16]:
    """`w` [K, N] as int16, off-block entries 0; WorkloadError naming the first value outside the encoding's range.

    `inside` [K, N] marks the entries that are weights (off-block entries of a packed grouped convolution are not). An int16
    array that nobody can write to is given back as it is.
    """
    w = np.asarray(w)
    if w.ndim != 2 or w.dtype.kind not in "iub" or 0 in w.shape:
        raise WorkloadError(f"weights: {w.dtype} of shape {w.shape}, must be integers [K, N] with K, N >= 1")
    stored = macro.encoding.values(macro.weight.bits)
    low, high, step = stored[0], stored[-1], stored.step
    if inside is None and step == 1 and low <= int(w.min()) and int(w.max()) <= high:
        return w if w.dtype == np.int16 and not w.flags.writeable else w.astype(np.int16)
    if w.dtype == np.uint64:
        w = np.minimum(w, np.uint64(2**62))  # too large a value stays too large
    wide = w.astype(np.int64)
    bad = (wide < low) | (wide > high)
    rule = f"{low} .. {high}"
    if step != 1:  # there are holes between
        bad |= (wide - low) % step != 0
        rule = " or ".join(map(str, stored))
    if inside is not None:
        bad &= inside
    if bad.any():
        k, n = (int(i) for i in np.argwhere(bad)[0])
        raise WorkloadError(
            f"weight w[{k}, {n}] = {wide[k, n]}, must be {rule} "
            f"(encoding {macro.weight.encoding}, weight.bits = {macro.weight.bits}); use more weight.bits"
        )
    return (wide if inside is None else wide * inside).astype(np.int16)


def checked_inputs(x: NDArray[Any], macro: Macro, rows: int) -> NDArray[Any]:
    """`x` [P, K] as uint8 (unsigned, <= 8 bits) or int16; WorkloadError naming the first value out of range."""
    x = np.asarray(x)
    if x.ndim != 2 or x.dtype.kind not in "iub":
        raise WorkloadError(f"inputs: {x.dtype} of shape {x.shape}, must be integers [P, K]")
    if x.shape[1] != rows:
        raise WorkloadError(f"inputs: shape {x.shape} has K = {x.shape[1]}, the weights have K = {rows}")
    low, high = input_range(macro)
    all_fit = x.dtype == np.uint8 and (low, high) == (0, 255)  # looking at each takes as long as some layers
    if x.size and not all_fit and (int(x.min()) < low or int(x.max()) > high):
        p, k = (int(i) for i in np.argwhere((x < low) | (x > high))[0])
        raise WorkloadError(
            f"input x[{p}, {k}] = {x[p, k]}, must be {low} .. {high} "
            f"(input.bits = {macro.input.bits}, signed = {str(macro.input.signed).lower()}); use more input.bits"
        )
    return np.ascontiguousarray(x, dtype=np.int16 if macro.input.signed or macro.input.bits > 8 else np.uint8)


def columns_of(macro: Macro) -> Columns:
    """How the physical columns of one output become conversions, from encoding, combine and subtract."""
    place = np.array(macro.encoding.places(macro.weight.bits, macro.cell.bits), dtype=np.int64)
    match macro.weight.combine:
        case "analog":
            mix, weight = place[None, :], np.ones(1, dtype=np.int64)
        case "digital":
            mix, weight = np.eye(len(place), dtype=np.int64), place
        case other:
            assert_never(other)
    if macro.encoding.sides == 1:
        return Columns(mix=mix, weight=weight)
    match macro.weight.subtract:
        case "analog":
            return Columns(mix=np.concatenate([mix, -mix], axis=1), weight=weight)
        case "digital":
            zero = np.zeros_like(mix)
            return Columns(mix=np.block([[mix, zero], [zero, mix]]), weight=np.concatenate([weight, -weight]))
        case unknown:
            assert_never(unknown)


def narrowest(values: NDArray[np.integer]) -> np.dtype[Any]:
    """The narrowest signed type of 16 bits or more that holds `values`."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    kinds = (np.int16, np.int32)
    return np.dtype(next((k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max), np.int64))


def fixed_seen(stored: NDArray[np.integer], columns: Columns) -> NDArray[np.integer]:
    """What a conversion sees per unit of input [K, converted columns], from levels [K, physical columns].

    The levels themselves where every column is converted alone; a network's cells are most of what its emulator holds.
    """
    if columns.alone:
        return stored
    split = stored.astype(np.int64).reshape(len(stored), -1, columns.mix.shape[1])
    made = np.einsum("kns,vs->knv", split, columns.mix).reshape(len(stored), -1)
    narrow: NDArray[np.integer] = made.astype(narrowest(made))
    return narrow


def inside_groups(
    row_group: NDArray[np.int64] | None,
    out_group: NDArray[np.int64] | None,
    rows: slice = slice(None),
    outputs: slice = slice(None),
) -> NDArray[np.bool_] | None:
    """[rows, outputs] whether they are of one convolution group; None where there is one group."""
    if row_group is None or out_group is None:
        return None
    made: NDArray[np.bool_] = row_group[rows, None] == out_group[None, outputs]
    return made


def fixed_point_levels(cells: NDArray[np.floating], macro: Macro, shape: tuple[int, int]) -> NDArray[np.integer]:
    """Effective levels [K, physical columns] rounded once to multiples of 2^-fraction_bits, times 2^fraction_bits."""
    try:
        if np.asarray(cells).dtype.kind == "c":
            raise TypeError("complex numbers")
        cells = np.asarray(cells, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArchError(
            f"cells: {type(cells).__name__}, must be an array of real numbers [K, N * columns_per_output]"
        ) from error
    if cells.shape != shape:
        raise ArchError(f"cells: shape {cells.shape}, must be [K, N * columns_per_output] = {list(shape)}")
    if not np.isfinite(cells).all():
        r, c = (int(i) for i in np.argwhere(~np.isfinite(cells))[0])
        raise ArchError(f"cells[{r}, {c}] = {cells[r, c]}, an effective level must be finite")
    if cells.size and float(np.abs(cells).max()) > MAX_LEVEL:
        r, c = (int(i) for i in np.argwhere(np.abs(cells) > MAX_LEVEL)[0])
        raise ArchError(f"cells[{r}, {c}] = {cells[r, c]}, an effective level must be within +-{MAX_LEVEL}")
    # The one rounding of a cell (contract, section 1.8): from here on sums are of integers, so no order of adding them,
    # no thread and no register width can change a code.
    made: NDArray[np.int64] = np.rint(cells * 2.0**macro.cell.fraction_bits).astype(np.int64)
    return made.astype(narrowest(made))


def input_slice(x: NDArray[Any], index: int, given: Input) -> NDArray[Any]:
    """Slice `index` of inputs as bit patterns; a slice may be wider than the input's own type."""
    place, bits = given.spans[index]
    mask = min(2**bits - 1, int(np.iinfo(x.dtype).max))
    made: NDArray[Any] = (x >> min(place, 8 * x.dtype.itemsize - 1)) & mask if index else x & mask
    return made


@cache
def limits_of(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Smallest and largest number of an integer type: asked for every layer of every image, and slow to be made."""
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def input_slice_weights(macro: Macro) -> NDArray[np.int64]:
    """Place value of every input slice; the last counts negative for signed inputs."""
    weights = 2 ** np.array([place for place, _ in macro.input.spans], dtype=np.int64)
    if macro.input.signed:
        weights[-1] = -weights[-1]
    return weights
