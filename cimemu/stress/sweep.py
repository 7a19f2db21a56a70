"""`cimemu sweep`: one workload on many chips - accuracy, latency, energy and area of each, and the Pareto set."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from cimemu import bounds
from cimemu.arch.load import load_arch
from cimemu.arch.schema import Arch
from cimemu.emulate import plugins_attribute, run
from cimemu.errors import CimemuError
from cimemu.facts import Facts, Shown
from cimemu.keywords import filled
from cimemu.prepare import Recipe
from cimemu.stress.campaign import Campaign, Work, WorkKeywords, run_campaign
from cimemu.stress.grid import Keys, all_combinations
from cimemu.stress.jobs import Record
from cimemu.stress.settings import settings
from cimemu.stress.statistics import pareto
from cimemu.tally import COMPONENTS
from cimemu.trace.trials import Field, Status
from cimemu.uncertainty import ChipDraws, beats, interval
from cimemu.variation.base import VariationBase
from cimemu.variation.parse import name_of, spelled

FIELDS = (
    Field("accuracy", "float64"),
    Field("cycles", "int64"),
    Field("latency_us", "float64"),
    Field("energy_uj", "float64"),
    Field("area_mm2", "float64"),
    Field("tops_per_w", "float64"),
    Field("macs", "int64"),
    Field("conversions", "int64"),
    Field("adc_conversions", "int64"),
    Field("macros", "int64"),
    Field("tiles", "int64"),  # of the chip: what `chip.tiles: auto` has come to
    Field("utilization", "float64"),
    Field("energy_low_uj", "float64"),
    Field("energy_high_uj", "float64"),
    Field("area_low_mm2", "float64"),
    Field("area_high_mm2", "float64"),
    Field("energy_parts_pj", "float64", (2, len(COMPONENTS))),  # events and leakage of every component
)
MOST_POINTS = 100_000
PARETO = (("accuracy", True), ("latency_us", False), ("energy_uj", False), ("area_mm2", False))


@dataclass(frozen=True, eq=False, repr=False)
class SweepResult(Shown):
    """A table: `parameters` a mapping per point, `columns` a value per point and field (nan where it failed)."""

    parameters: tuple[dict[str, Any], ...]
    columns: dict[str, NDArray[Any]]
    pareto: NDArray[np.bool_]
    errors: tuple[str, ...]
    path: Path | None
    chips: tuple[Arch | None, ...] = ()  # of every point; None where it is no chip

    def energies(self, point: int) -> NDArray[np.float64]:
        """The energy of a point in uJ in every draw of its prices; draws of two points belong together.

        CimemuError for a point that failed.
        """
        chip = self.chips[point] if 0 <= point < len(self.chips) and not self.errors[point] else None
        if chip is None:
            raise CimemuError(
                f"point {point}: has no energy, choose one of 0 .. {len(self.chips) - 1} that did not fail"
            )
        tree = chip.model_dump(mode="json", include={"costs": True, "macro": {"adc": True}})
        parts = self.columns["energy_parts_pj"][point]
        known = COMPONENTS[: parts.shape[1]]  # new ones come last, so that results of earlier versions are read
        return ChipDraws.of(tree, known, parts, np.zeros(len(known))).total() / 1e6

    def beats(self, point: int, other: int) -> float:
        """The share of draws of the prices in which `point` takes less energy than `other`. CimemuError."""
        return beats(self.energies(point), self.energies(other))

    def _facts(self) -> Facts:
        keys = list(self.parameters[0]) if self.parameters else []
        return f"SweepResult: {len(self.parameters)} points over {', '.join(keys) or 'no key'}", [
            ("best trade-offs", f"{int(self.pareto.sum())}"),
            ("failed", f"{sum(map(bool, self.errors))}"),
            ("columns", ", ".join(self.columns)),
        ]


@dataclass(frozen=True, eq=False)
class SweepTask:
    """One chip a job: quantise for it, run all images, time included."""

    arch: Arch
    recipe: Recipe
    points: tuple[dict[str, Any], ...]
    inputs: Any
    labels: Any
    seed: int
    converters: str | None
    models: tuple[tuple[VariationBase, ...], ...] = ((),)  # of variation: every chip is drawn with each setting

    def run(self, job: int) -> Record:
        """The figures of point `job`. CimemuError where the chip is none, or the network does not fit it."""
        number, setting = divmod(job, len(self.models))
        chip = load_arch(self.arch, self.points[number])
        network = self.recipe.for_arch(chip, converters=self.converters)
        result = run(chip, network, self.inputs, self.labels, detail="ops", seed=self.seed, vary=self.models[setting])
        assert result.tally is not None
        assert result.plan is not None
        draws = result.chip_draws()
        energy, area = interval(draws.total()), interval(draws.areas().sum(axis=1))
        pj = result.tally.energy_pj
        return {
            "accuracy": np.nan if result.accuracy is None else result.accuracy,
            "cycles": result.cycles,
            "latency_us": result.latency_us,
            "energy_uj": result.energy_uj,
            "area_mm2": float(np.sum(result.tally.area_um2)) / 1e6,
            "tops_per_w": np.nan if result.tops_per_w is None else result.tops_per_w,
            "macs": result.macs,
            "conversions": result.conversions,
            "adc_conversions": result.adc_conversions,
            "macros": result.macros,
            "tiles": result.plan.arch.tiles,
            "utilization": result.utilization,
            "energy_low_uj": energy.low / 1e6,
            "energy_high_uj": energy.high / 1e6,
            "area_low_mm2": area.low / 1e6,
            "area_high_mm2": area.high / 1e6,
            "energy_parts_pj": np.stack([pj[:-1].sum(axis=0), pj[-1]]),
        }


def _named(setting: tuple[VariationBase, ...]) -> dict[str, str]:
    """A point's models of variation by name, spelled out; one given twice gets a number."""
    found: dict[str, str] = {}
    for model in setting:
        name = name_of(model)
        found[f"{name} {len(found) + 1}" if name in found else name] = spelled(model)
    return found


def _models_in(points: Sequence[Mapping[str, Any]], drawn: Sequence[Sequence[VariationBase]]) -> list[Any]:
    """The models that points name: objects among the arch's values, and models of variation."""
    values = [value for point in points for value in point.values() if isinstance(value, BaseModel)]
    return [*values, *(model for setting in drawn for model in setting)]


def _written(value: Any) -> Any:
    """A value of a point as JSON has it: models of any kind as their fields."""
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def sweep_points(arch: Arch, vary: Mapping[Keys, Sequence[Any]]) -> tuple[dict[str, Any], ...]:
    """Every combination of the keys' values. CimemuError where a key is none, or no combination is a chip."""
    if not vary or any(len(values) == 0 for values in vary.values()):
        raise CimemuError("sweep: nothing to vary, give at least one key with its values")
    count = prod(map(len, vary.values()))
    if count > MOST_POINTS:
        raise CimemuError(f"sweep: {count} points, must be <= {MOST_POINTS}; give fewer values")
    points = all_combinations(vary)
    first: CimemuError | None = None
    for point in points:
        try:
            load_arch(arch, point)
        except CimemuError as error:
            first = first or error
        else:
            return points
    assert first is not None
    raise CimemuError(f"sweep: no point is a chip, the first one: {first}")


def _chips(arch: Arch, points: Sequence[Mapping[str, Any]], settings: int) -> tuple[Arch | None, ...]:
    """The chip of every point, `settings` in a row with the same one; None where it is none."""
    made: list[Arch | None] = []
    for point in points:
        try:
            chip: Arch | None = load_arch(arch, point)
        except CimemuError:
            chip = None
        made += [chip] * settings
    return tuple(made)


@dataclass(frozen=True)
class Grid:
    """The chips of a sweep: all combinations of `vary`, which maps dotted arch keys to lists of values. Keys that vary together
    are one tuple, and their values tuples: `{("macro.rows", "macro.columns"): [(64, 64), (128, 128)]}`.

    `models` are models of variation in order, as `cimemu.stress.stress` takes them: texts (with several values, which are
    points too), mappings or objects; every chip is drawn with them, trial 0 of `seed`. With `models`, `vary` may be empty.
    `converters` is the granularity at which linear converters are fitted to calibration images (None: as the arch says).
    Raises CimemuError where the seed is out of its range.
    """

    vary: Mapping[Keys, Sequence[Any]] = field(default_factory=dict)
    models: Sequence[Any] = ()
    seed: int = 0
    converters: str | None = None

    def __post_init__(self) -> None:
        bounds.whole("seed", self.seed, 0, bounds.MOST_SEED)


class SweepKeywords(WorkKeywords, total=False):
    """Every field of `Grid` and `Work`, as a keyword of `sweep`."""

    vary: Mapping[Keys, Sequence[Any]]
    models: Sequence[Any]
    seed: int
    converters: str | None


def sweep(
    arch: Arch,
    recipe: Recipe,
    inputs: Any,
    labels: Any = None,
    *,
    grid: Grid = Grid(),
    work: Work = Work(),
    **given: Unpack[SweepKeywords],
) -> SweepResult:
    """Run every combination of the grid's values and mark the Pareto set.

    `grid` says which chips (vary, models, seed, converters), `work` where the points run and which file keeps them (out,
    workers, scheduler, resume, overwrite, progress); keywords of the fields' names replace a field. Better is: higher
    accuracy (where there are labels), lower latency, energy and area. A point that fails (an arch that is none, a network
    that does not fit) has a reason instead of figures. Raises CimemuError.
    """
    grid, work = filled("sweep", given, grid, work)
    vary, models, seed, converters = grid.vary, grid.models, grid.seed, grid.converters
    chips = sweep_points(arch, vary) if vary or not models else ({},)
    drawn = tuple(settings(arch, models)) if models else ((),)
    points = tuple({**chip, **_named(setting)} for chip in chips for setting in drawn)
    task = SweepTask(arch, recipe, chips, inputs, labels, seed, converters, drawn)
    campaign = Campaign(
        kind="sweep",
        task=task,
        fields=FIELDS,
        points=len(points),
        trials=1,
        identity={
            "arch": arch.model_dump(mode="json"),
            "network": recipe.network.name,
            "points": [{key: _written(value) for key, value in point.items()} for point in points],
            "images": len(inputs),
            "seed": seed,
            "converters": converters,
        },
    )
    done = run_campaign(campaign, work)
    failed = done.status[:, 0] != Status.DONE
    columns: dict[str, NDArray[Any]] = {}
    for one in FIELDS:
        values = done.values[one.name][:, 0]
        unknown = failed.reshape(-1, *[1] * len(one.shape))
        columns[one.name] = np.where(unknown, np.nan, values) if failed.any() else values
    best = pareto([columns[name].astype(np.float64) for name, _ in PARETO], [larger for _, larger in PARETO]) & ~failed
    errors = tuple(str(error) for error in done.values["error"][:, 0])
    path = None if work.out is None else Path(work.out)
    result = SweepResult(points, columns, best, errors, path, _chips(arch, chips, len(drawn)))
    done.finish(
        {
            "points": {
                "parameters_json": [json.dumps(point, sort_keys=True, default=_written) for point in points],
                "status": done.status[:, 0],
                "error": list(errors),
                **columns,
                "pareto": best,
            }
        },
        {
            "workload": recipe.network.name,
            "seed": seed,
            "images": len(inputs),
            "arch_json": arch.model_dump_json(),
            **plugins_attribute(arch, recipe.network, _models_in(points, drawn)),
        },
    )
    return result
