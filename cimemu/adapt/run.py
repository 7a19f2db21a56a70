"""`adapt_network`: a float network trained with the macro in its forward pass, then written for the emulator."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from cimemu.adapt.config import Method
from cimemu.adapt.held_back import Answers, Held, Judge, Trained, hold_back
from cimemu.adapt.images import ImageSet
from cimemu.adapt.library import repeatable
from cimemu.adapt.settings import TrainSettings
from cimemu.adapt.train import Course, CourseKeywords, Hooks, Keep, MetricsRow, train_and_keep
from cimemu.adapt.written_file import File, FileKeywords
from cimemu.arch.load import load_arch
from cimemu.arch.schema import Arch
from cimemu.errors import WorkloadError
from cimemu.keywords import filled
from cimemu.workload.network import Network


@dataclass(frozen=True, eq=False)
class Adapted:
    """A trained module, the file it was written to, and what was measured."""

    module: Any
    out: Path | None
    rows: tuple[MetricsRow, ...]  # one an epoch; accuracies are shares
    before: MetricsRow  # with first step sizes, before training: accuracy on test and held-back images
    kept: MetricsRow  # of the epoch that the module and the file hold, 0: the start
    below_start: str | None  # how the run ended below its start, in one line
    answers: Answers  # of `kept`, by test set: the class that the exact chip gives each image


@dataclass(frozen=True)
class Result(File):
    """The file of the adapted network, where a scheme's file is looked for, and who is told of every epoch's row."""

    scheme_folder: Path | None = None
    report: Callable[[MetricsRow], None] | None = None


class AdaptKeywords(CourseKeywords, FileKeywords, total=False):
    """Every field of `Course` and `Result`, as a keyword of `adapt_network`."""

    scheme_folder: Path | None
    report: Callable[[MetricsRow], None] | None


def adapt_network(
    arch: Arch | str | Path,
    network: Network,
    method: Method,
    data: ImageSet,
    settings: TrainSettings,
    *,
    course: Course = Course(),
    result: Result = Result(),
    **given: Unpack[AdaptKeywords],
) -> Adapted:
    """Train the float `network` with `arch`'s macro and the method's scheme in its forward pass, and export it.

    A part of the images is held back (`settings.hold_back`): the module and the file hold the epoch that does best on it,
    the start included, on varied chips where the method trains on such. First step sizes are found on the first
    `method.calibration` of the others. Keywords are fields of `course` (tests, keep, hooks, progress) and of `result` (out,
    overwrite, scheme_folder, report). `out` is a file that run, check and stress take. Raises WorkloadError or ArchError in
    one line.
    """
    course, result = filled("adapt_network", given, course, result)
    out, report = result.out, result.report
    from cimemu.adapt.convert import convert
    from cimemu.adapt.export import export
    from cimemu.adapt.psum_conv import has_bfloat16

    if out is not None and method.code_parity:
        raise WorkloadError(
            f"{out}: code_parity cannot be written, no chip holds it; leave --out out to compare accuracies"
        )
    result.refuse_taken()
    chip = load_arch(arch, method.set)
    scheme = method.scheme_record(result.scheme_folder)
    if method.vary and method.code_parity:
        raise WorkloadError("vary with code_parity: no chip holds its cells, train with one of them")
    if settings.gradient_type == "bfloat16" and settings.device == "cpu" and not has_bfloat16():
        warnings.warn(
            "train.gradient_type = bfloat16: this processor has no instructions for it, steps take several times longer; "
            "float32 is faster here",
            RuntimeWarning,
            stacklevel=2,
        )
    judge = Judge(tuple(method.vary), settings.seed, settings.hold_back.chips)
    data, held = hold_back(data, settings.hold_back)
    with repeatable(settings.threads):
        module = convert(
            network,
            chip,
            scheme,
            calibration=data.inputs(slice(0, min(method.calibration, len(data)))),
            gradient=method.gradient,
            code_parity=method.code_parity,
            smooth=method.smooth,
        )
        for macro in module.macros:
            macro.gradient_type = settings.gradient_type
        if method.vary:
            module.vary(method.vary, settings.seed)
        before = judge.row(module, course.tests or {}, "cpu") if settings.evaluate_first else {}
    if report is not None and before:
        report({"epoch": 0, **before})
    identity = {
        "network_sha256": _sha256(network),
        "arch": chip.model_dump_json(),
        "method": method.model_dump(mode="json", include=set(Method.model_fields))
        | {"scheme": scheme.model_dump(mode="json")},
    }
    keep = replace(course.keep or Keep(), identity=identity)
    hooks = replace(course.hooks or Hooks(), before_step=_begin_step, limit=_limit)
    trained: Trained = train_and_keep(
        module,
        data,
        settings,
        held=None if held is None else Held(held, judge),
        before={"epoch": 0, **before},
        judge=judge,
        course=replace(course, keep=keep, hooks=hooks if report is None else replace(hooks, after_epoch=report)),
    )
    if out is not None:
        export(module, out, overwrite=result.overwrite)
    return Adapted(module, out, tuple(trained.rows), trained.start, trained.kept, trained.below_start, trained.answers)


def _limit(module: Any, most: float) -> None:
    module.limit_gradients(most)


def _begin_step(module: Any, step: int, share: float) -> None:
    module.begin_step(step, share)


def _sha256(network: Network) -> str:
    """Of a network's weights."""
    digest = hashlib.sha256()
    for name in sorted(network.constants):
        digest.update(name.encode())
        digest.update(network.constants[name].tobytes())
    return digest.hexdigest()
