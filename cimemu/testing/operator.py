"""What every operator holds to: shapes and types as it says, images that stay apart, the same bytes, and work that costs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cimemu.layer.base import Array, TensorType
from cimemu.testing.kinds import kind_of


def check_operator(
    given: Any, inputs: Sequence[TensorType | Array], *, images: int = 5, seed: int = 0, **attributes: Any
) -> list[str]:
    """Hold an operator to its properties on drawn tensors.

    `given` is a class, `DOMAIN:OpType`, or `FILE.py:Class`, with the node's `attributes`; `inputs` are the TensorTypes of its
    runtime inputs (shape of one image, dtype), or arrays for constants.

    - Types: every output is an array [images, *shape] of the shape and dtype that `infer` gives.
    - Images: an image alone gives the same bytes as among others. Again: so does a second call, and inputs are not changed.
    - Work: `digital_ops` is a whole number >= 1.

    Returns a line for each. Raises AssertionError in one line, CimemuError where there is no such operator.
    """
    kind = kind_of("cimemu.operator", given)
    names = tuple(f"x{number}" for number in range(len(inputs)))
    layer = kind("checked", names, ("y",), **attributes)
    types = layer.infer(list(inputs))
    layer = kind("checked", names, tuple(f"y{number}" for number in range(len(types))), **attributes)
    rng = np.random.default_rng(seed)
    arrays = [_drawn(one, images, rng) if isinstance(one, TensorType) else one for one in inputs]
    before = [array.copy() for array in arrays]
    made = layer.forward(arrays)
    assert isinstance(made, tuple), f"{layer.op}: forward gives a {type(made).__name__}, must be a tuple of arrays"
    assert len(made) == len(types), f"{layer.op}: forward gives {len(made)} outputs, infer {len(types)}"
    for one, out in zip(types, made):
        assert out.shape == (images, *one.shape), (
            f"{layer.op}: an output of shape {out.shape}, infer says {one.shape} an image"
        )
        assert out.dtype.name == one.dtype, f"{layer.op}: an output of {out.dtype.name}, infer says {one.dtype}"
    for old, new in zip(before, arrays):
        assert old.tobytes() == new.tobytes(), f"{layer.op}: forward changes its inputs, copy them"
    again = layer.forward(arrays)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(made, again)), f"{layer.op}: a second call gives other bytes"
    for image in range(images):
        alone = [a[image : image + 1] if isinstance(one, TensorType) else a for one, a in zip(inputs, arrays)]
        for out, own in zip(made, layer.forward(alone)):
            assert out[image : image + 1].tobytes() == own.tobytes(), (
                f"{layer.op}: image {image} alone gives other bytes"
            )
    operands = [one if isinstance(one, TensorType) else TensorType(one.shape, one.dtype.name) for one in inputs]
    work = layer.digital_ops(operands, types)
    assert isinstance(work, int), f"{layer.op}: digital_ops = {work!r}, must be a whole number"
    assert work >= 1, f"{layer.op}: digital_ops = {work}, must be >= 1"
    return [
        f"types: {len(types)} outputs",
        f"images: {images} alone",
        "again: the same bytes",
        f"work: {work} operations",
    ]


def _drawn(one: TensorType, images: int, rng: np.random.Generator) -> Array:
    shape, dtype = (images, *one.shape), np.dtype(one.dtype)
    if dtype.kind == "f":
        return rng.normal(size=shape).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(max(limits.min, -1000), min(limits.max, 1000), shape, endpoint=True).astype(dtype)
