"""An output stage as hardware: a multiplication, an addition, a shift and limits, equal for every accumulator that can be."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import WorkloadError
from cimemu.layer.requantize import Fp32HalfEven, OutputStage

SHIFT = 32
MOST_EXCEPTIONS = 16  # of a channel


class Scaling(NamedTuple):
    """`q = limited((accumulator * multiplier + addend) >> shift)`, but for single accumulators: (accumulator, q).

    Those lie where the stage's own arithmetic rounds twice, or a tie to the even number. Where ties are many, `even` has all of
    them rounded so: a tie is what leaves no fraction, and q less `zero` is even.
    """

    multiplier: int
    addend: int
    shift: int
    exceptions: tuple[tuple[int, int], ...] = ()
    even: bool = False
    zero: int = 0

    def unlimited(self, sums: NDArray[np.int64]) -> NDArray[np.int64]:
        """q before its limits and exceptions."""
        wide = sums * self.multiplier + self.addend
        q = wide >> self.shift
        tie = self.even & (wide == q << self.shift) & ((q - self.zero) % 2 == 1)
        return np.asarray(q - tie)


def switching_points(
    stage: OutputStage, low: NDArray[np.int64], high: NDArray[np.int64], ends: tuple[int, int]
) -> NDArray[np.int64]:
    """[values above the lowest, channels] the smallest accumulator of `low` .. `high` that gives so much; high + 1 where none does.

    By bisection: what a stage gives never falls while its accumulator rises.
    """
    values = np.arange(ends[0] + 1, ends[1] + 1)[:, None]
    below = np.broadcast_to(low - 1, (len(values), len(low))).copy()  # gives less
    above = np.broadcast_to(high + 1, below.shape).copy()  # gives as much, or is beyond all
    while (above - below > 1).any():
        middle = (below + above) // 2
        enough = np.asarray(stage.apply(middle)).astype(np.int64) >= values
        above, below = np.where(enough, middle, above), np.where(enough, below, middle)
    return above


def scalings(stage: OutputStage, spans: list[tuple[int, int]], ends: tuple[int, int], layer: str) -> list[Scaling]:
    """A scaling for each channel whose accumulators are `spans`; outputs are limited to `ends`.

    WorkloadError where a stage falls, or more than a few accumulators would be exceptions.
    """
    low, high = (np.array(side, dtype=np.int64) for side in zip(*spans, strict=True))
    first, last = (np.asarray(stage.apply(side[None])).astype(np.int64)[0] for side in (low, high))
    if (first > last).any() or first.min() < ends[0] or last.max() > ends[1]:
        raise WorkloadError(
            f"layer {layer}: its output stage falls while sums rise, generated networks need one that rises"
        )
    points = switching_points(stage, low, high, ends)
    made = []
    for channel in range(len(low)):
        span = int(low[channel]), int(high[channel])
        found = _with_exceptions(_scaling(points[:, channel], span, ends), points[:, channel], span, ends)
        if len(found.exceptions) > MOST_EXCEPTIONS and isinstance(stage, Fp32HalfEven):
            found = _with_exceptions(_even(stage, channel), points[:, channel], span, ends)
        made.append(found)
        if len(found.exceptions) > MOST_EXCEPTIONS:
            raise WorkloadError(
                f"layer {layer}: its output stage is no multiplication and shift in channel {channel}, generated networks need "
                "one; generate the layers before it"
            )
    return made


def _scaling(points: NDArray[np.int64], span: tuple[int, int], ends: tuple[int, int]) -> Scaling:
    values = np.arange(ends[0] + 1, ends[1] + 1)
    up, down = points <= span[1], points > span[0]  # reached by the largest sum; not reached by the smallest
    if not up.any() or not down.any():
        return Scaling(0, (ends[1] if up.all() else int(values[up].max(initial=ends[0]))) << SHIFT, SHIFT)
    # f(points) >= values, f(points - 1) < values
    reach, at_least = points[up], values[up] << SHIFT
    miss, below = points[down] - 1, values[down] << SHIFT

    def room(multiplier: int) -> tuple[int, int]:
        """(largest addend that misses what is to be missed less the smallest that reaches the rest, that one)."""
        least = int((at_least - multiplier * reach).max())
        return int((below - multiplier * miss).min()) - 1 - least, least

    low, high = 0, 1 << (SHIFT + 1)
    while high - low > 2:  # the room is concave in the multiplier
        third = (high - low) // 3
        if room(low + third)[0] < room(high - third)[0]:
            low += third
        else:
            high -= third
    multiplier = max(range(low, high + 1), key=lambda m: room(m)[0])
    left, least = room(multiplier)
    addend = least + left // 2
    return Scaling(multiplier, addend, SHIFT)


def _even(stage: Fp32HalfEven, channel: int) -> Scaling:
    """The float32 multiplier as it is, cut behind 32 bits, and ties to even."""
    multiplier = float(stage.multiplier.reshape(-1)[channel if stage.multiplier.size > 1 else 0])
    zero = stage.zero_point
    return Scaling(int(multiplier * 2**SHIFT), (2 * zero + 1) << (SHIFT - 1), SHIFT, even=True, zero=zero)


def _with_exceptions(
    found: Scaling, points: NDArray[np.int64], span: tuple[int, int], ends: tuple[int, int]
) -> Scaling:
    """With the accumulators, one more than allowed at the most, for which it is not the stage."""
    values = np.arange(ends[0] + 1, ends[1] + 1)
    below, above = np.full_like(points, span[0] - 1), np.full_like(points, span[1] + 1)
    while (above - below > 1).any():  # where it switches by itself
        middle = (below + above) // 2
        enough = found.unlimited(middle) >= values
        above, below = np.where(enough, middle, above), np.where(enough, below, middle)
    exceptions: dict[int, int] = {}
    for value, here, there in zip(values.tolist(), points.tolist(), above.tolist(), strict=True):
        for at in range(min(here, there), max(here, there)):
            if len(exceptions) <= MOST_EXCEPTIONS:
                exceptions[at] = value if here <= at else value - 1
    return found._replace(exceptions=tuple(sorted(exceptions.items())))
