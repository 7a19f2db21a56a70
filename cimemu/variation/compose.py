"""The variations of a run together: which are active, their streams, and the fixed point that they need."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cimemu.errors import ArchError
from cimemu.variation.base import Stream, VariationBase
from cimemu.variation.parse import make_variations, name_of

MAX_FRACTION_BITS = 14


@dataclass(frozen=True)
class Variations:
    """The models of one run in the order given, with their seed and trial.

    A model of strength zero is left out, and so changes no byte; the instance of a model counts those of its name.
    """

    models: tuple[VariationBase, ...]
    seed: int = 0
    trial: int = 0

    def __bool__(self) -> bool:
        """Whether anything is active."""
        return any(not model.is_identity for model in self.models)

    def at(self, stage: str) -> list[tuple[VariationBase, Stream]]:
        """The active models of a stage with their streams, in order."""
        seen: Counter[str] = Counter()
        found = []
        for model in self.models:
            name = name_of(model)
            stream = Stream(self.seed, self.trial, name, seen[name])
            seen[name] += 1
            if model.stage == stage and not model.is_identity:
                found.append((model, stream))
        return found

    def fraction_bits(self, given: int, top: int) -> int:
        """The arch's fraction bits, raised up to 14 so that the smallest mean or spread is >= 8 * 2^-fraction_bits."""
        smallest = [m.smallest(top) for m in self.models if not m.is_identity]
        least = min((s for s in smallest if s is not None), default=None)
        bits = given
        while least is not None and bits < MAX_FRACTION_BITS and least < 8 * 2.0**-bits:
            bits += 1
        return bits

    def check(self, top: int) -> None:
        """ArchError where a model's parameters do not fit cells of levels 0 .. top."""
        for model in self.models:
            problem = model.check(top)
            if problem:
                raise ArchError(f"--vary {name_of(model)}: {problem}")


def compose(vary: Iterable[Any], seed: int = 0, trial: int = 0) -> Variations:
    """Texts, mappings or models as the variations of one trial."""
    return Variations(make_variations(vary), seed, trial)
