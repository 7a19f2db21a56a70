"""Converter steps that minimise the error of a layer's outputs, not of single partial sums: coordinate descent.

Errors of the columns, slices and row blocks of one output can cancel; the descent counts that. It starts from the best
of the given starts, and a change is kept only where it lowers the output error on the samples, so a finer granularity
that starts from a coarser one's result is never worse.
"""

import numpy as np
from numpy.typing import NDArray

from cimemu.compute.psum_samples import PsumSamples

Floats = NDArray[np.float64]
STEPS = (0.7, 0.85, 0.95, 1.05, 1.15, 1.3)
SHIFTS = (-0.5, -0.25, 0.25, 0.5)  # of a step
MOST_VECTORS = 96
SWEEPS = 2


class _Layer:
    """Samples regrouped: for every row block a stack of psums [steps, P, columns] and the weights of its steps."""

    def __init__(self, samples: PsumSamples, count: int) -> None:
        self.samples, self.count = samples, count
        points = min(MOST_VECTORS, min(len(s.psums) for s in samples.steps))
        self.psums: list[Floats] = []
        self.places: list[Floats] = []
        firsts = sorted({s.first for s in samples.steps})
        for block in range(samples.blocks):
            units = [[s for s in samples.steps if s.block == block and s.first == f] for f in firsts]
            units = [u for u in units if u]
            stack = [np.stack([s.psums[:points] for s in unit]) for unit in units]
            self.psums.append(np.concatenate(stack, axis=2).astype(np.float64))
            self.places.append(np.array([s.place for s in units[0]], dtype=np.float64))
        self.factor = samples.place * samples.scale  # [row blocks, columns]

    def column_errors(self, block: int, lsb: Floats, zero: Floats, columns: slice) -> Floats:
        """What the conversion errors of some columns add to their outputs [P, columns]."""
        psums = self.psums[block][:, :, columns]
        codes = np.clip(np.floor((psums - zero) / lsb + 0.5), 0, self.count - 1)
        error = zero + codes * lsb - psums
        return np.asarray(np.tensordot(self.places[block], error, axes=1) * self.factor[block, columns])


def least_output(
    samples: PsumSamples, starts: list[tuple[Floats, Floats]], groups: NDArray[np.int64], count: int
) -> tuple[Floats, Floats]:
    """(lsb, zero) [row blocks, columns] from the best of `starts`; `groups` number what shares a step."""
    layer = _Layer(samples, count)
    errors = [_total(layer, lsb, zero) for lsb, zero in starts]
    chosen = int(np.argmin([float((e.sum(axis=0) ** 2).sum()) for e in errors]))
    lsb, zero = (grid.copy() for grid in starts[chosen])
    parts = errors[chosen]  # [row blocks, P, outputs]
    shared_blocks = samples.blocks > 1 and groups[0, 0] == groups[1, 0]
    shared_columns = samples.conversions == 1 or groups[0, 0] == groups[0, min(1, groups.shape[1] - 1)]
    for _ in range(SWEEPS):
        for blocks in [list(range(samples.blocks))] if shared_blocks else [[b] for b in range(samples.blocks)]:
            slices = [None] if shared_columns else list(range(samples.conversions))
            for v in slices:
                _improve(layer, lsb, zero, parts, groups, blocks, v)
    return lsb, zero


def output_error(samples: PsumSamples, lsb: Floats, zero: Floats, count: int) -> float:
    """Summed squared error of the layer's outputs on the samples that the descent uses."""
    return float((_total(_Layer(samples, count), lsb, zero).sum(axis=0) ** 2).sum())


def _total(layer: _Layer, lsb: Floats, zero: Floats) -> Floats:
    """Errors of outputs by row block [row blocks, P, outputs]."""
    samples = layer.samples
    found = []
    for block in range(samples.blocks):
        columns = layer.column_errors(block, lsb[block], zero[block], slice(None))
        found.append(columns.reshape(len(columns), -1, samples.conversions).sum(axis=2))
    return np.stack(found)


def _improve(
    layer: _Layer, lsb: Floats, zero: Floats, parts: Floats, groups: NDArray[np.int64], blocks: list[int], v: int | None
) -> None:
    """Try every candidate for the groups of these row blocks (and this conversion of an output), keep what helps."""
    samples = layer.samples
    columns = slice(None) if v is None else slice(v, None, samples.conversions)
    numbers = groups[blocks[0]].reshape(-1, samples.conversions)[:, 0 if v is None else v]  # group of an output

    def part(block: int, steps: Floats, zeros: Floats) -> Floats:
        made = layer.column_errors(block, steps, zeros, columns)
        return made if v is not None else made.reshape(len(made), -1, samples.conversions).sum(axis=2)

    now = [part(block, lsb[block, columns], zero[block, columns]) for block in blocks]
    rest = parts.sum(axis=0) - sum(now)

    def summed(made: list[Floats]) -> Floats:
        found: Floats = np.bincount(numbers, weights=((rest + sum(made)) ** 2).sum(axis=0))[numbers]
        return found

    least = summed(now)
    best = [(lsb[block, columns].copy(), zero[block, columns].copy(), made) for block, made in zip(blocks, now)]
    wide = 1 if v is not None else samples.conversions
    for scale in (1.0, *STEPS):
        for shift in (0.0, *SHIFTS):
            if scale == 1.0 and shift == 0.0:
                continue
            tried = []
            for block in blocks:
                steps = lsb[block, columns] * scale
                zeros = zero[block, columns] + shift * lsb[block, columns]
                tried.append((steps, zeros, part(block, steps, zeros)))
            errors = summed([made for *_, made in tried])
            better = errors < least
            if better.any():
                least = np.where(better, errors, least)
                wider = np.repeat(better, wide)
                best = [
                    (np.where(wider, new[0], old[0]), np.where(wider, new[1], old[1]), np.where(better, new[2], old[2]))
                    for new, old in zip(tried, best)
                ]
    for block, old, (steps, zeros, made) in zip(blocks, now, best):
        lsb[block, columns], zero[block, columns] = steps, zeros
        parts[block] += made - old
