"""How often wordlines are raised: the counts behind driver and array energy."""

import numpy as np

from cimemu.kernels.jit import kernel


@kernel
def count_inputs(x, first, pulses_of, raised_of, pulses, raised):
    """pulses[b, r] += pulses_of[x]; raised[b] += raised_of[x], over the positions of image b.

    x is uint8 or int16 [images * positions, rows]; the tables are indexed by x - first.
    """
    images = pulses.shape[0]
    positions = x.shape[0] // images
    for b in range(images):
        total = 0
        for p in range(b * positions, (b + 1) * positions):
            for r in range(x.shape[1]):
                value = np.int64(x[p, r]) - first
                pulses[b, r] += pulses_of[value]
                total += raised_of[value]
        raised[b] += total


def count_inputs_naive(x, first, pulses_of, raised_of, pulses, raised):
    """The definition by table look-up."""
    index = x.astype(np.int64) - first
    images = pulses.shape[0]
    pulses += pulses_of[index].reshape(images, -1, x.shape[1]).sum(axis=1)
    raised += raised_of[index].reshape(images, -1).sum(axis=1)
