"""What a point of the grid costs and reaches: the network quantised and fitted, run by the emulator, written as a row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cimemu.arch.load import load_arch
from cimemu.arch.schema import Arch
from cimemu.compare.grid import Point
from cimemu.compare.sidecar import append_layers, append_levels
from cimemu.compare.table import Row, append_row, done_rows, point_row, to_hex
from cimemu.compute.forward import Emulator
from cimemu.compute.psum_samples import PsumSamples
from cimemu.emulate import run
from cimemu.errors import WorkloadError
from cimemu.importer import load_network
from cimemu.layer.execute import first_images
from cimemu.ptq.apply import Fitted, calibration_samples, quantized_weights, with_converters
from cimemu.ptq.placed import placed
from cimemu.ptq.scheme import Scheme
from cimemu.workload.manifest import Workload
from cimemu.workload.network import Network

Progress = Callable[[str, int, int], None]


@dataclass
class _Stage:
    """The last weights made, with their samples: points that differ in the converter alone share them."""

    key: str = ""
    network: Network | None = None
    errors: Any = None
    samples: tuple[list[PsumSamples], list[PsumSamples]] | None = None


def dequantization(network: Network, arch: Arch) -> dict[str, tuple[int, int]]:
    """(scale multiplications of one output position, output positions) of every macro layer, by name.

    The multiplication of the requantisation is counted where it is the only one (the formula: cimemu docs quantisation).
    """
    emulator = Emulator(network, arch.macro)
    found = {}
    for name, matrix in emulator.matrices.items():
        units = [p.matrix for p in matrix.programmed]
        found[name] = (
            sum(unit.multiplications or unit.layout.outputs for unit in units),
            matrix.layer.geometry.positions,
        )
    return found


def compare(
    arch: str | Path | Arch,
    workload: Workload,
    points: Sequence[Point],
    out: Path,
    *,
    images: int | None = None,
    calibration: int = 128,
    progress: Progress | None = None,
) -> list[Row]:
    """Rows of all `points`, in their order; those that `out` has already are not made again.

    Each row is appended to `out` (CSV) as soon as it is there, errors by layer to `OUT.layers.csv`, levels and psum
    histograms by layer to `OUT.levels.csv`. Raises WorkloadError, ArchError or MappingError of the first point that cannot be made.
    """
    axes = [key for key, _ in points[0].settings] if points else []
    done = done_rows(out, axes)
    missing = [point for point in points if point.key not in done]
    network = load_network(workload.network)
    inputs, labels = workload.inputs(images)
    if labels is None and workload.manifest.metric.kind != "retrieval":
        raise WorkloadError(f"{workload.path}: has no labels, accuracies need them")
    seen = first_images(workload.calibration(), calibration) if missing else np.zeros(0)
    stage = _Stage()
    order = {key: number for number, key in enumerate(dict.fromkeys(_stage_key(p) for p in missing))}
    for number, point in enumerate(sorted(missing, key=lambda p: order[_stage_key(p)])):
        chip = load_arch(arch, dict(point.overrides))
        fitted = _fitted(stage, network, chip, seen, point)
        row = point_row(point, _measured(chip, fitted, workload, (inputs, labels)))
        append_row(out, axes, row)
        append_layers(out, point, axes, fitted)
        assert stage.samples is not None
        append_levels(out, point, axes, fitted, stage.samples[0])
        done[point.key] = row
        if progress is not None:
            progress("points", number + 1, len(missing))
    return [done[point.key] for point in points]


def _stage_key(point: Point) -> str:
    """What the weights and their partial sums depend on."""
    tree = point.scheme.model_dump(exclude={"converter", "name"})
    return repr((tree, point.scheme.converter.kind == "arch", point.overrides))


def _fitted(stage: _Stage, network: Network, arch: Arch, calibration: Any, point: Point) -> Fitted:
    scheme: Scheme = point.scheme
    if stage.key != _stage_key(point) or stage.network is None:
        stage.samples = None  # before the next ones are made: memory
        stage.network, stage.errors = quantized_weights(network, arch, calibration, scheme)
        stage.samples = calibration_samples(stage.network, arch, scheme, calibration)
        stage.key = _stage_key(point)
    assert stage.samples is not None
    return with_converters(stage.network, arch, placed(scheme, network), *stage.samples, stage.errors)


def _measured(arch: Arch, fitted: Fitted, workload: Workload, given: tuple[Any, Any]) -> Row:
    """Accuracy, time and energy on all images and their labels; a pair counts as one where pairs are to find each other."""
    inputs, labels = given
    result = run(arch, fitted.network, inputs, labels, detail="ops")
    assert result.cycles is not None
    assert result.energy_uj is not None
    correct = workload.right(result.outputs, result.predictions, labels)
    share = float(correct.mean())
    layers, energy = fitted.layers, result.energy_interval()

    def mean(values: list[float | None]) -> str:
        known = [value for value in values if value is not None]
        return f"{np.mean(known):.6g}" if known else ""

    products = sum(count * positions for count, positions in dequantization(fitted.network, arch).values())
    return {
        "images": str(len(correct)),
        "accuracy": f"{share:.6f}",
        "standard_error": f"{np.sqrt(share * (1 - share) / len(correct)):.6f}",
        "conversions_per_image": f"{result.conversions / result.images:.0f}",
        "scale_multiplications_per_image": str(products),
        "cycles_per_image": f"{result.cycles / result.images:.0f}",
        "energy_nj_per_image": f"{1e3 * result.energy_uj / result.images:.3f}",
        "energy_low_nj_per_image": f"{1e3 * energy.low / result.images:.3f}",
        "energy_high_nj_per_image": f"{1e3 * energy.high / result.images:.3f}",
        "macros": str(result.macros),
        "utilization": f"{result.utilization:.4f}",
        "weight_error": mean([layer.weight_error for layer in layers]),
        "psum_error": mean([layer.psum_error for layer in layers]),
        "interior_error": mean([layer.interior_error for layer in layers]),
        "folded_layers": str(sum(layer.folded for layer in layers)),
        "correct": to_hex(correct),
    }
