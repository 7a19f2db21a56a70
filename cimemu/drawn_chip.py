"""A drawn chip written as a file: levels, conductances and faults of its cells, errors of its converters."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cimemu.arch.schema import Arch
from cimemu.compute.forward import Emulator
from cimemu.errors import ArchError, CimemuError
from cimemu.macro.sites import Site, planned_sites
from cimemu.macro.spares import NOT_STUCK, Array, has_spares, repaired, stuck_levels
from cimemu.macro.vary import refuse_pulses, told, varied_macro, written_array
from cimemu.mapping.place import make_plan
from cimemu.options import Draws
from cimemu.variation.base import Block, VariationBase
from cimemu.variation.chip_file import FORMAT
from cimemu.variation.compose import Variations, compose
from cimemu.variation.converter import Converter
from cimemu.variation.measured_converters import MeasuredConverters
from cimemu.variation.parse import name_of, spelled
from cimemu.version import __version__
from cimemu.whole_file import whole_file
from cimemu.workload.network import Network

FAULTS = ("none", "stuck at level 0", "stuck at the highest level")
Writing = tuple[int, int]  # (macro, earlier writes of it)


def write_chip(
    path: Path | str,
    arch: Arch,
    network: Network,
    *,
    vary: Sequence[Any],
    seed: int = 0,
    trial: int = 0,
    on_ohm: float | None = None,
    overwrite: bool = False,
) -> dict[str, int]:
    """Write the chip that `vary`, `seed` and `trial` draw for a quantised network: how many macros, cells, faults.

    `on_ohm` is the resistance of a cell at the highest level, for conductances; by default that of the models, if one has it.
    The file is read by `--vary chip:file=PATH` (or `--chip PATH`), and by any reader of HDF5: `docs/manual/variation.md` has its
    layout. Raises CimemuError where the network does not fit the chip, and where cells are written anew for every image.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> quantized = cimemu.quantize(cimemu.load_network(workload.network), arch, workload.calibration())
    >>> totals = cimemu.write_chip("chip.h5", arch, quantized, vary=["stuck_at:sa0=0.01"], seed=7)
    >>> totals["macros"], totals["cells"]
    (12, 109056)
    >>> images, labels = workload.inputs(2)
    >>> cimemu.run(arch, quantized, images, labels, vary=[{"model": "chip", "file": "chip.h5"}]).images
    2
    """
    draws = Draws(seed, trial, vary)
    variations = compose(draws.vary, draws.seed, draws.trial)
    if not variations:
        raise CimemuError("chip: nothing varies, give at least one model: --vary lognormal:sigma=0.1")
    macro, plan = varied_macro(arch.macro, variations), make_plan(network, arch)
    emulator = Emulator(network, arch.macro, plan=plan)
    if emulator.products:
        name = next(iter(emulator.products))
        raise CimemuError(
            f"chip: layer {name}: its cells are written for every image, a chip file holds cells written once"
        )
    top = 2**macro.cell.bits - 1
    matrices = [
        (programmed.matrix, where)
        for name, replicas in planned_sites(plan).items()
        for units in replicas
        for programmed, where in zip(emulator.matrices[name].programmed, units)
    ]
    arrays: dict[Writing, Array] = {}
    places: dict[Writing, list[tuple[Site, Any, Any]]] = {}
    thresholds: dict[int, set[int]] = {}
    for matrix, sites in matrices:
        for place, site in sites.items():
            targets, programmed = told(matrix, place)
            key = (site.macro, site.write)
            if all(
                site != other for other, _, _ in places.setdefault(key, [])
            ):  # layers of the same cells write them once
                places[key].append((site, targets, programmed))
                arrays.setdefault(key, Array.of(macro)).add(site.first_column, macro, targets, programmed)
            if matrix.references is not None:
                thresholds.setdefault(site.macro, set()).add(matrix.references[place[0]].thresholds.shape[1])
    found = _on_ohm(variations, on_ohm)
    totals = {"macros": len({m for m, _ in arrays}), "cells": 0, "faults": 0, "spare_rows": 0, "spare_columns": 0}
    with whole_file(Path(path), CimemuError, overwrite=overwrite) as partial, h5py.File(partial, "w") as file:
        _attributes(file, arch, network, variations, macro.cell.fraction_bits, found)
        for (number, write), logical in sorted(arrays.items()):
            group = file.require_group(f"macros/{number:05d}/writing_{write}")
            stuck = stuck_levels(variations, macro, number, write)
            array = logical
            if has_spares(macro):
                lines = repaired(logical, stuck, macro)
                array = lines.told(logical, macro)
                for name, moved in zip(("spare_rows", "spare_columns"), lines.moved):
                    totals[name] += moved
            whole = _written(variations, array, number, write, top)
            refuse_pulses(whole, macro)
            _put(group, "targets", array.targets, "level", "level that was asked for")
            _put(group, "programmed", array.programmed, "", "whether the cell holds a weight")
            _put(group, "levels", whole.levels, "level", "conductance above 0, in steps between levels")
            if found is not None:
                step = 1.0 / found / (top + variations.leakage(top))
                _put(group, "conductances", whole.levels * step, "S", "the same in siemens")
            faults = np.select([stuck == NOT_STUCK, stuck == 0], [0, 1], 2).astype(np.uint8)
            _put(group, "faults", faults, "", "; ".join(f"{i}: {text}" for i, text in enumerate(FAULTS)))
            if whole.pulses is not None:
                rows = [
                    (site.first_column, *_pulses(variations, site, targets, programmed, top))
                    for site, targets, programmed in places[number, write]
                ]
                _put(
                    group,
                    "pulses",
                    np.array(rows, dtype=np.int64),
                    "",
                    "first column, write pulses, the longest row's summed",
                )
            totals["cells"] += int(array.programmed.sum())
            totals["faults"] += int(((faults > 0) & array.programmed).sum())
        for number in sorted(thresholds):
            _converters(file, arch, variations, number, thresholds[number])
    return totals


def _attributes(
    file: Any, arch: Arch, network: Network, variations: Variations, fraction_bits: int, on_ohm: float | None
) -> None:
    top = 2**arch.macro.cell.bits - 1
    file.attrs.update(
        cimemu_chip=FORMAT, cimemu=__version__, arch=arch.name, network=network.name, cell_bits=arch.macro.cell.bits,
        fraction_bits=fraction_bits, leakage_levels=variations.leakage(top), seed=variations.seed, trial=variations.trial,
    )  # fmt: skip
    text = h5py.string_dtype()
    file.attrs["vary"] = np.array([spelled(model) for model in variations.models], dtype=text)
    file.attrs["acts"] = np.array([spelled(model) for model in _acting(variations.models)], dtype=text)
    if on_ohm is not None:
        steps = top + variations.leakage(top)
        file.attrs["low_S"], file.attrs["high_S"] = 0.0, 1.0 / on_ohm * top / steps


def _acting(models: Sequence[VariationBase]) -> Iterator[VariationBase]:
    """The models that the file does not hold: of a converter's errors its noise alone."""
    for model in models:
        if model.parts(0, 0) is not None:
            raise ArchError(f"chip: {name_of(model)} is a chip file already, copy it; give models that draw one")
        if isinstance(model, Converter):
            yield Converter(noise=model.noise)
        elif isinstance(model, MeasuredConverters):
            continue
        elif model.stage != "cells":
            yield model


def _on_ohm(variations: Variations, given: float | None) -> float | None:
    found = (getattr(model, "on_ohm", None) for model in variations.models)
    return given or next((float(ohm) for ohm in found if ohm is not None), None)


def _block(variations: Variations, array: Array, site: Site, top: int) -> Block:
    return Block(
        levels=array.targets.astype(np.float64), targets=array.targets, programmed=array.programmed, top=top, macro=site.macro,
        first_column=site.first_column, write=site.write, leakage=variations.leakage(top),
    )  # fmt: skip


def _written(variations: Variations, array: Array, macro: int, write: int, top: int) -> Block:
    """All cells of a macro as its models write them."""
    return written_array(variations, array, _block(variations, array, Site(macro, 0, write), top))


def _pulses(variations: Variations, site: Site, targets: Any, programmed: Any, top: int) -> tuple[int, int]:
    """Write pulses of one block, and the longest of every row, summed."""
    block = _block(variations, Array(targets, programmed, np.zeros(targets.shape[1], np.int64)), site, top)
    for model, stream in variations.at("cells"):
        model.write(block, stream)
    return int(block.pulses or 0), int(block.row_pulses or 0)


def _converters(file: Any, arch: Arch, variations: Variations, macro: int, counts: set[int]) -> None:
    """Errors of a macro's converters by every model of converters, in order."""
    models = [
        (model, stream)
        for model, stream in variations.at("converter")
        if isinstance(model, Converter | MeasuredConverters)
    ]
    if not models:
        return
    if len(counts) > 1:
        raise CimemuError(
            f"chip: macro {macro}: converters of {sorted(counts)} thresholds in turn, a chip file holds one number"
        )
    count = counts.pop()
    columns = arch.macro.outputs * arch.macro.conversions_per_output
    numbers = np.arange(-(-columns // arch.macro.columns_per_adc))
    errors = [model.errors(stream, macro, numbers, count) for model, stream in models]
    group = file.require_group(f"macros/{macro:05d}/converters")
    _put(
        group,
        "transitions",
        np.stack([moved for moved, _ in errors]),
        "LSB",
        "[models, converters, thresholds] moved by",
    )
    _put(group, "gain", np.stack([gain for _, gain in errors]), "", "[models, converters] gain errors, relative")


def _put(group: Any, name: str, values: NDArray[Any], unit: str, meaning: str) -> None:
    data = group.create_dataset(name, data=values, compression="gzip", compression_opts=1, shuffle=True)
    data.attrs["unit"], data.attrs["meaning"] = unit, meaning
