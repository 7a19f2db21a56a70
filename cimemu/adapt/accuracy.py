"""Accuracy of a torch module in eval mode, with its standard error."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adapt.images import ImageSet
from cimemu.adapt.library import torch_of
from cimemu.compute.forward import Emulator


@dataclass(frozen=True)
class Accuracy:
    """Right answers of `images` images."""

    right: int
    images: int

    @property
    def share(self) -> float:
        """Right answers / images."""
        return self.right / self.images

    @property
    def standard_error(self) -> float:
        """Of the share, binomial."""
        return sqrt(self.share * (1 - self.share) / self.images)


def predictions(model: Any, data: ImageSet, *, batch: int = 250, device: Any = "cpu") -> NDArray[np.int64]:
    """The class that `model` (left in the mode it was in) gives each image in eval mode.

    A module for macros is measured as its chip: by the emulator, which computes the integers of its eval mode faster.
    """
    torch = torch_of()
    training = model.training
    model.eval()
    with torch.no_grad():
        scores = _scorer(model, device)
        found = [
            scores(data.inputs(slice(first, first + batch))).reshape(min(batch, len(data) - first), -1).argmax(1)
            for first in range(0, len(data), batch)
        ]
    model.train(training)
    return np.concatenate(found)


def _scorer(model: Any, device: Any) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
    """Scores [images, classes ...] of inputs, by the quickest way that gives those of eval mode."""
    torch = torch_of()
    from cimemu.adapt.adapted import AdaptedModule

    if isinstance(model, AdaptedModule) and not any(macro.parity for macro in model.macros):
        from cimemu.adapt.export import integer_network

        network = integer_network(model)
        emulator = Emulator(network, model.arch.macro, threads=torch.get_num_threads())
        return lambda x: emulator.run([x]).tensors[network.outputs[0]]
    forward = model.traced if isinstance(model, AdaptedModule) else model
    return lambda x: np.asarray(forward(torch.from_numpy(x).to(device)).cpu().numpy())


def accuracy_of(model: Any, data: ImageSet, *, batch: int = 250, device: Any = "cpu") -> Accuracy:
    """Accuracy of `model` on `data`."""
    right = predictions(model, data, batch=batch, device=device) == data.labels
    return Accuracy(int(right.sum()), len(data))
