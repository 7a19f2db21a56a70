"""The runs behind `cimemu adapt`: from scratch, for a macro, in two stages, of a study; and how each ended."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cimemu.errors import WorkloadError
from cimemu.terminal import EpochLines, ProgressBars, make_console, print_json, print_table

if TYPE_CHECKING:
    from cimemu.adapt.config import AdaptConfig
    from cimemu.adapt.exact import Compared
    from cimemu.adapt.sources import Images
    from cimemu.adapt.train import Keep, MetricsRow

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
        from cimemu.workload.manifest import load_workload

        name = self.workload or workload
        work = None if name is None else load_workload(name)
        return find_images(settings.data, work, data=self.data, folder=self.folder, cache=self.cache)


def from_scratch_run(
    name: str, settings: "AdaptConfig", images: ImagesNamed, out: Path, keep: "Keep", force: bool, lines: EpochLines
) -> tuple[list[dict[str, Any]], Ended]:
    """A float network from its first weights: rows, one an epoch, and how it ended."""
    from cimemu.adapt.scratch import parse_shape, train_from_scratch
    from cimemu.adapt.train import Hooks

    parse_shape(name)
    found = images.find(settings)
    with ProgressBars(lines.shown) as bars:
        done = train_from_scratch(
            name,
            found.train,
            settings.train,
            out,
            tests=found.tests,
            keep=keep,
            overwrite=force,
            hooks=Hooks(after_epoch=lines.print),
            progress=bars.update,
        )
    return [dict(row) for row in done.rows], Ended(done.start, done.kept, done.below_start)


def macro_aware_run(
    arch: str,
    network: str,
    settings: "AdaptConfig",
    images: ImagesNamed,
    out: Path | None,
    keep: "Keep",
    force: bool,
    lines: EpochLines,
    module: str | None,
) -> tuple[list[dict[str, Any]], TrainedModule, Ended]:
    """A float network for the macro: rows, the module, and how it ended."""
    from cimemu.adapt.run import adapt_network
    from cimemu.adapt.sources import is_file, load_float
    from cimemu.arch.load import load_arch

    load_arch(arch, settings.set)
    settings.scheme_record(images.folder)  # mistakes are told before images are read
    found = images.find(settings, None if is_file(network) else network)
    with ProgressBars(lines.shown) as bars:
        done = adapt_network(
            arch,
            load_float(network, module=module, shape=found.train.inputs(slice(0, 1)).shape[1:]),
            settings,
            found.train,
            settings.train,
            tests=found.tests,
            out=out,
            keep=keep,
            overwrite=force,
            scheme_folder=images.folder,
            report=lines.print,
            progress=bars.update,
        )
    return list(done.rows), TrainedModule(done.module, found), Ended(done.before, done.kept, done.below_start)


def two_stage_run(
    arch: str,
    network: str,
    settings: "AdaptConfig",
    images: ImagesNamed,
    out: Path | None,
    keep: "Keep",
    force: bool,
    lines: EpochLines,
    module: str | None,
) -> tuple[list[dict[str, Any]], TrainedModule | None, Ended]:
    """Both stages, or the curve of the first: rows, the module of the second, and how it ended."""
    from cimemu.adapt.morph.curve import budget, curve
    from cimemu.adapt.morph.network import Watch
    from cimemu.adapt.morph.run import morph_settings, two_stage
    from cimemu.adapt.sources import is_file, load_float
    from cimemu.arch.load import load_arch

    chip, own = load_arch(arch, settings.set), morph_settings(settings)
    many = isinstance(own.macros, tuple)
    if many and out is not None:
        raise WorkloadError(f"--out {out}: several --macros make a curve of float networks, below --checkpoints DIR")
    settings.scheme_record(images.folder)  # mistakes are told before images are read
    found = images.find(settings, None if is_file(network) else network)
    source = load_float(network, module=module, shape=found.train.inputs(slice(0, 1)).shape[1:])
    with ProgressBars(lines.shown) as bars:
        epochs = {"shrink": own.shrink.epochs, "retrain": own.retrain.epochs, "seed": budget(own).epochs}
        lines = EpochLines(lines.epochs, lines.shown, epochs)
        watch = Watch(lines.of_run, bars.update)
        if many:
            return curve(chip, source, own, found.train, tests=found.tests, keep=keep, watch=watch), None, Ended()
        done = two_stage(
            arch,
            source,
            settings,
            found.train,
            tests=found.tests,
            out=out,
            keep=keep,
            overwrite=force,
            scheme_folder=images.folder,
            watch=watch,
        )
    trained = None if done.adapted is None else TrainedModule(done.adapted.module, found)
    rows, second, first = [dict(row) for row in done.rows], done.adapted, done.morphed.below_start
    if second is None:
        return rows, trained, Ended(below=first)
    return rows, trained, Ended(second.before, second.kept, second.below_start or first)


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
    shares = [
        name for name in dict.fromkeys(key for row in rows for key in row) if "accuracy" in name or "error" in name
    ]
    print_table([{k: v for k, v in row.items() if k != "below_start"} for row in rows], shares=shares)
    make_console().print(f"wrote {out / RESULTS}")
    _fail_below(below)


def _fail_below(lines: Sequence[str]) -> None:
    """A line for every run that ended below its start."""
    for line in lines:
        print(f"cimemu: {line}", file=sys.stderr)
    if lines:
        raise typer.Exit(BELOW_START)
