"""The runs behind `cimemu adapt`: from scratch, for a macro, in two stages, of a study; and how each ended."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cimemu.cli.study_table import print_study
from cimemu.errors import WorkloadError
from cimemu.terminal import EpochLines, ProgressBars, make_console, print_json

if TYPE_CHECKING:
    from cimemu.adapt.config import AdaptConfig
    from cimemu.adapt.exact import Compared
    from cimemu.adapt.sources import Images
    from cimemu.adapt.train import Keep, MetricsRow
    from cimemu.arch.schema import Arch
    from cimemu.workload.network import Network

BELOW_START = 3  # exit status of a run that ended below its start


@dataclass(frozen=True)
class Ended:
    """What is kept of a run, and how it ended below its start."""

    start: "MetricsRow | None" = None
    kept: "MetricsRow | None" = None
    below: str | None = None

    @property
    def told(self) -> dict[str, Any]:
        """For JSON."""
        return {"below_start": self.below} | ({} if self.kept is None else {"start": self.start, "kept": self.kept})

    @property
    def line(self) -> str:
        """For people."""
        assert self.kept is not None
        epoch = self.kept["epoch"]
        parts = ["kept: the start, before training" if epoch == 0 else f"kept: epoch {epoch}"]
        if "held_back_accuracy" in self.kept:
            parts.append(f"held-back images {100 * (self.kept['held_back_accuracy'] or 0):.2f} %")
        for name, value in self.kept.items():
            if name.startswith("accuracy_") and value is not None:
                parts.append(f"{name.removeprefix('accuracy_')} {100 * value:.2f} %")
        return ", ".join(parts)

    def fail(self) -> None:
        """One line and a status of its own where training did harm."""
        if self.below is not None:
            print(f"cimemu: {self.below}", file=sys.stderr)
            raise typer.Exit(BELOW_START)


@dataclass(frozen=True, eq=False)
class TrainedModule:
    """A module for macros, and what it can be verified on."""

    module: Any
    images: "Images"

    def verified(self, count: int) -> "tuple[Sequence[Compared], int]":
        """(rows, images) beside the emulator: the first images of the first test set, else of those trained on."""
        from cimemu.adapt.exact import compare_with_emulator

        chosen = next(iter(self.images.tests.values()), self.images.train)
        images = chosen.inputs(slice(0, count))
        return compare_with_emulator(self.module.cpu().eval(), images), len(images)


@dataclass(frozen=True)
class ImagesNamed:
    """Where images come from, as the command line says."""

    workload: str | None
    data: str | None
    folder: Path | None  # of the config
    cache: Path | None

    def find(self, settings: "AdaptConfig", workload: str | None = None) -> "Images":
        """The images; `workload` where --workload names none."""
        from cimemu.adapt.sources import find_images
        from cimemu.loading.load import load_workload

        name = self.workload or workload
        work = None if name is None else load_workload(name)
        return find_images(settings.data, work, data=self.data, folder=self.folder, cache=self.cache)


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run made: rows, one an epoch or stage, a module for macros where there is one, and how the run ended."""

    rows: "list[dict[str, Any]]"
    ended: Ended
    module: TrainedModule | None = None


@dataclass(frozen=True, eq=False)
class Job:
    """What is trained: settings, images, and where it goes; for macros also the chip and the float network, by name."""

    settings: "AdaptConfig"
    images: ImagesNamed
    out: Path | None
    keep: "Keep"
    force: bool
    lines: EpochLines
    arch: str = ""
    network: str = ""
    module: str | None = None

    def found(self) -> "tuple[Arch, Images, Network]":
        """(chip, images, float network); mistakes in the chip and the scheme are told before images are read."""
        from cimemu.adapt.sources import is_file, load_float
        from cimemu.arch.load import load_arch

        chip = load_arch(self.arch, self.settings.set)
        self.settings.scheme_record(self.images.folder)
        images = self.images.find(self.settings, None if is_file(self.network) else self.network)
        shape = images.train.inputs(slice(0, 1)).shape[1:]
        return chip, images, load_float(self.network, module=self.module, shape=shape)


def from_scratch_run(name: str, job: Job, out: Path) -> Trained:
    """A float network from its first weights."""
    from cimemu.adapt.scratch import parse_shape, train_from_scratch
    from cimemu.adapt.train import Course, Hooks

    parse_shape(name)
    images = job.images.find(job.settings)
    with ProgressBars(job.lines.shown) as bars:
        course = Course(images.tests, job.keep, Hooks(after_epoch=job.lines.print), bars.update)
        done = train_from_scratch(name, images.train, job.settings.train, out, overwrite=job.force, course=course)
    return Trained([dict(row) for row in done.rows], Ended(done.start, done.kept, done.below_start))


def macro_aware_run(job: Job) -> Trained:
    """A float network for the macro."""
    from cimemu.adapt.run import Result, adapt_network
    from cimemu.adapt.train import Course

    _, images, network = job.found()
    with ProgressBars(job.lines.shown) as bars:
        done = adapt_network(
            job.arch,
            network,
            job.settings,
            images.train,
            job.settings.train,
            course=Course(images.tests, job.keep, progress=bars.update),
            result=Result(job.out, job.force, job.images.folder, job.lines.print),
        )
    ended = Ended(done.before, done.kept, done.below_start)
    return Trained([dict(row) for row in done.rows], ended, TrainedModule(done.module, images))


def two_stage_run(job: Job) -> Trained:
    """Both stages, or the curve of the first."""
    from cimemu.adapt.morph.curve import budget, curve
    from cimemu.adapt.morph.network import Watch
    from cimemu.adapt.morph.run import morph_settings, two_stage

    own = morph_settings(job.settings)
    many = isinstance(own.macros, tuple)
    if many and job.out is not None:
        raise WorkloadError(
            f"--out {job.out}: several --macros make a curve of float networks, below --checkpoints DIR"
        )
    chip, images, source = job.found()
    with ProgressBars(job.lines.shown) as bars:
        epochs = {"shrink": own.shrink.epochs, "retrain": own.retrain.epochs, "seed": budget(own).epochs}
        watch = Watch(EpochLines(job.lines.epochs, job.lines.shown, epochs).of_run, bars.update)
        if many:
            rows = curve(chip, source, own, images.train, tests=images.tests, keep=job.keep, watch=watch)
            return Trained(rows, Ended())
        done = two_stage(
            job.arch,
            source,
            job.settings,
            images.train,
            tests=images.tests,
            keep=job.keep,
            watch=watch,
            scheme_folder=job.images.folder,
            out=job.out,
            overwrite=job.force,
        )
    rows, second, first = [dict(row) for row in done.rows], done.adapted, done.morphed.below_start
    if second is None:
        return Trained(rows, Ended(below=first))
    ended = Ended(second.before, second.kept, second.below_start or first)
    return Trained(rows, ended, TrainedModule(second.module, images))


def study_run(
    path: Path,
    changes: dict[str, Any],
    out: Path | None,
    only: list[str] | None,
    resume: bool,
    cache: Path | None,
    as_json: bool,
) -> None:
    """All runs of a study, printed; Exit where one ended below its start."""
    from cimemu.adapt.library import device_of
    from cimemu.adapt.study import RESULTS, read_study, run_study

    if out is None:
        raise WorkloadError("--study: give --out DIR, the folder of its runs")
    study = read_study(path, changes)
    device_of(study.train.device)
    lines = EpochLines(study.train.epochs, not as_json)
    with ProgressBars(lines.shown) as bars:
        rows = run_study(
            study,
            out,
            folder=path.parent,
            only=only,
            resume=resume,
            cache=cache,
            report=lines.of_run,
            progress=bars.update,
        )
    below = [f"{row['run']}, seed {row['seed']}: {row['below_start']}" for row in rows if row.get("below_start")]
    if as_json:
        print_json({"runs": rows, "out": str(out / RESULTS)})
        _fail_below(below)
        return
    print_study(rows)
    make_console().print(f"wrote {out / RESULTS}, which has all of it")
    _fail_below(below)


def _fail_below(lines: Sequence[str]) -> None:
    """A line for every run that ended below its start."""
    for line in lines:
        print(f"cimemu: {line}", file=sys.stderr)
    if lines:
        raise typer.Exit(BELOW_START)
