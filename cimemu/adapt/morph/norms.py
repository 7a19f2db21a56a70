"""Batch normalisation behind every product of a float network, whose scales tell how much a channel matters."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cimemu.importer.fold import fold_batch_norm
from cimemu.layer.base import Array, Layer
from cimemu.layer.conv import Conv
from cimemu.layer.execute import infer_types, run_float
from cimemu.layer.matmul import Gemm
from cimemu.layer.norm import BatchNormalization
from cimemu.workload.network import Network

EPSILON = 1e-5
LENGTH = (
    2**0.5
)  # of a filter in front of a normalisation: about that of first weights (Kaiming, as many channels in as out)
SHORTEST = 0.1  # filters shorter than this say next to nothing, and stay short


def with_layers(network: Network, layers: Sequence[Layer], constants: Mapping[str, Array]) -> Network:
    """`network` with other layers and those of `constants` that they read; types are inferred anew."""
    read = {name for layer in layers for name in layer.inputs}
    kept = {name: value for name, value in constants.items() if name in read}
    types = infer_types(layers, kept, {name: network.types[name] for name in network.inputs})
    return replace(network, layers=tuple(layers), constants=kept, types=types)


def with_norms(network: Network, images: Array) -> Network:
    """`network` with a BatchNormalization behind every convolution that has none, and the same function.

    Loading folds normalisations into weights. One that is put back takes mean and variance of the convolution's
    outputs over `images` as its statistics, so that `scale = sqrt(variance + epsilon)` and `bias = mean` change nothing: a
    channel's scale is again the spread of what it says. Filters get one length: behind a normalisation it means nothing but
    how fast training turns the filter, the faster the shorter, and folding left lengths that differ widely.
    """
    behind = {layer.inputs[0] for layer in network.layers if isinstance(layer, BatchNormalization)}
    bare = [
        layer
        for layer in network.layers
        if isinstance(layer, Conv) and layer.outputs[0] not in behind and layer.outputs[0] not in network.outputs
    ]
    if not bare:
        return network
    seen = run_float(network, images, keep=[layer.outputs[0] for layer in bare])
    layers: list[Layer] = []
    constants = dict(network.constants)
    for layer in network.layers:
        if layer not in bare:
            layers.append(layer)
            continue
        out = layer.outputs[0]
        values = seen.pop(out).astype(np.float64)
        axes = (0, *range(2, values.ndim))
        mean, variance = values.mean(axis=axes), values.var(axis=axes)
        names = [f"{layer.name}.norm.{what}" for what in ("scale", "bias", "mean", "variance")]
        weights = layer.inputs[0], f"{layer.name}.filters"  # their own: two layers may have shared them
        # a bias in front of a normalisation says nothing that the mean does not say
        bias = constants[layer.inputs[2]].astype(np.float64) if len(layer.inputs) > 2 else 0.0
        filters = constants[layer.inputs[1]].astype(np.float64)
        flat = filters.reshape(len(filters), -1)
        factor = LENGTH / np.maximum(np.sqrt(np.square(flat).sum(axis=1)), SHORTEST)
        longer = variance * factor**2
        norm = [np.sqrt(longer + EPSILON) / factor, mean, (mean - bias) * factor, longer]
        constants[weights[1]] = (flat * factor[:, None]).reshape(filters.shape).astype(np.float32)
        constants |= {name: value.astype(np.float32) for name, value in zip(names, norm)}
        raw = f"{layer.name}.raw"
        layers.append(replace(layer, inputs=weights, outputs=(raw,)))
        layers.append(BatchNormalization(f"{layer.name}.norm", (raw, *names), (out,), epsilon=EPSILON))
    return with_layers(network, layers, constants)


def without_norms(network: Network) -> Network:
    """`network` with its normalisations in the weights, as loading a file has it."""
    constants = dict(network.constants)
    layers = fold_batch_norm(network.layers, constants, network.outputs)
    return with_layers(network, layers, constants)


def is_product(layer: Layer) -> bool:
    """Whether a layer has weights that go onto macros."""
    return isinstance(layer, Conv | Gemm)
