"""`make_plan`: cut a network into blocks and put them on macros - shared, replicated, or one phase after another."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cimemu.arch.load import load_arch
from cimemu.arch.macro import Macro
from cimemu.arch.schema import AUTO, Arch
from cimemu.errors import MappingError, WorkloadError
from cimemu.layer.base import TensorType
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.written_product import WrittenProduct
from cimemu.mapping.activations import check_activations, check_rewritable
from cimemu.mapping.cycles import op_cycles
from cimemu.mapping.layout import LayerCut, cut_layer
from cimemu.mapping.operands import product_form
from cimemu.mapping.plan import Block, LayerPlan, Placed, Plan
from cimemu.mapping.shared import cells_of
from cimemu.workload.network import Network


def make_plan(network: Network, arch: Arch) -> Plan:
    """The plan of an integer `network` (see `cimemu.quantize`) on the chip `arch`: which block lies in which macro.

    It holds no values. Raises MappingError where the network does not fit, with the remedies.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.load_network(workload.network)
    >>> quantized = cimemu.quantize(network, arch, workload.calibration())
    >>> plan = cimemu.make_plan(quantized, arch)
    >>> plan.macros_used, plan.phases, round(plan.utilization, 3)
    (12, 1, 0.555)
    """
    if not network.is_integer:
        raise WorkloadError(
            f"network {network.name}: has no integer layers, quantise it first: cimemu.quantize(network, arch, calibration=x)"
        )
    if network.overrides:
        arch = load_arch(arch, network.overrides)
    check_activations(network, arch)
    layers = _layer_plans(network, arch.macro)
    if arch.chip.tiles == AUTO:
        arch = arch.with_tiles(tiles_needed(layers, arch))
    check_rewritable(layers, arch)
    phases = _phases(layers, arch)
    placed: list[Placed] = []
    final: list[LayerPlan] = list(layers)
    phases_of: dict[int, list[int]] = {}
    holders: dict[int, int] = {}
    for number, members in enumerate(phases):
        chosen = place_phase(members, arch, number)
        assert chosen is not None  # the phase was made to fit
        whole = [member for member in members if len(member.blocks) == len(layers[member.index].blocks)]
        replicas = _replicate(whole, chosen, arch, number)
        placed += chosen
        first: dict[int, int] = {}
        for member in members:
            phases_of.setdefault(member.index, []).append(number)
            holders[member.index] = first.setdefault(member.cells_of, member.index)
        for index, count in replicas.items():
            final[index] = replace(final[index], replicas=count)
    current = 0
    for index, layer in enumerate(final):  # a digital layer runs in the phase of what comes before it
        own = phases_of.get(index, [0])
        current = max([own[-1], *(final[i].phase for i in layer.inputs if i >= 0), 0 if layer.on_macros else current])
        start = own[0] if len(own) > 1 else current
        final[index] = replace(layer, phase=current, first_phase=start, cells_of=holders.get(index, -1))
    used = len({(p.phase, p.macro) for p in placed})
    cells = np.zeros((len(phases), arch.macros), dtype=np.int64)
    for p in placed:
        cells[p.phase, p.macro] += layers[p.layer].blocks[p.block].cells
    total = arch.macro.rows * arch.macro.columns
    return Plan(
        arch=arch,
        network=network.name,
        layers=tuple(final),
        placed=tuple(placed),
        phases=len(phases),
        macros_used=max(len({p.macro for p in placed if p.phase == number}) for number in range(len(phases))),
        utilization=float(cells.sum() / (used * total)) if used else 0.0,
        macro_cells=cells,
        writes_per_cell=float(len(phases)) if len(phases) > 1 else 0.0,
    )


def _layer_plans(network: Network, macro: Macro) -> list[LayerPlan]:
    maker = {name: -1 - place for place, name in enumerate(network.inputs)}
    maker |= {name: index for index, layer in enumerate(network.layers) for name in layer.outputs}
    number = {layer.name: index for index, layer in enumerate(network.layers)}
    owner = {number[name]: number[first] for name, first in cells_of(network.layers).items()}
    plans = []
    for index, layer in enumerate(network.layers):
        runtime = [name for name in layer.inputs if name in network.types]
        inputs = tuple(network.types[name] for name in runtime)
        outputs = tuple(network.types[name] for name in layer.outputs)
        operands = [
            network.types[name]
            if name in network.types
            else TensorType(tuple(network.constants[name].shape), str(network.constants[name].dtype))
            for name in layer.inputs
            if name
        ]
        common = {
            "index": index,
            "name": layer.name,
            "op": layer.op,
            "inputs": tuple(maker[name] for name in runtime),
            "phase": 0,
            "replicas": 1,
            "is_output": any(name in network.outputs for name in layer.outputs),
            "input_types": inputs,
            "output_types": outputs,
            "digital_ops": layer.digital_ops(operands, outputs),
            "table_bits": layer.table_bits(operands, outputs),
            "cells_of": owner.get(index, -1),
            "pool_rows": tuple(getattr(layer, "kernel_shape", ()))[:1] + tuple(getattr(layer, "strides", ()))[:1],
        }
        if isinstance(layer, MacroLayer):
            plans.append(plan_macro_layer(layer.geometry, layer.layout, macro, common))
        elif isinstance(layer, WrittenProduct):
            form = product_form(layer, macro)
            more = {"cells_of": index, "written": True, "parts": form.parts}
            more["digital_ops"] = layer.digital_ops(operands, outputs) + (form.parts - 1) * outputs[0].elements
            plans.append(plan_macro_layer(form.geometry, "rows", macro, common | more))
        else:
            plans.append(LayerPlan(geometry=None, cut=LayerCut(), blocks=(), layout="", **common))  # type: ignore[arg-type]
    return plans


def plan_macro_layer(geometry: Geometry, layout_name: str, macro: Macro, common: dict[str, Any]) -> LayerPlan:
    """A layer on macros cut into blocks; `common` are the fields of its plan that are not about macros."""
    common = {"cells_of": common["index"], **common}  # its own, unless it is said to share those of another
    cut = cut_layer(geometry.groups, geometry.rows_per_group, geometry.outputs_per_group, macro, geometry.kernel_area)
    blocks: list[Block] = []
    for number, (unit, layout) in enumerate(zip(cut.units, cut.layouts)):
        for rb, (r0, r1) in enumerate(layout.row_blocks):
            for cb, (c0, c1) in enumerate(layout.col_blocks):
                rows, outputs = r1 - r0, c1 - c0
                data = outputs * macro.columns_per_output
                checks = macro.checks_of(data)
                converted = outputs * macro.conversions_per_output + checks
                blocks.append(
                    Block(
                        index=len(blocks),
                        unit=number,
                        row_block=rb,
                        col_block=cb,
                        rows_used=rows,
                        outputs=outputs,
                        columns_used=converted,
                        physical_columns=outputs * macro.output_width + checks,
                        cells=rows * data // unit.groups + rows * checks,
                        op_cycles=op_cycles(macro, rows, converted),
                    )
                )
    return LayerPlan(  # type: ignore[arg-type]
        geometry=geometry,
        cut=cut,
        blocks=tuple(blocks),
        layout=layout_name,
        **common,
    )


def _phases(layers: Sequence[LayerPlan], arch: Arch) -> list[list[LayerPlan]]:
    """Macro layers by phase: all in one where they fit, else as many consecutive ones as fit together.

    A layer larger than the chip begins a phase of its own and is in it, and in those that follow, with some of its blocks.
    """
    members = [layer for layer in layers if layer.on_macros]
    if place_phase(members, arch, 0) is not None:
        return [members]
    if arch.programming.nonvolatile and not arch.allow_reprogram:
        needed = macros_needed(members, arch)
        raise MappingError(
            f"the network needs {needed} macros, the chip {arch.name} has {arch.macros} and its cells are "
            f"non-volatile; use chip.tiles >= {-(-needed // arch.tile.macros)}, or allow_reprogram=true"
        )
    phases: list[list[LayerPlan]] = []
    current: list[LayerPlan] = []
    for layer in members:
        if place_phase([*current, layer], arch, 0) is not None:
            current.append(layer)
            continue
        if current:
            phases.append(current)
        *full, rest = _pieces(layer, arch)
        phases += [[piece] for piece in full]
        current = [rest if full else layer]
    return [*phases, current]


def _pieces(layer: LayerPlan, arch: Arch) -> list[LayerPlan]:
    """A layer's blocks in parts that fit the chip, as few as they can be: all row blocks of a column block before the next,
    so that few sums wait for a later phase. A part shares its cells with no other layer."""
    layer = replace(layer, cells_of=-1 - layer.index)
    left = sorted(layer.blocks, key=lambda block: (block.unit, block.col_block, block.row_block))
    room = arch.macros * (
        arch.macro.columns // min(block.physical_columns for block in left)
    )  # blocks, at the very most
    pieces = []
    while left:
        fits, over = 1, len(left) + 1  # how many fit, how many do not
        while over - fits > 1:
            middle = (fits + over) // 2
            good = middle <= room and place_phase([replace(layer, blocks=tuple(left[:middle]))], arch, 0) is not None
            fits, over = (middle, over) if good else (fits, middle)
        pieces.append(replace(layer, blocks=tuple(left[:fits])))
        left = left[fits:]
    return pieces


def macros_needed(layers: Sequence[LayerPlan], arch: Arch) -> int:
    """The fewest macros on which all `layers` fit together as the mapper places them."""
    large = _large_enough(layers, arch)
    tries = (False, True) if arch.mapping.share_macros else (False,)
    found = [_first_fit(layers, large, 0, own_too) for own_too in tries]
    return min(1 + max((p.macro for p in placed), default=-1) for placed in found if placed is not None)


def tiles_needed(layers: Sequence[LayerPlan], arch: Arch) -> int:
    """The tiles that the mapper takes where there is no end to them: as `mapping.packing` says, one copy of each layer."""
    members = [layer for layer in layers if layer.on_macros]
    placed = place_phase(members, _large_enough(members, arch), 0)
    assert placed is not None  # there is a macro for every block
    return max(1, -(-(1 + max((p.macro for p in placed), default=-1)) // arch.tile.macros))


def _large_enough(layers: Sequence[LayerPlan], arch: Arch) -> Arch:
    """The chip with a macro for every block; it need not be one that can be built."""
    room = max(1, sum(len(layer.blocks) for layer in layers))
    return arch.model_copy(update={"chip": arch.chip.model_copy(update={"tiles": -(-room // arch.tile.macros)})})


@dataclass
class _Room:
    """What is free in one macro."""

    next_column: int
    layers: set[int]
    written: bool  # it holds an activation, and nothing of another layer


def place_phase(layers: Sequence[LayerPlan], arch: Arch, phase: int) -> list[Placed] | None:
    """First fit in layer order, so that a layer's macros lie near each other; None where the macros do not suffice.

    Small blocks share a macro with blocks of other layers; only where that does not suffice (or the packing is
    tight) also with their own layer's, which then wait for each other.
    """
    tries: tuple[bool, ...] = (False,)
    if arch.mapping.share_macros:
        tries = {"tight": (True,), "spread": (False, True)}[arch.mapping.packing]
    for own_too in tries:
        placed = _first_fit(layers, arch, phase, own_too)
        if placed is not None:
            return placed
    return None


def column_step(macro: Macro) -> int:
    """Physical columns of one converter: where a block may begin."""
    return macro.columns_per_adc * macro.columns_per_output // macro.conversions_per_output


def _first_fit(layers: Sequence[LayerPlan], arch: Arch, phase: int, own_too: bool) -> list[Placed] | None:
    macro, step = arch.macro, column_step(arch.macro)
    rooms: list[_Room] = []
    open_rooms: list[int] = []  # macros with columns left
    placed: list[Placed] = []
    owners = {
        layer.cells_of: layer for layer in reversed(layers)
    }  # the first of those that share cells has them written
    order = [(layer, block) for layer in layers if owners[layer.cells_of] is layer for block in layer.blocks]
    if arch.mapping.packing == "tight":
        order.sort(key=lambda pair: -pair[1].physical_columns)
    for layer, block in order:
        small = arch.mapping.share_macros and block.physical_columns <= macro.columns - step
        where = None
        if small:
            for number in open_rooms:
                room = rooms[number]
                alone = layer.written or room.written
                free = room.next_column + block.physical_columns <= macro.columns
                if free and (own_too if layer.index in room.layers else not alone):
                    where = number
                    break
        if where is None:
            if len(rooms) == arch.macros:
                return None
            rooms.append(_Room(0, set(), layer.written))
            where = len(rooms) - 1
            open_rooms.append(where)
        room = rooms[where]
        placed.append(Placed(layer.index, block.index, 0, where, room.next_column, phase))
        room.layers.add(layer.index)
        room.next_column = -(-(room.next_column + block.physical_columns) // step) * step
        if room.next_column >= macro.columns or not small:
            open_rooms.remove(where)
    return placed


def _replicate(layers: Sequence[LayerPlan], placed: list[Placed], arch: Arch, phase: int) -> dict[int, int]:
    """Copies of the slowest layers on the macros left over; `placed` grows. Replicas by layer index."""
    sharing = Counter(layer.cells_of for layer in layers)
    layers = [
        layer for layer in layers if sharing[layer.cells_of] == 1 and not layer.written
    ]  # copies of shared cells would part an image's steps, copies of activations would be written too
    replicas = {layer.index: 1 for layer in layers}
    next_macro = 1 + max((p.macro for p in placed), default=-1)
    by_index = {layer.index: layer for layer in layers}
    while True:
        candidates = [
            layer
            for layer in layers
            if replicas[layer.index] < min(arch.mapping.max_replicas, _positions(layer))
            and next_macro + len(layer.blocks) <= arch.macros
        ]
        if not candidates:
            return replicas
        slowest = max(candidates, key=lambda layer: (_busy_cycles(layer) / replicas[layer.index], -layer.index))
        for block in by_index[slowest.index].blocks:
            placed.append(Placed(slowest.index, block.index, replicas[slowest.index], next_macro, 0, phase))
            next_macro += 1
        replicas[slowest.index] += 1


def _positions(layer: LayerPlan) -> int:
    return 0 if layer.geometry is None else layer.geometry.positions


def _busy_cycles(layer: LayerPlan) -> int:
    return _positions(layer) * max(block.op_cycles for block in layer.blocks)
