"""Padded strips of feature maps, and their windows laid out as the rows of the macro's input matrix."""

import numpy as np

from cimemu.lanes.jit import kernel


@kernel
def fill_strip(source, strides, place, drive, zeros, strip):
    """strip[b, c, h, w] = source[b, c, top + h, left + w] + offset, and zeros[b] outside the source.

    The source [images, channels, height, width] is given flat, so that one compiled form serves every layout: uint8
    that begins at its first element, and the `strides` of its four axes in bytes. place = (height, width, top, left),
    the last two may be negative; drive = (turn, offset): of int8 a byte is read as unsigned after its highest bit is
    turned (`turn` 128, else 0), which adds 128, and `offset` is 128 lower. strip uint8 or int16
    [images, channels, rows, columns].
    """
    height, width, top, left = place
    turn, offset = drive
    begin, end = min(max(-left, 0), strip.shape[3]), min(max(width - left, 0), strip.shape[3])
    above, below = min(max(-top, 0), strip.shape[2]), min(max(height - top, 0), strip.shape[2])
    padded = begin > 0 or end < strip.shape[3] or above > 0 or below < strip.shape[2]
    for b in range(strip.shape[0]):
        if padded:
            whole = strip[b].reshape(-1)
            for p in range(whole.shape[0]):
                whole[p] = zeros[b]
        for h in range(above, below):
            for c in range(strip.shape[1]):
                first = b * strides[0] + c * strides[1] + (top + h) * strides[2] + (begin + left) * strides[3]
                inside = strip[b, c, h, begin:end]
                if strides[3] == 1:
                    line = source[first : first + inside.shape[0]]
                    for w in range(inside.shape[0]):
                        inside[w] = np.int16(line[w] ^ turn) + np.int16(offset)
                else:
                    for w in range(inside.shape[0]):
                        inside[w] = np.int16(source[first + w * strides[3]] ^ turn) + np.int16(offset)


def fill_strip_naive(source, strides, place, drive, zeros, strip):
    """The definition, one element at a time."""
    (height, width, top, left), (turn, offset) = place, drive
    for b, c, h, w in np.ndindex(*strip.shape):
        inside = 0 <= top + h < height and 0 <= left + w < width
        place = sum(n * stride for n, stride in zip((b, c, top + h, left + w), strides))
        strip[b, c, h, w] = (int(source[place]) ^ int(turn)) + offset if inside else zeros[b]


@kernel
def im2col(strip, stride, dilation, kernel_shape, out_shape, rows):
    """rows[q, k] is what wordline k sees at output position q.

    `strip` is [images, channels, height, width] with its padding; positions run over (image, output row,
    output column), k over (channel, kernel row, kernel column), the last fastest. `stride`, `dilation`,
    `kernel_shape` and `out_shape` are pairs (vertical, horizontal).
    """
    for b in range(strip.shape[0]):
        for h in range(out_shape[0]):
            first = (b * out_shape[0] + h) * out_shape[1]
            for c in range(strip.shape[1]):
                for i in range(kernel_shape[0]):
                    y = h * stride[0] + i * dilation[0]
                    k = (c * kernel_shape[0] + i) * kernel_shape[1]
                    if kernel_shape[1] == 3 and stride[1] == 1 and dilation[1] == 1:
                        for w in range(out_shape[1]):
                            for j in range(3):
                                rows[first + w, k + j] = strip[b, c, y, w + j]
                        continue
                    for j in range(kernel_shape[1]):
                        for w in range(out_shape[1]):
                            rows[first + w, k + j] = strip[b, c, y, w * stride[1] + j * dilation[1]]


def im2col_naive(strip, stride, dilation, kernel_shape, out_shape, rows):
    """The same from the definition, a window at a time."""
    positions = np.ndindex(strip.shape[0], *out_shape)
    for q, (image, row, column) in enumerate(positions):
        window = strip[
            image,
            :,
            row * stride[0] : row * stride[0] + (kernel_shape[0] - 1) * dilation[0] + 1 : dilation[0],
            column * stride[1] : column * stride[1] + (kernel_shape[1] - 1) * dilation[1] + 1 : dilation[1],
        ]
        rows[q] = np.asarray(window).reshape(-1)
