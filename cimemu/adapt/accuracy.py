"""Accuracy of a torch module in eval mode, with its standard error."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adapt.images import ImageSet
from cimemu.adapt.library import torch_of


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
    """The class that `model` (left in the mode it was in) gives each image in eval mode."""
    torch = torch_of()
    training = model.training
    model.eval()
    found = []
    with torch.no_grad():
        for first in range(0, len(data), batch):
            inputs = torch.from_numpy(data.inputs(slice(first, first + batch))).to(device)
            found.append(model(inputs).flatten(1).argmax(1).cpu().numpy())
    model.train(training)
    return np.concatenate(found)


def accuracy_of(model: Any, data: ImageSet, *, batch: int = 250, device: Any = "cpu") -> Accuracy:
    """Accuracy of `model` on `data`."""
    right = predictions(model, data, batch=batch, device=device) == data.labels
    return Accuracy(int(right.sum()), len(data))
