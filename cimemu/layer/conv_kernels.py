"""Float convolution of one input channel an output: kernel element by element."""

import numpy as np

from cimemu.lanes.jit import kernel


@kernel
def add_taps(padded, weight, first, strides, dilations, total):
    """total[b, o, y, x] = sum over (i, j), in order, of weight[o, i, j] * what it sees, each product and sum in float32.

    padded float32 [B, C, H, W], weight float32 [O, kh, kw], O a multiple of C; element (i, j) of output row y and column x sees
    row (first + y) * strides[0] + i * dilations[0], column x * strides[1] + j * dilations[1]; total float32 [B, O, rows, columns].
    """
    repeat = total.shape[1] // padded.shape[1]
    step = strides[1]
    for b in range(total.shape[0]):
        for o in range(total.shape[1]):
            for y in range(total.shape[2]):
                sums = total[b, o, y]
                sums[:] = np.float32(0)
                for i in range(weight.shape[1]):
                    row = padded[b, o // repeat, (first + y) * strides[0] + i * dilations[0]]
                    for j in range(weight.shape[2]):
                        one = weight[o, i, j]
                        seen = row[j * dilations[1] :]
                        if step == 1:  # apart: so the compiler takes registers of it
                            for x in range(sums.shape[0]):
                                sums[x] += one * seen[x]
                        else:
                            for x in range(sums.shape[0]):
                                sums[x] += one * seen[x * step]


def add_taps_naive(padded, weight, first, strides, dilations, total):
    """The definition, a kernel element of all outputs at once; adding them one by one beats many tiny products."""
    (sh, sw), (dh, dw) = strides, dilations
    repeat, (rows, columns) = total.shape[1] // padded.shape[1], total.shape[2:]
    total[:] = 0
    product = np.empty(total.shape, np.float32)
    for i, j in np.ndindex(weight.shape[1:]):
        top, left = first * sh + i * dh, j * dw
        seen = padded[:, :, top : top + (rows - 1) * sh + 1 : sh, left : left + (columns - 1) * sw + 1 : sw]
        seen = seen if repeat == 1 else np.repeat(seen, repeat, axis=1)
        total += np.multiply(seen, weight[:, i, j].reshape(-1, 1, 1), out=product)
