"""Vectors of a layer with their coverage, with operations added where that is asked for, and what random inputs reach."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cimemu.arch.macro import Macro
from cimemu.golden.coverage.aim import MOST_AT_ONCE, Search, covering
from cimemu.golden.coverage.result import Coverage, coverage_of
from cimemu.golden.vectors import LayerInputs, LayerVectors, layer_inputs, vectors_of
from cimemu.layer.base import Array
from cimemu.macro.encode import input_range
from cimemu.mapping.plan import Plan
from cimemu.options import Draws
from cimemu.workload.network import Network


@dataclass(frozen=True, eq=False)
class Covered:
    """Vectors, what they reach, and what they were made of."""

    given: LayerInputs
    vectors: LayerVectors
    coverage: Coverage


@dataclass(frozen=True)
class RandomReach:
    """How far operations of random inputs come, beside the same operations of the network."""

    added: int  # operations that cover
    goals: int  # that those reach and the network's own do not
    reached: int  # of them by random inputs,
    operations: int  # after so many; further ones, up to `tried`, reach no more
    tried: int

    def as_dict(self) -> dict[str, int]:
        """For JSON."""
        return {
            "covering_operations": self.added,
            "goals": self.goals,
            "reached": self.reached,
            "operations": self.operations,
            "tried": self.tried,
        }

    def __str__(self) -> str:
        """One sentence."""
        end = "" if self.tried == self.operations else f"; {self.tried - self.operations:,} more reach nothing new"
        return (
            f"{self.added} added operations reach {self.goals:,} goals more than the network's own; random inputs reach "
            f"{self.reached:,} of them with {self.operations:,} operations{end}"
        )


def covered_vectors(
    network: Network,
    macro: Macro,
    inputs: Array | Mapping[str, Array],
    layer: str | None = None,
    ops: int = 16,
    *,
    cover: bool = True,
    plan: Plan | None = None,
    draws: Draws = Draws(),
) -> Covered:
    """As `layer_vectors`, with what they reach; with `cover`, operations are added until all is reached that can be.

    An added operation drives any inputs, such as no image has. Raises WorkloadError for drawn cells with `cover`.
    """
    given = layer_inputs(network, macro, inputs, layer, ops, plan=plan, draws=draws)
    added = covering(given, macro) if cover else None
    vectors = vectors_of(given, added if added is not None and len(added[0]) else None)
    return Covered(given, vectors, coverage_of(macro, vectors))


def random_operations(made: Covered, macro: Macro, most: int, seed: int = 0) -> RandomReach:
    """How many of the goals that added operations reach random inputs reach too, of up to `most` operations."""
    search = Search(made.given, macro)
    generator = np.random.default_rng(seed)
    low, high = input_range(macro)
    wanted, left = 0, []
    for rows, base in zip(search.rows, search.reached, strict=True):
        found = search.measured(rows, made.vectors.macros)
        for mine, have in zip(search.any(found), base, strict=True):
            left.append({kind: mine[kind] & ~have[kind] for kind in mine})
            wanted += sum(int(goals.sum()) for goals in left[-1].values())
    missing, last, tried = wanted, 0, 0
    while tried < most and missing:
        count = min(MOST_AT_ONCE, most - tried)
        x = [list(generator.integers(low, high + 1, (count, rows.count))) for rows in search.rows]
        for some, found_by_rows in search.tried(x):
            kinds_of = [kinds for found in found_by_rows for kinds in found]
            new = np.zeros(len(next(iter(kinds_of[0].values()))), np.int64)
            for kinds, wished in zip(kinds_of, left, strict=True):
                for kind, met in kinds.items():
                    so_far = np.logical_or.accumulate(met & wished[kind], axis=0)
                    new += np.diff(so_far.sum(axis=1), prepend=0)
                    wished[kind] &= ~np.asarray(met.any(axis=0))
            if new.any():
                last = tried + int(np.flatnonzero(new)[-1]) + 1
                missing -= int(new.sum())
            tried += len(some[0])
    return RandomReach(made.vectors.added, wanted, wanted - missing, last, max(tried, last))


__all__ = ["Covered", "RandomReach", "covered_vectors", "random_operations"]
