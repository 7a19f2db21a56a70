"""The law of weight encodings, on every weight of a width: what comes back is what was stored."""

from typing import Any

import numpy as np

from cimemu.encoding.base import Encoding

MOST = 2**12  # of weights, places and offsets: sums of products stay exact in 64 bits whatever the macro
MOST_COLUMNS = 64  # of one weight


def law_broken(encoding: Encoding, weight_bits: int, cell_bits: int) -> str | None:
    """Why these widths cannot be: the encoding refuses them, or contradicts its own law. None where all is well.

    What an encoding's own code raises is told in the same way: it may be anybody's.
    """
    try:
        refused = encoding.refusal(weight_bits, cell_bits)
        if refused is not None:
            return refused
        broken = _broken(encoding, weight_bits, cell_bits)
        return None if broken is None else f"encoding {encoding.name}: {broken}"
    except Exception as error:
        said, widths = " ".join(str(error).split())[:200], f"weight.bits = {weight_bits}, cell.bits = {cell_bits}"
        return f"encoding {encoding.name}: {type(error).__name__} for {widths}: {said}; correct it"


def _broken(encoding: Encoding, weight_bits: int, cell_bits: int) -> str | None:
    widths = f"for weight.bits = {weight_bits}, cell.bits = {cell_bits}"
    values = encoding.values(weight_bits)
    if not isinstance(values, range) or len(values) < 2 or values.step < 1 or max(-values[0], values[-1]) > MOST:
        return f"values() = {values!r} {widths}, must be an ascending range of at least 2 weights within +-{MOST}"
    slices, places = encoding.slices(weight_bits, cell_bits), encoding.places(weight_bits, cell_bits)
    columns = slices * encoding.sides
    if encoding.sides not in (1, 2) or not 1 <= columns <= MOST_COLUMNS or len(places) != slices:
        shape = f"{slices} slices, {len(places)} places, {encoding.sides} sides"
        return f"{shape} {widths}, must be a place for each slice, 1 or 2 sides, {MOST_COLUMNS} columns at most"
    if any(not isinstance(place, int) or not 1 <= abs(place) <= MOST for place in places):
        return f"places() = {places!r} {widths}, must be integers within +-{MOST}, none of them 0"
    of_y, of_inputs = encoding.correction(weight_bits)
    if of_y not in (1, 2) or not isinstance(of_inputs, int) or abs(of_inputs) > MOST:
        return f"correction() = ({of_y}, {of_inputs}) {widths}, must be 1 or 2 and an integer within +-{MOST}"
    return _weight_broken(encoding, weight_bits, cell_bits, columns)


def _weight_broken(encoding: Encoding, weight_bits: int, cell_bits: int, columns: int) -> str | None:
    """The first weight that its levels do not stand for, or that an array and a Python integer store differently."""
    widths, top = f"for weight.bits = {weight_bits}, cell.bits = {cell_bits}", 2**cell_bits - 1
    values = np.array(encoding.values(weight_bits), dtype=np.int16)
    digits: list[Any] = list(encoding.digits(values, weight_bits, cell_bits))
    if len(digits) != columns or any(np.shape(digit) != values.shape for digit in digits):
        return f"digits() gives {len(digits)} arrays {widths}, must be {columns} (slices x sides) of the weights' shape"
    for w, levels in zip(values.tolist(), np.stack(digits, axis=1).tolist()):
        alone = [int(level) for level in encoding.digits(w, weight_bits, cell_bits)]
        made = encoding.decode(levels, weight_bits, cell_bits)
        if alone != levels:
            return f"weight {w} is stored as {levels} in an array and as {alone} alone {widths}, use operators only"
        if made != w or not all(0 <= level <= top for level in levels):
            rule = f"levels must be 0 .. {top}, and decode to the weight"
            return f"weight {w} is stored as levels {levels} {widths}, which decode to {made}; {rule}"
        if encoding.one_side_at_a_time and all(map(any, (levels[: columns // 2], levels[columns // 2 :]))):
            return (
                f"weight {w} has levels {levels} on both sides {widths}, but one_side_at_a_time is true; leave that out"
            )
    return None
