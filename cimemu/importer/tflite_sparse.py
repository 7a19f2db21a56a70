"""Sparse constants of a TensorFlow Lite file, expanded: only what is not zero is stored, with where it stands."""

from typing import Any

import numpy as np

from cimemu.layer.base import Array

DENSE, COMPRESSED = 0, 1
MOST = 1 << 31  # elements of one tensor


def expanded(values: Array, shape: tuple[int, ...], sparsity: Any) -> Array:
    """The dense tensor. `sparsity` is the file's table: axes in the order they are stored, blocks behind them.

    An axis is stored whole, or as compressed rows: where each row's entries begin, and the place of each. Raises
    ValueError where the numbers do not fit together, as a damaged file has them.
    """
    order = [int(axis) for axis in sparsity.TraversalOrderAsNumpy()]
    blocks = [int(axis) for axis in sparsity.BlockMapAsNumpy()] if sparsity.BlockMapLength() else []
    axes = [_axis(sparsity.DimMetadata(i)) for i in range(sparsity.DimMetadataLength())]
    rank = len(shape)
    if sorted(order) != list(range(rank + len(blocks))) or len(axes) != len(order):
        raise ValueError("sparse axes")
    sizes = [0] * len(order)  # of the axes, then of the blocks, in the tensor's own order
    for place, axis in enumerate(order):
        if axis >= rank:
            sizes[axis] = axes[place][0]
    for axis, size in enumerate(shape):
        parts = [sizes[rank + i] for i, of in enumerate(blocks) if of == axis]
        sizes[axis] = size // int(np.prod(parts)) if parts else size
    if np.prod(sizes, dtype=np.float64) != np.prod(shape, dtype=np.float64) or np.prod(sizes, dtype=np.float64) > MOST:
        raise ValueError("sparse sizes")
    places = np.zeros((1, 0), np.int64)
    rows = np.zeros(1, np.int64)  # which row of the next axis each place so far is
    for place, axis in enumerate(order):
        places, rows = _next_axis(places, rows, axes[place], sizes[axis])
    if len(places) != len(values):
        raise ValueError("sparse values")
    dense = np.zeros([sizes[axis] for axis in order], values.dtype)
    dense[tuple(places.T)] = values
    dense = dense.transpose(np.argsort(order))
    # A block stands behind the axis that it divides.
    behind = [[axis, *(rank + i for i, of in enumerate(blocks) if of == axis)] for axis in range(rank)]
    return np.ascontiguousarray(dense.transpose([one for group in behind for one in group])).reshape(shape)


Axis = tuple[int, Array | None, Array | None]


def _axis(metadata: Any) -> Axis:
    """(size, beginnings, places): the latter two of a compressed axis only."""
    if metadata.Format() == DENSE:
        return int(metadata.DenseSize()), None, None
    return 0, _vector(metadata, "ArraySegments"), _vector(metadata, "ArrayIndices")


def _vector(metadata: Any, name: str) -> Array:
    """A vector of 32, 16 or 8 bits."""
    import tflite

    kinds = {1: ("Int32Vector", np.int32), 2: ("Uint16Vector", np.uint16), 3: ("Uint8Vector", np.uint8)}
    kind, _ = kinds[getattr(metadata, f"{name}Type")()]
    vector = getattr(tflite, kind)()
    raw = getattr(metadata, name)()
    vector.Init(raw.Bytes, raw.Pos)
    return np.array(vector.ValuesAsNumpy(), dtype=np.int64).reshape(-1)


def _next_axis(places: Array, rows: Array, axis: Axis, size: int) -> tuple[Array, Array]:
    """Every place so far with the places of one more axis behind it."""
    _, starts, entries = axis
    if starts is None or entries is None:
        if len(places) * max(1, size) > MOST:
            raise ValueError("sparse size")
        along = np.tile(np.arange(size), len(places))
        next_rows = np.repeat(rows * size, size) + along
        return np.column_stack([np.repeat(places, size, axis=0), along]), next_rows
    counts = starts[rows + 1] - starts[rows]
    if (counts < 0).any() or int(counts.sum()) > len(entries):
        raise ValueError("sparse rows")
    which = np.concatenate([np.arange(starts[row], starts[row + 1]) for row in rows]) if len(rows) else np.zeros(0, int)
    along = entries[which]
    if len(along) and not 0 <= along.min() <= along.max() < size:
        raise ValueError("sparse places")
    return np.column_stack([np.repeat(places, counts, axis=0), along]), which
