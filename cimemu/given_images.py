"""Images as a run is given them: an array, a dict of arrays by input name, or batches of either."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from cimemu.errors import WorkloadError
from cimemu.layer.base import Array
from cimemu.layer.execute import in_order
from cimemu.workload.network import Network


def images_in(inputs: Any) -> int:
    """How many images are coming, 0 where an iterator does not tell."""
    if isinstance(inputs, Mapping):
        return next((len(array) for array in inputs.values() if np.ndim(array)), min(1, len(inputs)))
    return len(inputs) if isinstance(inputs, np.ndarray) else 0


def batches(inputs: Any, network: Network, batch: int) -> Iterator[list[Array]]:
    """Batches of at most `batch` images, each a list of arrays in the order of the network's inputs."""
    if isinstance(inputs, Mapping):
        inputs = {name: np.asarray(values) for name, values in inputs.items()}
    if isinstance(inputs, np.ndarray | Mapping):
        inputs = [inputs]
    if not isinstance(inputs, Iterable):
        raise WorkloadError(
            f"inputs: {type(inputs).__name__} given, give an array, a dict of arrays or batches of them"
        )
    for given in inputs:
        if isinstance(given, Mapping):
            missing = [name for name in network.inputs if name not in given]
            if missing:
                raise WorkloadError(
                    f"inputs: no array for input {missing[0]}, the network takes {list(network.inputs)}"
                )
            arrays = in_order(network, given)
        else:
            arrays = in_order(network, np.asarray(given))
        arrays = [_as_taken(name, array, network) for name, array in zip(network.inputs, arrays)] + arrays[
            len(network.inputs) :
        ]
        for first in range(0, len(arrays[0]) if arrays[0].ndim else 0, batch):
            yield [array[first : first + batch] for array in arrays]


def _as_taken(name: str, array: Array, network: Network) -> Array:
    """float64 becomes the float32 that a network takes; a value that is no number is refused."""
    if network.types[name].dtype == "float32" and array.dtype.kind == "f":
        if not np.isfinite(array).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise WorkloadError(f"inputs: {name}{list(where)} = {array[where]}, must be finite")
        return array.astype(np.float32, copy=False)
    return array
