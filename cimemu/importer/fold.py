"""Layers that vanish when a network is loaded: batch normalisation into weights, identities into names, what nothing reads."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.conv import Conv
from cimemu.layer.matmul import Gemm
from cimemu.layer.norm import BatchNormalization, affine
from cimemu.layer.shape import Cast, Identity, Slice


def fold_batch_norm(layers: Sequence[Layer], constants: dict[str, Array], outputs: Sequence[str]) -> list[Layer]:
    """Layers with every BatchNormalization that alone follows a Conv or Gemm folded into its weights.

    Computed in float64 and rounded once. The folded layer keeps its name and takes the normalisation's
    output name; its constants are added to `constants` as `<layer>.weight` and `<layer>.bias` unless
    nobody else reads the old ones, which then keep their names.
    """
    readers = Counter(name for layer in layers for name in layer.inputs)
    producer = {name: layer for layer in layers for name in layer.outputs}
    made_from: dict[str, Layer] = {}
    for layer in layers:
        source = producer.get(layer.inputs[0]) if isinstance(layer, BatchNormalization) else None
        if (
            isinstance(layer, BatchNormalization)
            and isinstance(source, Conv | Gemm)
            # A quantised weight (made by DequantizeLinear) stays what it is.
            and all(name in constants and name not in producer for name in source.inputs[1:])
            and readers[source.outputs[0]] == 1
            and source.outputs[0] not in outputs
        ):
            made_from[source.name] = _folded(source, layer, constants, readers)
            made_from[layer.name] = layer
    return [
        made_from.get(layer.name, layer)
        for layer in layers
        if not (isinstance(layer, BatchNormalization) and layer.name in made_from)
    ]


def _folded(source: Conv | Gemm, norm: BatchNormalization, constants: dict[str, Array], readers: Counter[str]) -> Layer:
    factor, offset = affine([constants[name] for name in norm.inputs[1:]], norm.epsilon)
    weight = constants[source.inputs[1]].astype(np.float64)
    bias = constants[source.inputs[2]].astype(np.float64) if len(source.inputs) > 2 else np.zeros(1)
    if isinstance(source, Gemm):
        weight = weight * source.alpha * (factor[:, None] if source.trans_b else factor)
        bias = bias.reshape(-1) * source.beta
    else:
        weight = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    names = []
    for what, old, value in (
        ("weight", source.inputs[1], weight),
        ("bias", source.inputs[2] if len(source.inputs) > 2 else "", bias * factor + offset),
    ):
        alone = old and readers[old] == 1
        name = old if alone else f"{source.name}.{what}"
        while not alone and name in constants:
            name += "_folded"
        constants[name] = value.astype(np.float32)
        names.append(name)
    inputs = (source.inputs[0], *names)
    if isinstance(source, Gemm):
        return replace(source, inputs=inputs, outputs=norm.outputs, alpha=1.0, beta=1.0)
    return replace(source, inputs=inputs, outputs=norm.outputs)


def drop_identities(
    layers: Sequence[Layer], types: dict[str, TensorType], inputs: Sequence[str], outputs: Sequence[str]
) -> list[Layer]:
    """Layers without Identity and Dropout, casts to the same type and slices of everything.

    The readers of a dropped layer read its input. One whose output is a network output stays as an
    Identity, which is charged as the copy that it is.
    """
    renamed: dict[str, str] = {}
    kept: list[Layer] = []
    for layer in layers:
        layer = replace(layer, inputs=tuple(renamed.get(name, name) for name in layer.inputs))
        idle = isinstance(layer, Identity) or (
            isinstance(layer, Cast | Slice) and types.get(layer.inputs[0]) == types[layer.outputs[0]]
        )
        # A slice with a step of -1 keeps the shape and turns the image around.
        idle = idle and not (isinstance(layer, Slice) and any(step < 0 for step in layer.steps))
        if not idle:
            kept.append(layer)
        elif layer.outputs[0] in outputs:
            kept.append(Identity(layer.name, layer.inputs, layer.outputs))
        else:
            renamed[layer.outputs[0]] = layer.inputs[0]
    return kept


def needed(layers: Iterable[Layer], outputs: Iterable[str]) -> list[Layer]:
    """The layers that an output depends on, order kept."""
    wanted, kept = set(outputs), []
    for layer in reversed(list(layers)):
        if wanted.intersection(layer.outputs):
            wanted.update(layer.inputs)
            kept.append(layer)
    return kept[::-1]
