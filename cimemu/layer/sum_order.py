"""In which order float32 values are summed: cimemu's one order, which is ONNX Runtime's for one image on x86-64 with AVX.

A float sum depends on its order, and a mean or sum between DequantizeLinear and QuantizeLinear often ends on a tie,
where the last bit decides. ONNX Runtime's ReduceSum and ReduceMean have an order for each pattern of axes:

- the last axes: four lanes side by side, two vectors at a time, from the first element on a 16-byte border. The
  elements before it and behind the last whole vector are added one by one at the end. (Eigen's; the same with four
  lanes of NEON.)
- axes in the middle, other kept axes in front of them: a product with a row of ones, by blocks of 4, then 2, then 1
  values. (Its AVX kernel; other processors may add one by one.)
- the first axes of the image, and axes with kept ones between them: one by one.

Here an image is summed as if it were alone, so that its bits do not depend on a batch. ONNX Runtime's do in two cases,
which `depends_on_batch` tells: `cimemu check` must give it such images one at a time.
"""

import numpy as np

from cimemu.layer.base import Array

LANES = 4


def ordered_sum(x: Array, axes: tuple[int, ...]) -> Array:
    """Sums of float32 `x` [images, ...] over `axes` (sorted, without the batch axis), the axes dropped."""
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    last = axes == tuple(range(x.ndim - len(axes), x.ndim))
    terms = np.ascontiguousarray(x.transpose(*kept, *axes)).reshape(*(x.shape[axis] for axis in kept), -1)
    if last:
        return _by_lanes(terms)
    if _in_the_middle(x.shape, axes):
        return _by_blocks(terms)
    return _one_by_one(terms)


def depends_on_batch(shape: tuple[int, ...], axes: tuple[int, ...]) -> bool:
    """Whether ONNX Runtime sums an image of `shape` otherwise where it stands in a batch; axes count the batch axis."""
    last = axes == tuple(range(len(shape) + 1 - len(axes), len(shape) + 1))
    if last:  # an image that does not end on a border moves the borders of the next one
        return int(np.prod(shape)) % LANES != 0
    together = axes == tuple(range(axes[0], axes[-1] + 1))
    return together and not _in_the_middle((1, *shape), axes)  # the batch axis is a kept axis in front


def _in_the_middle(shape: tuple[int, ...], axes: tuple[int, ...]) -> bool:
    """Whether `axes` stand together with more than one kept element of the image in front."""
    together = axes == tuple(range(axes[0], axes[-1] + 1))
    return together and int(np.prod(shape[1 : axes[0]])) > 1


def _one_by_one(terms: Array) -> Array:
    return np.cumsum(terms, axis=-1, dtype=np.float32)[..., -1]


def _by_blocks(terms: Array) -> Array:
    """Blocks of 4, then 2, then 1: each summed from its first value, then added."""
    total, length, at = np.zeros(terms.shape[:-1], np.float32), terms.shape[-1], 0
    for size in (4, 2, 1):
        while length - at >= size:
            total = total + _one_by_one(terms[..., at : at + size])
            at += size
    return total


def _by_lanes(terms: Array) -> Array:
    """Rows of one image after another in memory, the image itself on a border."""
    length = terms.shape[-1]
    rows = terms.reshape(len(terms), -1, length)
    before = -(np.arange(rows.shape[1]) * length) % LANES  # elements of each row in front of its first border
    out = np.empty(rows.shape[:2], np.float32)
    for start in range(LANES):
        if (chosen := before == start).any():
            out[:, chosen] = _row_by_lanes(rows[:, chosen], min(start, length))
    return out.reshape(terms.shape[:-1])


def _row_by_lanes(rows: Array, start: int) -> Array:
    vectors = (rows.shape[-1] - start) // LANES
    if not vectors:
        return _one_by_one(rows)
    lanes = rows[..., start : start + vectors * LANES].reshape(*rows.shape[:-1], vectors, LANES)
    pairs = vectors // 2 * 2
    total = _over_vectors(lanes[..., 0 : max(pairs, 1) : 2, :])
    if pairs:
        total = total + _over_vectors(lanes[..., 1:pairs:2, :])
    if pairs and vectors > pairs:
        total = total + lanes[..., pairs, :]
    whole = (total[..., 0] + total[..., 2]) + (total[..., 1] + total[..., 3])
    rest = np.concatenate([rows[..., :start], rows[..., start + vectors * LANES :]], axis=-1)
    return _one_by_one(np.concatenate([whole[..., None], rest], axis=-1))


def _over_vectors(lanes: Array) -> Array:
    return np.cumsum(lanes, axis=-2, dtype=np.float32)[..., -1, :]
