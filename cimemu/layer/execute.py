"""Runs a network's layers on arrays, one after the other: the float reference path and fake quantisation."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from cimemu.errors import WorkloadError
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.threads import one_blas_thread

MEMORY_BYTES = 512 << 20  # tensors alive at once, roughly: decides how many images run together
MAX_ELEMENTS = 1 << 31  # of one image's tensor; more is a hostile or broken file


class Graph(Protocol):
    """What is read of a network (see `cimemu.workload.network.Network`)."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """In topological order."""

    @property
    def constants(self) -> Mapping[str, Array]:
        """By name."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the runtime tensors that go in."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the runtime tensors that come out."""

    @property
    def types(self) -> Mapping[str, TensorType]:
        """Of all runtime tensors."""


def infer_layer(layer: Layer, constants: Mapping[str, Array], types: Mapping[str, TensorType]) -> dict[str, TensorType]:
    """Types of a layer's outputs, from constants and types by name; WorkloadError if they do not fit."""
    operands = [constants[name] if name in constants else types[name] for name in layer.inputs]
    inferred = dict(zip(layer.outputs, layer.infer(operands)))
    for name, output in inferred.items():
        if output.elements > MAX_ELEMENTS:
            raise layer.error(f"tensor '{name}' of {output.elements} elements, must be <= {MAX_ELEMENTS}")
    return inferred


def infer_types(
    layers: Iterable[Layer], constants: Mapping[str, Array], inputs: Mapping[str, TensorType]
) -> dict[str, TensorType]:
    """Types of all runtime tensors of layers in topological order.

    A layer whose outputs are constants already (DequantizeLinear of a weight) makes no runtime tensor.
    """
    types = dict(inputs)
    for layer in layers:
        if not all(name in constants for name in layer.outputs):
            types.update(infer_layer(layer, constants, types))
    return types


def input_types(layer: Layer, network: Graph) -> list[TensorType]:
    """Types of a layer's inputs in order; a constant with its whole shape (as `digital_ops` wants them)."""
    return [
        TensorType(constant.shape, constant.dtype.name)
        if (constant := network.constants.get(name)) is not None
        else network.types[name]
        for name in layer.inputs
    ]


@one_blas_thread()
def run_float(
    network: Graph,
    inputs: Array | Mapping[str, Array] | Sequence[Array],
    keep: Collection[str] | None = None,
) -> dict[str, Array]:
    """Outputs of the network (and the tensors named in `keep`) by name, each `[images, *shape]`.

    `inputs` is one array for a network of one input, or arrays by name or in order. A kept constant comes
    as it is. Raises WorkloadError when an input is missing, or its shape or type is wrong.
    """
    feeds = check_inputs(network, inputs)
    wanted = dict.fromkeys([*network.outputs, *(keep or ())])
    for name in wanted:
        if name not in network.types and name not in network.constants:
            raise WorkloadError(f"tensor '{name}' is not in the network, see its layers' outputs")
    images = len(feeds[network.inputs[0]])
    batch = images_at_once(network)
    pieces: dict[str, list[Array]] = {name: [] for name in wanted}
    for first in range(0, max(images, 1), batch):
        part = {name: array[first : first + batch] for name, array in feeds.items()}
        for name, array in _run_batch(network, part, wanted).items():
            pieces[name].append(array)
    return {name: network.constants[name] if name in network.constants else _whole(pieces[name]) for name in wanted}


def _whole(pieces: Sequence[Array]) -> Array:
    """Batches as one array; a single one is not copied."""
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def check_inputs(network: Graph, inputs: Array | Mapping[str, Array] | Sequence[Array]) -> dict[str, Array]:
    """The arrays by input name, checked against the network's own shapes and types."""
    if isinstance(inputs, Mapping):
        feeds = {name: np.asarray(inputs[name]) for name in network.inputs if name in inputs}
    elif isinstance(inputs, np.ndarray):
        feeds = {network.inputs[0]: inputs}
    else:
        feeds = {name: np.asarray(array) for name, array in zip(network.inputs, inputs)}
    feeds = for_all_images(network, feeds)
    for name in network.inputs:
        if name not in feeds:
            raise WorkloadError(f"input '{name}' is missing, the network takes {', '.join(network.inputs)}")
        expected, array = network.types[name], feeds[name]
        if array.shape[1:] != expected.shape or array.ndim == 0:
            raise WorkloadError(f"input '{name}' has shape {array.shape}, must be [images, *{expected.shape}]")
        if array.dtype != expected.dtype:
            raise WorkloadError(f"input '{name}' is {array.dtype}, must be {expected.dtype}: convert it")
    counts = {name: len(array) for name, array in feeds.items()}
    if len(set(counts.values())) > 1:
        raise WorkloadError(f"inputs have different numbers of images: {counts}")
    return feeds


def for_all_images(network: Graph, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays by input name, one number without axes for an input that has none in the file as the same number for every image."""
    count = max((len(array) for array in arrays.values() if array.ndim), default=1)
    return {
        name: np.full(count, array)
        if not array.ndim and name in network.types and not network.types[name].shape
        else array
        for name, array in arrays.items()
    }


def in_order(network: Graph, inputs: Any) -> list[Array]:
    """One array an input, in the network's order: of an array (one input) or a mapping by name. WorkloadError."""
    if not isinstance(inputs, Mapping):
        return list(for_all_images(network, {network.inputs[0]: np.asarray(inputs)}).values())
    missing = [name for name in network.inputs if name not in inputs]
    if missing:
        raise WorkloadError(f"inputs: no array for input {missing[0]}, the network takes {', '.join(network.inputs)}")
    return list(for_all_images(network, {name: np.asarray(inputs[name]) for name in network.inputs}).values())


def first_images(inputs: Any, images: int) -> Any:
    """The first `images` of an array or of every array of a mapping."""
    return some_images(inputs, slice(images))


def some_images(inputs: Any, which: slice) -> Any:
    """`which` images of an array or of every array of a mapping."""
    if isinstance(inputs, Mapping):
        return {name: array[which] if np.ndim(array) else array for name, array in inputs.items()}
    return inputs[which]


def refuse_no_images(images: Any) -> None:
    """WorkloadError where `images` are no array of numbers with a first axis of at least one image."""
    if not hasattr(images, "dtype") or images.ndim < 1 or images.dtype.kind not in "iuf":
        what = f"{images.dtype} of shape {images.shape}" if hasattr(images, "dtype") else type(images).__name__
        raise WorkloadError(f"calibration: {what} given, must be numbers [images, ...]")
    if len(images) == 0:
        raise WorkloadError("calibration: no image given, give at least one")


def images_at_once(network: Graph) -> int:
    """How many images run together: the largest layer's tensors times a few stay within the memory aim."""
    largest = 1
    for layer in network.layers:
        names = [*layer.inputs, *layer.outputs]
        largest = max(largest, sum(network.types[name].bits // 8 for name in names if name in network.types))
    return int(max(1, min(256, MEMORY_BYTES // (4 * largest))))


def _run_batch(network: Graph, feeds: Mapping[str, Array], wanted: Collection[str]) -> dict[str, Array]:
    last_use = {name: step for step, layer in enumerate(network.layers) for name in layer.inputs}
    alive = dict(feeds)
    for step, layer in enumerate(network.layers):
        if all(name in network.constants for name in layer.outputs):
            continue
        arrays = [network.constants[n] if n in network.constants else alive[n] for n in layer.inputs]
        alive.update(zip(layer.outputs, layer.forward(arrays)))
        for name in {*layer.inputs, *layer.outputs}:
            if name in alive and name not in wanted and last_use.get(name, -1) <= step:
                del alive[name]
    return {name: alive[name] for name in wanted if name in alive}
