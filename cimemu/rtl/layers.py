"""Layers of a network resolved into numbers for generated hardware: windows, macros, sums, requantisation, and cycles."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.schema import Arch
from cimemu.compute.forward import Emulator
from cimemu.compute.matrix import LayerMatrix
from cimemu.errors import WorkloadError
from cimemu.events import Kind
from cimemu.layer.base import Array
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.mapping.place import make_plan
from cimemu.mapping.plan import LayerPlan, Plan
from cimemu.rtl.design import Design, Span, signed_width
from cimemu.rtl.requantise import Scaling, scalings
from cimemu.timing.simulate import Simulation
from cimemu.timing.timeline import Events
from cimemu.workload.network import Network


@dataclass(frozen=True, eq=False)
class MacroPart:
    """One macro of a layer: a block of its matrix."""

    number: int
    row_start: int
    row_stop: int
    out_start: int
    out_stop: int
    last_group: int
    flipped: str  # hexadecimal, column 0 in the lowest bit
    cells: NDArray[np.int64]  # [rows, physical columns in use]

    @property
    def outputs(self) -> int:
        """Outputs in use."""
        return self.out_stop - self.out_start


@dataclass(frozen=True, eq=False)
class Cycles:
    """What the emulator's units take for a layer, and the works of every unit in their order."""

    load: int
    add: int
    row: int
    works: list[list[int]]  # [images] cycles of every load, operation, addition and row, unit by unit


@dataclass(frozen=True, eq=False)
class LayerPart:
    """What the templates read of one layer."""

    number: int
    name: str
    file: str
    module: str
    first_macro: int
    macros: list[MacroPart]
    g: Geometry
    input_signed: bool
    zero: int
    offset: int  # from a value to what the wordlines are given
    output_signed: bool
    constants: list[int]  # bias, less what zero points add
    acc_low: int
    acc_high: int
    scalings: list[Scaling]
    low: int
    high: int
    startup: int
    cycles: Cycles
    maps: NDArray[np.int64]  # [images, outputs * positions] what it gives
    input_bits: int = 8
    output_bits: int = 8
    wide_bits: int = 12  # a value and its offset, before it is cut to an input's bits

    @property
    def load(self) -> int:
        """Cycles of a load."""
        return self.cycles.load

    @property
    def add(self) -> int:
        """Cycles of an addition."""
        return self.cycles.add

    @property
    def row_cycles(self) -> int:
        """Cycles of an output row."""
        return self.cycles.row

    @property
    def inputs(self) -> int:
        """Values of the map of inputs."""
        return self.g.channels_in * self.g.height_in * self.g.width_in

    @property
    def works(self) -> int:
        """Loads, operations, additions and rows of an image."""
        return (self.units - 1) * self.g.positions + self.g.height_out

    @property
    def units(self) -> int:
        """Load, macros, addition, rows."""
        return len(self.macros) + 3

    @property
    def acc_bits(self) -> int:
        """Bits of an accumulator."""
        return signed_width(self.acc_low, self.acc_high)

    @property
    def product_bits(self) -> int:
        """Bits of a scaled accumulator."""
        largest = max(abs(self.acc_low), self.acc_high)
        return max((largest * s.multiplier + abs(s.addend)).bit_length() for s in self.scalings) + 2

    @property
    def at_once(self) -> int:
        """Values that are requantised in a cycle."""
        return -(-self.g.width_out * self.g.channels_out // (self.row_cycles - self.startup))


def layer_parts(
    network: Network, arch: Arch, inputs: Array, names: Sequence[str], design: Design, name: str
) -> tuple[list[LayerPart], NDArray[np.int64]]:
    """Layers `names`, each the input of the next, with what they give for `inputs`; and the first one's inputs [images, values].

    Raises WorkloadError where a layer cannot be generated: it says which and why.
    """
    if arch.power.gating is not None:
        raise WorkloadError(
            f"{arch.name}: power.gating is set, generated layers have no gates; leave it out (--set power.gating=null)"
        )
    plan = make_plan(network, arch)
    emulator = Emulator(network, arch.macro, plan=plan, path="serial")
    chosen = [_layer(emulator, layer) for layer in names]
    for before, after in pairwise(chosen):
        if after.inputs[0] != before.outputs[0]:
            raise WorkloadError(
                f"layer {after.name}: its input is not the output of {before.name}, generated layers follow each other directly; "
                "name others by --layers"
            )
    wanted = frozenset([chosen[0].inputs[0], *(layer.outputs[0] for layer in chosen)]) - set(network.inputs)
    batch = emulator.run([inputs], keep=wanted)
    tensors = {network.inputs[0]: inputs} | dict(batch.tensors)
    events: list[Events] = []

    def keep(some: Events) -> bool:
        events.append(some)
        return True

    nonzero = batch.nonzero if arch.macro.timing.skip_zero_slices else None
    timeline = Simulation(plan, images=len(inputs)).run(len(inputs), nonzero=nonzero, sink=keep)
    joined = {key: np.concatenate([part[key] for part in events]) for key in events[0]}
    made: list[LayerPart] = []
    for number, layer in enumerate(chosen):
        first = sum(len(part.macros) for part in made)
        cycles = _cycles(_planned(plan, layer), timeline.units, joined, len(inputs))
        maps = np.asarray(tensors[layer.outputs[0]]).reshape(len(inputs), -1).astype(np.int64)
        place = (number, first, f"{name}_layer_{number}")
        made.append(_part(emulator.matrices[layer.name], design, place, cycles, maps, arch.chip.digital.startup_cycles))
    source = chosen[0].inputs[0]
    return made, np.asarray(tensors[source]).reshape(len(inputs), -1).astype(np.int64)


def _layer(emulator: Emulator, name: str) -> MacroLayer:
    for layer in emulator.macro_layers:
        if layer.name == name:
            return layer
    raise WorkloadError(
        f"layer {name!r}: no such layer on macros, there are {', '.join(x.name for x in emulator.macro_layers)}"
    )


def _planned(plan: Plan, layer: MacroLayer) -> LayerPlan:
    """Its place on the chip. WorkloadError where it has not one tile, and macros of its own, for itself."""
    planned = next(p for p in plan.layers if p.name == layer.name)
    placed = [p for p in plan.placed if p.layer == planned.cells_of]
    tiles = {p.macro // plan.arch.tile.macros for p in placed}
    macros = [p.macro for p in placed]
    for wrong, why in (
        (planned.replicas > 1, f"is on the chip {planned.replicas} times; set mapping.max_replicas = 1"),
        (len(planned.phases) > 1, "runs in several phases; use a larger chip"),
        (planned.cells_of != planned.index, "uses another layer's cells; name another one by --layers"),
        (len(tiles) > 1, f"lies on {len(tiles)} tiles and is generated for one; use more tile.macros"),
        (len(set(macros)) < len(macros), "has several blocks in one macro; set mapping.share_macros = false"),
    ):
        if wrong:
            raise WorkloadError(f"layer {layer.name}: {why}")
    return planned


def _cycles(planned: LayerPlan, names: tuple[str, ...], events: Events, images: int) -> Cycles:
    """From the emulator's timeline: every load, operation, addition and row."""
    mine = events["layer"] == planned.index
    rows = {key: column[mine] for key, column in events.items()}
    took = rows["end"] - rows["start"]
    works: list[list[int]] = []
    for image in range(images):
        here = rows["image"] == image
        groups = [here & (rows["kind"] == Kind.LOAD)]
        operations = here & (rows["kind"] == Kind.MACRO)
        order = np.argsort(rows["op"][operations], kind="stable")  # blocks one after another, positions inside
        by_block = took[operations][order]
        groups += [here & (rows["kind"] == kind) for kind in (Kind.PSUM, Kind.DIGITAL)]
        loads, adds, lines = (took[g][np.argsort(rows["op"][g], kind="stable")] for g in groups)
        works.append([*loads.tolist(), *by_block.tolist(), *adds.tolist(), *lines.tolist()])
    first = works[0]
    return Cycles(load=int(loads[0]), add=int(adds[0]), row=int(lines[0]), works=works if first else [])


def _part(
    matrix: LayerMatrix,
    design: Design,
    place: tuple[int, int, str],
    cycles: Cycles,
    maps: NDArray[np.int64],
    startup: int,
) -> LayerPart:
    """WorkloadError where the layer's own arithmetic is not generated."""
    layer, g, stage = matrix.layer, matrix.layer.geometry, matrix.layer.stage
    if len(matrix.units) != 1 or matrix.units[0].groups != 1:
        raise WorkloadError(
            f"layer {layer.name}: a grouped convolution is not generated, name other layers by --layers"
        )
    low, high = int(getattr(stage, "low", 0)), int(getattr(stage, "high", 0))
    if layer.output_type.dtype not in ("uint8", "int8") or low >= high:
        raise WorkloadError(f"layer {layer.name}: gives {layer.output_type.dtype}, generated layers give int8 or uint8")
    for wrong, why in (
        (bool(matrix.weight_zero.any()), "weights with zero points"),
        (layer.column_scale is not None, "scales of columns"),
        (layer.dynamic_zero_point, "a zero point that is found while it runs"),
        (layer.layout != "nchw" and g.positions > 1, f"tensors in the order {layer.layout}"),
    ):
        if wrong:
            raise WorkloadError(f"layer {layer.name}: {why} are not generated, name other layers by --layers")
    programmed = matrix.programmed[0].matrix
    layout = programmed.layout
    macros: list[MacroPart] = []
    for rb, rows in enumerate(layout.row_blocks):
        for outs in layout.col_blocks:
            flipped = 0
            if programmed.flipped is not None:
                wide = design.per_output
                marks = programmed.flipped[rb, outs[0] * wide : outs[1] * wide]
                flipped = sum(1 << n for n in np.flatnonzero(marks).tolist())
            macros.append(
                MacroPart(
                    len(macros), *rows, *outs, -(-(rows[1] - rows[0]) // design.active) - 1, f"{flipped:x}",
                    programmed.levels_of(slice(*rows), slice(*outs)).astype(np.int64),
                )
            )  # fmt: skip
    zero = layer.input_zero_point + matrix.drive_offset
    constants = matrix.constants(np.array([zero]))[0].tolist()
    sums = Span(design.output.low, design.output.high).times(len(layout.row_blocks))
    spans = [(constant + sums.low, constant + sums.high) for constant in constants]
    return LayerPart(
        number=place[0], name=layer.name, file=f"layer_{place[0]}", module=place[2], first_macro=place[1], macros=macros, g=g,
        input_signed=layer.input_dtype == "int8", zero=layer.input_zero_point, offset=matrix.drive_offset,
        output_signed=layer.output_type.dtype == "int8", constants=constants, acc_low=min(s[0] for s in spans),
        acc_high=max(s[1] for s in spans), scalings=scalings(stage, spans, (low, high), layer.name),
        low=low, high=high, startup=startup, cycles=cycles, maps=maps,
    )  # fmt: skip
