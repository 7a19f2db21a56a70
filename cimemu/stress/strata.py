"""Rare failures of chips with stuck cells, by strata of the number of faults: many faults are drawn more often than they come.

The number of stuck cells of a chip is binomial, and given it the places are uniform. So the chance of a bad chip is the sum
over strata of (chance of the stratum, known exactly) x (share of bad chips in it, measured). No cell is made worse than it
is, which in thousands of dimensions would leave a few chips with all the weight. Where a few harmful cells decide, the strata
are of the number of stuck cells among these.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from cimemu import bounds
from cimemu.errors import CimemuError
from cimemu.macro.sites import planned_sites
from cimemu.options import Draws
from cimemu.stress.yields import Chips
from cimemu.variation.base import Block, Stream, VariationBase
from cimemu.variation.compose import compose
from cimemu.variation.stuck_at import StuckAt

TAILS = (0.5, 0.1, 1e-2, 1e-3, 1e-4, 1e-5)  # chances of more faults than a stratum holds; the last one holds the rest
LEAST_EFFECTIVE = 10.0  # bad chips that an interval takes
LEVEL = 0.95
LEAST_SHARE = 0.01  # of the chips with a harmful fault, that a stratum of its own holds
ROUNDS = 10  # after each of which an interval may be narrow enough


class StuckCells(VariationBase):
    """Cells that are known to be stuck, by macro: what a stratum draws. Not offered by `--vary`: a chip file says the same."""

    model: Literal["stuck_cells"] = "stuck_cells"
    cells: dict[int, Any]  # macro: (rows, columns, whether at the highest level)

    only_sticks: ClassVar[bool] = True

    def stuck(
        self, macro: int, first_column: int, shape: tuple[int, ...], top: int, stream: Stream
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The cells that lie in the block."""
        rows, columns, high = self.cells.get(macro, (np.zeros(0, dtype=np.int64),) * 3)
        wide = columns - first_column
        inside = (rows < shape[0]) & (wide >= 0) & (wide < shape[1])
        return rows[inside], wide[inside], top * high[inside].astype(np.int64)

    def write(self, block: Block, stream: Stream) -> None:
        """Stick the cells that lie in the block."""
        rows, columns, levels = self.stuck(block.macro, block.first_column, block.levels.shape, block.top, stream)
        block.levels[rows, columns] = levels + block.off


@dataclass(frozen=True)
class Stratum:
    """Chips of `least` .. `most` stuck cells, or so many among the harmful ones (`harmful`): the chance of such a chip, how many
    were drawn, and how many were bad."""

    least: int
    most: int
    chance: float
    drawn: int
    bad: int
    harmful: bool = False

    @property
    def one_chip(self) -> bool:
        """Whether all its chips are the same: those without any stuck cell."""
        return self.most == 0 and not self.harmful


@dataclass(frozen=True, eq=False)
class RareResult:
    """The chance of a bad chip with its 95 % interval, and how many bad chips of equal weight would say as much."""

    strata: tuple[Stratum, ...]
    cells: int  # that may be stuck
    harmful: int  # of these, that the strata are of; 0: of all
    failure: float
    low: float
    high: float
    effective: float
    trials: int
    seed: int


def rare_failures(
    chips: Chips,
    *,
    draws: Draws,
    accuracy: float,
    trials: int,
    harmful: NDArray[np.int64] | None = None,
    width: float | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> RareResult:
    """The chance of a chip below `accuracy`, from about `trials` chips with stuck cells.

    `draws` has one model `stuck_at`, and the seed. The strata are of the number of stuck cells, or with `harmful` [cells, 3]
    (macro, row, column) of the number among these: `cimemu.faults.report.harmful_cells` gives those whose single fault costs
    most. Half of the chips are shared out by the chances of the strata, half equally. The interval is Fay and Feuer's for
    weighted counts (Stat. Med. 16, 1997), which stays conservative where a stratum has no bad chip. With `width` chips are
    drawn in ten rounds, and no more once the interval is that narrow. Raises CimemuError where other models vary, and where
    the effective number of bad chips is below ten: then there is no interval to be trusted.
    """
    strata, cells = draw_strata(
        chips, draws=draws, accuracy=accuracy, trials=trials, harmful=harmful, width=width, progress=progress
    )
    failure, low, high, effective = weighted_interval(strata)
    done = sum(s.drawn for s in strata)
    if effective < LEAST_EFFECTIVE:
        more = f"some {ceil(done * LEAST_EFFECTIVE / effective):,} (--trials)" if effective else "more (--trials)"
        raise CimemuError(
            f"yield: {sum(s.bad for s in strata)} bad chips of {done} have an effective sample size of {effective:.1f}, must be "
            f">= {LEAST_EFFECTIVE:g} for an interval; draw {more} or ask for a higher accuracy"
        )
    counted = 0 if harmful is None else len(np.unique(harmful, axis=0))
    return RareResult(tuple(strata), cells, counted, failure, low, high, effective, done, draws.seed)


def draw_strata(
    chips: Chips,
    *,
    draws: Draws,
    accuracy: float,
    trials: int,
    harmful: NDArray[np.int64] | None = None,
    width: float | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[list[Stratum], int]:
    """(the strata with what was drawn in each, how many cells may be stuck): `rare_failures` before its interval."""
    bounds.whole("trials", trials, len(TAILS) + 1, bounds.MOST_TRIALS)
    bounds.real("accuracy", accuracy, 0, 1)
    if width is not None:
        bounds.real("width", width, 1e-9, 1 - 1e-9)
    models = compose(draws.vary, draws.seed).models
    if len(models) != 1 or not isinstance(models[0], StuckAt) or models[0].is_identity:
        raise CimemuError(
            "yield: strata of faults are for one model alone: --vary stuck_at:sa0=...,sa1=...; count plain chips else"
        )
    stuck = models[0]
    split = Split.of(_places(chips), harmful, stuck.sa0 + stuck.sa1)
    rng = np.random.Generator(np.random.Philox(draws.seed))
    rounds = 1 if width is None else ROUNDS
    step = chips.at_once(compose([stuck]))
    strata = [Stratum(*cut, drawn=0, bad=0, harmful=harmful is not None) for cut in split.cut]
    shares = split.shares(-(-trials // rounds))
    done = 0
    for _ in range(rounds):
        for number, (stratum, count) in enumerate(zip(strata, shares)):
            if stratum.one_chip and stratum.drawn:
                continue
            bad = 0
            drawn = (
                compose([StuckCells(cells=_by_macro(chosen, rng.random(len(chosen)) < stuck.sa1 / split.chance))])
                for chosen in split.chips(rng, (stratum.least, stratum.most), count)
            )
            for some in iter(lambda drawn=drawn: list(islice(drawn, step)), []):  # type: ignore[misc]
                bad += int((chips.accuracies(some) < accuracy).sum())
                done += len(some)
                if progress is not None:
                    progress("chips", done, rounds * sum(shares))
            strata[number] = replace(stratum, drawn=stratum.drawn + count, bad=stratum.bad + bad)
        _, low, high_end, effective = weighted_interval(strata)
        if width is not None and effective >= LEAST_EFFECTIVE and high_end - low <= width:
            break
    return strata, len(split.of_strata) + len(split.rest)


@dataclass(frozen=True, eq=False)
class Split:
    """Cells whose number of faults makes the strata, and the rest, which are stuck by chance; [cells, 3] (macro, row, column)."""

    of_strata: NDArray[np.int64]
    rest: NDArray[np.int64]
    chance: float
    cut: list[tuple[int, int, float]]

    @classmethod
    def of(cls, places: NDArray[np.int64], harmful: NDArray[np.int64] | None, chance: float) -> "Split":
        """All cells, or the harmful ones apart. CimemuError where one of these is no cell of the network, or none is given."""
        if harmful is None:
            return cls(places, places[:0], chance, cut_strata(len(places), chance))
        among = {tuple(place) for place in np.asarray(harmful).tolist()}
        inside = np.array([tuple(place) in among for place in places.tolist()], dtype=np.bool_)
        if not among or int(inside.sum()) < len(among):
            raise CimemuError(
                f"yield: harmful: {len(among) - int(inside.sum())} of {len(among)} places are no cells of the network; give at "
                "least one (macro, row, column), each of a cell that holds a weight"
            )
        cut = cut_strata(len(among), chance)
        while len(cut) > 2 and cut[-1][2] < LEAST_SHARE * sum(p for *_, p in cut[1:]):
            (least, _, before), (_, most, last) = cut[-2:]
            cut[-2:] = [(least, most, before + last)]
        return cls(places[inside], places[~inside], chance, cut)

    def shares(self, trials: int) -> list[int]:
        """Chips of every stratum: half of them by its chance, half equally; one where all chips are the same."""
        first = 0 if len(self.rest) else 1
        drawn = self.cut[first:]
        whole = sum(p for *_, p in drawn)
        return [1] * first + [max(2, round(trials * (p / whole + 1 / len(drawn)) / 2)) for *_, p in drawn]

    def chips(self, rng: np.random.Generator, span: tuple[int, int], count: int) -> Iterator[NDArray[np.int64]]:
        """The stuck cells of `count` chips of a stratum."""
        for number in draw_counts(rng, len(self.of_strata), self.chance, span, count):
            chosen = self.of_strata[rng.choice(len(self.of_strata), int(number), replace=False, shuffle=False)]
            if len(self.rest):
                others = rng.choice(
                    len(self.rest), rng.binomial(len(self.rest), self.chance), replace=False, shuffle=False
                )
                chosen = np.concatenate([chosen, self.rest[others]])
            yield chosen


def cut_strata(cells: int, chance: float) -> list[tuple[int, int, float]]:
    """(least, most, chance) of strata of the number of stuck cells, that of no stuck cell first; they cover 0 .. `cells`."""
    from scipy.stats import binom

    edges = sorted({0} | {min(cells, int(binom.isf(tail, cells, chance))) for tail in TAILS})
    firsts = [0, *(edge + 1 for edge in edges if edge < cells)]
    lasts = [*(first - 1 for first in firsts[1:]), cells]
    return [(a, b, float(binom.sf(a - 1, cells, chance) - binom.sf(b, cells, chance))) for a, b in zip(firsts, lasts)]


def draw_counts(
    rng: np.random.Generator, cells: int, chance: float, span: tuple[int, int], count: int
) -> NDArray[np.int64]:
    """`count` numbers of stuck cells, as a chip of the stratum `span` has them."""
    from scipy.stats import binom

    above, below = binom.sf(span[0] - 1, cells, chance), binom.sf(span[1], cells, chance)
    drawn = binom.isf(below + (above - below) * rng.random(count), cells, chance)
    return np.asarray(np.clip(drawn.astype(np.int64), *span))


def weighted_interval(strata: list[Stratum]) -> tuple[float, float, float, float]:
    """(chance of a bad chip, low, high, effective number of bad chips) of bad chips weighed by stratum."""
    from scipy.stats import chi2

    known = sum(s.chance * s.bad for s in strata if s.one_chip)  # all chips without a stuck cell are one chip
    measured = [s for s in strata if not s.one_chip]
    weights = np.array([s.chance / s.drawn for s in measured])
    bad = np.array([s.bad for s in measured], dtype=np.float64)
    total, spread, largest = float(weights @ bad), float(weights**2 @ bad), float(weights.max())
    effective = total**2 / spread if spread else 0.0
    tail = (1 - LEVEL) / 2
    low = spread / (2 * total) * float(chi2.ppf(tail, 2 * effective)) if spread else 0.0
    up, wide = total + largest, spread + largest**2
    high = wide / (2 * up) * float(chi2.ppf(1 - tail, 2 * up**2 / wide))
    return known + total, known + low, min(1.0, known + high), effective


def _places(chips: Chips) -> NDArray[np.int64]:
    """[cells, 3] (macro, row, column) of every cell that a block of the network lies on, each once."""
    found = []
    for name, replicas in planned_sites(chips.plan).items():
        if name not in chips.emulator.matrices:
            raise CimemuError(
                f"yield: layer {name}: its cells are written for every image, strata take cells written once"
            )
        for units in replicas:
            for programmed, sites in zip(chips.emulator.matrices[name].programmed, units):
                layout, wide = programmed.matrix.layout, programmed.matrix.macro.columns_per_output
                for (rb, cb), site in sites.items():
                    (a, b), (c, d) = layout.row_blocks[rb], layout.col_blocks[cb]
                    data = (d - c) * wide
                    across = np.arange(data + programmed.matrix.macro.checks_of(data))
                    rows, columns = np.meshgrid(np.arange(b - a), site.first_column + across, indexing="ij")
                    found.append(np.stack([np.full(rows.size, site.macro), rows.ravel(), columns.ravel()], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _by_macro(chosen: NDArray[np.int64], high: NDArray[np.bool_]) -> dict[int, Any]:
    return {
        int(macro): (chosen[mine, 1], chosen[mine, 2], high[mine])
        for macro in np.unique(chosen[:, 0])
        for mine in [chosen[:, 0] == macro]
    }
