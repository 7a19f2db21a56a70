"""How well levels of nonlinear converters do, by method, on six networks.

`python measure.py run TABLES [NETWORK ...]` measures (a run that was ended goes on where it was), and `python measure.py tables
TABLES` writes what was measured as CSV files beside this one.
"""

import csv
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import cimemu
from cimemu.compare import compare, grid_points, parse_axis, read_table
from cimemu.compare.grid import Point
from cimemu.compare.table import Row, append_rows, from_hex, read_table_rows
from cimemu.layer.execute import first_images
from cimemu.ptq.apply import calibration_samples, quantized_weights, with_converters
from cimemu.ptq.placed import placed
from cimemu.stress.statistics import bootstrap, wilson
from cimemu.whole_file import whole_file

HERE = Path(__file__).parent
BASELINES = ("linear", "linear_mse", "lloyd_max", "cdf", "kmeans")
OURS = ("bs_kmq_drop", "bs_kmq_pin")
METHODS = (*BASELINES, *OURS)
BITS = (2, 3, 4, 5)
SOURCES = ("psums", "activations")
ERRORS = ("psum_error", "interior_error")
# one conversion gives the sum of a column pair for all bits of weights and inputs
MACRO = {
    "macro.weight": {"bits": 8, "encoding": "differential", "subtract": "analog", "combine": "analog"},
    "macro.cell.bits": 4,
    "macro.input": {"bits": 8, "dac_bits": 8, "dac": "pulse"},
}


@dataclass(frozen=True)
class Measured:
    """A network, its images, and the rows that hold a whole column of it."""

    title: str
    workload: str
    images: int  # that are run
    whole_rows: int | None  # for one conversion an output; None: the ramp cannot apply its activations
    calibration: int = 128
    given: bool = False  # a file of integers, whose converters alone are fitted
    chip: dict[str, Any] = field(default_factory=dict)
    bits: tuple[int, ...] = BITS  # at which images are run; errors are measured at all


WIDE = {"chip.tiles": 256, "macro.columns": 256}
NETWORKS = {
    "resnet8": Measured("ResNet-8, int8 file", str(HERE / "resnet8.yaml"), 300, 640, given=True),
    "resnet20": Measured("ResNet-20", "cifar10_resnet20", 200, 640),
    "resnet32": Measured("ResNet-32", str(HERE / "resnet32.yaml"), 100, 640, bits=(3,)),
    "efficientnet_lite0": Measured(
        "EfficientNet-Lite0", str(HERE / "efficientnet_lite0.yaml"), 0, 1280, calibration=16, chip=WIDE, bits=()
    ),
    "mobilenet_v2": Measured(
        "MobileNet v2, uint8 file", str(HERE / "mobilenet_v2.yaml"), 0, None, 16, given=True, chip=WIDE, bits=()
    ),
    "minilm": Measured("MiniLM", "minilm_retrieval", 0, None, calibration=32, chip=WIDE, bits=()),
}


def points_of(network: Measured, source: str, bits: tuple[int, ...]) -> list[Point]:
    """Every method at every width."""
    changes: dict[str, Any] = {"weights.kind": "given"} if network.given else {}
    rows = 256
    if source == "activations":  # exact thresholds: with scales by channel no one cell size serves all columns
        assert network.whole_rows is not None
        rows, changes = network.whole_rows, {**changes, "converter.source": source, "converter.ramp": None}
    axes = ("converter.bits=" + ",".join(map(str, bits)), "converter.method=" + ",".join(METHODS))
    base = {**MACRO, **network.chip, "macro.rows": rows}
    return grid_points([cimemu.scheme_of("bs_kmq", changes)], [parse_axis(axis) for axis in axes], base)


def run_errors(tables: Path, name: str, source: str) -> None:
    """Errors alone, at the widths at which no image is run; all at once."""
    network, out = NETWORKS[name], tables / f"{name}_{source}_errors.csv"
    others = tuple(bits for bits in BITS if bits not in network.bits)
    if out.exists() or not others:
        return
    points = points_of(network, source, others)
    workload, arch = cimemu.load_workload(network.workload), cimemu.load_arch("rram_128", dict(points[0].overrides))
    given, seen = cimemu.load_network(workload.network), first_images(workload.calibration(), network.calibration)
    weighted, errors = quantized_weights(given, arch, seen, points[0].scheme)
    samples = calibration_samples(weighted, arch, points[0].scheme, seen)
    rows = []
    for point in points:
        layers = with_converters(weighted, arch, placed(point.scheme, given), *samples, errors).layers
        rows.append([*point.key[1:], *(f"{np.mean([getattr(layer, one) for layer in layers]):.6g}" for one in ERRORS)])
    append_rows(out, ["converter.bits", "converter.method", *ERRORS], rows)


def run(tables: Path, name: str, source: str) -> None:
    """Errors and accuracies on one network."""
    run_errors(tables, name, source)
    network = NETWORKS[name]
    if not network.bits:
        return
    compare(
        "rram_128",
        cimemu.load_workload(network.workload),
        points_of(network, source, network.bits),
        tables / f"{name}_{source}.csv",
        images=network.images,
        calibration=network.calibration,
        progress=lambda _, done, total: print(f"{name} {source}: {done} of {total}", flush=True),
    )


Found = dict[tuple[str, str, int], dict[str, Row]]


def found(tables: Path, end: str = "") -> Found:
    """Rows by network, source and bits, then by method; widths that were measured with all methods alone."""
    made: Found = {}
    for name in NETWORKS:
        for source in SOURCES:
            path = tables / f"{name}_{source}{end}.csv"
            for row in read_table_rows(path)[1] if end else read_table(path):
                made.setdefault((name, source, int(row["converter.bits"])), {})[row["converter.method"]] = row
    return {key: rows for key, rows in made.items() if len(rows) == len(METHODS)}


def accuracy(row: Row) -> str:
    """In %, with its interval."""
    images = int(row["images"])
    right = int(from_hex(row["correct"], images).sum())
    ends = wilson(right, images)
    return f"{100 * right / images:.1f} [{100 * ends.low:.1f}, {100 * ends.high:.1f}]"


def difference(row: Row, other: Row) -> str:
    """In points on the same images, with its interval."""
    images = int(row["images"])
    a, b = (from_hex(r["correct"], images).astype(np.float64) for r in (row, other))
    ends = bootstrap(a - b)
    return f"{100 * (a - b).mean():+.1f} [{100 * ends.low:+.1f}, {100 * ends.high:+.1f}]"


def ratio(row: Row, other: Row) -> str:
    """How many times the error of `row` that of `other` is."""
    return f"{float(other['psum_error']) / float(row['psum_error']):.2f}"


def write(name: str, seen: Found, cells: dict[tuple[str, str, int], dict[str, str]]) -> None:
    """A table beside this file, a row a network, source and width."""
    order = sorted(seen, key=lambda key: (list(NETWORKS).index(key[0]), SOURCES.index(key[1]), key[2]))
    rows = [
        {"network": NETWORKS[key[0]].title, "levels for": key[1], "bits": str(key[2]), **cells[key]} for key in order
    ]
    with whole_file(HERE / f"{name}.csv", OSError, overwrite=True) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_tables(tables: Path) -> None:
    """Errors, accuracies and differences of all that was measured."""
    ran = found(tables)
    seen = {**found(tables, "_errors"), **ran}
    shown = {key: {"images": rows["linear"]["images"]} for key, rows in ran.items()}
    write("results", ran, {k: {**shown[k], **{m: accuracy(rows[m]) for m in METHODS}} for k, rows in ran.items()})
    for column, name in (("psum_error", "errors"), ("interior_error", "interior_errors")):
        write(name, seen, {k: {m: f"{float(rows[m][column]):.2g}" for m in METHODS} for k, rows in seen.items()})
    for ours in OURS:
        gains = {k: {f"over {m}": difference(rows[ours], rows[m]) for m in BASELINES} for k, rows in ran.items()}
        write(f"gains_{ours}", ran, gains)
        write(
            f"ratios_{ours}", seen, {k: {m: ratio(rows[ours], rows[m]) for m in BASELINES} for k, rows in seen.items()}
        )


def main() -> None:
    """Measure, or write tables."""
    task, tables, *names = sys.argv[1:]
    if task == "tables":
        write_tables(Path(tables))
        return
    Path(tables).mkdir(exist_ok=True)
    for name in names or NETWORKS:
        for source in SOURCES if NETWORKS[name].whole_rows is not None else SOURCES[:1]:
            run(Path(tables), name, source)


if __name__ == "__main__":
    main()
