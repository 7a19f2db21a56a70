"""A study: many runs of adaptation with one budget, each resumable, and one table of their accuracies."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from cimemu.adapt.config import Method, changed
from cimemu.adapt.first_weights import with_first_weights
from cimemu.adapt.held_back import Answers
from cimemu.adapt.images import ImageSet
from cimemu.adapt.metrics_log import write_rows
from cimemu.adapt.run import Adapted, adapt_network
from cimemu.adapt.settings import DataSettings, TrainSettings
from cimemu.adapt.sources import find_images, load_float
from cimemu.adapt.train import CHECKPOINT, Keep, MetricsRow, Progress
from cimemu.config_file import read_mapping
from cimemu.errors import WorkloadError
from cimemu.record import Record
from cimemu.whole_file import whole_file
from cimemu.workload.manifest import resolve

RESULTS, RESULT, NETWORK, ANSWERS = "results.csv", "result.json", "network.onnx", "answers.csv"
WHAT = "a study for cimemu adapt (network, arch, data, runs ...)"


class StudyRun(Method):
    """One network to be trained, with one seed or several."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="short name, unique in the study")
    train: dict[str, Any] = Field(default_factory=dict, description="dotted keys of the study's `train` that differ")
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="a run for each")


class Study(Record):
    """Runs from one float network on one chip."""

    network: str = Field(description="float network file, relative to the study; ${NAME} is taken from the environment")
    first_weights: bool = Field(
        False, description="whether runs begin with weights drawn from their seed, in the shapes of the network"
    )
    arch: str = Field("rram_128", description="architecture: a preset's name or a YAML file")
    set: dict[str, Any] = Field(default_factory=dict, description="dotted keys of the arch that differ, for all runs")
    train: TrainSettings = Field(default_factory=TrainSettings, description="the optimizer and its budget")
    data: DataSettings = Field(description="images")
    calibration: int = Field(
        256, ge=1, description="training images that first step sizes are found on, where a run says none"
    )
    runs: tuple[StudyRun, ...] = Field(min_length=1, description="in the order in which they are made")

    @field_validator("runs")
    @classmethod
    def _unique(cls, runs: tuple[StudyRun, ...]) -> tuple[StudyRun, ...]:
        seen: set[tuple[str, int]] = set()
        for run in runs:
            for seed in run.seeds:
                if (run.name, seed) in seen:
                    raise ValueError(f"run {run.name} with seed {seed} is there twice, give runs names of their own")
                seen.add((run.name, seed))
        return runs


@dataclass(frozen=True)
class Job:
    """One run with one seed."""

    run: StudyRun
    seed: int

    @property
    def name(self) -> str:
        """Its folder's name."""
        return f"{self.run.name}_seed{self.seed}"


def read_study(path: Path, changes: Mapping[str, Any] | None = None) -> Study:
    """The study in a YAML file with dotted `changes`. WorkloadError naming key, value and rule.

    A file with `like: OTHER` has the keys of the study OTHER, a file beside it, where it has none of its own.
    """
    study: Study = changed(Study, _like(path), changes, path)
    for run in study.runs:
        run.scheme_record(path.parent)
        _settings(study, run, run.seeds[0])
    return study


def _like(path: Path) -> dict[str, Any]:
    """The mapping in a file, over that of the file which it is like."""
    tree = dict(read_mapping(path, str(path), WHAT, WorkloadError))
    if "like" not in tree:
        return tree
    name = tree.pop("like")
    if not isinstance(name, str):
        raise WorkloadError(f"{path}: like = {name}, must be the name of a study's file")
    base = dict(read_mapping(path.parent / name, str(path.parent / name), WHAT, WorkloadError))
    if "like" in base:
        raise WorkloadError(f"{path}: like = {name}, which is like another file itself; name that one")
    return _over(base, tree)


def _over(base: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    """`tree` over `base`, mapping by mapping."""
    made = dict(base)
    for key, value in tree.items():
        below = made.get(key)
        made[key] = _over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return made


def _settings(study: Study, run: StudyRun, seed: int) -> TrainSettings:
    """The study's training settings with what the run changes."""
    return changed(  # type: ignore[no-any-return]
        TrainSettings, study.train.model_dump(mode="json"), {**run.train, "seed": seed}, Path(f"run {run.name}")
    )


def _method(study: Study, run: StudyRun) -> StudyRun:
    """The run with what the study says for all."""
    same: dict[str, Any] = {"set": {**study.set, **run.set}}
    if "calibration" not in run.model_fields_set:
        same["calibration"] = study.calibration
    return run.model_copy(update=same)


def run_study(
    study: Study,
    out: Path,
    *,
    folder: Path | None = None,
    only: Sequence[str] | None = None,
    resume: bool = False,
    cache: Path | None = None,
    report: Callable[[str, MetricsRow], None] | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Make all runs (or those named in `only`) below the folder `out`; the rows of its results.csv.

    Paths in the study are relative to `folder`. With `resume`, runs that are done are kept and the one that was
    interrupted goes on from its checkpoint. Raises WorkloadError or ArchError in one line.
    """
    folder = folder or Path.cwd()
    jobs = list(_jobs(study, only))
    if out.exists() and not out.is_dir():
        raise WorkloadError(f"{out}: is a file, a study needs a folder: name another with --out")
    if not resume and any((out / job.name).exists() for job in jobs):
        raise WorkloadError(f"{out}: holds runs of this study, add --resume or name another folder")
    missing = [job for job in jobs if not (out / job.name / RESULT).is_file()]
    if missing:
        images = find_images(study.data, None, folder=folder, cache=cache)
        network = load_float(str(resolve(study.network, folder / "study.yaml")))
    for number, job in enumerate(missing):
        if progress is not None:
            progress("runs", number, len(missing))
        place = out / job.name
        method = _method(study, job.run)
        settings = _settings(study, job.run, job.seed)
        done = adapt_network(
            study.arch,
            with_first_weights(network, job.seed) if study.first_weights else network,
            method,
            images.train,
            settings,
            tests=images.tests,
            out=None if method.code_parity else place / NETWORK,
            keep=Keep(place, resume=(place / CHECKPOINT).is_file()),
            overwrite=True,
            scheme_folder=folder,
            report=None if report is None else lambda row, job=job: report(job.name, row),  # type: ignore[misc]
        )
        write_answers(place / ANSWERS, images.tests, done.answers)
        _keep_result(place / RESULT, _row(job, method, settings, done, folder))
        write_rows(out / RESULTS, _finished(study, out))
    return _finished(study, out)


def _jobs(study: Study, only: Sequence[str] | None) -> Iterator[Job]:
    names = [run.name for run in study.runs]
    for name in only or ():
        if name not in names:
            raise WorkloadError(f"run {name!r}: not in the study, choose of {', '.join(dict.fromkeys(names))}")
    for run in study.runs:
        if not only or run.name in only:
            for seed in run.seeds:
                yield Job(run, seed)


def _row(job: Job, method: Method, settings: TrainSettings, done: Adapted, folder: Path) -> dict[str, Any]:
    """One line of results.csv: accuracies are those of the epoch that is kept."""
    before, last = done.before, done.rows[-1]
    scheme = method.scheme_record(folder)
    converter: Any = scheme.converter
    rule = scheme.weight_rule
    return {
        "run": job.run.name,
        "seed": job.seed,
        "weights": f"{getattr(rule, 'bits', 1)} {rule.granularity} {rule.method}",
        "activation_bits": scheme.activations.bits,
        "converter": " ".join(
            f"{value:g}" if isinstance(value, float) else str(value)
            for key in ("kind", "bits", "granularity", "method")
            if (value := getattr(converter, key, None)) is not None
        ),
        **({"vary": " ".join(method.vary)} if method.vary else {}),
        "gradient": method.gradient,
        "epochs": settings.epochs,
        "images_per_epoch": settings.images_per_epoch or "",
        **{f"untrained_{name}": value for name, value in before.items() if name.startswith("accuracy")},
        **{name: value for name, value in done.kept.items() if name.startswith(("accuracy", "standard_error"))},
        "kept_epoch": done.kept["epoch"],
        "below_start": done.below_start or "",
        "train_accuracy": last["train_accuracy"],
        "loss": last["loss"],
        "seconds": last["total_seconds"],
    }


def write_answers(path: Path, tests: Mapping[str, ImageSet], answers: Answers) -> None:
    """A line for each test image: what `cimemu claims paired` compares."""
    rows = [
        {"test": name, "image": image, "label": int(label), "answer": int(answer)}
        for name, given in answers.items()
        for image, (label, answer) in enumerate(zip(tests[name].labels, given, strict=True))
    ]
    if rows:
        write_rows(path, rows)


def _keep_result(path: Path, row: Mapping[str, Any]) -> None:
    with whole_file(path, WorkloadError, overwrite=True) as partial:
        partial.write_text(json.dumps(row, indent=1))


def _finished(study: Study, out: Path) -> list[dict[str, Any]]:
    """Rows of the runs that are done, in the study's order."""
    found = []
    for job in _jobs(study, None):
        path = out / job.name / RESULT
        if path.is_file():
            try:
                found.append(dict(json.loads(path.read_text())))
            except ValueError:
                raise WorkloadError(f"{path}: is damaged, remove it and go on with --resume") from None
    return found
