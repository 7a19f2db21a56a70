"""The shipped component tables: rows with a source each, log-log interpolation inside their range."""

import csv
from dataclasses import dataclass
from functools import cache
from math import exp, log
from pathlib import Path

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Part:
    """One row: a component at its own node, supply and width."""

    part: str
    name: str
    node_nm: float
    voltage_v: float | None
    bits: float
    energy_pj: float
    area_um2: float
    leakage_uw: float
    source: str


@dataclass(frozen=True)
class Sram:
    """One SRAM of the CACTI 7 grid; energies of an access of `port_bits`."""

    node_nm: float
    size_kib: float
    port_bits: float
    access_pj: float  # mean of read and write
    area_um2: float
    leakage_uw: float
    access_ns: float


@cache
def component_rows() -> tuple[Part, ...]:
    """Every row of components.csv."""
    return tuple(
        Part(
            row["part"],
            row["name"],
            float(row["node_nm"]),
            float(row["voltage_v"]) if row["voltage_v"] else None,
            float(row["bits"]),
            float(row["energy_pj"]),
            float(row["area_um2"]),
            float(row["leakage_uw"]),
            row["source"],
        )
        for row in _csv("components.csv")
    )


@cache
def sram_rows() -> tuple[Sram, ...]:
    """The SRAM grid: computed once with CACTI 7 (hwcomponents-cacti 1.0.40), one bank, 22 .. 90 nm."""
    return tuple(
        Sram(
            float(row["node_nm"]),
            float(row["size_kib"]),
            float(row["port_bits"]),
            (float(row["read_pj"]) + float(row["write_pj"])) / 2,
            float(row["area_um2"]),
            float(row["leak_uw"]),
            float(row["access_ns"]),
        )
        for row in _csv("cacti7_sram.csv")
    )


def _csv(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def log_log(x: float, points: list[tuple[float, float]], extrapolate: bool, what: str) -> float:
    """y(x) through `points` (x ascending), straight in log-log; a zero anywhere makes a piece straight in y.

    Outside the points: ValueError that names `what`, unless `extrapolate`.
    """
    first, last = points[0][0], points[-1][0]
    if not first <= x <= last and not extrapolate:
        raise ValueError(
            f"{what} = {x:g}, the table has {first:g} .. {last:g}; "
            "choose a value inside, give measured numbers, or set extrapolate: true"
        )
    for at, value in points:
        if at == x:
            return value
    if len(points) == 1:  # one point: in proportion
        return points[0][1] * x / first
    above = next((i for i, (at, _) in enumerate(points) if at > x), len(points) - 1)
    above = max(1, above)
    (xa, ya), (xb, yb) = points[above - 1], points[above]
    share = (log(x) - log(xa)) / (log(xb) - log(xa))
    if ya <= 0 or yb <= 0:
        return max(0.0, ya + share * (yb - ya))
    return exp(log(ya) + share * (log(yb) - log(ya)))
