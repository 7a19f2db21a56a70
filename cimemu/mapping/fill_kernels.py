"""How many macros blocks take that share macros by their columns."""

from cimemu.lanes.jit import kernel


@kernel
def macros_by_columns(wanted, columns, step, most, filled):
    """Macros that wanted[c] blocks of c columns each take, the widest first, each in the first macro with room; -1: over `most`.

    A macro has `columns`; a block begins at a multiple of `step`, and one that leaves less than a step stands alone. filled
    int64 [most] is scratch.
    """
    used, opened = 0, 0
    for c in range(columns, 0, -1):
        left = wanted[c]
        if c > columns - step:
            used += left
            left = 0
        wide = -(-c // step) * step
        for m in range(opened):
            while left > 0 and filled[m] + c <= columns:
                filled[m] += wide
                left -= 1
        while left > 0 and used < most:
            filled[opened] = 0
            while left > 0 and filled[opened] + c <= columns:
                filled[opened] += wide
                left -= 1
            opened += 1
            used += 1
        if left > 0 or used > most:
            return -1
    return used


def macros_by_columns_naive(wanted, columns, step, most, filled):
    """The definition, block by block."""
    macros = []
    blocks = [width for width in range(columns, 0, -1) for _ in range(wanted[width])]
    for c in blocks:
        alone = c > columns - step
        room = [m for m, taken in enumerate(macros) if taken + c <= columns]
        if alone or not room:
            macros.append(columns if alone else -(-c // step) * step)
        else:
            macros[room[0]] = -(-(macros[room[0]] + c) // step) * step
    return len(macros) if len(macros) <= most else -1
