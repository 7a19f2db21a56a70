"""Accuracy of a torch module in eval mode, with its standard error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adapt.images import ImageSet
from cimemu.adapt.library import torch_of
from cimemu.compute.forward import Emulator
from cimemu.mapping.place import make_plan

VariedChip = tuple[Sequence[str], int, int]  # models, seed, trial


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
    return np.asarray(scores_of(model, data, batch=batch, device=device).argmax(1))


def scores_of(
    model: Any, data: ImageSet, *, batch: int = 250, device: Any = "cpu", chip: VariedChip | None = None
) -> NDArray[Any]:
    """Scores [images, classes] that `model` gives in eval mode, or a varied chip of it; as `predictions`."""
    torch = torch_of()
    training = model.training
    model.eval()
    with torch.no_grad():
        scores = _scorer(model, device, chip)
        found = [
            scores(data.inputs(slice(first, first + batch)), first).reshape(min(batch, len(data) - first), -1)
            for first in range(0, len(data), batch)
        ]
    model.train(training)
    return np.concatenate(found)


def _scorer(model: Any, device: Any, chip: VariedChip | None) -> Callable[[NDArray[np.float32], int], NDArray[Any]]:
    """Scores [images, classes ...] of inputs from an image on, by the quickest way that gives those of eval mode."""
    torch = torch_of()
    from cimemu.adapt.adapted import AdaptedModule

    if isinstance(model, AdaptedModule) and not any(macro.parity for macro in model.macros):
        from cimemu.adapt.integers import integer_network

        network = integer_network(model.parts())
        emulator = Emulator(network, model.arch.macro, threads=torch.get_num_threads())
        if chip is not None:
            vary, seed, trial = chip
            emulator.program(make_plan(network, model.arch), vary, seed, trial)
        return lambda x, first: emulator.run([x], first_image=first).tensors[network.outputs[0]]
    assert chip is None
    forward = model.traced if isinstance(model, AdaptedModule) else model
    return lambda x, first: np.asarray(forward(torch.from_numpy(x).to(device)).cpu().numpy())


def accuracy_of(model: Any, data: ImageSet, *, batch: int = 250, device: Any = "cpu") -> Accuracy:
    """Accuracy of `model` on `data`."""
    right = predictions(model, data, batch=batch, device=device) == data.labels
    return Accuracy(int(right.sum()), len(data))
