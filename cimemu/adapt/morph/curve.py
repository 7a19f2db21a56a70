"""Compression against accuracy: stage 1 for several numbers of macros, beside the network itself trained as long."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cimemu.adapt.images import ImageSet
from cimemu.adapt.metrics_log import write_rows
from cimemu.adapt.morph.fill import tight
from cimemu.adapt.morph.network import Morphed, Watch, morph, train_plainly, weights_of
from cimemu.adapt.morph.settings import MorphSettings
from cimemu.adapt.morph.widen import widened
from cimemu.adapt.settings import TrainSettings
from cimemu.adapt.train import Keep
from cimemu.arch.schema import Arch
from cimemu.emulate import run
from cimemu.errors import WorkloadError
from cimemu.exporter import save_onnx
from cimemu.fitting.mapped import map_network
from cimemu.ptq.quantize import quantize
from cimemu.whole_file import whole_file
from cimemu.workload.network import Network

CURVE = "curve.csv"
RESULT = "result.json"
NETWORK = "network.onnx"
IMAGES = 2  # that are emulated for cycles and energy an image
Row = dict[str, Any]


def curve(
    arch: Arch,
    network: Network,
    settings: MorphSettings,
    data: ImageSet,
    *,
    tests: Mapping[str, ImageSet] | None = None,
    keep: Keep | None = None,
    watch: Watch | None = None,
) -> list[Row]:
    """A row for the network trained further, and one for each of the settings' numbers of macros.

    Below `keep.folder` every run has a folder with its checkpoints, its float network as ONNX and its row; what is done is
    not done again with `keep.resume`. The first row's budget is that of the others: the epochs of `retrain`, lengthened
    by the images of `shrink`.
    """
    tests, keep, watch = tests or {}, keep or Keep(), watch or Watch()
    network = widened(network, settings.widen, settings.shrink.seed)
    wanted = settings.macros if isinstance(settings.macros, tuple) else (settings.macros,)
    rows: list[Row] = []
    for macros in (None, *wanted):
        name = "seed" if macros is None else f"macros_{macros}"
        below = keep.below(name)
        folder = below.folder
        path = None if folder is None else folder / RESULT
        if path is not None and path.is_file() and keep.resume:
            rows.append(_read(path))
        else:
            own = replace(below, resume=keep.resume and folder is not None and folder.is_dir())
            if macros is None:
                made, row = _plain(arch, network, settings, data, tests, own, watch)
            else:
                done = morph(arch, network, settings, data, macros=macros, tests=tests, keep=own, watch=watch)
                made, row = done.network, row_of(done, data)
            rows.append({"run": name, **row})
            if folder is not None and path is not None:
                folder.mkdir(parents=True, exist_ok=True)
                save_onnx(made, folder / NETWORK, overwrite=True)
                with whole_file(path, WorkloadError, overwrite=True) as partial:
                    partial.write_text(json.dumps(rows[-1], indent=1))
        if keep.folder is not None:
            write_rows(keep.folder / CURVE, rows)
    return rows


def row_of(done: Morphed, data: ImageSet) -> Row:
    """What became of a network, in one row."""
    last = done.accuracy["retrained"]
    return {
        **chip_figures(done.network, done.arch, data),
        "parameters": done.parameters,
        "compression": done.compression,
        "branches_dropped": len(done.filled.dropped),
        **last,
        **{f"pruned_{name}": value for name, value in done.accuracy["pruned"].items() if name.startswith("accuracy")},
    }


def chip_figures(network: Network, arch: Arch, data: ImageSet) -> Row:
    """Macros, utilisation and weight loading by the mapper; cycles and energy an image as the emulator measures them.

    The float network is quantised to the arch's bits by its first training images; blocks are packed tightly.
    """
    chip = tight(arch)
    lowered = quantize(network, chip, calibration=data.inputs(slice(0, 16)))
    summary = map_network(lowered, chip).summary()
    chip = chip.model_copy(update={"allow_reprogram": True})
    measured = run(chip, lowered, data.inputs(slice(0, IMAGES)))
    assert measured.cycles is not None  # it has been timed
    assert measured.energy_uj is not None
    return {
        "macros": summary["macros"],
        "utilization": summary["utilization"],
        "macs": summary["macs"],
        "load_cycles": summary["load_cycles"],
        "load_uj": summary["load_uj"],
        "cycles_per_image": measured.cycles // IMAGES,
        "uj_per_image": measured.energy_uj / IMAGES,
    }


def budget(settings: MorphSettings) -> TrainSettings:
    """As many images as shrinking and retraining see together, in epochs of the same number."""
    one, other = settings.shrink, settings.retrain
    if one.images_per_epoch is None or other.images_per_epoch is None:
        return other.model_copy(update={"epochs": one.epochs + other.epochs})
    images = one.epochs * one.images_per_epoch + other.epochs * other.images_per_epoch
    epochs = one.epochs + other.epochs
    return other.model_copy(update={"epochs": epochs, "images_per_epoch": -(-images // epochs)})


def _plain(
    arch: Arch,
    network: Network,
    settings: MorphSettings,
    data: ImageSet,
    tests: Mapping[str, ImageSet],
    keep: Keep,
    watch: Watch,
) -> tuple[Network, Row]:
    has_one = keep.folder is not None and (keep.folder / "checkpoint.pt").is_file()
    made, trained = train_plainly(
        network,
        budget(settings),
        data,
        calibration=settings.calibration,
        tests=tests,
        keep=replace(keep, resume=keep.resume and has_one),
        watch=watch,
    )
    last = {key: value for key, value in trained.kept.items() if key.startswith(("accuracy", "standard_error"))}
    figures = chip_figures(made, arch, data)
    return made, {
        **figures,
        "parameters": weights_of(network),
        "compression": 0.0,
        "branches_dropped": 0,
        **last,
        **{f"pruned_{name}": None for name in last if name.startswith("accuracy")},
    }


def _read(path: Path) -> Row:
    try:
        return dict(json.loads(path.read_text()))
    except ValueError:
        raise WorkloadError(f"{path}: is damaged, remove it and go on with --resume") from None
