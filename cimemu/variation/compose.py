"""The variations of a run together: which are active, their streams, and the fixed point that they need."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import isinf
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
        return list(self._by_stage.get(stage, ()))

    @cached_property
    def _by_stage(self) -> dict[str, list[tuple[VariationBase, Stream]]]:
        """What `at` gives, made once: every matrix of a network asks several times."""
        found: dict[str, list[tuple[VariationBase, Stream]]] = {}
        for model, stream in self._acting:
            found.setdefault(model.stage, []).append((model, stream))
        return found

    @cached_property
    def _acting(self) -> list[tuple[VariationBase, Stream]]:
        """The active models with their streams, in order; those that a chip file names in the place of the chip."""
        seen: Counter[str] = Counter()
        found: list[tuple[VariationBase, Stream]] = []
        for model in self.models:
            name = name_of(model)
            found += model.parts(self.seed, self.trial) or [(model, Stream(self.seed, self.trial, name, seen[name]))]
            seen[name] += 1
        return [(model, stream) for model, stream in found if not model.is_identity]

    @property
    def _active(self) -> list[VariationBase]:
        return [model for model, _ in self._acting if isinstance(model, VariationBase)]

    def fraction_bits(self, given: int, top: int) -> int:
        """The arch's fraction bits, raised up to 14 so that the smallest mean or spread is >= 8 * 2^-fraction_bits."""
        smallest = [m.smallest(top) for m in self._active]
        least = min((s for s in smallest if s is not None), default=None)
        bits = given
        while least is not None and bits < MAX_FRACTION_BITS and least < 8 * 2.0**-bits:
            bits += 1
        return bits

    def leakage(self, top: int) -> float:
        """What level 0 conducts, in level steps."""
        return sum(model.leakage(top) for model in self._active)

    def check(self, top: int) -> None:
        """ArchError where a model's parameters do not fit cells of levels 0 .. top, or another model's."""
        for model in self.models:
            problem = model.check(top)
            if problem:
                raise ArchError(f"--vary {name_of(model)}: {problem}")
        if sum(model.stage == "calibration" for model in self.models) > 1:
            raise ArchError("--calibrate: given twice, a chip is calibrated in one way; give one")
        self._check_one_cell()
        self._check_wires()

    def _check_wires(self) -> None:
        """An array has one set of wires; models that act behind them do not fit reads that are solved by themselves."""
        active = self._active
        wires = [model for model in active if model.stage == "wires"]
        if len(wires) > 1:
            raise ArchError(f"--vary {name_of(wires[1])}: given twice, an array has one set of wires; give one")
        behind = next((model for model in active if model.behind_wires), None)
        if behind is not None and any(model.solves_reads for model in wires):
            raise ArchError(
                f"--vary {name_of(behind)} with {name_of(wires[0])}: rows = gated, solver = exact: not defined, "
                "use solver fast or rows grounded"
            )

    def _check_one_cell(self) -> None:
        """All models speak of one cell: they agree on its on resistance and on its on/off ratio."""
        active = self._active
        for names, what in ((("on_ohm",), "on resistance"), (("ratio", "off_ratio"), "on/off ratio")):
            given = [(model, name, getattr(model, name)) for model in active for name in names if hasattr(model, name)]
            given = [(model, name, value) for model, name, value in given if not isinf(value)]
            for (first, key, value), (second, other_key, other) in pairwise(given):
                if value != other:
                    raise ArchError(
                        f"--vary {name_of(second)}: {other_key} = {other} beside {name_of(first)}: {key} = {value}, "
                        f"a cell has one {what}; give both the same"
                    )


def compose(vary: Iterable[Any], seed: int = 0, trial: int = 0) -> Variations:
    """Texts, mappings or models as the variations of one trial."""
    return Variations(make_variations(vary), seed, trial)
