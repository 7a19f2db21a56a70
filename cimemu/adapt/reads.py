"""Read noise in the training forward: normal numbers of the spread that `stress` has, added to psums before converters.

`stress` keys every draw by its read; here a generator of the step's and layer's own draws them, the same at every run.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Reads:
    """The reads of one layer in one step."""

    spread: Any  # [row blocks, columns] standard deviation of a psum
    key: tuple[int, ...]

    def generator(self, part: int) -> Any:
        """What draws the noise of input slice `part`, or of another part of the forward."""
        told = hashlib.sha256("/".join(map(str, (*self.key, part))).encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(told[:8], "little") >> 1)

    def noise(self, shape: Any, spread: Any, generator: Any) -> Any:
        """Draws of `spread`, which is broadcast to `shape`."""
        return torch.randn(shape, generator=generator).to(spread.device) * spread
