"""What a trace's groups are in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Table = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class EventNames:
    """The names behind the numbers of the event table: kinds, units and layers, each in the order of their numbers."""

    kinds: Sequence[str]
    units: Sequence[str]
    layers: Sequence[str]
