"""Cycles of macro operations whose zero slices are skipped."""

from cimemu.lanes.jit import kernel


@kernel
def step_cycles(nonzero, drive, convert, skip, overlap, shift_add, cycles):
    """cycles[p] of steps nonzero[p, j]: a driven step takes (drive, convert), a skipped one (skip, 0).

    With overlap `D_0 = 0; C_j = max(D_j + d_j, C_{j-1} + c_{j-1}); D_{j+1} = C_j` (contract section 3).
    """
    for p in range(nonzero.shape[0]):
        begin = 0
        free = 0
        for j in range(nonzero.shape[1]):
            d = drive if nonzero[p, j] else skip
            c = convert if nonzero[p, j] else 0
            if overlap:
                begin = max(begin + d, free)
                free = begin + c
            else:
                free += d + c
        cycles[p] = free + shift_add


def step_cycles_naive(nonzero, drive, convert, skip, overlap, shift_add, cycles):
    """The recurrence with its sequences written out."""
    for p, row in enumerate(nonzero):
        d = [drive if on else skip for on in row]
        c = [convert if on else 0 for on in row]
        if not overlap:
            cycles[p] = sum(d) + sum(c) + shift_add
            continue
        starts = [d[0]]
        for j in range(1, len(row)):
            starts.append(max(starts[j - 1] + d[j], starts[j - 1] + c[j - 1]))
        cycles[p] = starts[-1] + c[-1] + shift_add
