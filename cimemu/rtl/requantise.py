"""An output stage as hardware: a multiplication, an addition, a shift and limits, equal for every accumulator that can be."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import WorkloadError
from cimemu.layer.requantize import OutputStage

SHIFT = 32
MOST_EXCEPTIONS = 16  # of a channel


class Scaling(NamedTuple):
    """`q = limited((accumulator * multiplier + addend) >> shift)`, but for single accumulators: (accumulator, q).

    Those lie where the stage's own arithmetic rounds twice, or a tie to the even number.
    """

    multiplier: int
    addend: int
    shift: int
    exceptions: tuple[tuple[int, int], ...]


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
    made = [_scaling(points[:, c], (int(low[c]), int(high[c])), ends) for c in range(len(low))]
    for channel, found in enumerate(made):
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
        return Scaling(0, (ends[1] if up.all() else int(values[up].max(initial=ends[0]))) << SHIFT, SHIFT, ())
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
    if multiplier == 0:
        return Scaling(0, addend, SHIFT, ())
    own = -((addend - (values << SHIFT)) // multiplier)  # where the scaling switches
    exceptions: dict[int, int] = {}
    for value, here, there in zip(values.tolist(), points.tolist(), own.tolist(), strict=True):
        for sum_ in range(max(min(here, there), span[0]), min(max(here, there), span[1] + 1)):
            if len(exceptions) <= MOST_EXCEPTIONS:
                exceptions[sum_] = value if here <= sum_ else value - 1
    return Scaling(multiplier, addend, SHIFT, tuple(sorted(exceptions.items())))
