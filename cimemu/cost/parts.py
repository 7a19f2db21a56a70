"""Estimators of single components: shipped tables, measured numbers, SRAM, and tables of external tools."""

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from cimemu.cost.scaling import area_factor, energy_factor
from cimemu.cost.site import Estimate, Estimator, Site
from cimemu.cost.tables import component_rows, log_log, sram_rows
from cimemu.errors import CimemuError
from cimemu.given_file import read_text
from cimemu.record import Record


class LibraryPart(Record, Estimator):
    """A row of the shipped component table, scaled to the chip's node and supply after Stillmaker and Baas."""

    model: Literal["library"] = "library"
    part: str = Field(description="adder, register, shift_add, router ...: a part of the shipped table")
    name: str = Field("", description="whose part, where several papers give one; default: the first listed")
    bits: float = Field(gt=0, description="width of the part in bits")
    per_bit: bool = Field(False, description="the event or instance is one bit of it")
    extrapolate: bool = Field(False, description="allow widths outside the table")

    def estimate(self, site: Site) -> Estimate:
        """Log-log over the width; ValueError outside the table unless `extrapolate`."""
        rows = [row for row in component_rows() if row.part == self.part and row.name == (self.name or row.name)]
        if not rows:
            known = sorted({f"{row.part} ({row.name})" for row in component_rows()})
            raise ValueError(f"part = {self.part!r} {self.name}: no such part; known: {', '.join(known)}")
        rows = sorted((row for row in rows if row.name == rows[0].name), key=lambda row: row.bits)
        native = rows[0]
        where = f"{self.part} ({native.name}): bits"

        def at(field: str) -> float:
            points = [(row.bits, float(getattr(row, field))) for row in rows]
            return log_log(self.bits, points, self.extrapolate, where)

        from_v = site.supply if native.voltage_v is None else native.voltage_v
        energy = energy_factor(native.node_nm, site.node, from_v, site.supply)
        share = 1 / self.bits if self.per_bit else 1.0
        scaled = f"{native.source}; Stillmaker-Baas {native.node_nm:g} -> {site.node:g} nm, {site.supply:g} V"
        return Estimate(
            at("energy_pj") * energy * share,
            at("area_um2") * area_factor(native.node_nm, site.node) * share,
            at("leakage_uw") * energy * share,
            scaled,
        )


class AdderTree(Record, Estimator):
    """Full adders of a tree that adds `inputs` numbers of `bits` bits, one more bit a level, counted: Aladdin's, scaled."""

    model: Literal["adder_tree"] = "adder_tree"
    inputs: int = Field(ge=2, le=65536, description="numbers added up: rows raised together")
    bits: int = Field(1, ge=1, le=64, description="bits of each")
    activity: float = Field(0.5, ge=0, le=1, description="share of the adders whose sum changes")

    @property
    def full_adders(self) -> int:
        """Of all levels; a number without a partner goes up a level as it is."""
        left, width, total = self.inputs, self.bits, 0
        while left > 1:
            total += left // 2 * width
            left, width = left - left // 2, width + 1
        return total

    def estimate(self, site: Site) -> Estimate:
        """Full adders x the library's adder, a bit."""
        one = LibraryPart(part="adder", bits=32, per_bit=True).estimate(site)
        count = self.full_adders
        return Estimate(
            one.energy_pj * count * self.activity,
            one.area_um2 * count,
            one.leakage_uw * count,
            f"{count} full adders of a tree of {self.inputs} x {self.bits} bits, {100 * self.activity:g} % active; {one.source}",
        )


class SramBuffer(Record, Estimator):
    """A bit of an SRAM access, area and leakage of a KiB: the shipped CACTI 7 grid (22 .. 90 nm, 1 .. 256 KiB)."""

    model: Literal["sram"] = "sram"
    size_kib: float = Field(gt=0, description="capacity of one bank in KiB")
    port_bits: float = Field(256, gt=0, description="width of an access")
    extrapolate: bool = Field(False, description="allow sizes, widths and nodes outside the grid")

    def estimate(self, site: Site) -> Estimate:
        """Log-log over node, size and width; ValueError outside the grid unless `extrapolate`."""
        rows = sram_rows()
        sizes = sorted({row.size_kib for row in rows})
        nodes = sorted({row.node_nm for row in rows})

        def over_ports(node: float, size: float, field: str) -> float:
            points = [(r.port_bits, float(getattr(r, field))) for r in rows if (r.node_nm, r.size_kib) == (node, size)]
            return log_log(self.port_bits, sorted(points), self.extrapolate, "sram port_bits")

        def at(field: str) -> float:
            by_node = []
            for node in nodes:
                by_size = [(size, over_ports(node, size, field)) for size in sizes if _has(rows, node, size)]
                by_node.append((node, log_log(self.size_kib, by_size, self.extrapolate, "sram size_kib")))
            return log_log(site.node, by_node, self.extrapolate, "sram node_nm")

        return Estimate(
            at("access_pj") / self.port_bits,
            at("area_um2") / self.size_kib,
            at("leakage_uw") / self.size_kib,
            f"CACTI 7 grid: {self.size_kib:g} KiB, {self.port_bits:g}-bit port at {site.node:g} nm, a bit and a KiB",
        )


def _has(rows, node: float, size: float) -> bool:  # type: ignore[no-untyped-def]
    return any((row.node_nm, row.size_kib) == (node, size) for row in rows)


class SupplyPoint(Record):
    """What was measured at one supply."""

    voltage_v: float = Field(gt=0, description="supply of the measurement")
    energy_pj: float = Field(ge=0, description="energy of one event at it")
    leakage_uw: float = Field(0.0, ge=0, description="leakage power of one instance at it")


class Measured(Record, Estimator):
    """Numbers measured at one supply: energy goes with its square, leakage power with the supply itself.

    Or a table over supplies (`points`), straight in the logarithms in between and refused outside: no law is assumed.
    """

    model: Literal["measured"] = "measured"
    voltage_v: float | None = Field(None, gt=0, description="supply of the measurement, where it is one")
    points: tuple[SupplyPoint, ...] = Field(
        (), description="energy and leakage at several supplies, in the place of one"
    )
    node_nm: float | None = Field(
        None, gt=0, description="node of the measurement where it is not the chip's: then Stillmaker-Baas in its place"
    )
    energy_pj: float = Field(0.0, ge=0, description="energy of one event at that supply")
    area_um2: float = Field(0.0, ge=0, description="area of one instance")
    leakage_uw: float = Field(0.0, ge=0, description="leakage power of one instance at that supply")

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        """One supply or a table of them, not both and not neither."""
        if (self.voltage_v is None) == (not self.points):
            raise ValueError("measured: give voltage_v of one measurement, or points at several supplies")
        if self.points and (self.energy_pj or self.leakage_uw or self.node_nm is not None):
            raise ValueError(
                "measured: points with energy_pj, leakage_uw or node_nm: a point has its own, leave them out"
            )
        if len(self.points) == 1 or len({point.voltage_v for point in self.points}) < len(self.points):
            raise ValueError("measured: points must be at two supplies at least, each once")
        return self

    @model_serializer(mode="wrap")
    def _without_an_empty_table(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """So that traces of chips without one are what they were."""
        made: dict[str, Any] = handler(self)
        return {key: value for key, value in made.items() if key != "points" or value}

    def estimate(self, site: Site) -> Estimate:
        """Scaled to the chip's supply (and node), or read off the table."""
        if self.voltage_v is None:
            points = sorted(self.points, key=lambda point: point.voltage_v)
            energy, leakage = (
                log_log(site.supply, [(p.voltage_v, getattr(p, name)) for p in points], False, "measured voltage_v")
                for name in ("energy_pj", "leakage_uw")
            )
            told = ", ".join(f"{point.voltage_v:g}" for point in points)
            return Estimate(energy, self.area_um2, leakage, f"measured at {told} V, at {site.supply:g} V here")
        ratio = site.supply / self.voltage_v
        energy, area = ratio**2, 1.0
        if self.node_nm is not None and self.node_nm != site.node:
            energy = energy_factor(self.node_nm, site.node, self.voltage_v, site.supply)
            area = area_factor(self.node_nm, site.node)
        return Estimate(
            self.energy_pj * energy,
            self.area_um2 * area,
            self.leakage_uw * ratio,
            f"measured at {self.voltage_v:g} V, at {site.supply:g} V here",
        )


class ImportedPart(Record, Estimator):
    """An entry of a table that `cimemu cost import` wrote."""

    model: Literal["imported"] = "imported"
    file: Path = Field(description="the table, relative to the architecture file")
    name: str = Field(description="the entry's name")
    action: str = Field("", description="which action's energy; default: the only one")

    def estimate(self, site: Site) -> Estimate:
        """The entry as it stands. ValueError where the file or the entry is missing."""
        try:
            table = json.loads(read_text(self.file, CimemuError, "a table that `cimemu cost import` wrote"))
            entry = table["entries"][self.name]
            actions = entry["energy_pj"]
            action = self.action or (next(iter(actions)) if len(actions) == 1 else "")
            energy = float(actions[action]) if actions else 0.0
            return Estimate(energy, float(entry["area_um2"]), float(entry["leakage_uw"]), str(entry["source"]))
        except CimemuError as error:
            raise ValueError(str(error)) from None
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"{self.file}: no entry {self.name!r} with action {self.action!r} ({error}); "
                "`cimemu cost import` writes such tables"
            ) from None
