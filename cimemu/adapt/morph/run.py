"""Both stages in a row: a network that fills its macros, then trained with the macro in its forward pass."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from cimemu.adapt.config import AdaptConfig
from cimemu.adapt.images import ImageSet
from cimemu.adapt.metrics_log import write_rows
from cimemu.adapt.morph.curve import chip_figures
from cimemu.adapt.morph.network import Morphed, Watch, morph
from cimemu.adapt.morph.settings import MorphSettings
from cimemu.adapt.morph.widen import widened
from cimemu.adapt.run import Adapted, Result, adapt_network
from cimemu.adapt.train import CHECKPOINT, Course, Keep
from cimemu.adapt.written_file import FileKeywords
from cimemu.arch.load import load_arch
from cimemu.arch.schema import Arch
from cimemu.errors import WorkloadError
from cimemu.exporter import save_onnx
from cimemu.keywords import filled
from cimemu.workload.network import Network

FLOAT = "float.onnx"
STAGES = "stages.csv"
PACKING = {"mapping.packing": "tight"}


@dataclass(frozen=True, eq=False)
class TwoStage:
    """What both stages made."""

    morphed: Morphed
    adapted: Adapted | None  # without stage 2
    rows: tuple[Mapping[str, Any], ...]  # "seed", "stage 1", "stage 2": accuracy, weights, macros, loading, energy


def morph_settings(config: AdaptConfig) -> MorphSettings:
    """The config's `morph`, with seed, device and threads of its `train`. WorkloadError where it has none."""
    own = config.morph
    if own is None:
        raise WorkloadError("morph: the config has no such key, give morph.macros (or --macros N)")
    common = {key: getattr(config.train, key) for key in ("seed", "device", "threads")}
    return own.model_copy(
        update={"shrink": own.shrink.model_copy(update=common), "retrain": own.retrain.model_copy(update=common)}
    )


def two_stage(
    arch: Arch | str | Path,
    network: Network,
    config: AdaptConfig,
    data: ImageSet,
    *,
    tests: Mapping[str, ImageSet] | None = None,
    keep: Keep | None = None,
    watch: Watch | None = None,
    scheme_folder: Path | None = None,
    **given: Unpack[FileKeywords],
) -> TwoStage:
    """Stage 1 (`morph`) and stage 2 (`adapt_network`) of the config on a float `network`, written to `out`.

    Below `keep.folder`: a folder for either stage, the float network between them (float.onnx) and stages.csv. Raises
    WorkloadError or ArchError in one line.
    """
    (result,) = filled("two_stage", given, Result(scheme_folder=scheme_folder))
    out = result.out
    result.refuse_taken()
    keep, watch = keep or Keep(), watch or Watch()
    settings = morph_settings(config)
    chip = load_arch(arch, config.set)
    network = widened(network, settings.widen, settings.shrink.seed)
    morphed = morph(chip, network, settings, data, tests=tests, keep=keep.below("stage1"), watch=watch)
    if keep.folder is not None:
        save_onnx(morphed.network, keep.folder / FLOAT, overwrite=True)
    adapted = None
    if settings.stage2:
        adapted = _second(
            arch, morphed.network, config, data, Course(tests, keep, progress=watch.progress), result, watch
        )
    elif out is not None:
        save_onnx(morphed.network, out, overwrite=result.overwrite)
    rows = _rows(network, chip, morphed, adapted, data)
    if keep.folder is not None:
        write_rows(keep.folder / STAGES, rows)
    return TwoStage(morphed, adapted, rows)


def _second(
    arch: Arch | str | Path,
    network: Network,
    config: AdaptConfig,
    data: ImageSet,
    course: Course,
    result: Result,
    watch: Watch,
) -> Adapted:
    below = (course.keep or Keep()).below("stage2")
    resume = below.resume and below.folder is not None and (below.folder / CHECKPOINT).is_file()
    report = watch.report
    return adapt_network(
        arch,
        network,
        config.model_copy(update={"set": {**config.set, **PACKING}}),
        data,
        config.train,
        course=replace(course, keep=replace(below, resume=resume)),
        result=replace(result, report=None if report is None else lambda row: report("stage 2", row)),
    )


def _rows(
    network: Network, chip: Arch, morphed: Morphed, adapted: Adapted | None, data: ImageSet
) -> tuple[dict[str, Any], ...]:
    """Before and after, with the chip's figures."""
    same = {
        "weights": morphed.parameters,
        "compression": morphed.compression,
        **chip_figures(morphed.network, chip, data),
    }
    rows = [
        {
            "stage": "seed",
            "weights": morphed.parameters_seed,
            "compression": 0.0,
            **chip_figures(network, chip, data),
            **morphed.accuracy["seed"],
        },
        {"stage": "stage 1", **same, **morphed.accuracy["retrained"]},
    ]
    if adapted is not None:
        last = {key: value for key, value in adapted.kept.items() if key.startswith(("accuracy", "standard_error"))}
        rows.append({"stage": "stage 2", **same, **last})
    return tuple(rows)
