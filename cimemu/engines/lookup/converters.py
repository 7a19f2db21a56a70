"""Each converter as data for the register kernels: a clamp, one multiplication, or a table of every partial sum."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.digits import Digits
from cimemu.engines.lookup.convert_kernels import TREE_ROWS, search_tree
from cimemu.macro.references import References

Moved = tuple[NDArray[np.int64], int]  # thresholds [1 or C, T] above the smallest psum, and the largest psum above it


def shifted_thresholds(references: References, least: NDArray[np.int64], margin: int) -> NDArray[np.int64]:
    """Thresholds [1 or C, T] above the smallest sum of each column."""
    if len(references.thresholds) == 1 and (least == least[0]).all():
        least = least[:1]
    return references.thresholds - least[:, None] + margin


def stacked(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Parts [1 or C, ...] of all groups as one array [1 or G, 1 or C, ...]."""
    columns = max(len(p) for p in parts)
    whole = np.stack([np.broadcast_to(p, (columns, *p.shape[1:])) for p in parts])
    if (whole == whole[:1]).all():
        whole = whole[:1]
    if (whole == whole[:, :1]).all():
        whole = whole[:, :1]
    return np.ascontiguousarray(whole)


def even_columns(converter: tuple[Any, ...], columns: int) -> tuple[Any, ...]:
    """Arrays of every column [1 or G, C, ...] padded to `columns`; other parts as they are."""

    def padded(part: Any) -> Any:
        if not isinstance(part, np.ndarray) or part.shape[1] < 2:
            return part
        more = [(0, 0), (0, columns - part.shape[1]), *[(0, 0)] * (part.ndim - 2)]
        return np.ascontiguousarray(np.pad(part, more, mode="edge"))

    return tuple(padded(part) for part in converter)


def _steps_of_one(moved: Moved) -> NDArray[np.int64] | None:
    """First thresholds [c] where all that can be reached follow each other by 1, else None."""
    thresholds, most = moved
    follow = thresholds[:, :1] + np.arange(thresholds.shape[1])
    same = (thresholds == follow) | ((thresholds > most) & (follow > most))
    return np.minimum(thresholds[:, 0], most + 1) if bool(same.all()) else None


def byte_converter(shifted: list[Moved], digits: list[Digits], top: int) -> tuple[Any, ...] | None:
    """(rules, digits, top, tabled) for partial sums held at 255, as `convert_by_bytes` takes them; None where a
    threshold lies above. `top` is the largest digit that is reached.
    """
    most = max(m for _, m in shifted)
    firsts = [_steps_of_one(moved) for moved in shifted]
    if all(first is not None for first in firsts) and all(d.are_codes for d in digits):
        down = [np.maximum(first - 1, 0) for first in firsts if first is not None]
        up = [np.maximum(1 - first, 0) for first in firsts if first is not None]
        most_up, most_down = max(int(u.max()) for u in up), max(int(d.max()) for d in down)
        if most_up <= 255 and most_down <= 255 and (most_down + top <= 255 or most + most_up <= 255) and top <= 255:
            rules = stacked([np.stack([u, d], axis=1) for u, d in zip(up, down)]).astype(np.uint8)
            return rules, np.zeros((1, 1, 16), dtype=np.uint8), top, False
    if top > 255 or reached_threshold(shifted) > 255:
        return None
    rules, tables = digit_tables(shifted, digits)
    return rules, tables, top, True


def digit_tables(shifted: list[Moved], digits: list[Digits]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(rules [1 or G, 1 or C, 1], tables [1 or G, 1 or C, entries]) of `table_bytes`: the digit of every psum up to 255.

    A table starts just below the column's first threshold and reaches to its last, in as few rows of 16 as that takes.
    """
    downs, needs = [], []
    for thresholds, most in shifted:
        inside = (thresholds > 0) & (thresholds <= most)
        first = np.where(inside, thresholds, 256).min(axis=1)
        last = np.where(inside, thresholds, 0).max(axis=1)
        downs.append(np.where(last > 0, first - 1, 0))
        needs.append(int((last - downs[-1]).max()) + 1)
    entries = next(size for size in (16, 32, 64, 128, 256) if size >= max(needs))
    tables = []
    for (thresholds, _), down, own in zip(shifted, downs, digits):
        psums = np.minimum(np.arange(entries) + down[:, None], 255)
        codes = np.stack([np.searchsorted(t, at, side="right") for t, at in zip(thresholds, psums)])
        columns = max(len(codes), len(own.table))
        table = np.broadcast_to(own.table, (columns, own.table.shape[1]))
        tables.append(np.take_along_axis(table, np.broadcast_to(codes, (columns, entries)), axis=1))
    rules = stacked([down[:, None] for down in downs])
    return rules.astype(np.uint8), stacked(tables).astype(np.uint8)


def code_digits(digits: list[Digits]) -> NDArray[np.uint8]:
    """[1 or G, 1 or C, 256] digits of codes for `table_bytes`; of no columns where every digit is the code."""
    if all(d.are_codes for d in digits):
        return np.zeros((1, 0, 256), dtype=np.uint8)
    return stacked([np.pad(d.table, [(0, 0), (0, 256 - d.table.shape[1])]) for d in digits]).astype(np.uint8)


def reached_threshold(shifted: list[Moved]) -> int:
    """The highest threshold that a psum can reach."""
    return max(int(t[t <= most].max(initial=0)) for t, most in shifted)


def word_converter(
    shifted: list[Moved], references: list[References], digits: list[Digits], unit: int, top: int
) -> tuple[Any, ...] | None:
    """The same for partial sums held at 65535, as `convert_by_words` takes it; references and digits by group."""
    bits = references[0].bits
    if all(d.are_codes for d in digits):
        rules = [_affine(moved, own, unit) for moved, own in zip(shifted, references)]
        if all(rule is not None for rule in rules):
            whole = stacked([rule for rule in rules if rule is not None]).astype(np.uint16)
            none = np.zeros((1, 1, 2, TREE_ROWS, 16), dtype=np.uint8)
            return whole, none, bits, code_digits(digits), top, False
    if bits > 8:
        return None
    return np.zeros((1, 1, 4), dtype=np.uint16), search_halves(shifted), bits, code_digits(digits), top, True


def search_halves(shifted: list[Moved]) -> NDArray[np.uint8]:
    """[1 or G, 1 or C, 2, TREE_ROWS, 16]: the trees of `search_words`, low and high bytes."""
    trees = stacked([search_tree(t, 32768) for t, _ in shifted])
    return np.ascontiguousarray(np.stack([trees & 255, trees >> 8], axis=2).astype(np.uint8))


def _affine(moved: Moved, references: References, unit: int) -> NDArray[np.int64] | None:
    """Rules (up, down, gain, fall) [c, 4] proven to give the code at every psum, or None.

    The rule rises with the psum, so it is enough that it gives at least k at threshold k and less than k just below it
    (and at the largest psum, where that is below the threshold).
    """
    thresholds, most = moved
    ones = _steps_of_one(moved)
    if ones is not None:
        if int(np.abs(ones).max()) > 32767:
            return None
        zero = np.zeros_like(ones)
        return np.stack([np.maximum(1 - ones, 0), np.maximum(ones - 1, 0), zero, zero], axis=1)
    if references.lsb is None:
        return None
    step = np.broadcast_to(references.lsb * unit, len(thresholds))
    if float(step.min()) < 1.001 or float(step.max()) >= 2.0**15:
        return None
    k = np.arange(1, thresholds.shape[1] + 1)
    rest = np.clip(np.floor(np.log2(step * 65535 / 65536)).astype(np.int64), 0, 15)
    need = k * np.left_shift(np.int64(1), 16 + rest)[:, None]
    reach = thresholds <= most
    found = np.zeros((len(thresholds), 4), dtype=np.int64)
    done = np.zeros(len(thresholds), dtype=np.bool_)
    for rounded in (np.rint, np.floor, np.ceil):
        base = rounded(thresholds[:, 0] - step).astype(np.int64)
        at = np.maximum(thresholds, 0) - base[:, None]
        below = np.minimum(thresholds - 1, most) - base[:, None]
        gain = np.where(reach, -(-need // np.maximum(at, 1)), 0).max(axis=1)
        most_gain = np.where((thresholds >= 1) & (below > 0), (need - 1) // np.maximum(below, 1), 65535).min(axis=1)
        good = (gain <= most_gain) & (gain > 0) & ~(reach & (at < 1)).any(axis=1) & (np.abs(base) <= 32767) & ~done
        fall = np.where(rest > 0, np.left_shift(np.int64(1), 16 - rest), 0)
        rule = np.stack([np.maximum(-base, 0), np.maximum(base, 0), gain, fall], axis=1)
        found[good] = rule[good]
        done |= good
        if done.all():
            break
    return found if bool(done.all()) else None
