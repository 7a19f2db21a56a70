"""`cimemu search`: chips that optimise several figures under constraints, with Optuna (extra `search`).

Points are asked for in batches, run like those of a sweep, and told; the study is kept in a journal, so that a search goes on where
it was left.
"""

import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from cimemu import bounds
from cimemu.arch.schema import Arch
from cimemu.errors import CimemuError
from cimemu.facts import Facts, Shown
from cimemu.given_file import refuse_input
from cimemu.options import Progress
from cimemu.prepare import Recipe
from cimemu.stress.campaign import MOST_WORKERS
from cimemu.stress.cluster import run_cluster
from cimemu.stress.grid import Keys, combination
from cimemu.stress.jobs import Outcome, attempt
from cimemu.stress.local import run_local
from cimemu.stress.sweep import FIELDS, SweepTask
from cimemu.tally import COMPONENTS
from cimemu.whole_file import refuse_output

FIGURES = tuple(
    one.name for one in FIELDS if not one.shape and one.dtype in ("float64", "int64") and one.name not in COMPONENTS
)
LARGER_IS_BETTER = frozenset({"accuracy", "tops_per_w", "utilization"})
MOST_TRIALS = 100_000
CONSTRAINT = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([-+.\deE]+)\s*")
STUDY = "cimemu"


@dataclass(frozen=True)
class Constraint:
    """A figure that must lie on one side of a bound."""

    figure: str
    sign: int  # 1: at most, -1: at least
    bound: float

    def violation(self, figures: Mapping[str, Any]) -> float:
        """Above 0 where it does not hold."""
        return self.sign * (float(figures[self.figure]) - self.bound)


@dataclass(frozen=True, eq=False, repr=False)
class SearchResult(Shown):
    """A row a point: its keys, its figures, whether it holds the constraints, whether no other that does is better, its error."""

    rows: tuple[dict[str, Any], ...]
    goals: tuple[str, ...]

    def _facts(self) -> Facts:
        best = [row for row in self.rows if row["best"]]
        return f"SearchResult: {len(self.rows)} points for {', '.join(self.goals)}", [
            ("best trade-offs", f"{len(best)}")
        ]


@dataclass(frozen=True)
class Hunt:
    """What is searched for: `vary` as in a sweep (keys or tuples of keys to lists of values), `goals` figures of a sweep, `where`
    constraints such as "area_mm2<=20", so many `trials` in all, from `seed`. `workers` and `scheduler` are those of a sweep;
    `storage` names the file that keeps the search, which goes on where that file ends."""

    vary: Mapping[Keys, Sequence[Any]]
    goals: Sequence[str] = ("energy_uj", "latency_us")
    where: Sequence[str] = ()
    trials: int = 50
    seed: int = 0
    workers: int = 1
    scheduler: str | None = None
    storage: str | Path | None = None

    def __post_init__(self) -> None:
        bounds.whole("trials", self.trials, 1, MOST_TRIALS)
        bounds.whole("seed", self.seed, 0, bounds.MOST_SEED)
        bounds.whole("workers", self.workers, 1, MOST_WORKERS)
        if not self.vary or any(len(values) == 0 for values in self.vary.values()):
            raise CimemuError("search: nothing to vary, give at least one key with its values")
        for goal in self.goals:
            _known(goal, f"goal {goal}")
        if not self.goals:
            raise CimemuError(f"search: no goal, give at least one of {', '.join(FIGURES)}")
        self.constraints()

    def constraints(self) -> list[Constraint]:
        """Those of `where`. CimemuError for a text that is none."""
        found = []
        for text in self.where:
            match = CONSTRAINT.fullmatch(text)
            try:
                bound = float(match[3]) if match else float("nan")
            except ValueError:
                bound = float("nan")
            if match is None or bound != bound:
                raise CimemuError(
                    f"search: where {text!r:.60}, must be FIGURE<=NUMBER or FIGURE>=NUMBER, as area_mm2<=20"
                )
            found.append(Constraint(_known(match[1], f"where {text}"), 1 if match[2] == "<=" else -1, bound))
        return found


def _known(figure: str, given: str) -> str:
    if figure not in FIGURES:
        raise CimemuError(f"search: {given}: no such figure, must be one of {', '.join(FIGURES)}")
    return figure


def search(
    arch: Arch, recipe: Recipe, inputs: Any, labels: Any, hunt: Hunt, *, progress: Progress | None = None
) -> SearchResult:
    """Look for the best chips: Optuna's TPE sampler chooses points, which are run as those of `sweep`.

    A point that fails (no chip, a network that does not fit) is told as failed. A point that is asked for again is not run again,
    and the search ends where every point has been run. Raises CimemuError where Optuna is missing, or the
    storage belongs to another search.
    """
    study = _study(arch, recipe, hunt)
    optuna = _optuna()
    keys, spaces = list(hunt.vary), [list(values) for values in hunt.vary.values()]
    task_of = _Points(arch, recipe, inputs, labels, hunt.seed)
    constraints = hunt.constraints()
    known = _points_told(study, keys)
    finished = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL)
    while (done := sum(trial.state in finished for trial in study.trials)) < hunt.trials:
        asked = [study.ask() for _ in range(min(hunt.workers if hunt.scheduler is None else 16, hunt.trials - done))]
        chosen = [
            [trial.suggest_categorical(_name(k), list(range(len(s)))) for k, s in zip(keys, spaces)] for trial in asked
        ]
        new = [places for places in dict.fromkeys(map(tuple, chosen)) if places not in known]
        points = [combination(keys, [space[place] for space, place in zip(spaces, places)]) for places in new]
        for outcome in task_of.run(points, hunt):
            known[new[outcome.job]] = _judged(outcome, hunt, constraints)
        for trial, places in zip(asked, map(tuple, chosen)):
            attributes, values = known[places]
            for name, value in attributes.items():
                trial.set_user_attr(name, value)
            if values is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, values)
        if progress is not None:
            progress("trials", min(hunt.trials, done + len(asked)), hunt.trials)
        if len(known) == prod(map(len, spaces)):
            break  # every point there is has been run
    return SearchResult(tuple(_rows(study, keys, spaces, hunt)), tuple(hunt.goals))


Told = tuple[dict[str, Any], list[float] | None]  # what a trial says of a point, its goals; None: it failed


def _judged(outcome: Outcome, hunt: Hunt, constraints: Sequence[Constraint]) -> Told:
    record = outcome.record
    values = None if record is None else [float(_number(record[goal])) for goal in hunt.goals]
    if record is None or values is None or any(value != value for value in values):
        return {"error": outcome.error or "a goal is not known: no labels, or no prices"}, None
    figures = {name: _number(record[name]) for name in FIGURES}
    known = {name: value for name, value in figures.items() if value == value}
    return {"figures": known, "violations": [one.violation(figures) for one in constraints]}, values


def _points_told(study: Any, keys: Sequence[Keys]) -> dict[tuple[int, ...], Told]:
    """What a search that goes on knows already, by the places of values: a point is run once."""
    known: dict[tuple[int, ...], Told] = {}
    for trial in study.trials:
        places = tuple(trial.params.get(_name(key)) for key in keys)
        told = {name: trial.user_attrs[name] for name in ("figures", "violations", "error") if name in trial.user_attrs}
        if trial.state.is_finished() and None not in places and told:
            known[places] = told, None if trial.values is None else list(trial.values)
    return known


@dataclass(frozen=True, eq=False)
class _Points:
    """Runs batches of points as a sweep does."""

    arch: Arch
    recipe: Recipe
    inputs: Any
    labels: Any
    seed: int

    def run(self, points: Sequence[dict[str, Any]], hunt: Hunt) -> Iterator[Outcome]:
        """Outcomes by the points' numbers, in whatever order they come."""
        task = SweepTask(self.arch, self.recipe, tuple(points), self.inputs, self.labels, self.seed, None)
        jobs = range(len(points))
        if hunt.scheduler is not None:
            yield from run_cluster(task, jobs, hunt.scheduler)
        elif len(points) > 1:
            yield from run_local(task, jobs, hunt.workers)
        else:
            yield from (attempt(task, job) for job in jobs)


def _rows(study: Any, keys: Sequence[Keys], spaces: Sequence[Sequence[Any]], hunt: Hunt) -> Iterator[dict[str, Any]]:
    trials = [trial for trial in study.trials if trial.state.is_finished()]
    good = [t for t in trials if "figures" in t.user_attrs and all(v <= 0 for v in t.user_attrs["violations"])]
    signs = np.array([-1.0 if goal in LARGER_IS_BETTER else 1.0 for goal in hunt.goals])
    values = {trial.number: np.array(trial.values) * signs for trial in good}
    shown: set[tuple[Any, ...]] = set()
    for trial in trials:
        places = [trial.params.get(_name(key)) for key in keys]
        if None in places or tuple(places) in shown:
            continue
        shown.add(tuple(places))
        mine = values.get(trial.number)
        beaten = mine is not None and any((v <= mine).all() and (v < mine).any() for v in values.values())
        yield {
            **combination(keys, [space[place] for space, place in zip(spaces, places)]),
            **{name: trial.user_attrs.get("figures", {}).get(name) for name in FIGURES},
            "holds": mine is not None,
            "best": mine is not None and not beaten,
            "error": trial.user_attrs.get("error", ""),
        }


def _study(arch: Arch, recipe: Recipe, hunt: Hunt) -> Any:
    optuna = _optuna()
    storage = None
    if hunt.storage is not None:
        backend = optuna.storages.journal.JournalFileBackend(str(hunt.storage))
        storage = optuna.storages.JournalStorage(backend)
    study = optuna.create_study(
        storage=storage,
        study_name=STUDY,
        directions=["maximize" if goal in LARGER_IS_BETTER else "minimize" for goal in hunt.goals],
        load_if_exists=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that constraints are experimental
        study.sampler = optuna.samplers.TPESampler(
            seed=(hunt.seed + len(study.trials))
            % 2**32,  # a search that goes on does not ask for its first points again
            constraints_func=lambda trial: trial.user_attrs.get("violations", [1.0] * len(hunt.where)),
        )
    identity = {
        "arch": arch.model_dump_json(),
        "network": recipe.network.name,
        "vary": repr([(key, list(values)) for key, values in hunt.vary.items()]),
        "goals": list(hunt.goals),
        "where": list(hunt.where),
    }
    kept = study.user_attrs.get("identity")
    if kept is not None and kept != identity:
        other = ", ".join(name for name in identity if kept.get(name) != identity[name])
        raise CimemuError(f"{hunt.storage}: belongs to another search ({other}), name another file")
    if kept is None:
        study.set_user_attr("identity", identity)
    return study


def check_storage(storage: Path | None) -> None:
    """Refuse a file that could not be written, or that is no journal of a search."""
    if storage is None:
        return
    _optuna()
    if not storage.exists():
        refuse_output(storage, CimemuError, overwrite=False)
        return
    refuse_input(storage, CimemuError, "the file of a search (--storage)")
    with open(storage, "rb") as file:
        if file.read(1) not in (b"", b"{"):
            raise CimemuError(f"{storage}: is no file of a search, name another one")


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise CimemuError('Optuna is not installed: pip install "cimemu[search]", or use cimemu sweep') from None
    optuna.logging.set_verbosity(logging.ERROR)
    return optuna


def _name(key: Keys) -> str:
    return key if isinstance(key, str) else " ".join(key)


def _number(value: Any) -> float | int:
    number = value.item() if isinstance(value, np.generic) else value
    return int(number) if isinstance(number, int) else float(number)
