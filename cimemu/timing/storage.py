"""Where tensors live between layers: the global buffer, or off-chip where they do not fit or cross a phase."""

from dataclasses import dataclass

from cimemu.errors import MappingError
from cimemu.layer.base import TensorType
from cimemu.mapping.parts import layer_parts
from cimemu.mapping.plan import LayerPlan, Plan

MAX_IN_FLIGHT = 8


def tensor_rows(kind: TensorType, layout: str = "nchw") -> int:
    """Rows that a tensor is produced and fetched in: image rows of [C, H, W], positions of a matrix, else one."""
    if layout == "rows":
        return int(kind.elements // kind.shape[-1]) if kind.shape else 1
    if len(kind.shape) == 3:
        return {"nhwc": kind.shape[0], "nchw": kind.shape[1]}[layout]
    return 1


@dataclass(frozen=True)
class Storage:
    """Tensors by producing layer (below 0: the network's inputs, from -1 down): which are off-chip, and how many images fit.

    `sums_offchip` are the layers larger than the chip whose sums wait off-chip for their next phase.
    """

    offchip: frozenset[int]
    in_flight: int
    sums_offchip: frozenset[int] = frozenset()


def place_tensors(plan: Plan, phase: int, images: int = 1) -> Storage:
    """Live tensors against the global buffer; the largest go off-chip until the rest fits.

    All `images` go through a phase before the next: sums that wait for a later phase are kept in the global buffer where
    those of all images fit. A pipelined chip holds as many images as fit together, at most eight.
    """
    members = [layer for layer in plan.layers if phase in layer.phases]
    last_use = _last_use(members)
    crossing = {
        producer
        for layer in plan.layers
        for producer in layer.inputs
        if producer >= 0 and any(plan.layers[producer].phase != number for number in layer.phases)
    }
    offchip = set(crossing)
    capacity = int(plan.arch.chip.global_buffer.size_kib * 8192)
    sums_offchip = set()
    held = 0
    for layer in plan.layers:
        if layer.geometry is None or len(layer.phases) == 1:
            continue
        parts = layer_parts(plan, layer)
        if any(parts[number].finished for number in layer.phases[:-1]):
            offchip.add(layer.index)  # some of its outputs wait for the others
        each = images * layer.geometry.positions
        if each * max(part.held_bits for part in parts.values()) > capacity:
            sums_offchip.add(layer.index)
        elif phase in parts:
            held += each * parts[phase].held_bits
    capacity = max(0, capacity - held)
    bits = {layer.index: sum(t.bits for t in layer.output_types) for layer in plan.layers}
    for layer in plan.layers:
        for kind, producer in zip(layer.input_types, layer.inputs):
            if producer < 0:
                bits[producer] = max(bits.get(producer, 0), kind.bits)
    peak = 0
    for layer in members:
        while True:
            live = [p for p, last in last_use.items() if p <= layer.index <= last and p not in offchip]
            live = sorted({*live, layer.index} - offchip)
            total = sum(bits[p] for p in live)
            if total <= capacity:
                peak = max(peak, total)
                break
            offchip.add(max(live, key=lambda p: (bits[p], p)))
    in_flight = max(1, min(MAX_IN_FLIGHT, capacity // max(1, peak)))
    together = {"layer_by_layer": 1, "pipelined": in_flight}[plan.arch.schedule]
    return Storage(frozenset(offchip), together, frozenset(sums_offchip))


def _last_use(members: list[LayerPlan]) -> dict[int, int]:
    return {producer: layer.index for layer in members for producer in layer.inputs}


def buffer_rows(layer: LayerPlan, what: str, bits_per_row: int, size_kib: float, sharers: int, needed: int) -> int:
    """Rows that fit one of `sharers` parts of a tile buffer; MappingError where not even the `needed` ones do."""
    rows = int(size_kib * 8192) // sharers // max(1, bits_per_row)
    if rows < needed:
        kib = needed * bits_per_row * sharers / 8192
        raise MappingError(
            f"layer {layer.name}: tile.{what}.size_kib = {size_kib:g}, its window needs {kib:.4g}; "
            f"use tile.{what}.size_kib >= {kib:.4g}"
        )
    return rows
