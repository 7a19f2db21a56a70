"""Clipped columns as bit planes, from inputs to outputs: one call a chunk.

The call gives up the interpreter's lock once. Several calls, each a few microseconds of Python apart, made two threads wait
for each other.
"""

from cimemu.engines.output_kernels import combine_lanes, combine_lanes_naive
from cimemu.engines.planes.adder_kernels import sum_planes, sum_planes_naive
from cimemu.lanes.jit import kernel
from cimemu.lanes.nibbles import turn_bytes, turn_bytes_naive


@kernel
def fill_planes(x, spans, listed, rule, scratch, combining, y):
    """y[p, n] int64 from inputs x uint8 [P, K], as many positions at once as the scratch arrays hold.

    spans, listed, rule as in `sum_planes`; combining = (terms, stride, lsb, rest, total) of `combine_lanes`; scratch =
    (buffer uint8 [1024], turned uint8 [B, K rounded up to 16, 32], sums int16 [G * C, 32 * B], that of `sum_planes`).
    """
    terms, stride, lsb, rest, total = combining
    buffer, turned, sums, planes = scratch
    step = 32 * turned.shape[0]
    for first in range(0, x.shape[0], step):
        last = min(first + step, x.shape[0])
        some = turned[: (last - first + 31) // 32]
        turn_bytes(x[first:last], buffer, some)
        sum_planes(some, spans, listed, rule, planes, sums)
        combine_lanes(sums, terms, stride, lsb, rest[first:last], total, y[first:last])


def fill_planes_naive(x, spans, listed, rule, scratch, combining, y):
    """The definition, by the naive twins."""
    terms, stride, lsb, rest, total = combining
    buffer, turned, sums, planes = scratch
    step = 32 * len(turned)
    for first in range(0, len(x), step):
        part = slice(first, first + step)
        turn_bytes_naive(x[part], buffer, turned)
        sum_planes_naive(turned, spans, listed, rule, planes, sums)
        combine_lanes_naive(sums, terms, stride, lsb, rest[part], total, y[part])
