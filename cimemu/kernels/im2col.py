"""Windows of a padded feature map, laid out as the rows of the macro's input matrix."""

import numpy as np

from cimemu.kernels.jit import kernel


@kernel
def im2col(padded, stride, dilation, kernel_shape, out_shape, first, rows):
    """rows[q, k] is what wordline k sees at output position `first + q`.

    `padded` is [images, channels, height, width] with its padding; positions run over (image, output row,
    output column), k over (channel, kernel row, kernel column), the last fastest. `stride`, `dilation`,
    `kernel_shape` and `out_shape` are pairs (vertical, horizontal).
    """
    channels = padded.shape[1]
    per_image = out_shape[0] * out_shape[1]
    for q in range(rows.shape[0]):
        image = (first + q) // per_image
        position = (first + q) % per_image
        top = position // out_shape[1] * stride[0]
        left = position % out_shape[1] * stride[1]
        k = 0
        for channel in range(channels):
            for i in range(kernel_shape[0]):
                for j in range(kernel_shape[1]):
                    rows[q, k] = padded[image, channel, top + i * dilation[0], left + j * dilation[1]]
                    k += 1


def im2col_naive(padded, stride, dilation, kernel_shape, out_shape, first, rows):
    """The same from the definition, one element at a time by its coordinates."""
    positions = [
        (image, row, column)
        for image in range(padded.shape[0])
        for row in range(out_shape[0])
        for column in range(out_shape[1])
    ]
    for q in range(rows.shape[0]):
        image, row, column = positions[first + q]
        window = padded[
            image,
            :,
            row * stride[0] : row * stride[0] + (kernel_shape[0] - 1) * dilation[0] + 1 : dilation[0],
            column * stride[1] : column * stride[1] + (kernel_shape[1] - 1) * dilation[1] + 1 : dilation[1],
        ]
        rows[q] = np.asarray(window).reshape(-1)
