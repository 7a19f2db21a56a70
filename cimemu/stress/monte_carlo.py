"""`cimemu stress`: accuracy over many drawn chips, with intervals, and which layer breaks first."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from cimemu import bounds
from cimemu.arch.schema import Arch
from cimemu.emulate import run
from cimemu.errors import CimemuError, WorkloadError
from cimemu.keywords import filled
from cimemu.stress.campaign import Campaign, Work, WorkKeywords, run_campaign
from cimemu.stress.finished import attributes, groups
from cimemu.stress.ideal import ideal_cost
from cimemu.stress.result import StressResult
from cimemu.stress.settings import by_calibration, settings
from cimemu.stress.statistics import QUANTILES, bootstrap, interval, looked_at
from cimemu.stress.trial import ALARMS, Point, StressTask
from cimemu.stress.upkeep import Upkeep, keepers, upkeep
from cimemu.trace.trials import Chosen, Status
from cimemu.variation.parse import spelled
from cimemu.workload.network import Network


@dataclass(frozen=True)
class Population:
    """Which chips are drawn, and how many of them.

    `vary`: texts with lists of values (`"lognormal:sigma=0,0.1,0.2"`), mappings or models, applied in order; the points
    are all combinations. `trials` chips are drawn for every point from `seed`; trial t draws the same cells at every
    point. `width` stops a point when the 95 % interval of its mean accuracy is no wider than this share of the images; it is
    made after `least_trials`, and then each time after a twentieth more. The layers' errors are measured on the first
    `error_images` images, 64 at most. Raises CimemuError where a field is out of its range.
    """

    vary: Sequence[Any] = ()
    trials: int = 1
    seed: int = 0
    width: float | None = None
    least_trials: int = 5
    error_images: int = 4

    def __post_init__(self) -> None:
        bounds.whole("trials", self.trials, 1, bounds.MOST_TRIALS)
        bounds.whole("seed", self.seed, 0, bounds.MOST_SEED)
        if self.width is not None and not 0 < self.width < 1:
            raise CimemuError(f"width = {self.width}, must be between 0 and 1 (a share of images)")


class StressKeywords(WorkKeywords, total=False):
    """Every field of `Population` and `Work`, as a keyword of `stress`."""

    vary: Sequence[Any]
    trials: int
    seed: int
    width: float | None
    least_trials: int
    error_images: int


def stress(
    arch: Arch,
    network: Network | Mapping[str, Network],
    inputs: Any,
    labels: Any = None,
    *,
    population: Population | None = None,
    work: Work = Work(),
    **given: Unpack[StressKeywords],
) -> StressResult:
    """Draw `trials` chips for every point and run the images [images, ...] on each.

    `population` says which chips (vary, trials, seed, width, least_trials, error_images), `work` where the jobs run and
    which file keeps them (out, workers, scheduler, resume, overwrite, progress); keywords of their fields' names replace a
    field. Without a population `vary` and `trials` must be given. `network` may map names to networks (schemes with the
    same layers), which are then compared on the same chips. A run that is resumed gives the same bytes as one that was
    not interrupted. Raises CimemuError.
    """
    missing = [name for name in ("vary", "trials") if population is None and name not in given]
    if missing:
        raise CimemuError(f"stress: {missing[0]} is not given, and there is no default")
    population, work = filled("stress", given, population or Population(), work)
    assert population is not None
    seed, trials, width = population.seed, population.trials, population.width
    drawn = settings(arch, population.vary)
    images = np.asarray(inputs)
    if len(images) == 0:
        raise WorkloadError("inputs: no image given, give at least one")
    given_networks = dict(network) if isinstance(network, Mapping) else {"": network}
    ways = by_calibration(drawn)
    networks = {" ".join(filter(None, (name, way))): net for name, net in given_networks.items() for way in ways}
    points = tuple(
        Point(scheme, tuple(map(spelled, setting)), setting)
        for scheme, way in enumerate([*ways] * len(given_networks))
        for setting in ways[way]
    )
    truth = None if labels is None else np.asarray(labels)[: len(images)].astype(np.int64)
    task = StressTask(
        arch,
        tuple(networks.values()),
        points,
        images,
        truth,
        seed,
        error_images=min(population.error_images, len(images), 64),
    )
    campaign = Campaign(
        kind="stress",
        task=task,
        fields=task.fields,
        points=len(points),
        trials=trials,
        identity={
            "arch": arch.model_dump(mode="json"),
            "network": next(iter(networks.values())).name,
            "points": [[list(networks)[p.scheme], *p.vary] for p in points],
            "images": len(images),
            "trials": trials,
            "seed": seed,
            "width": width,
            "least_trials": population.least_trials,
            "error_images": task.error_images,
        },
        wanted=None if width is None or truth is None else Enough(len(images), width, population.least_trials),
    )
    done = run_campaign(campaign, work)
    status = done.status.copy()
    if campaign.wanted is not None:  # a trial that a faster worker ran beyond what was enough does not count
        for point in range(len(points)):
            status[point, campaign.wanted(point, status, done.values) :] = Status.MISSING
    result = _summary(task, list(networks), status, done.values, None if done.file is None else done.file.out)
    done.finish(groups(result, status, done.values), attributes(arch, next(iter(networks.values())), task))
    return result


@dataclass(frozen=True)
class Enough:
    """How many trials of a point are wanted: decided on its leading trials alone, whatever else has ended.

    The interval is made after `least` trials, and then each time after a twentieth more (`looked_at`); every one is made once.
    """

    images: int
    width: float
    least: int
    known: dict[int, tuple[int, int | None]] = field(default_factory=dict)  # by point: next count to look at, wanted

    def __call__(self, point: int, status: NDArray[np.uint8], values: Mapping[str, NDArray[Any]]) -> int:
        """All trials, where those that have ended do not tell yet."""
        row = status[point]
        following, wanted = self.known.get(point, (max(1, self.least), None))
        if wanted is not None:
            return wanted
        missing = np.flatnonzero(row == Status.MISSING)
        leading = len(row) if len(missing) == 0 else int(missing[0])
        if following <= leading:
            tried = np.flatnonzero(row[:leading] == Status.DONE)
            correct = values["correct"][point, tried]
            while following <= len(tried) and wanted is None:
                if interval(correct[:following], self.images).width <= self.width:
                    wanted = int(tried[following - 1]) + 1
                following = looked_at(following)
            self.known[point] = following, wanted
        return len(row) if wanted is None else wanted


def _summary(
    task: StressTask,
    schemes: list[str],
    status: NDArray[np.uint8],
    values: Mapping[str, NDArray[Any]],
    path: Path | None,
) -> StressResult:
    """Statistics of every point from its finished trials, in order of trials."""
    images, layers = len(task.inputs), task.layers
    ran = status == Status.DONE
    accuracy = np.where(ran & (values["correct"] >= 0), values["correct"] / images, np.nan)
    means = {
        name: np.stack([Chosen(values[name], ran).mean(point) for point in range(len(task.points))])
        for name in ("layer_error", "own_error")
    }
    rows = []
    for point in range(len(task.points)):
        correct = values["correct"][point, ran[point]]
        rows.append(_point_row(correct, images, np.flatnonzero(ran[point]), means["own_error"][point], layers))
        for name in (name for name in ALARMS if name in values):
            counted = values[name][point, ran[point]]
            rows[-1][name] = counted.mean() if len(counted) else np.nan
        rows[-1]["failed"] = int((status[point] == Status.FAILED).sum())
    scheme_of = tuple(schemes[p.scheme] for p in task.points)
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return StressResult(
        schemes=tuple(schemes),
        scheme_of=scheme_of,
        vary=tuple(p.vary for p in task.points),
        layers=tuple(layers),
        columns=columns,
        layer_error=means["layer_error"],
        own_error=means["own_error"],
        accuracy=accuracy,
        ideal={name: _ideal(task, number) for number, name in enumerate(schemes)},
        upkeep=_upkeep(task),
        paired=tuple(_paired(task, schemes, accuracy)),
        errors=tuple(f"point {p}, trial {t}: {values['error'][p, t]}" for p, t in np.argwhere(status == Status.FAILED)),
        seed=task.seed,
        path=path,
    )


def _point_row(
    correct: NDArray[np.int64], images: int, trials: NDArray[np.int64], own: NDArray[np.float64], layers: list[str]
) -> dict[str, Any]:
    scored = len(correct) > 0 and bool((correct >= 0).all())
    row: dict[str, Any] = {
        "trials": len(correct),
        "mean": np.nan,
        "std": np.nan,
        "low": np.nan,
        "high": np.nan,
        "method": "",
        "worst_trial": -1,
        "worst": np.nan,
        "quantiles": np.full(len(QUANTILES), np.nan),
        "breaks_first": layers[int(own.argmax())] if len(correct) and own.any() else "",
    }
    if scored:
        share, found = correct / images, interval(correct, images)
        row.update(
            mean=share.mean(),
            std=share.std(ddof=1) if len(share) > 1 else np.nan,
            low=found.low,
            high=found.high,
            method=found.method,
            worst_trial=int(trials[share.argmin()]),
            worst=share.min(),
            quantiles=np.quantile(share, QUANTILES),
        )
    return row


def _paired(task: StressTask, schemes: list[str], accuracy: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Mean accuracy difference of every later scheme to the first on the same chips, with its bootstrap interval."""
    found = []
    settings = len(task.points) // len(schemes)
    ways = {point.models[k:] for point in task.points for k, m in enumerate(point.models) if m.stage == "calibration"}
    told = [[m for m in point.models if m.stage != "calibration" or len(ways) == 1] for point in task.points]
    for scheme in range(1, len(schemes)):
        for setting in range(settings):
            difference = accuracy[scheme * settings + setting] - accuracy[setting]
            difference = difference[~np.isnan(difference)]
            if len(difference) == 0:
                continue
            bounds = bootstrap(difference)
            found.append(
                {
                    "scheme": schemes[scheme],
                    "against": schemes[0],
                    "vary": " ".join(map(spelled, told[setting])),
                    "difference": float(difference.mean()),
                    "low": bounds.low,
                    "high": bounds.high,
                    "chips": len(difference),
                }
            )
    return found


def _ideal(task: StressTask, scheme: int) -> dict[str, Any]:
    """Accuracy of ideal cells on all images; cycles and energy of an image, area of the chip."""
    network = task.networks[scheme]
    first = next(point for point in task.points if point.scheme == scheme)
    way = [model for model in first.models if model.stage == "calibration"]
    values = run(task.arch, network, task.inputs, task.labels, detail=None, vary=way)
    accuracy = np.nan if values.accuracy is None else values.accuracy
    return {"accuracy": accuracy, **asdict(ideal_cost(task.arch, network, task.inputs, way))}


def _upkeep(task: StressTask) -> tuple[Upkeep | None, ...]:
    """What every point's chips have cost; None where no point's are calibrated or written again."""
    if not any(keepers(point.models) for point in task.points):
        return (None,) * len(task.points)
    found: dict[tuple[Any, ...], Upkeep] = {}
    for point in task.points:
        key = (id(task.networks[point.scheme]), *point.vary)
        if key not in found:
            found[key] = upkeep(task.arch, task.networks[point.scheme], point.models)
    return tuple(found[id(task.networks[point.scheme]), *point.vary] for point in task.points)
